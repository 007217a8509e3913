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

// mount mounts an image on a loop device of its own, which goes when it is unmounted. The
// device can be written if the image's mode says so.
func mount(image, point, options string, flags uintptr) error {
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	n, err := loopdev.Attach(file, loopdev.Window{ReadOnly: info.Mode()&0o200 == 0})
	if err != nil {
		return fmt.Errorf("loop device for %s: %w", image, err)
	}
	err = unix.Mount(loopdev.Path(n), point, "ext4", flags, options)
	// While it is mounted it stays.
	if e := loopdev.Detach(n); e != nil && err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("mount %s, which is %s, with %q: %w", loopdev.Path(n), image, options, err)
	}
	return nil
}

// mounted mounts an image to be read for as long as the test runs, and returns its root. It
// is taken out of the tree at once: nothing but the descriptor holds it.
func mounted(t testing.TB, image string) string {
	t.Helper()
	asRoot(t)
	point := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mount(image, point, "", unix.MS_RDONLY); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(point, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if e := unix.Unmount(point, unix.MNT_DETACH); e != nil {
		t.Errorf("unmount %s: %v", point, e)
	}
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
	point := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	err := mount(image, point, "data=writeback", unix.MS_NOATIME)
	if errors.Is(err, unix.EINVAL) { // one without a journal does not take the option
		err = mount(image, point, "", unix.MS_NOATIME)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(point, 0); err != nil {
			t.Errorf("unmount %s: %v", point, err)
			_ = unix.Unmount(point, unix.MNT_DETACH)
		}
	}()
	fill(point)
}
