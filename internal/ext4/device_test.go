// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is named by the kernel must be the device, whatever lies in /dev.
func TestOpenDevice(t *testing.T) {
	sys, dev := t.TempDir(), t.TempDir()
	uevent := func(number, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(sys, number), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sys, number, "uevent"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	uevent("7:1", "MAJOR=7\nMINOR=1\nDEVNAME=file\nDEVTYPE=disk\n")
	uevent("7:2", "DEVNAME=../../etc/passwd\n")
	uevent("7:3", "MAJOR=7\n")
	uevent("7:4", "DEVNAME=gone\n")
	uevent("7:5", "DEVNAME=fifo\n")
	if err := os.WriteFile(filepath.Join(dev, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dev, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for minor, want := range map[uint32]string{
		1: "is not block device 7:1", 2: "the kernel names it", 3: "the kernel names it", 4: "no such file", 5: "is not block device 7:5", 6: "7:6",
	} {
		_, err := openDevice("/root of it", unix.Mkdev(7, minor), sys, dev)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "/root of it") {
			t.Errorf("device 7:%d: %v, want %q and the root", minor, err, want)
		}
	}
}

// On a tmpfs there is no device.
func TestNoDevice(t *testing.T) {
	if f, err := Device("/proc"); err == nil {
		f.Close()
		t.Error("Device(/proc) found one")
	}
	if f, err := Device(filepath.Join(t.TempDir(), "not there")); err == nil {
		f.Close()
		t.Error("Device of what is not there found one")
	}
}

// The device that is opened is the one that a file system is on.
func TestDevice(t *testing.T) {
	root := mounted(t, mkfs(t, "16M"))
	var st, of unix.Stat_t
	if err := unix.Stat(root, &st); err != nil {
		t.Fatal(err)
	}
	f, err := Device(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fstat(int(f.Fd()), &of); err != nil || of.Rdev != st.Dev {
		t.Errorf("Device = %s, number %#x, want %#x (%v)", f.Name(), of.Rdev, st.Dev, err)
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY {
		t.Errorf("flags %#x, %v, want read-only", flags, err)
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor's flags %#x, %v, want close-on-exec", flags, err)
	}
}
