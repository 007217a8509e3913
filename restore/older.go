// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A restore may be of a full backup and what was saved after it: then a name may come
// more than once, as one thing and as another, and the later one is the newer. This is
// what is known of what came before. Of each table there is no more than maxMade.
type older struct {
	seed maphash.Seed
	// gone are paths of directories that were removed, with the number of records for the
	// end before that: those of the path, and below it, are of what is gone.
	gone map[uint64]int
	// held are paths of files with a record for the end, with its number.
	held map[uint64]int
	// old are paths of files with further names for which the last one that came was not
	// made: what is there is an older one.
	old map[uint64]bool
}

func newOlder() older {
	return older{maphash.MakeSeed(), map[uint64]int{}, map[uint64]int{}, map[uint64]bool{}}
}

// key is a path in a table.
func (o *older) key(path string) uint64 { return maphash.String(o.seed, path) }

// isGone notes that a directory was removed.
func (t *Tree) isGone(path string) {
	k := t.key(path)
	if _, known := t.gone[k]; known || len(t.gone) < maxMade {
		t.gone[k] = t.dirs.count
	}
}

// isReplaced notes that something else than a directory has given up its name.
func (t *Tree) isReplaced(path string) {
	if len(t.held) > 0 {
		delete(t.held, t.key(path))
	}
}

// mayHold reports whether the flags of a file can be left to the end.
func (t *Tree) mayHold(path string) bool {
	_, known := t.held[t.key(path)]
	return known || len(t.held) < maxMade
}

// record keeps what something gets at the end.
func (t *Tree) record(e late) error {
	e.Held = !e.Directory && t.mayHold(e.path)
	if e.Held {
		t.held[t.key(e.path)] = t.dirs.count
	}
	return t.dirs.add(e)
}

// outdated reports whether the record with the number n is of something that this restore
// has replaced since.
func (t *Tree) outdated(n int, e late) bool {
	if e.Held {
		if at, known := t.held[t.key(e.path)]; !known || at != n {
			return true
		}
	}
	if len(t.gone) == 0 {
		return false
	}
	for i := 0; i <= len(e.path); i++ {
		if i < len(e.path) && e.path[i] != '/' {
			continue
		}
		if before, known := t.gone[t.key(e.path[:i])]; known && n < before {
			return true
		}
	}
	return false
}

// isOld notes that an item was not made, isNew that it was.
func (t *Tree) isOld(it Item) {
	if it.Linked && len(t.old) < maxMade {
		t.old[t.key(it.Path)] = true
	}
}

func (t *Tree) isNew(it Item) {
	if len(t.old) > 0 {
		delete(t.old, t.key(it.Path))
	}
}

// kept reports whether something, or what is below it, is to stay.
func (t *Tree) kept(path string) bool {
	for _, k := range t.Keep {
		if k == path || strings.HasPrefix(k, path+"/") {
			return true
		}
	}
	return false
}

// removeAll removes the directory name in dir, at path in the tree, with all that is in it.
// No link is followed and no other file system entered, and what is on the way is never
// more than two descriptors. Nobody else is at work there.
func (t *Tree) removeAll(dir *os.File, name, path string) error {
	t.forget(0)
	home, err := mountOf(dir)
	if err != nil {
		return err
	}
	var way []step
	at := dir
	leave := func(next *os.File) {
		if at != dir {
			at.Close()
		}
		at = next
	}
	defer func() { leave(nil) }()
	for down := name; ; {
		if down != "" {
			next, own, err := t.deeper(at, down, home)
			if err != nil {
				return err
			}
			above, err := ownOf(at)
			if err != nil {
				next.Close()
				return err
			}
			way = append(way, step{down, own, above})
			leave(next)
		}
		if down, err = t.clear(at); err != nil {
			return err
		}
		if down != "" {
			continue
		}
		last := way[len(way)-1]
		up, err := openPath(at, "..", unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		leave(up)
		if own, err := ownOf(up); err != nil || own != last.above {
			return errors.Join(err, fmt.Errorf("%s was moved while it was removed", last.name))
		}
		if err := retry(func() error { return unix.Unlinkat(int(up.Fd()), last.name, unix.AT_REMOVEDIR) }); err != nil {
			return fmt.Errorf("remove directory %s: %w", last.name, t.why(err, up, last.name))
		}
		delete(t.made, last.own)
		delete(t.dated, last.own)
		if way = way[:len(way)-1]; len(way) == 0 {
			t.isGone(path)
			return nil
		}
	}
}

// step is a directory on the way down, and the one above it.
type step struct {
	name       string
	own, above inode
}

func ownOf(place *os.File) (inode, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(place.Fd()), &st)
	return inode{st.Dev, st.Ino}, err
}

// deeper opens a directory that is to be removed, if it is on the mount home.
func (t *Tree) deeper(at *os.File, name string, home uint64) (*os.File, inode, error) {
	next, err := openPath(at, name, unix.O_DIRECTORY)
	if err != nil {
		return nil, inode{}, fmt.Errorf("remove directory %s: %w", name, err)
	}
	id, err := mountOf(next)
	if err == nil && id != home {
		err = errors.New("another file system is mounted there")
	}
	var own inode
	if err == nil {
		own, err = ownOf(next)
	}
	if err != nil {
		next.Close()
		return nil, inode{}, fmt.Errorf("remove directory %s: %w", name, err)
	}
	return next, own, nil
}

// clear removes what is in a directory but no directory, up to the first of these, which
// it returns.
func (t *Tree) clear(place *os.File) (directory string, err error) {
	for {
		fd, err := retryInt(func() (int, error) {
			return unix.Openat(int(place.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		})
		if err != nil {
			return "", err
		}
		dir := os.NewFile(uintptr(fd), place.Name())
		names, err := dir.Readdirnames(1024)
		dir.Close()
		if len(names) == 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return "", err
		}
		for _, name := range names {
			switch err := retry(func() error { return unix.Unlinkat(int(place.Fd()), name, 0) }); {
			case errors.Is(err, unix.EISDIR):
				return name, nil
			case err != nil:
				return "", fmt.Errorf("remove %s: %w", name, t.why(err, place, name))
			}
		}
	}
}

// dropXattrs takes away the attributes that an older record has given to a directory.
func (f *File) dropXattrs() error {
	now := map[string]bool{}
	for _, x := range f.xattrs {
		now[x.name] = true
	}
	list := make([]byte, 64<<10) // XATTR_LIST_MAX of linux/limits.h
	n, err := retryInt(func() (int, error) { return unix.Listxattr(procName(f.path), list) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if now[name] || !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "trusted.") {
			continue // what is left is the kernel's, or was dropped as a list
		}
		errs = append(errs, retry(func() error { return unix.Removexattr(procName(f.path), name) }))
	}
	return errors.Join(errs...)
}
