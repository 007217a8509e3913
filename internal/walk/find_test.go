// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFinder(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"a/b/c", "z"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"a/b/c/one", "a/b/c/two", "top"} {
		if err := os.WriteFile(filepath.Join(root, f), []byte(f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"a/b/link": "../../z", "z/out": "/etc"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	f := Finder{Root: root}
	defer f.Close()
	for _, path := range []string{"a/b/c/one", "a/b/c/two", "top", "a/b/c/one"} {
		e, err := f.Entry(path)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := e.Open()
		if err != nil {
			t.Fatalf("open %s: %v", path, err)
		}
		buf := make([]byte, 64)
		n, _ := unix.Read(fd, buf)
		unix.Close(fd)
		if string(buf[:n]) != path || e.Path != path {
			t.Errorf("%s is %q (%s)", path, buf[:n], e.Path)
		}
	}
	if e, err := f.Entry("a/b/link"); err != nil || e.Link != "../../z" {
		t.Errorf("the link is %+v, %v", e, err)
	}
	for _, path := range []string{"", "a", "a/b/c", "z"} {
		e, err := f.Directory(path)
		if err != nil || e.Path != path || e.Stat.Mode&unix.S_IFMT != unix.S_IFDIR {
			t.Errorf("directory %q: %+v, %v", path, e, err)
			continue
		}
		if _, err := e.Xattrs(); err != nil {
			t.Errorf("attributes of %q: %v", path, err)
		}
		if _, err := e.Inode(); err != nil && !errors.Is(err, unix.ENOTTY) {
			t.Errorf("flags of %q: %v", path, err)
		}
	}
	// No link is followed, neither on the way nor at the end.
	for _, path := range []string{"z/out/hostname", "a/b/link/out", "nosuch", "top/x"} {
		if e, err := f.Entry(path); err == nil {
			t.Errorf("%s is found: %+v", path, e)
		}
	}
	if _, err := f.Directory("a/b/link"); err == nil {
		t.Error("a link is taken for a directory")
	}
}
