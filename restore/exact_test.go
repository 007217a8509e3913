// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/loopfs"
)

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
