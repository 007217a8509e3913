// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// Open opens the content of a regular file for reading. The caller closes the
// descriptor, which is close-on-exec. The file is checked to be the one that
// Stat describes.
func (e *Entry) Open() (int, error) {
	// O_NONBLOCK does nothing to a regular file and keeps a fifo, put there
	// meanwhile, from holding the job.
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	open := func() (int, error) { return unix.Openat(e.dir, e.name, flags, 0) }
	if e.tree != nil {
		open = func() (int, error) { return e.tree.open(e, flags) }
	}
	fd, err := retryInt(open)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if e.tree != nil && st.Size != e.Stat.Size {
		unix.Close(fd)
		return -1, fmt.Errorf("its inode says %d bytes, the kernel %d (scan=walk saves it by the kernel's word)", e.Stat.Size, st.Size)
	}
	if st.Ino != e.Stat.Ino || st.Dev != e.Stat.Dev || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, errors.New("another file is there now")
	}
	if !e.inodeKnown {
		// Now that it is open: to ask for them later it would be opened again.
		if a, err := chattr.Read(fd); err == nil {
			e.inode, e.inodeKnown = a, true
		}
	}
	return fd, nil
}

// Inode reads the entry's flags and project id. Entries that the kernel does not tell them
// of have none: links, special files, and what another file system is mounted on.
func (e *Entry) Inode() (chattr.Attributes, error) {
	switch {
	case e.inodeKnown:
		return e.inode, nil
	case e.self >= 0:
		return chattr.Read(e.self)
	case e.Stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return chattr.Attributes{}, nil
	}
	fd, err := e.Open()
	if err != nil {
		return chattr.Attributes{}, fmt.Errorf("open to read flags: %w", err)
	}
	defer unix.Close(fd)
	if e.inodeKnown {
		return e.inode, nil
	}
	return chattr.Read(fd)
}

// NoDump reports whether the entry has the flag of chattr +d. The kernel tells it without
// an open file since Linux 4.11 (statx), where the file system takes part.
func (e *Entry) NoDump() (bool, error) {
	kind := e.Stat.Mode & unix.S_IFMT
	if e.inodeKnown || kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return e.inode.Flags&chattr.NoDump != 0, nil
	}
	at, name, flags := e.dir, e.name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT
	if e.self >= 0 {
		at, name, flags = e.self, "", unix.AT_EMPTY_PATH
	}
	var x unix.Statx_t
	err := retry(func() error { return unix.Statx(at, name, flags, 0, &x) })
	if err == nil && x.Attributes_mask&unix.STATX_ATTR_NODUMP != 0 {
		return x.Attributes&unix.STATX_ATTR_NODUMP != 0, nil
	}
	a, err := e.Inode()
	return a.Flags&chattr.NoDump != 0, err
}

// Dense reports that the content surely has no holes; it may have none where this is false.
func (e *Entry) Dense() bool { return e.dense }

// Lasting reports whether the entry stays valid beyond the next call of Next.
func (e *Entry) Lasting() bool { return e.tree != nil }

// ErrKind is the reason for what is no regular file: a link, a directory, a device.
var ErrKind = errors.New("is no regular file")

// StatIn looks for a regular file in the directory that the entry is. What else is
// called so is ErrKind.
func (e *Entry) StatIn(name string) error {
	dir, end, err := e.inside()
	if err != nil {
		return err
	}
	defer end()
	return statIn(dir, name)
}

func statIn(dir int, name string) error {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return ErrKind
	}
	return nil
}

// ReadIn reads a regular file in the directory that the entry is, limit bytes of it at
// most. It is looked at before it is opened, and no link is followed.
func (e *Entry) ReadIn(name string, limit int) ([]byte, error) {
	dir, end, err := e.inside()
	if err != nil {
		return nil, err
	}
	defer end()
	if err := statIn(dir, name); err != nil {
		return nil, err
	}
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := retryInt(func() (int, error) { return unix.Openat(dir, name, flags, 0) })
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, ErrKind
	}
	buf := make([]byte, min(int64(limit), st.Size))
	for n := 0; n < len(buf); {
		got, err := retryInt(func() (int, error) { return unix.Read(fd, buf[n:]) })
		if err != nil {
			return nil, err
		}
		if got == 0 {
			return buf[:n], nil
		}
		n += got
	}
	return buf, nil
}

// Xattr is one extended attribute, of any namespace.
type Xattr struct {
	Name  string
	Value []byte
}

// Xattrs reads all extended attributes of the entry, POSIX ACLs and file
// capabilities among them. A file system without them has none; an attribute
// that vanishes meanwhile is left out. One that cannot be read is told in the error,
// with which the others are returned.
func (e *Entry) Xattrs() ([]Xattr, error) {
	if e.plain {
		return nil, nil
	}
	// There is no *at() call for attributes; /proc names what is open.
	path, follow, end, err := e.place()
	if err != nil {
		return nil, err
	}
	defer end()
	listxattr, getxattr := unix.Llistxattr, unix.Lgetxattr
	if follow {
		listxattr, getxattr = unix.Listxattr, unix.Getxattr
	}
	list, err := grow(func(buf []byte) (int, error) { return listxattr(path, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil || len(list) == 0 {
		return nil, err
	}
	var out []Xattr
	var errs []error
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if strings.HasPrefix(name, chattr.Prefix) {
			// No file system of the kernel's has such a name, but a FUSE server may say so.
			errs = append(errs, fmt.Errorf("attribute %s: the name is kept for this plugin's own use", name))
			continue
		}
		value, err := grow(func(buf []byte) (int, error) { return getxattr(path, name, buf) })
		switch {
		case errors.Is(err, unix.ENODATA):
		case err != nil:
			errs = append(errs, fmt.Errorf("attribute %s: %w", name, err))
		default:
			out = append(out, Xattr{name, value})
		}
	}
	return out, firstOf(errs)
}

// maxErrors is how many attributes of one file are named that could not be read.
const maxErrors = 10

// firstOf joins errors, of very many the first ones: a tenant may plan for them.
func firstOf(errs []error) error {
	if n := len(errs) - maxErrors; n > 0 {
		errs = append(errs[:maxErrors:maxErrors], fmt.Errorf("and %d more", n))
	}
	return errors.Join(errs...)
}

// grow calls a function that fills a buffer with as large a buffer as it wants.
func grow(fill func([]byte) (int, error)) ([]byte, error) {
	buf := make([]byte, 512)
	for {
		n, err := retryInt(func() (int, error) { return fill(buf) })
		if err == nil {
			return buf[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || len(buf) > 1<<20 {
			return nil, err
		}
		buf = make([]byte, 4*len(buf))
	}
}
