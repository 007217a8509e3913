// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// withFlags opens a regular file or directory, which is known as a place, for the calls
// that read and set flags: they do not take a place.
func withFlags(place *os.File, directory bool, f func(fd int) error) error {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := retryInt(func() (int, error) {
		if directory {
			return unix.Openat(int(place.Fd()), ".", flags|unix.O_DIRECTORY, 0)
		}
		return unix.Open(procName(place), flags, 0)
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return f(fd)
}

// own takes an attribute that is no attribute but what we carry in one.
func (f *File) own(name string, value []byte) {
	kind := f.item.Mode & unix.S_IFMT
	switch {
	case len(f.strange) >= maxFaults:
	case name != chattr.Name:
		f.strange = append(f.strange, fmt.Errorf("attribute %.256q is of a newer release", name))
	case kind != unix.S_IFREG && kind != unix.S_IFDIR:
		f.strange = append(f.strange, errors.New("flags of what is no file and no directory"))
	default:
		var err error
		if f.inode, err = chattr.Decode(value); err != nil {
			f.strange = append(f.strange, err)
		}
	}
}

// forget takes away the flags that the item has only from the directory it was made in.
func (f *File) forget() error {
	if f.data != nil {
		return chattr.Forget(f.data.fd, f.inode.Flags)
	}
	if !f.item.directory() {
		return nil
	}
	return withFlags(f.path, true, func(fd int) error {
		err := chattr.Forget(fd, f.inode.Flags)
		if err == nil && f.again {
			f.base, err = chattr.Read(fd)
		}
		return err
	})
}

// flags gives the item its flags and project, when it has its name: an immutable file
// cannot be renamed, nor one of another project in a directory that hands its own down.
// What cannot have them yet is recorded: further names may be made of it, or it may come
// again, from a later backup in the same restore.
func (f *File) flags() error {
	directory := f.item.directory()
	if f.inode == (chattr.Attributes{}) && !directory {
		return nil
	}
	held := f.data != nil && f.inode.Flags&chattr.Locks&^f.tree.Hold != 0 && f.tree.mayHold(f.item.Path)
	if f.data != nil && !f.item.Linked && !held {
		if err := chattr.Set(f.data.fd, f.inode, f.tree.Hold); err != nil {
			return fmt.Errorf("flags of %s: %w", f.item.Path, err)
		}
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.handle().fd, &st); err != nil {
		return fmt.Errorf("times and flags of %s: %w", f.item.Path, err)
	}
	return f.tree.record(late{f.item.Path, fixed{
		Directory: directory, Again: f.again, Base: f.base, Atime: f.item.Atime, Mtime: f.item.Mtime, Nanoseconds: f.item.Nanoseconds,
		Dev: st.Dev, Ino: st.Ino, Told: f.told, Attributes: f.inode,
	}})
}

// locks returns which of the flags that forbid changes a place has, 0 if it cannot be told.
func locks(place *os.File) (found uint32) {
	var st unix.Stat_t
	if unix.Fstat(int(place.Fd()), &st) != nil {
		return 0
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return 0
	}
	_ = withFlags(place, kind == unix.S_IFDIR, func(fd int) error {
		a, err := chattr.Read(fd)
		found = a.Flags & chattr.Locks
		return err
	})
	return found
}

// lockedError says that a flag forbids what was tried, and what to do.
func lockedError(err error, what string, found uint32) error {
	letters := "ia"
	switch found {
	case chattr.Immutable:
		letters = "i"
	case chattr.Append:
		letters = "a"
	}
	return fmt.Errorf("%w: %s there is %s: take that off (chattr -%s) and restore it again",
		err, what, strings.ReplaceAll(chattr.Words(found), ", ", " and "), letters)
}

// why adds to a refusal the flag that is its reason: of the directory, or of what has the
// name in it. "" looks at the directory alone.
func (t *Tree) why(err error, dir *os.File, name string) error {
	if !errors.Is(err, unix.EPERM) || dir == nil {
		return err
	}
	if found := locks(dir); found != 0 {
		return lockedError(err, "the directory", found)
	}
	if name == "" {
		return err
	}
	place, e := openPath(dir, name, 0)
	if e != nil {
		return err
	}
	defer place.Close()
	if t.judge(place) != nil {
		return err // a file system that is asked nothing
	}
	if found := locks(place); found != 0 {
		return lockedError(err, "what has its name", found)
	}
	return err
}
