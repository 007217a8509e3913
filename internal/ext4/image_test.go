// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
)

// command runs a tool of e2fsprogs, or mount; its output goes into the error.
func command(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return string(out), nil
}

// missing skips a test where a tool is not there, or fails it where it must be.
func missing(t testing.TB, tools ...string) {
	t.Helper()
	for _, name := range tools {
		if _, err := exec.LookPath(name); err == nil {
			continue
		} else if os.Getenv("VZ7CT_ROOT_TESTS") != "" {
			t.Fatal(err)
		} else {
			t.Skipf("%v: images are made by e2fsprogs", err)
		}
	}
}

// mkfs makes a file system, and returns its image.
func mkfs(t testing.TB, size string, args ...string) string {
	t.Helper()
	missing(t, "mke2fs", "debugfs")
	image := filepath.Join(t.TempDir(), "image")
	if !slices.Contains(args, "-t") {
		args = append([]string{"-t", "ext4"}, args...)
	}
	args = append([]string{"-q", "-F"}, args...)
	if _, err := command("mke2fs", append(args, image, size)...); err != nil {
		t.Fatal(err)
	}
	return image
}

// debugfs changes an image.
func debugfs(t testing.TB, image string, commands ...string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(strings.Join(commands, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command("debugfs", "-w", "-f", script, image)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// openImage opens an image without mounting it.
func openImage(t testing.TB, image string) *FS {
	t.Helper()
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	f, err := Open(file)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return f
}

// asRoot skips a test that mounts, or fails where it must not be skipped.
func asRoot(t testing.TB) {
	t.Helper()
	switch asked := os.Getenv("VZ7CT_ROOT_TESTS") != ""; {
	case !asked:
		t.Skip("needs root and VZ7CT_ROOT_TESTS=1: file systems are mounted")
	case os.Getuid() != 0:
		t.Fatal("VZ7CT_ROOT_TESTS=1 without root")
	}
}

// mount mounts an image on a loop device of its own, which goes when it is unmounted, and
// returns its root. Nothing but this descriptor holds it: it is in no tree, of which others
// may make copies at any moment, that would keep it alive. The device can be written if the
// image's mode says so.
func mount(image, data string, readOnly bool) (fd int, err error) {
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return -1, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return -1, err
	}
	n, err := loopdev.Attach(file, loopdev.Window{ReadOnly: info.Mode()&0o200 == 0})
	if err != nil {
		return -1, fmt.Errorf("loop device for %s: %w", image, err)
	}
	fd, err = detached(loopdev.Path(n), data, readOnly)
	// While it is mounted it stays.
	if e := loopdev.Detach(n); e != nil && err == nil {
		err = e
	}
	if err != nil {
		return -1, fmt.Errorf("mount %s, which is %s, with data=%q: %w", loopdev.Path(n), image, data, err)
	}
	return fd, nil
}

func detached(device, data string, readOnly bool) (int, error) {
	fs, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(fs)
	attr := unix.MOUNT_ATTR_NOATIME
	if err = unix.FsconfigSetString(fs, "source", device); err == nil && data != "" {
		err = unix.FsconfigSetString(fs, "data", data)
	}
	if err == nil && readOnly {
		attr |= unix.MOUNT_ATTR_RDONLY
		err = unix.FsconfigSetFlag(fs, "ro")
	}
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attr)
}

// mounted mounts an image to be read for as long as the test runs, and returns its root.
func mounted(t testing.TB, image string) string {
	t.Helper()
	asRoot(t)
	fd, err := mount(image, "", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
}

// filled mounts an image, lets a function put files into it, and unmounts it. Data are not
// written by the journal's thread (data=ordered): with inline_data Linux 6.18 may begin a
// transaction there, and with a small journal wait for itself without an end.
func filled(t testing.TB, image string, fill func(root string)) {
	t.Helper()
	asRoot(t)
	fd, err := mount(image, "writeback", false)
	if errors.Is(err, unix.EINVAL) { // one without a journal does not take the option
		fd, err = mount(image, "", false)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		// In case somebody holds it longer than this descriptor: then nothing is written later.
		top, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Syncfs(top), unix.Close(top))
		}
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	fill(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd))
}
