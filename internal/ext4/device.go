// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Device opens the block device that a mounted directory is on, for reading. The reads go
// through the kernel's cache, which is the one that the mounted file system has for its
// metadata: what one reads the other finds there.
func Device(root string) (*os.File, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Stat(root, &st) }); err != nil {
		return nil, fmt.Errorf("block device of %s: %w", root, err)
	}
	return openDevice(root, st.Dev, "/sys/dev/block", "/dev")
}

// openDevice finds the device of a number by what the kernel calls it (sysfs(5)): the name
// in /dev may be another device's, so what was opened is looked at.
func openDevice(root string, dev uint64, sys, dir string) (*os.File, error) {
	number := fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
	uevent, err := os.ReadFile(filepath.Join(sys, number, "uevent"))
	if err != nil {
		return nil, fmt.Errorf("block device %s of %s: %w", number, root, err)
	}
	var name string
	for line := range strings.Lines(string(uevent)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			name = n
		}
	}
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("block device %s of %s: the kernel names it %q", number, root, name)
	}
	path := filepath.Join(dir, name)
	// A fifo of that name would hold the job, a terminal become its own.
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	var fd int
	err = retry(func() (err error) { fd, err = unix.Open(path, flags, 0); return err })
	if err != nil {
		return nil, fmt.Errorf("open block device %s (%s) of %s: %w", path, number, root, err)
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("look at block device %s (%s) of %s: %w", path, number, root, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || st.Rdev != dev {
		unix.Close(fd)
		return nil, fmt.Errorf("%s is not block device %s of %s: mode %#o, number %d:%d", path, number, root,
			st.Mode, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// retry repeats f while a signal interrupts it: the daemons install handlers without
// SA_RESTART.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
