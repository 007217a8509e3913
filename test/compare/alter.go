// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func regular(e *Entry) bool { return e.Mode&unix.S_IFMT == unix.S_IFREG && e.Size > 1 && e.Group == "" }

func has(name string) func(*Entry) bool {
	return func(e *Entry) bool { _, ok := e.Xattrs[name]; return ok && e.Mode&unix.S_IFMT == unix.S_IFREG }
}

// keepMtime runs an alteration that must not show in the time.
func keepMtime(path string, alter func() error) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if err := alter(); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// remake replaces a name by what make creates, with the owner and times it had.
func remake(path string, create func(st unix.Stat_t) error) error {
	return keepMtime(path, func() error {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		if err := create(st); err != nil {
			return err
		}
		return os.Lchown(path, int(st.Uid), int(st.Gid))
	})
}

// controls are the alterations, one or more for each attribute.
func controls() []control {
	at := func(f func(path string) error) func(root, path string) error {
		return func(root, path string) error { return f(filepath.Join(root, path)) }
	}
	return []control{
		{"a file is missing", regular, at(os.Remove), Missing},
		{"a file is there too much", regular, at(func(p string) error {
			return keepMtime(filepath.Dir(p), func() error { return os.WriteFile(p+"+", nil, 0o600) })
		}), Extra},
		{"one byte of content", regular, at(func(p string) error {
			return keepMtime(p, func() error {
				b, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				f, err := os.OpenFile(p, os.O_WRONLY, 0)
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = f.WriteAt([]byte{b[0] ^ 1}, 0)
				return err
			})
		}), Content},
		{"size, one byte less", regular, at(func(p string) error {
			return keepMtime(p, func() error {
				st, err := os.Stat(p)
				if err != nil {
					return err
				}
				return os.Truncate(p, st.Size()-1)
			})
		}), Size},
		{"a permission bit", regular, at(func(p string) error { return chmodXor(p, 0o040) }), Mode},
		{"the setuid bit", func(e *Entry) bool { return e.Mode&unix.S_ISUID != 0 }, at(func(p string) error { return chmodXor(p, unix.S_ISUID) }), Mode},
		{"the sticky bit of a directory", func(e *Entry) bool { return are(unix.S_IFDIR)(e) && e.Mode&unix.S_ISVTX != 0 }, at(func(p string) error { return chmodXor(p, unix.S_ISVTX) }), Mode},
		{"the owner", regular, at(func(p string) error { return os.Lchown(p, 4242, -1) }), Owner},
		{"the group of a link", are(unix.S_IFLNK), at(func(p string) error { return os.Lchown(p, -1, 4242) }), Group},
		{"mtime of a file, one second", regular, at(later(1, 0)), Mtime},
		{"mtime of a directory", are(unix.S_IFDIR), at(later(-1, 0)), Mtime},
		{"mtime of a link", are(unix.S_IFLNK), at(later(1, 0)), Mtime},
		{"a nanosecond of mtime", regular, at(later(0, 1)), Nanos},
		{"the target of a link", are(unix.S_IFLNK), at(func(p string) error {
			return remake(p, func(unix.Stat_t) error { return os.Symlink("elsewhere", p) })
		}), Link},
		{"the number of a device", are(unix.S_IFCHR), at(func(p string) error {
			return remake(p, func(st unix.Stat_t) error { return unix.Mknod(p, st.Mode, int(st.Rdev)+1) })
		}), Device},
		{"a fifo that became a file", are(unix.S_IFIFO), at(func(p string) error {
			return remake(p, func(unix.Stat_t) error { return os.WriteFile(p, nil, 0o600) })
		}), Type},
		{"a hard link that became a copy", func(e *Entry) bool { return e.Group != "" && e.Group != e.Path && e.Mode&unix.S_IFMT == unix.S_IFREG }, at(func(p string) error {
			return exec.Command("sh", "-c", `cp -a -- "$1" "$1.copy" && mv -- "$1.copy" "$1"`, "sh", p).Run()
		}), HardLink},
		{"the value of an attribute", has("user.comment"), at(func(p string) error { return unix.Lsetxattr(p, "user.comment", []byte("altered"), 0) }), Xattr + " user.comment"},
		{"an attribute too much", regular, at(func(p string) error { return unix.Lsetxattr(p, "user.planted", []byte("x"), 0) }), Xattr + " user.planted"},
		{"a lost access list", has("system.posix_acl_access"), at(func(p string) error { return unix.Lremovexattr(p, "system.posix_acl_access") }), Xattr + " system.posix_acl_access"},
		{"a lost capability", has("security.capability"), at(func(p string) error { return unix.Lremovexattr(p, "security.capability") }), Xattr + " security.capability"},
		{"a lost trusted attribute", func(e *Entry) bool { _, ok := e.Xattrs["trusted.vz7ct"]; return ok }, at(func(p string) error { return unix.Lremovexattr(p, "trusted.vz7ct") }), Xattr + " trusted.vz7ct"},
		{"an attribute of a link", func(e *Entry) bool { return are(unix.S_IFLNK)(e) && len(e.Xattrs) == 0 }, at(func(p string) error { return unix.Lsetxattr(p, "trusted.planted", []byte("x"), 0) }), Xattr + " trusted.planted"},
		{"a flag of a file", regular, at(func(p string) error { return keepMtime(p, func() error { return setFlags(p, noDump) }) }), Flags},
		{"a directory that is immutable", are(unix.S_IFDIR), at(func(p string) error { return setFlags(p, immutable) }), Flags},
		{"the project of a file", regular, at(func(p string) error { return keepMtime(p, func() error { return setProject(p, 4242) }) }), Project},
		{"a hole that was filled", func(e *Entry) bool { return strings.Contains(e.Data, ",") && e.Size > 1<<20 }, at(func(p string) error {
			return keepMtime(p, func() error {
				f, err := os.OpenFile(p, os.O_WRONLY, 0)
				if err != nil {
					return err
				}
				defer f.Close()
				end, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
				if err != nil {
					return err
				}
				_, err = f.WriteAt(make([]byte, block), end)
				return err
			})
		}), Holes},
	}
}

