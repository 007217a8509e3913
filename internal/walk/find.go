// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Finder finds entries of a tree again by their paths. No link is followed. It is made
// for paths in the order of a walk: the directory of the last one stays open.
type Finder struct {
	// Root is the directory that paths begin in.
	Root string

	dir string // that is open
	fd  int
	has bool
}

// Entry returns the file, link or special file at path. It is valid until the next call,
// and until Close. An *Error says that it is not found.
func (f *Finder) Entry(path string) (*Entry, error) {
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	if err := f.enter(dir); err != nil {
		return nil, &Error{"open directory", dir, err}
	}
	e := &Entry{Path: path, name: name, dir: f.fd, self: -1}
	err := retry(func() error { return unix.Fstatat(f.fd, name, &e.Stat, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return nil, &Error{"stat", path, err}
	}
	if e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		if e.Link, err = readlink(f.fd, name, e.Stat.Size); err != nil {
			return nil, &Error{"read link", path, err}
		}
	}
	return e, nil
}

// Directory is Entry for a directory, "" being the root.
func (f *Finder) Directory(path string) (*Entry, error) {
	if err := f.enter(path); err != nil {
		return nil, &Error{"open directory", path, err}
	}
	e := &Entry{Path: path, dir: -1, self: f.fd}
	if err := retry(func() error { return unix.Fstat(f.fd, &e.Stat) }); err != nil {
		return nil, &Error{"stat", path, err}
	}
	return e, nil
}

// enter opens a directory, component by component.
func (f *Finder) enter(dir string) error {
	if f.has && f.dir == dir {
		return nil
	}
	f.Close()
	fd, err := openDir(unix.AT_FDCWD, f.Root, 0)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(dir, "/") {
		if name == "" {
			continue
		}
		next, err := openDir(fd, name, unix.O_NOFOLLOW)
		unix.Close(fd)
		if err != nil {
			return err
		}
		fd = next
	}
	f.fd, f.dir, f.has = fd, dir, true
	return nil
}

// Close gives up what is open. It may be called twice, and the Finder be used again.
func (f *Finder) Close() {
	if f.has {
		unix.Close(f.fd)
		f.has = false
	}
}
