// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/loopfs"
)

// A further name becomes one of what has the first name; if that is not the file that was
// saved, the restore is not exact and says so.
func TestHardLinkOfAnotherFile(t *testing.T) {
	tr, root := tree(t)
	saved := func(size, mtime int64) Item {
		it := file("b")
		it.First, it.Size, it.Mtime = "a", size, mtime
		return it
	}
	for _, tt := range []struct {
		name string
		it   Item
		want string
	}{
		{"the same", saved(3, 1e9), ""},
		{"a time that not every file system has", saved(3, 1<<40), ""},
		{"another length", saved(4, 1e9), "further name of a as that is there now, with 3 bytes of 2001-09-09 01:46:40 UTC; saved were 4 bytes of 2001-09-09 01:46:40 UTC"},
		{"another time", saved(3, 1e9-1), "saved were 3 bytes of 2001-09-09 01:46:39 UTC: restore that one too"},
	} {
		must(t, os.WriteFile(filepath.Join(root, "a"), []byte("abc"), 0o644))
		must(t, os.Chtimes(filepath.Join(root, "a"), time.Unix(1e9, 0), time.Unix(1e9, 0)))
		for range 2 { // the name is new, and is taken
			err := put(tr, tt.it, "")
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
			if stat(t, filepath.Join(root, "b")).Ino != stat(t, filepath.Join(root, "a")).Ino {
				t.Errorf("%s: b is no name of a", tt.name)
			}
		}
		must(t, os.Remove(filepath.Join(root, "b")))
	}
	must(t, os.Remove(filepath.Join(root, "a")))
	must(t, os.Symlink("elsewhere", filepath.Join(root, "a")))
	if err := put(tr, saved(3, 1e9), ""); err == nil || !strings.Contains(err.Error(), "which is no regular file") {
		t.Errorf("a link that was a file: %v", err)
	}
	must(t, closed(tr))
}

// A time that the file system has not becomes the nearest one that it has: not silently.
func TestTimesTheFileSystemHasNot(t *testing.T) {
	tr, _ := treeAt(t, loopfs.OldExt4(t))
	for _, mode := range []uint32{unix.S_IFREG, unix.S_IFLNK, unix.S_IFIFO, unix.S_IFDIR} {
		for sec, bad := range map[int64]bool{-1 << 31: false, -1: false, 1<<31 - 1: false, 1 << 31: true, 1 << 33: true} {
			it := file("f")
			it.Mode, it.Mtime, it.Link = mode|0o600, sec, "x"
			err := put(tr, it, "")
			if (err != nil) != bad || bad && !strings.Contains(err.Error(), "times of f: this file system has not") {
				t.Errorf("mode %o, %d: %v", mode, sec, err)
			}
			must(t, os.Remove(procName(tr.root)+"/f"))
		}
	}
	must(t, tr.Close(func(path string, _ error, _ bool) { t.Log(path) })) // they were removed
}
