// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inodeOf is what was made, for the calls that change it. Those that take a descriptor
// save the way through /proc, but the kernel refuses them with a place (O_PATH).
type inodeOf struct {
	fd int
	// name is that of the descriptor in /proc, "" if calls take the descriptor.
	name string
}

// handle returns what the calls go to.
func (f *File) handle() inodeOf {
	if f.data != nil {
		return inodeOf{fd: f.data.fd}
	}
	return inodeOf{int(f.path.Fd()), procName(f.path)}
}

// own gives it its owner if it has another one: without a change there is nothing that
// chown would clear, and a file system would write down that nothing has changed.
func (h inodeOf) own(uid, gid uint32) error {
	var st unix.Stat_t
	if unix.Fstat(h.fd, &st) == nil && st.Uid == uid && st.Gid == gid && st.Mode&(unix.S_ISUID|unix.S_ISGID) == 0 {
		return nil
	}
	return retry(func() error { return unix.Fchownat(h.fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH) })
}

func (h inodeOf) chmod(mode uint32) error {
	if h.name == "" {
		return retry(func() error { return unix.Fchmod(h.fd, mode) })
	}
	return retry(func() error { return unix.Chmod(h.name, mode) })
}

// dropAcls takes away what a new file got from its directory's default list. To look costs
// less than to remove what is not there: that is a change for ext4, which it writes down.
func (h inodeOf) dropAcls(directory bool) error {
	names := []string{"system.posix_acl_access", "system.posix_acl_default"}
	if !directory {
		names = names[:1]
	}
	for _, n := range names {
		if err := h.getxattr(n); errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			continue
		}
		err := h.removexattr(n)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return err
		}
	}
	return nil
}

// getxattr returns no error if there is such an attribute.
func (h inodeOf) getxattr(name string) error {
	return retry(func() (err error) {
		if h.name == "" {
			_, err = unix.Fgetxattr(h.fd, name, nil)
		} else {
			_, err = unix.Getxattr(h.name, name, nil)
		}
		return err
	})
}

func (h inodeOf) removexattr(name string) error {
	if h.name == "" {
		return retry(func() error { return unix.Fremovexattr(h.fd, name) })
	}
	return retry(func() error { return unix.Removexattr(h.name, name) })
}

func (h inodeOf) setxattr(name string, value []byte) error {
	if h.name == "" {
		return retry(func() error { return unix.Fsetxattr(h.fd, name, value, 0) })
	}
	return retry(func() error { return unix.Setxattr(h.name, name, value, 0) })
}

func (h inodeOf) times(atime, mtime, nanoseconds int64) error {
	if h.name != "" {
		return setTimes(h.name, atime, mtime, nanoseconds, false)
	}
	// No path at all means the descriptor itself (utimensat(2)), with which x/sys/unix
	// has no way to call it.
	ts := [2]unix.Timespec{{Sec: atime}, {Sec: mtime, Nsec: nanoseconds}}
	return retry(func() error {
		if _, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(h.fd), 0, uintptr(unsafe.Pointer(&ts[0])), 0, 0, 0); e != 0 {
			return e
		}
		return nil
	})
}

// content is a regular file that was made, open for writing. It is no os.File: that would
// ask the kernel for its flags and try to have it watched, for each file.
type content struct{ fd int }

func (c *content) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// procName names an open file for the calls that take no descriptor. The kernel
// goes straight to the file.
func procName(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
