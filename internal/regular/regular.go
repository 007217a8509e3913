// SPDX-License-Identifier: AGPL-3.0-only

// Package regular opens regular files for reading, and nothing else, whatever a
// path that somebody may have chosen or planted leads to. What it is, is looked at
// before it is opened: a watchdog begins to count when its device is opened, a tape
// rewinds when it is closed, a fifo waits.
//
// It writes nothing, and does not judge whose the file is.
package regular

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

var (
	// ErrLink is the reason when the last component is a link that is not followed.
	ErrLink = errors.New("is a symbolic link")
	// ErrKind is the reason for a directory, a device, a fifo or a socket.
	ErrKind = errors.New("is no regular file")
	// ErrKernel is the reason for a file that is none on any disk, such as
	// /proc/kmsg: reading it may wait, or take from another reader.
	ErrKernel = errors.New("is a file of the kernel's own")
)

// Open opens the file at path, and no link in its last component.
func Open(path string) (*os.File, error) { return at(unix.AT_FDCWD, path, path, unix.O_NOFOLLOW) }

// Follow opens the file at path, over a link too.
func Follow(path string) (*os.File, error) { return at(unix.AT_FDCWD, path, path, 0) }

// OpenAt opens name in the open directory dir, and no link. path is for messages.
func OpenAt(dir *os.File, name, path string) (*os.File, error) {
	return at(int(dir.Fd()), name, path, unix.O_NOFOLLOW)
}

// at opens a place first, which does nothing to what is there, and then that very
// file by its descriptor: nobody can exchange it in between.
func at(dir int, name, path string, flags int) (*os.File, error) {
	fail := func(err error) (*os.File, error) { return nil, &os.PathError{Op: "open", Path: path, Err: err} }
	place, err := open(dir, name, unix.O_PATH|flags)
	if errors.Is(err, unix.ELOOP) {
		err = ErrLink
	}
	if err != nil {
		return fail(err)
	}
	defer unix.Close(place)
	if err := judge(place); err != nil {
		return fail(err)
	}
	fd, err := open(unix.AT_FDCWD, procName(place), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return fail(err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func judge(place int) error {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(place, &st) }); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return ErrLink
	default:
		return ErrKind
	}
	// By name: kernels before 3.12 have no fstatfs for a place.
	var fs unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(procName(place), &fs) }); err != nil {
		return err
	}
	switch uint32(fs.Type) {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.CGROUP_SUPER_MAGIC,
		unix.CGROUP2_SUPER_MAGIC, unix.PSTOREFS_MAGIC, unix.EFIVARFS_MAGIC, unix.SELINUX_MAGIC, unix.BPF_FS_MAGIC, unix.DEVPTS_SUPER_MAGIC,
		configfsMagic:
		return ErrKernel
	}
	return nil
}

// configfsMagic is CONFIGFS_MAGIC of the kernel's fs/configfs/mount.c.
const configfsMagic = 0x62656570

// Read reads what is left of an open file, and fails if that is more than limit bytes.
func Read(f *os.File, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("is larger than %d bytes", limit)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// ReadFile is Open and Read. The error names the file.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := Read(f, limit)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

func open(dir int, name string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// procName names an open file for calls that take a path. The kernel goes straight
// to the file.
func procName(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// retry repeats f while a signal interrupts it: the daemons install handlers
// without SA_RESTART.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
