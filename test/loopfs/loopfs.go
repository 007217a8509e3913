// SPDX-License-Identifier: AGPL-3.0-only

// Package loopfs gives a test a small file system of its own, with what a tmpfs does not
// have: inode flags and project ids.
package loopfs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Ext4 returns the root of a new ext4 with flags.
func Ext4(t testing.TB) string {
	t.Helper()
	return open(t, func(image, point string) error {
		return first(makeExt4(image, "^project,^quota"), mount("ext4", "loop", image, point))
	})
}

// OldExt4 returns the root of a new ext4 with small inodes, which have no room for times
// beyond 2038 and for fractions of a second.
func OldExt4(t testing.TB) string {
	t.Helper()
	return open(t, func(image, point string) error {
		return first(run("mke2fs", "-q", "-F", "-t", "ext4", "-I", "128", "-O", "^project,^quota", image, "16M"), mount("ext4", "loop", image, point))
	})
}

// Projects returns the root of a new file system with flags and project ids: an ext4, or
// an XFS where the kernel writes to no such ext4 (it needs CONFIG_QFMT_V2).
func Projects(t testing.TB) string {
	t.Helper()
	return open(t, func(image, point string) error {
		err := first(makeExt4(image, "project,quota"), mount("ext4", "loop", image, point))
		if err == nil {
			return nil
		}
		if err2 := first(makeXFS(image), mount("xfs", "loop", image, point)); err2 != nil {
			return fmt.Errorf("%w; %w", err, err2)
		}
		return nil
	})
}

// Saved returns the root of an ext4 that can only be read, as a snapshot is, after the
// commands for debugfs. Every kernel mounts it so, projects or not.
func Saved(t testing.TB, commands ...string) string {
	t.Helper()
	return open(t, func(image, point string) error {
		script := image + ".debugfs"
		text := ""
		for _, c := range commands {
			text += c + "\n"
		}
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			return err
		}
		return first(makeExt4(image, "project"), run("debugfs", "-w", "-f", script, image), mount("ext4", "loop,ro", image, point))
	})
}

// open unmounts what was mounted as soon as it is open: it lives by that descriptor alone,
// so that nothing of it is left, whatever becomes of the test.
func open(t testing.TB, make func(image, point string) error) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a file system")
	}
	dir := t.TempDir()
	point := filepath.Join(dir, "mnt")
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := make(filepath.Join(dir, "image"), point); err != nil {
		t.Skipf("no file system to test on: %v", err)
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

// step is one command; first runs them until one fails.
type step func() error

func first(steps ...step) error {
	for _, s := range steps {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}

func makeExt4(image, features string) step {
	return run("mke2fs", "-q", "-F", "-t", "ext4", "-I", "256", "-O", features, image, "16M")
}

// makeXFS makes the smallest one that mkfs.xfs makes; the file is sparse.
func makeXFS(image string) step {
	return func() error {
		if err := os.Remove(image); err != nil && !os.IsNotExist(err) {
			return err
		}
		return run("mkfs.xfs", "-q", "-f", "-d", "file,name="+image+",size=300m")()
	}
}

func mount(kind, options, image, point string) step {
	return run("mount", "-t", kind, "-o", options, image, point)
}

func run(name string, args ...string) step {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
		}
		return nil
	}
}
