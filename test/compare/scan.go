// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// inode names a file whatever its path.
type inode struct{ dev, ino uint64 }

// scanner reads a tree with a working directory of its own: it stands in one
// directory after another and looks at plain names, so that neither the length of
// a path nor the number of descriptors is a limit.
type scanner struct {
	skip func(path string) bool
	dev  uint64
	tree Tree
	// names are the paths of files with several, the first one's entry is read.
	names map[inode][]string
}

// Scan reads the tree below root, the root itself as "." too. It stays on one
// file system.
func Scan(root string, o Options) (Tree, error) {
	s := &scanner{skip: o.Skip, tree: Tree{}, names: map[inode][]string{}}
	err := alone(func() error {
		if err := unix.Chdir(root); err != nil {
			return err
		}
		var top unix.Stat_t
		if err := unix.Lstat(".", &top); err != nil {
			return err
		}
		s.dev = top.Dev
		return s.directory(".", &top)
	})
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", root, err)
	}
	for _, names := range s.names {
		sort.Strings(names)
		if len(names) > 1 {
			for _, n := range names {
				s.tree[n].Group = names[0]
			}
		}
	}
	return s.tree, nil
}

// alone runs f on a thread with a working directory of its own. The thread ends
// with f, but not before alone does: it leaves the tree, which may be unmounted then.
func alone(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = errors.Join(f(), unix.Chdir("/"))
		}
		done <- err
	}()
	return <-done
}

// directory reads the one that is the working directory, and all below it.
func (s *scanner) directory(path string, st *unix.Stat_t) error {
	f, err := os.Open(".")
	if err != nil {
		return fmt.Errorf("open directory %q: %w", path, err)
	}
	e := describe(path, st)
	err = inodeFlags(f, e)
	names, list := f.Readdirnames(-1)
	f.Close()
	if err := errors.Join(err, list); err != nil {
		return fmt.Errorf("read directory %q: %w", path, err)
	}
	if e.Xattrs, err = xattrs("."); err != nil {
		return fmt.Errorf("attributes of %q: %w", path, err)
	}
	s.tree[path] = e
	for _, n := range names {
		below := n
		if path != "." {
			below = path + "/" + n
		}
		if s.skip != nil && s.skip(below) {
			continue
		}
		if err := s.name(n, below, st); err != nil {
			return err
		}
	}
	return nil
}

// name reads one name of the working directory, which is that of parent.
func (s *scanner) name(name, path string, parent *unix.Stat_t) error {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return fmt.Errorf("stat %q: %w", path, err)
	}
	switch {
	case st.Dev != s.dev:
		return nil
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return s.file(name, path, &st)
	}
	if err := enter(name, &st); err != nil {
		return fmt.Errorf("enter %q: %w", path, err)
	}
	if err := s.directory(path, &st); err != nil {
		return err
	}
	if err := enter("..", parent); err != nil {
		return fmt.Errorf("leave %q: %w", path, err)
	}
	return nil
}

// enter goes to a directory, which must be the one that st describes.
func enter(name string, st *unix.Stat_t) error {
	if err := unix.Chdir(name); err != nil {
		return err
	}
	var now unix.Stat_t
	if err := unix.Lstat(".", &now); err != nil {
		return err
	}
	if now.Dev != st.Dev || now.Ino != st.Ino {
		return errors.New("another directory is there now")
	}
	return nil
}

// file reads what is no directory. Of a file with several names the content is
// read once.
func (s *scanner) file(name, path string, st *unix.Stat_t) error {
	key := inode{st.Dev, st.Ino}
	if first := s.names[key]; len(first) > 0 {
		again := *s.tree[first[0]]
		again.Path = path
		s.tree[path] = &again
		s.names[key] = append(first, path)
		return nil
	}
	e := describe(path, st)
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Size = st.Size
		if err := content(name, e); err != nil {
			return fmt.Errorf("read %q: %w", path, err)
		}
	case unix.S_IFLNK:
		if e.Link, err = os.Readlink(name); err != nil {
			return fmt.Errorf("read link %q: %w", path, err)
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Rdev = st.Rdev
	}
	if e.Xattrs, err = xattrs(name); err != nil {
		return fmt.Errorf("attributes of %q: %w", path, err)
	}
	s.tree[path] = e
	if st.Nlink > 1 {
		s.names[key] = []string{path}
	}
	return nil
}

func describe(path string, st *unix.Stat_t) *Entry {
	return &Entry{Path: path, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: st.Mtim.Sec, Nanos: st.Mtim.Nsec}
}

func xattrs(name string) (map[string]string, error) {
	size, err := unix.Llistxattr(name, nil)
	if err == unix.ENOTSUP || err == nil && size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(name, list); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, attr := range strings.Split(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		size, err := unix.Lgetxattr(name, attr, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", attr, err)
		}
		value := make([]byte, size)
		if size > 0 {
			if _, err := unix.Lgetxattr(name, attr, value); err != nil {
				return nil, fmt.Errorf("%s: %w", attr, err)
			}
		}
		out[attr] = string(value)
	}
	return out, nil
}
