// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// frame is one directory of the stack.
type frame struct {
	fd int // -1: released
	// length is that of its path, which the cursor holds.
	length int
	name   string
	stat   unix.Stat_t
	buf    []byte // one read of directory entries
	rest   []byte // the part of buf that was not looked at
	at     int64  // where the directory goes on after the last name looked at
	end    bool
	// fresh: buf was read since the last look at it; known: scouts were sent into it.
	fresh, known bool
}

// release closes the descriptor and forgets the buffer; at tells where to go on.
func (f *frame) release() {
	if f.fd >= 0 {
		unix.Close(f.fd)
		f.fd = -1
	}
	f.buf, f.rest = nil, nil
}

// next returns the next name of the directory, io.EOF after the last one.
// Another error is returned once, io.EOF after it.
func (f *frame) next() (string, error) {
	for {
		for len(f.rest) > 0 {
			name, off, size, _, ok := parseEntry(f.rest)
			if !ok {
				f.rest, f.end = nil, true
				return "", errors.New("malformed directory entry")
			}
			f.rest, f.at = f.rest[size:], off
			if name != "." && name != ".." {
				return name, nil
			}
		}
		if f.end {
			return "", io.EOF
		}
		if f.buf == nil {
			f.buf = make([]byte, 32<<10)
		}
		n, err := retryInt(func() (int, error) { return unix.Getdents(f.fd, f.buf) })
		if err != nil {
			f.end = true
			return "", err
		}
		f.rest, f.end, f.fresh = f.buf[:n], n == 0, true
	}
}

// waiting returns the names that were read and have not come yet, and those of them that
// are directories, as far as the file system says so.
func (f *frame) waiting() (names, dirs []string) {
	for rest := f.rest; len(rest) > 0; {
		name, _, size, kind, ok := parseEntry(rest)
		if !ok {
			break
		}
		rest = rest[size:]
		switch {
		case name == "." || name == "..":
			continue
		case kind == unix.DT_DIR:
			dirs = append(dirs, name)
		}
		names = append(names, name)
	}
	return names, dirs
}

// parseEntry reads one struct linux_dirent64 (getdents(2)): inode number and
// offset of 8 bytes each, length of 2, type of 1, then the name and a NUL.
func parseEntry(b []byte) (name string, off int64, size int, kind uint8, ok bool) {
	const head = 19
	if len(b) < head {
		return "", 0, 0, 0, false
	}
	off = int64(binary.NativeEndian.Uint64(b[8:]))
	size = int(binary.NativeEndian.Uint16(b[16:]))
	if size < head+2 || size > len(b) {
		return "", 0, 0, 0, false
	}
	raw := b[head:size]
	// A slash would lead elsewhere. The kernel looks for that since 5.5 only, and the
	// file system may be a tenant's.
	if i := bytes.IndexByte(raw, 0); i > 0 && bytes.IndexByte(raw[:i], '/') < 0 {
		return string(raw[:i]), off, size, b[18], true
	}
	return "", 0, 0, 0, false
}

func openDir(at int, name string, flags int) (int, error) {
	return retryInt(func() (int, error) {
		return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
	})
}

func readlink(at int, name string, size int64) (string, error) {
	// ext4 keeps targets of up to one block; the size is only a first guess.
	for n := int(min(max(size, 255), 1<<16)) + 1; ; n *= 2 {
		buf := make([]byte, n)
		got, err := retryInt(func() (int, error) { return unix.Readlinkat(at, name, buf) })
		if err != nil {
			return "", err
		}
		if got < n {
			return string(buf[:got]), nil
		}
		if n > 1<<20 {
			return "", errors.New("target longer than 1 MiB")
		}
	}
}

// retry repeats f while a signal interrupts it: the daemons install handlers
// without SA_RESTART.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func retryInt(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}
