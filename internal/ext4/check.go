// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Options are for Check.
type Options struct {
	// Workers is how many goroutines read, 2 if it is 0. Each has about 1 MiB of buffers.
	Workers int
	// Sample is how many inodes are picked at random, by Seed.
	Sample int
	Seed   uint64
	// Ahead, if set, is told where the directories are on the device, in the order of the
	// device and each place once, before Check returns and from its goroutine: up to
	// AheadBytes in all.
	Ahead      func(off, length int64)
	AheadBytes int64
	// Statfs is what statfs(2) says of the file system where it is mounted. It must be the
	// same one. Its counts of inodes are compared, in place of the superblock's, which the kernel brings up to date
	// later: when a mount has removed orphans it is too high (ext4_mark_recovery_complete
	// writes it only after a replay).
	Statfs *unix.Statfs_t
}

// Survey is what Check has found.
type Survey struct {
	// Inodes are those in use that are not the file system's own, Dirs the directories
	// among them with the top one.
	Inodes, Dirs uint64
	// Orphans are in use without a name: removed while open.
	Orphans uint64
	// Sample are inodes with names, to be compared with what the kernel says of them
	// (Agree), which it finds by a handle of number and generation. No directories where
	// they may be in inodes: of one in thousands Linux 6.18 says that its handle is stale.
	Sample []Inode
	// Announced is how many bytes of directories Ahead was told of, Read how many were
	// read, that is inode tables and bitmaps.
	Announced, Read int64
}

// Check reads all inode tables once, in the order of the device, and verifies the
// checksum and the form of every inode in use, the bitmaps' checksums, and the counts of
// inodes and directories, of each group and in total. Where something does not agree the
// error says what: then the file system is to be read through the kernel.
func (f *FS) Check(ctx context.Context, o Options) (*Survey, error) {
	orphans, err := f.orphans(f.NewReader())
	if err != nil {
		return nil, fmt.Errorf("list of orphans: %w", err)
	}
	count := min(max(o.Workers, 0), 64)
	if count == 0 {
		count = 2
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	line := &line{fs: f, order: f.order()}
	workers := make([]*worker, count)
	for i := range workers {
		workers[i] = newWorker(f, orphans, o, uint64(i))
	}
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() {
				if p := recover(); p != nil {
					w.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
					cancel()
				}
			}()
			if w.err = w.run(ctx, line); w.err != nil {
				cancel()
			}
		}()
	}
	wg.Wait()
	if err := first(workers); err != nil {
		return nil, err
	}
	return f.conclude(ctx, workers, o)
}

// first is the error that made the others stop.
func first(workers []*worker) error {
	var err error
	for _, w := range workers {
		if w.err != nil && (err == nil || errors.Is(err, context.Canceled)) {
			err = w.err
		}
	}
	return err
}

// conclude puts together what the workers have seen.
func (f *FS) conclude(ctx context.Context, workers []*worker, o Options) (*Survey, error) {
	s := &Survey{}
	var reserved uint64
	var all sample
	all.size = o.Sample
	var places places
	for _, w := range workers {
		s.Inodes += w.inodes
		s.Dirs += w.dirs
		s.Orphans += w.orphaned
		s.Read += w.read
		reserved += w.reserved
		all.join(&w.sample)
		places.join(&w.places)
	}
	if err := f.total(s.Inodes+reserved, o.Statfs); err != nil {
		return nil, err
	}
	s.Sample = all.inodes()
	if places.room > 0 {
		var err error
		if s.Announced, err = f.announce(ctx, &places, o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// total compares how many inodes are in use with what others say.
func (f *FS) total(used uint64, st *unix.Statfs_t) error {
	if st == nil {
		if want := uint64(f.inodes - f.free); used != want {
			return fmt.Errorf("%d inodes are in use, the superblock says %d", used, want)
		}
		return nil
	}
	if st.Type != unix.EXT4_SUPER_MAGIC || st.Files != uint64(f.inodes) || st.Bsize != int64(f.blockSize()) {
		return fmt.Errorf("the kernel has type %#x, %d inodes, blocks of %d bytes; on the device are %d inodes, blocks of %d",
			st.Type, st.Files, st.Bsize, f.inodes, f.blockSize())
	}
	if id := uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32; id != f.fsid {
		return fmt.Errorf("the kernel has file system %#x, on the device is %#x", id, f.fsid)
	}
	if used != st.Files-st.Ffree {
		return fmt.Errorf("%d inodes are in use, the kernel says %d", used, st.Files-st.Ffree)
	}
	return nil
}

// order returns the groups in the order of their inodes on the device, without those that
// have none.
func (f *FS) order() []uint32 {
	list := make([]uint32, 0, len(f.groups))
	for n := range f.groups {
		list = append(list, uint32(n))
	}
	byPlace := func(a, b uint32) int { return cmp.Compare(f.groups[a].table, f.groups[b].table) }
	if !slices.IsSortedFunc(list, byPlace) {
		slices.SortFunc(list, byPlace)
	}
	return list
}

// readSize is how much is read at once; smaller tables that are near each other are read
// together, with up to gapSize between them.
const (
	readSize = 1 << 20
	gapSize  = 64 << 10
)

// line is where workers stand for work.
type line struct {
	sync.Mutex
	fs    *FS
	order []uint32
}

// take returns the next groups: one, or several whose inodes lie together.
func (l *line) take() []uint32 {
	l.Lock()
	defer l.Unlock()
	n := 0
	var from, to int64
	for ; n < len(l.order); n++ {
		start, size := l.fs.table(l.order[n])
		if n > 0 && (start < to || start-to > gapSize || start+size-from > readSize) {
			break
		}
		if n == 0 {
			from = start
		}
		to = start + size
	}
	taken := l.order[:n]
	l.order = l.order[n:]
	return taken
}

// table returns where a group's inodes are that may be in use.
func (f *FS) table(n uint32) (off, size int64) {
	g := &f.groups[n]
	return int64(g.table) << f.blockBits, int64(g.used) * int64(f.inodeSize)
}