func chmodXor(p string, bits uint32) error {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return err
	}
	return unix.Chmod(p, st.Mode&0o7777^bits)
}

// are finds files of a type, the root excepted.
func are(bits uint32) func(*Entry) bool {
	return func(e *Entry) bool { return e.Mode&unix.S_IFMT == bits && e.Path != "." }
}

// later moves a time.
func later(seconds, nanos int64) func(string) error {
	return func(p string) error {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		st.Mtim.Sec += seconds
		st.Mtim.Nsec = (st.Mtim.Nsec + nanos) % 1e9
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
	}
}

// Flags as chattr sets them (include/uapi/linux/fs.h).
const (
	immutable = 0x10
	noDump    = 0x40
)

// errNowhere is the end of an alteration that the file system has no place for.
var errNowhere = errors.New("the file system of the scratch directory has none")

func setFlags(p string, flags int) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	was, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, was|flags)
	}
	if err == unix.ENOTTY || err == unix.ENOTSUP {
		return fmt.Errorf("flags: %w", errNowhere)
	}
	return err
}

func setProject(p string, id uint32) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	var x fsxattr
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsGetXattr, uintptr(unsafe.Pointer(&x))); errno != 0 {
		return fmt.Errorf("project id: %w", errNowhere)
	}
	x.projid = id
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsSetXattr, uintptr(unsafe.Pointer(&x)))
	if errno == unix.ENOTSUP {
		return fmt.Errorf("project id: %w", errNowhere)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// fsSetXattr is FS_IOC_FSSETXATTR, _IOW('X', 32, struct fsxattr).
const fsSetXattr = 0x401c5820
