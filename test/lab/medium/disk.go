// SPDX-License-Identifier: AGPL-3.0-only

// Package medium is a node's own hard disk, one file in a FUSE mount, with a cache that loses what it holds when the power
// is cut: what was written since the last flush reaches the backing file at the next flush only. It knows nothing of what
// is on it, and touches nothing but its backing file.
package medium

import (
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// sector is what a disk writes as a whole.
const sector = 4096

// room is how much the cache holds at most. A full one is written out, as a disk does when it likes to.
const room = 128 << 20

// Disk is the disk. All methods may be called from many goroutines.
type Disk struct {
	mu   sync.RWMutex
	f    *os.File
	size int64
	held map[int64]*[sector]byte
	off  bool // the power is off
}

// Open opens a disk by its backing file, whose size is a whole number of sectors.
func Open(path string) (*Disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && (st.Size() == 0 || st.Size()%sector != 0) {
		err = fmt.Errorf("%s: %d bytes are no disk", path, st.Size())
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Disk{f: f, size: st.Size(), held: map[int64]*[sector]byte{}}, nil
}

// Size is the size in bytes.
func (d *Disk) Size() int64 { return d.size }

// each calls fn for the part of every sector that [off, off+len(p)) touches.
func (d *Disk) each(p []byte, off int64, fn func(n, in int64, p []byte) error) error {
	if off < 0 || off+int64(len(p)) > d.size {
		return unix.EINVAL
	}
	for len(p) > 0 {
		in := off % sector
		k := min(int64(len(p)), sector-in)
		if err := fn(off/sector, in, p[:k]); err != nil {
			return err
		}
		p, off = p[k:], off+k
	}
	return nil
}

// ReadAt reads all of p, the newest of it. EIO when the power is off.
func (d *Disk) ReadAt(p []byte, off int64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.off {
		return unix.EIO
	}
	if off < 0 || off+int64(len(p)) > d.size {
		return unix.EINVAL
	}
	if _, err := d.f.ReadAt(p, off); err != nil {
		return err
	}
	return d.each(p, off, func(n, in int64, p []byte) error {
		if b := d.held[n]; b != nil {
			copy(p, b[in:])
		}
		return nil
	})
}

// WriteAt takes p into the cache. EIO when the power is off.
func (d *Disk) WriteAt(p []byte, off int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return unix.EIO
	}
	err := d.each(p, off, func(n, in int64, p []byte) error {
		b := d.held[n]
		if b == nil {
			b = new([sector]byte)
			if len(p) < sector {
				if _, err := d.f.ReadAt(b[:], n*sector); err != nil {
					return err
				}
			}
			d.held[n] = b
		}
		copy(b[in:], p)
		return nil
	})
	if err == nil && len(d.held) > room/sector {
		err = d.flush(nil)
	}
	return err
}

// Sync makes every write that has returned survive a power cut.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return unix.EIO
	}
	return d.flush(nil)
}

// flush writes out what is held, or those sectors of it that keep names, in runs of neighbours. The machine below does not
// lose power: its page cache is as good as a platter.
func (d *Disk) flush(keep func(n int64) bool) error {
	list := make([]int64, 0, len(d.held))
	for n := range d.held {
		if keep == nil || keep(n) {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	var run []byte
	for i, n := range list {
		run = append(run, d.held[n][:]...)
		if i+1 < len(list) && list[i+1] == n+1 && len(run) < 1<<20 {
			continue
		}
		if _, err := d.f.WriteAt(run, (n+1)*sector-int64(len(run))); err != nil {
			return err
		}
		run = run[:0]
	}
	clear(d.held)
	return nil
}

// Cut cuts the power. Of what is held nothing survives with the seed 0, else about half of it, which half the seed says: a
// disk may have written any of it already. Every later call fails.
func (d *Disk) Cut(seed uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil
	}
	d.off = true
	return d.flush(func(n int64) bool { return seed != 0 && mix(seed, uint64(n))&1 == 1 })
}

// mix scatters a number: the finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
func mix(seed, n uint64) uint64 {
	z := (seed + n) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Close closes the backing file, with nothing lost unless the power is off.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.off {
		if err := d.flush(nil); err != nil {
			return err
		}
	}
	d.off = true
	return d.f.Close()
}
