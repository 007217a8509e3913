// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// What comes at the end is kept in its order, and each is told of once: not for its
// flags if it was for its times, and not as another one if Finish has told of it.
func TestLateErrors(t *testing.T) {
	tr, root := tree(t)
	const n = 5000
	for i := range n {
		must(t, tr.dirs.add(late{fmt.Sprintf("d%d", i), fixed{Directory: i%2 == 0, Atime: int64(i), Mtime: -int64(i), Told: i%5 == 0, Attributes: chattr.Attributes{Flags: chattr.Append}}}))
	}
	at := 0
	must(t, tr.dirs.each(func(i int, e late) {
		if i != at || e.path != fmt.Sprintf("d%d", at) || e.Directory != (at%2 == 0) || e.Atime != int64(at) || e.Mtime != -int64(at) {
			t.Errorf("directory %d is %+v", at, e)
		}
		at++
	}))
	fresh, again := map[string]int{}, map[string]int{}
	must(t, tr.Close(func(path string, err error, before bool) {
		if !strings.Contains(err.Error(), path) || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
		if before {
			again[path]++
		} else {
			fresh[path]++
		}
	}))
	for i := range n {
		path := fmt.Sprintf("d%d", i)
		if want := map[bool]int{true: 0, false: 1}[i%5 == 0]; fresh[path] != want {
			t.Errorf("%s is told of %d times as new, %d times again, in %s", path, fresh[path], again[path], root)
		}
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
