// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Open opens the content of a regular file for reading. The caller closes the
// descriptor, which is close-on-exec. The file is checked to be the one that
// Stat describes.
func (e *Entry) Open() (int, error) {
	// O_NONBLOCK does nothing to a regular file and keeps a fifo, put there
	// meanwhile, from holding the job.
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := retryInt(func() (int, error) { return unix.Openat(e.dir, e.name, flags, 0) })
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if st.Ino != e.Stat.Ino || st.Dev != e.Stat.Dev || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, errors.New("another file is there now")
	}
	return fd, nil
}

// Xattr is one extended attribute, of any namespace.
type Xattr struct {
	Name  string
	Value []byte
}

// Xattrs reads all extended attributes of the entry, POSIX ACLs and file
// capabilities among them. A file system without them has none; an attribute
// that vanishes meanwhile is left out.
func (e *Entry) Xattrs() ([]Xattr, error) {
	// There is no *at() call for attributes. /proc names the directory by its
	// descriptor, and the l-calls do not follow a link in the last component.
	path := fmt.Sprintf("/proc/self/fd/%d/%s", e.dir, e.name)
	if e.self >= 0 {
		path = fmt.Sprintf("/proc/self/fd/%d/.", e.self)
	}
	list, err := grow(func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil || len(list) == 0 {
		return nil, err
	}
	var out []Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		value, err := grow(func(buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) })
		switch {
		case errors.Is(err, unix.ENODATA):
		case err != nil:
			return out, fmt.Errorf("attribute %s: %w", name, err)
		default:
			out = append(out, Xattr{name, value})
		}
	}
	return out, nil
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
