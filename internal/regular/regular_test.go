// SPDX-License-Identifier: AGPL-3.0-only

package regular

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.WriteFile(path("file"), []byte("content"), 0o600))
	must(t, os.Symlink("file", path("link")))
	must(t, os.Symlink("none", path("dangling")))
	must(t, os.Symlink("circle", path("circle")))
	must(t, unix.Mkfifo(path("fifo"), 0o600))
	must(t, unix.Mknod(path("socket"), unix.S_IFSOCK|0o600, 0))
	must(t, os.Symlink(".", path("way")))
	must(t, os.Symlink("fifo", path("to-fifo")))
	at, err := os.Open(dir)
	must(t, err)
	defer at.Close()
	for _, tt := range []struct {
		name         string
		open, follow error
	}{
		{"file", nil, nil},
		{"way/file", nil, nil},
		{"link", ErrLink, nil},
		{"dangling", ErrLink, os.ErrNotExist},
		{"circle", ErrLink, ErrLink},
		{"fifo", ErrKind, ErrKind},
		{"to-fifo", ErrLink, ErrKind},
		{"socket", ErrKind, ErrKind},
		{".", ErrKind, ErrKind},
		{"none", os.ErrNotExist, os.ErrNotExist},
		{"file/x", unix.ENOTDIR, unix.ENOTDIR},
		{"a\x00b", unix.EINVAL, unix.EINVAL},
		{"/dev/null", ErrKind, ErrKind},
		{"/proc/self/mountinfo", ErrKernel, ErrKernel},
		{"/sys/kernel/vmcoreinfo", ErrKernel, ErrKernel},
	} {
		for how, open := range map[string]func(string) (*os.File, error){
			"Open": Open, "Follow": Follow, "OpenAt": func(p string) (*os.File, error) { return OpenAt(at, tt.name, p) },
		} {
			p := path(tt.name)
			if filepath.IsAbs(tt.name) {
				p = tt.name
			}
			want := tt.open
			if how == "Follow" {
				want = tt.follow
			}
			f, err := open(p)
			if !errors.Is(err, want) || (f == nil) != (want != nil) {
				t.Errorf("%s(%s) = %v, %v, want %v", how, tt.name, f, err, want)
			}
			if err != nil && !strings.Contains(err.Error(), p) {
				t.Errorf("%s(%s) = %v, which does not name it", how, tt.name, err)
			}
			if f == nil {
				continue
			}
			if b, err := Read(f, 7); err != nil || string(b) != "content" || f.Name() != p {
				t.Errorf("Read(%s) = %q, %v", tt.name, b, err)
			}
			f.Close()
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, []byte("1234"), 0o600))
	for limit, want := range map[int64]string{0: "", 3: "", 4: "1234", 1 << 40: "1234"} {
		b, err := ReadFile(path, limit)
		if string(b) != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), path+": is larger than") {
			t.Errorf("ReadFile with limit %d = %q, %v, want %q", limit, b, err, want)
		}
	}
	if _, err := ReadFile(path+"x", 9); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadFile of nothing = %v", err)
	}
}

// A device is not opened to find out what it is: the watch sees every opening.
func TestDeviceIsNotOpened(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a device")
	}
	dir := t.TempDir()
	device, file := filepath.Join(dir, "device"), filepath.Join(dir, "file")
	if err := unix.Mknod(device, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Skipf("no device can be made here: %v", err)
	}
	must(t, os.WriteFile(file, nil, 0o600))
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	defer unix.Close(watch)
	for _, p := range []string{device, file} {
		_, err = unix.InotifyAddWatch(watch, p, unix.IN_OPEN)
		must(t, err)
	}
	opened := func() bool {
		n, err := unix.Read(watch, make([]byte, 4096))
		return err == nil && n > 0
	}
	if _, err := Open(device); !errors.Is(err, ErrKind) || opened() {
		t.Errorf("Open of a device = %v, want ErrKind and no opening", err)
	}
	f, err := Open(file)
	must(t, err)
	f.Close()
	if !opened() {
		t.Error("the watch does not see an opening") // the control
	}
}
