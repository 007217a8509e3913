// SPDX-License-Identifier: AGPL-3.0-only

// Package loopdev makes and removes loop devices for disk files. There is no udev to wait for: device nodes are made where
// the caller's /dev is. It never touches a device whose file it was not told of.
package loopdev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Major is the device number of all loop devices.
const Major = 7

// Window is the part of a file that a device shows.
type Window struct {
	Offset, Size uint64 // bytes; Size 0 = to the end
	ReadOnly     bool
}

// Path is the device node of loop device n.
func Path(n int) string { return "/dev/loop" + strconv.Itoa(n) }

// node makes the device node if /dev lacks it.
func node(n int) error {
	err := unix.Mknod(Path(n), unix.S_IFBLK|0o600, int(unix.Mkdev(Major, uint32(n))))
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// Attach shows a window of f as a new loop device with direct I/O, so that there is one cache only. It returns the
// device's number.
func Attach(f *os.File, w Window) (int, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer ctl.Close() //nolint:errcheck // nothing is written
	flags := uint32(unix.LO_FLAGS_DIRECT_IO)
	if w.ReadOnly {
		flags |= unix.LO_FLAGS_READ_ONLY
	}
	for range 50 { // somebody else may take the free one we were told of
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return 0, fmt.Errorf("find a free loop device: %w", err)
		}
		if err := node(n); err != nil {
			return 0, fmt.Errorf("make %s: %w", Path(n), err)
		}
		err = configure(n, f, w, flags)
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENXIO) {
			continue
		}
		return n, err
	}
	return 0, fmt.Errorf("find a free loop device: %w", unix.EBUSY)
}

func configure(n int, f *os.File, w Window, flags uint32) error {
	mode := os.O_RDWR
	if w.ReadOnly {
		mode = os.O_RDONLY
	}
	dev, err := os.OpenFile(Path(n), mode, 0)
	if err != nil {
		return err
	}
	defer dev.Close() //nolint:errcheck // nothing is written
	c := unix.LoopConfig{Fd: uint32(f.Fd())}
	c.Info.Offset, c.Info.Sizelimit, c.Info.Flags = w.Offset, w.Size, flags
	if err := unix.IoctlLoopConfigure(int(dev.Fd()), &c); err != nil {
		return fmt.Errorf("set up %s: %w", Path(n), err)
	}
	return nil
}

// Resize lets device n show a file that has become larger: all of it, or so many bytes if the device shows a part.
func Resize(n int, size uint64) error {
	dev, err := os.OpenFile(Path(n), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer dev.Close() //nolint:errcheck // nothing is written
	if size > 0 {
		info, err := unix.IoctlLoopGetStatus64(int(dev.Fd()))
		if err != nil {
			return fmt.Errorf("look at %s: %w", Path(n), err)
		}
		info.Sizelimit = size
		if err := unix.IoctlLoopSetStatus64(int(dev.Fd()), info); err != nil {
			return fmt.Errorf("resize %s: %w", Path(n), err)
		}
	}
	if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", Path(n), err)
	}
	return nil
}

// Detach takes device n away. If somebody has it open the kernel does so at the last close. ENXIO is no error: it is away.
func Detach(n int) error {
	if err := node(n); err != nil {
		return err
	}
	dev, err := os.OpenFile(Path(n), os.O_RDONLY, 0)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dev.Close() //nolint:errcheck // nothing is written
	err = unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0)
	if errors.Is(err, unix.ENXIO) {
		return nil
	}
	return err
}

// Gone waits until device n shows nothing any more.
func Gone(n int, wait time.Duration) error {
	end := time.Now().Add(wait)
	for {
		if _, err := os.Stat(fmt.Sprintf("/sys/block/loop%d/loop/backing_file", n)); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("loop%d: %w", n, unix.EBUSY)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Below lists the devices whose file lies in dir. It reads sysfs only, and so never waits for a stuck device.
func Below(dir string) (map[int]string, error) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	m := map[int]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // gone between the two looks
		}
		back := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), " (deleted)")
		if !strings.HasPrefix(back, dir+"/") {
			continue
		}
		n, err := strconv.Atoi(strings.TrimPrefix(strings.Split(f, "/")[3], "loop"))
		if err != nil {
			return nil, fmt.Errorf("name %s: %w", f, err)
		}
		m[n] = back
	}
	return m, nil
}
