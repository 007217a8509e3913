// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
	"github.com/bareos-contrib/vz7ct/restore"
)

// A directory that does not get its times at the end is one that is not restored exactly:
// a warning of its own, of very many the first ones, and counted.
func TestLateErrorsCount(t *testing.T) {
	for _, n := range []int{1, maxWarnings + 5} {
		j, log, root := begin(t)
		for i := range n + 1 {
			must(t, one(j, Restored{Kind: Directory, Name: fmt.Sprintf("%s%s/d%d/", treeRoot, webID, i), Stat: unix.Stat_t{Mode: unix.S_IFDIR | 0o755}}, ""))
		}
		for i := range n {
			must(t, os.Remove(filepath.Join(root, fmt.Sprintf("d%d", i))))
		}
		j.EndRestore(Good)
		named, words := strings.Count(log.all("warning"), "not restored exactly: /d"), log.all("info", "error")
		if named != min(n, maxWarnings) || !strings.Contains(log.all("warning"), "not restored exactly: /d0: times of directory d0: ") {
			t.Errorf("%d directories: %d are named: %.300s", n, named, log.all("warning"))
		}
		if want := fmt.Sprintf("restored: 1 files, directories and links; %s not restored exactly", map[int]string{1: "1", maxWarnings + 5: "1,005"}[n]); !strings.Contains(words, want) {
			t.Errorf("said %.300s, want %s", words, want)
		}
	}
}

// A file that is not exact for several reasons is one file, with one warning.
func TestOneWarningForAFile(t *testing.T) {
	j, log, _ := begin(t)
	r := &Restored{Name: treeRoot + webID + "/f", Replace: restore.Always,
		Stat: unix.Stat_t{Mode: unix.S_IFREG | 0o600, Size: 10, Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}}
	if answer, err := j.CreateFile(r); answer != Extract || err != nil {
		t.Fatalf("CreateFile = %v, %v", answer, err)
	}
	j.LoseXattr(1<<20, 7)
	j.LoseXattr(5, 1<<20)
	j.SetXattr(chattr.Name, []byte("flags=x"))
	j.EndFile(false)
	j.EndRestore(Good)
	said := log.all("warning")
	if n := strings.Count(said, "not restored exactly: "); n != 1 || !strings.Contains(log.all(), "restored: 0 files, directories and links; 1 not restored exactly") {
		t.Errorf("%d warnings, said %s", n, log.all())
	}
	for _, words := range []string{"a name of 1048576", "a value of 1048576", "0 bytes, 10 were saved", `"flags=x"`} {
		if !strings.Contains(said, words) {
			t.Errorf("said %s, want %q", said, words)
		}
	}
}
