// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"golang.org/x/sys/unix"
)

// worker reads groups and counts.
type worker struct {
	fs      *FS
	orphans map[uint32]bool
	inode   Inode
	scratch []byte
	err     error

	buf      []byte // inodes
	from, to int64  // where on the device they are
	window   []byte // bitmaps: those of neighbours are often in one place
	at       int64
	filled   int

	inodes, dirs, orphaned, reserved uint64
	read                             int64
	sample                           sample
	places                           places
}

const windowSize = 64 << 10

func newWorker(f *FS, orphans map[uint32]bool, o Options, number uint64) *worker {
	w := &worker{fs: f, orphans: orphans, buf: make([]byte, readSize), window: make([]byte, windowSize), scratch: make([]byte, 8+f.inodeSize)}
	w.sample = newSample(o.Sample, o.Seed, number)
	w.places.room = f.room(o)
	return w
}

func (w *worker) run(ctx context.Context, l *line) error {
	for {
		groups := l.take()
		if len(groups) == 0 {
			return nil
		}
		w.from, w.to = 0, 0
		if len(groups) > 1 {
			from, _ := w.fs.table(groups[0])
			last, size := w.fs.table(groups[len(groups)-1])
			if err := w.fill(from, last+size); err != nil {
				return err
			}
		}
		for _, n := range groups {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.group(n); err != nil {
				return fmt.Errorf("group %d: %w", n, err)
			}
		}
	}
}

// fill reads a part of the device into the buffer, which is large enough.
func (w *worker) fill(from, to int64) error {
	if err := w.fs.read(w.buf[:to-from], from); err != nil {
		return fmt.Errorf("read inodes at byte %d of the device: %w", from, err)
	}
	w.from, w.to = from, to
	w.read += to - from
	return nil
}

// group looks at the inodes of one.
func (w *worker) group(n uint32) error {
	f, g := w.fs, &w.fs.groups[n]
	if g.blank {
		if g.free != f.perGroup || g.dirs != 0 {
			return fmt.Errorf("its bitmap was never written, but %d of %d inodes are free and %d directories", g.free, f.perGroup, g.dirs)
		}
		return nil
	}
	bitmap, err := w.bitmap(g)
	if err != nil {
		return err
	}
	if got := f.perGroup - ones(bitmap); got != g.free {
		return fmt.Errorf("%d inodes are free by the bitmap, the descriptor says %d", got, g.free)
	}
	start, _ := f.table(n)
	dirs := w.dirs
	for i := 0; i < len(bitmap); i++ {
		for b := bitmap[i]; b != 0; b &= b - 1 {
			index := uint32(i*8 + bits.TrailingZeros8(b))
			if index >= g.used {
				return fmt.Errorf("inode %d is in use, but only the first %d ever were", n*f.perGroup+index+1, g.used)
			}
			raw, err := w.raw(start, index, g.used)
			if err != nil {
				return err
			}
			if err := w.look(n*f.perGroup+index+1, raw); err != nil {
				return err
			}
		}
	}
	if got := w.dirs - dirs; got != uint64(g.dirs) {
		return fmt.Errorf("%d directories, the descriptor says %d", got, g.dirs)
	}
	return nil
}

// raw returns an inode of the table at start, which it reads in large parts.
func (w *worker) raw(start int64, index, used uint32) ([]byte, error) {
	size := int64(w.fs.inodeSize)
	off := start + int64(index)*size
	if off < w.from || off >= w.to {
		if err := w.fill(off, min(off+readSize, start+int64(used)*size)); err != nil {
			return nil, err
		}
	}
	return w.buf[off-w.from : off-w.from+size], nil
}

// bitmap returns the bits of a group's inodes.
func (w *worker) bitmap(g *group) ([]byte, error) {
	f := w.fs
	off := int64(g.bitmap) << f.blockBits
	size := int64(f.perGroup / 8)
	if off < w.at || off+size > w.at+int64(w.filled) {
		n, err := f.dev.ReadAt(w.window, off)
		if err != nil && !errors.Is(err, io.EOF) || int64(n) < size {
			w.filled = 0
			return nil, fmt.Errorf("read inode bitmap at byte %d of the device: %w", off, short(err))
		}
		w.at, w.filled = off, n
		w.read += int64(n)
	}
	b := w.window[off-w.at : off-w.at+size]
	if f.csum && !f.lax {
		got := crc32c(f.seed, b)
		if !f.long {
			got &= 0xffff
		}
		if got != g.bitmapSum {
			return nil, fmt.Errorf("checksum of the inode bitmap is %#x, the descriptor says %#x", got, g.bitmapSum)
		}
	}
	return b, nil
}

func short(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func ones(b []byte) (n uint32) {
	for ; len(b) >= 8; b = b[8:] {
		n += uint32(bits.OnesCount64(le.Uint64(b)))
	}
	for _, x := range b {
		n += uint32(bits.OnesCount8(x))
	}
	return n
}

// look judges one inode in use.
func (w *worker) look(ino uint32, raw []byte) error {
	f := w.fs
	if ino < f.firstIno && ino != rootIno {
		w.reserved++ // some of them are marked only, and empty
		return nil
	}
	if err := f.verify(ino, raw, w.scratch); err != nil {
		return err
	}
	if err := f.inUse(ino, raw); err != nil {
		return err
	}
	n := &w.inode
	if err := f.decode(ino, raw, n); err != nil {
		return err
	}
	w.inodes++
	if n.Stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		w.dirs++
		w.places.add(f, n)
	}
	switch {
	case n.Stat.Nlink == 0:
		if !w.orphans[ino] {
			return fmt.Errorf("inode %d has no name and is not on the list of such", ino)
		}
		w.orphaned++
	case n.raw&flagEaInode == 0 && !slices.Contains(f.hidden, ino) && (n.Stat.Mode&unix.S_IFMT != unix.S_IFDIR || f.incompat&incompatInlineData == 0):
		w.sample.offer(n)
	}
	return nil
}
