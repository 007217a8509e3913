// SPDX-License-Identifier: AGPL-3.0-only

// Package badblock makes a part of a file's content unreadable, as bad blocks of a hard disk do: the image server answers
// EIO from then on for that part of the disk, on every device with the same base image, those of snapshots too. Images stay
// as they are, so a merge is not disturbed. Only data can be hit, not what the file system keeps of its own.
package badblock

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/gpt"
	"github.com/bareos-contrib/vz7ct/test/lab/image"
	"github.com/bareos-contrib/vz7ct/test/lab/node"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// Make makes length bytes of the file at path, from offset on, unreadable. The file lies on a disk that is mounted on the
// node.
func Make(l node.Lab, path string, offset, length int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	at, err := physical(f, offset, length)
	if err != nil {
		return fmt.Errorf("where %s lies: %w", path, err)
	}
	srv := server.Client{Dir: l.Dir}
	dev, err := device(srv, f)
	if err != nil {
		return fmt.Errorf("disk of %s: %w", path, err)
	}
	disk, err := os.Open(l.Below(server.MountName, dev.Name))
	if err != nil {
		return err
	}
	defer disk.Close() //nolint:errcheck // only read
	p, err := gpt.Read(disk)
	if err != nil {
		return err
	}
	return srv.Spoil(dev.Name, int64(p.First)*image.SectorSize+at, length)
}

// Heal makes everything readable again.
func Heal(l node.Lab) error { return server.Client{Dir: l.Dir}.Heal() }

// device finds the disk that holds a file: the one whose partition is the file system's loop device.
func device(srv server.Client, f *os.File) (*server.Device, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	all, err := srv.List()
	if err != nil {
		return nil, err
	}
	const loop = 7 // major number, Documentation/admin-guide/devices.txt
	for i, d := range all {
		if unix.Major(st.Dev) == loop && int(unix.Minor(st.Dev)) == d.Part {
			return &all[i], nil
		}
	}
	return nil, errors.New("it is on no disk of a container")
}

// fiemap is the kernel's struct fiemap with room for one extent (include/uapi/linux/fiemap.h).
type fiemap struct {
	start, length        uint64
	flags, mapped, count uint32
	_                    uint32
	logical, at, size    uint64
	_                    [2]uint64
	extent               uint32
	_                    [3]uint32
}

const (
	fsFiemap   = 0xc020660b // FS_IOC_FIEMAP, _IOWR('f', 11, struct fiemap)
	syncFirst  = 1
	notPlain   = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x800 // unknown, not yet placed, encoded, encrypted, not aligned, inline, unwritten
	extentLast = 0x1
)

// physical returns the place of a part of a file on its file system's device.
func physical(f *os.File, offset, length int64) (int64, error) {
	m := fiemap{start: uint64(offset), length: uint64(length), flags: syncFirst, count: 1}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsFiemap, uintptr(unsafe.Pointer(&m))); errno != 0 {
		return 0, errno
	}
	end := uint64(offset + length)
	if m.mapped != 1 || m.extent&^extentLast&notPlain != 0 || m.logical > uint64(offset) || m.logical+m.size < end {
		return 0, fmt.Errorf("%d bytes at %d are not of one extent", length, offset)
	}
	return int64(m.at + uint64(offset) - m.logical), nil
}
