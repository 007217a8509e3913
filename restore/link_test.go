// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A further name is made of the file that was saved, never of another one that has the
// first name by now: one that was not selected, or that the replace option keeps.
func TestHardLinkToAnotherFile(t *testing.T) {
	tr, root := tree(t)
	for _, f := range []string{"first", "second"} {
		must(t, os.WriteFile(filepath.Join(root, f), []byte(f), 0o644))
		must(t, os.Chtimes(filepath.Join(root, f), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	}
	link := func(size, mtime int64) error {
		it := file("second")
		it.First, it.Size, it.Mtime = "first", size, mtime
		return put(tr, it, "")
	}
	tr.begun = time.Now().Add(time.Hour) // what is there was there before
	for what, err := range map[string]error{"another length": link(4, 1e9), "another time": link(5, 2e9)} {
		if err == nil || !strings.Contains(err.Error(), "first, which is another file than the one that was saved") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(root, "second")); string(b) != "second" {
		t.Errorf("what was there has become %q, %v", b, err)
	}
	tr.begun = time.Now().Add(-time.Hour) // the restore itself has made it, and could not set its time
	must(t, link(4, 2e9))
	must(t, os.Remove(filepath.Join(root, "second")))
	tr.begun = time.Now().Add(time.Hour)
	must(t, link(5, 1<<40)) // a time that not every file system has
	must(t, os.Remove(filepath.Join(root, "second")))
	must(t, link(5, 1e9)) // it is as it was saved
	a, b := stat(t, filepath.Join(root, "first")), stat(t, filepath.Join(root, "second"))
	if a.Ino != b.Ino {
		t.Error("second is no link to first")
	}
	entries, err := os.ReadDir(root)
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("the tree has %v", entries)
	}
}

// What cannot be linked leaves nothing behind, and takes nothing away.
func TestHardLinkToNothing(t *testing.T) {
	tr, root := tree(t)
	must(t, os.Mkdir(filepath.Join(root, "there"), 0o755))
	for _, name := range []string{"second", "there"} {
		it := file(name)
		it.First = "gone/deep/first"
		if err := put(tr, it, ""); err == nil || !strings.Contains(err.Error(), "restore that one too") {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, closed(tr))
	entries, err := os.ReadDir(root)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "there" {
		t.Errorf("the tree has %v, want the directory that was there", entries)
	}
}
