// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What goes wrong with very many directories is told of some: the list of a tenant's
// directories has no bounds.
func TestErrorsAreBounded(t *testing.T) {
	d, err := newDirectories(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	const n = 5000
	for i := range n {
		if err := d.add(late{fmt.Sprintf("d%d", i), fixed{Directory: i%2 == 0, Atime: int64(i), Mtime: -int64(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	err = d.each(func(e late) error {
		if e.path != fmt.Sprintf("d%d", seen) || e.Directory != (seen%2 == 0) || e.Atime != int64(seen) || e.Mtime != -int64(seen) {
			t.Errorf("directory %d is %+v", seen, e)
		}
		seen++
		return errors.New("bad")
	})
	if got := strings.Count(fmt.Sprint(err), "bad"); seen != n || got != maxErrors || !strings.Contains(err.Error(), fmt.Sprintf("and of %d more directories", n-maxErrors)) {
		t.Errorf("each = %d directories, %d errors: %.100v", seen, got, err)
	}
}

// A tenant may mount any number of file systems: no more than some stay open.
func TestFileSystemsAreBounded(t *testing.T) {
	dir := t.TempDir()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := Open(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.directory("d", false); err != nil {
		t.Fatal(err)
	}
	tree.forget(0)
	for dev := range tree.mounts {
		delete(tree.mounts, dev)
	}
	for n := range uint64(maxMounts) {
		if tree.mounts[1<<50+n], err = os.Open(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tree.directory("d", false); err == nil || !strings.Contains(err.Error(), "64 other file systems") {
		t.Errorf("directory on one more file system = %v", err)
	}
	tree.Abandon()
	root.Close()
}

// A path that is taken stays below the root, whoever reads it.
func FuzzSplit(f *testing.F) {
	for _, p := range []string{"", "a/b", "../x", "a/../../b", "/abs", "a//b", "a/", ".", "a\x00b", "\xff/\n", strings.Repeat("a/", 5000) + "a"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		parts, err := split(p)
		if err != nil {
			if !errors.Is(err, ErrOutside) {
				t.Errorf("split(%q) = %v", p, err)
			}
			return
		}
		at := filepath.Join(append([]string{"/root"}, parts...)...)
		if strings.Join(parts, "/") != p || at != filepath.Clean("/root/"+p) || at != "/root" && !strings.HasPrefix(at, "/root/") {
			t.Errorf("split(%q) = %q", p, parts)
		}
	})
}
