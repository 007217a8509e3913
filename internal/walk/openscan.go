// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/ext4"
)

// How a scan is tried before it is believed.
const (
	sampleInodes = 64
	sampleDirs   = 16
	// announcedTables is how much of the directories' blocks is read before they are asked for.
	announcedTables = 256 << 20
)

// OpenScan starts a scan of the file system that is mounted, read-only, at dir. All its
// inode tables are read for that, which takes what reading some dozens of megabytes takes.
// It fails, with the reason, unless the tables are of a kind that is known, agree with
// their checksums and counts, and a sample of inodes and directories agrees with what the
// kernel says. A Cursor does the same work without any of that.
func OpenScan(ctx context.Context, dir string) (s *Scan, err error) {
	fd, err := openDir(unix.AT_FDCWD, dir, 0)
	if err != nil {
		return nil, &Error{"open", dir, err}
	}
	defer func() {
		if s == nil { // also after a panic: nothing could be unmounted
			unix.Close(fd)
		}
	}()
	return openScan(ctx, dir, fd)
}

func openScan(ctx context.Context, dir string, fd int) (s *Scan, err error) {
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return nil, err
	}
	if fs.Type != unix.EXT4_SUPER_MAGIC {
		return nil, fmt.Errorf("its file system is not ext4 (type %#x)", fs.Type)
	}
	if fs.Flags&unix.ST_RDONLY == 0 {
		return nil, errors.New("it is mounted to be written to")
	}
	dev, err := ext4.Device(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if s == nil {
			dev.Close()
		}
	}()
	return checkedScan(ctx, dev, fd, &fs)
}

func checkedScan(ctx context.Context, dev *os.File, fd int, fs *unix.Statfs_t) (*Scan, error) {
	tables, err := ext4.Open(dev)
	if err != nil {
		return nil, err
	}
	survey, err := tables.Check(ctx, ext4.Options{
		Workers:    min(4, runtime.NumCPU()),
		Statfs:     fs,
		Sample:     sampleInodes,
		Seed:       uint64(time.Now().UnixNano()),
		AheadBytes: announcedTables,
		Ahead: func(off, n int64) {
			_ = unix.Fadvise(int(dev.Fd()), off, n, unix.FADV_WILLNEED)
		},
	})
	if err != nil {
		return nil, err
	}
	s, err := newScan(tables, dev, fd)
	if err != nil {
		return nil, err
	}
	s.Inodes, s.dirs = survey.Inodes, survey.Dirs
	if err := s.agrees(survey.Sample); err != nil {
		return nil, err
	}
	return s, nil
}

// agrees compares the root and a sample of inodes with what the kernel says of them.
func (s *Scan) agrees(sample []ext4.Inode) error {
	dirs := 0
	for _, in := range append([]ext4.Inode{s.stack[0].dir}, sample...) {
		if in.Stat.Mode&unix.S_IFMT == unix.S_IFDIR {
			if dirs++; dirs > sampleDirs {
				continue // each is looked for in the one that it is in
			}
		}
		if err := s.agree(in); err != nil {
			return fmt.Errorf("inode %d: %w", in.Ino, err)
		}
	}
	return nil
}

func (s *Scan) agree(in ext4.Inode) error {
	in.Stat.Dev = s.dev
	e := s.entry("", "", &in, 0)
	var st unix.Stat_t
	fd, err := e.tree.open(e, unix.O_PATH|unix.O_NOFOLLOW)
	if err == nil {
		defer unix.Close(fd)
		err = retry(func() error { return unix.Fstat(fd, &st) })
	}
	if err == unix.EPERM && in.Stat.Mode == unix.S_IFREG|0o600 {
		return nil // ploop's balloon file, of which Virtuozzo's kernel says nothing
	}
	if err != nil {
		return fmt.Errorf("open by its number: %w", err)
	}
	if err := in.Agree(&st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return s.sameLink(e, &in)
	case unix.S_IFDIR:
		return s.sameNames(e, &in)
	}
	return nil
}

func (s *Scan) sameLink(e *Entry, in *ext4.Inode) error {
	ours, err := s.in.Readlink(in)
	theirs, err2 := e.readlink()
	if err != nil || err2 != nil || ours != theirs {
		return fmt.Errorf("its table has link %q (%v), the kernel %q (%v)", ours, err, theirs, err2)
	}
	return nil
}

// sameNames compares the first names of a directory.
func (s *Scan) sameNames(e *Entry, in *ext4.Inode) error {
	fd, err := e.tree.open(e, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	theirs := &frame{fd: fd}
	defer theirs.release()
	p := &page{dir: *in}
	if err := s.read(p); err != nil {
		return err
	}
	if !p.last {
		return nil // the kernel's order is another one
	}
	ours := map[string]uint32{}
	for _, n := range p.names {
		ours[n.name] = n.ino
	}
	for {
		name, err := theirs.next()
		if err != nil {
			break
		}
		if _, ok := ours[name]; !ok {
			return fmt.Errorf("the kernel has %q in it, its blocks have not", name)
		}
		delete(ours, name)
	}
	if len(ours) > 0 {
		return fmt.Errorf("its blocks have %d names that the kernel has not", len(ours))
	}
	return nil
}
