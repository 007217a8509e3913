// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/exclude"
)

// matchIn looks for a pattern below dir.
func matchIn(t *testing.T, dir, pattern string) (string, error) {
	t.Helper()
	names, err := exclude.Path(pattern)
	must(t, err)
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer root.Close()
	return match(context.Background(), root, names)
}

func TestMatch(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for _, f := range []string{"tmp/backup_blocker", "srv/a/x", "srv/b/nobackup", "srv/.c/secret", "srv/plain", ".hidden/f", "K\xdcBLER/new\nline"} {
		put(t, filepath.Join(dir, f), "")
	}
	put(t, filepath.Join(outside, "found"), "")
	must(t, os.Symlink("/srv/b", filepath.Join(dir, "inside")))
	must(t, os.Symlink(outside, filepath.Join(dir, "planted")))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "broken")))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	for pattern, want := range map[string]string{
		"tmp/backup_blocker": "tmp/backup_blocker", "/tmp/backup_blocker": "tmp/backup_blocker", "tmp": "tmp", "tmp/": "tmp",
		"/tmp/*": "tmp/backup_blocker", "*/backup_?locker": "tmp/backup_blocker", "tmp/other": "", "other/x": "",
		"srv/*/nobackup": "srv/b/nobackup", "srv/*/secret": "", "srv/.*/secret": "srv/.c/secret", "srv/plain/x": "", "srv/*/*/x": "",
		"*/f": "", ".hidden/f": ".hidden/f", "K?BLER/new*": "K\xdcBLER/new\nline",
		// Links count where a process in the container would see them.
		"inside/nobackup": "inside/nobackup", "planted/found": "", "planted": "planted", "broken": "broken", "broken/x": "", "loop/x": "",
		"fifo": "fifo", "fifo/x": "", strings.Repeat("n", 300): "", strings.Repeat("n", 300) + "/x": "",
	} {
		if got, err := matchIn(t, dir, pattern); got != want || err != nil {
			t.Errorf("match(%q) = %q, %v, want %q", pattern, got, err, want)
		}
	}
	if open := openBelow(dir); len(open) > 0 {
		t.Errorf("left open: %q", open)
	}
}

// A pattern over a tenant's directories must not hold the job for ever.
func TestMatchIsBounded(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "first"), "")
	for n := range maxCandidates {
		must(t, os.Link(filepath.Join(dir, "first"), filepath.Join(dir, fmt.Sprint(n))))
	}
	if got, err := matchIn(t, dir, "*/x"); err == nil || !strings.Contains(err.Error(), "more than 10000 directories") {
		t.Errorf("match = %q, %v, want the bound named", got, err)
	}
	if got, err := matchIn(t, dir, "*"); got == "" || err != nil {
		t.Errorf("match(*) = %q, %v, want the first", got, err)
	}
}

// What is left of a blocker's path on a further disk.
func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		pattern, below, want string // want: the rest, "-" is no match
	}{
		{"data/x/y", "", "data/x/y"},
		{"data/x/y", "data", "x/y"},
		{"data/x/y", "data/x", "y"},
		{"data/x", "data/x", "-"}, // the mount point itself is on the disk above
		{"data", "data", "-"},
		{"d*/x", "data", "x"},
		{"*/x", ".vz7ct-disk-1", "-"},
		{"datax/x", "data", "-"},
		{"x/data/y", "data", "-"},
	} {
		names, err := exclude.Path(tt.pattern)
		must(t, err)
		got := "-"
		if rest, ok := within(names, tt.below); ok {
			var parts []string
			for _, n := range rest {
				text, _ := n.Plain()
				parts = append(parts, text)
			}
			got = strings.Join(parts, "/")
		}
		if got != tt.want {
			t.Errorf("within(%s, %s) = %s, want %s", tt.pattern, tt.below, got, tt.want)
		}
	}
}

// A search that is long, in a tenant's directory perhaps, ends with its job.
func TestBlockerSearchIsCancelled(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	n.at = func(c int) {
		if n.calls[c-1] == "mount" {
			j.Cancel()
		}
	}
	if err := j.StartBackup(cmd + ":blocker=*/*/*"); err != ErrStop {
		t.Errorf("StartBackup = %v, want ErrStop", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	root, err := os.Open(n.path("tree-root"))
	must(t, err)
	names, err := exclude.Path("*/*")
	must(t, err)
	if found, err := match(ctx, root, names); !errors.Is(err, context.Canceled) {
		t.Errorf("match of a job that was cancelled = %q, %v", found, err)
	}
	root.Close()
	if left := n.left(t); len(left) > 0 || log.all("fatal") != "" {
		t.Errorf("left behind: %q\n%s", left, log.all())
	}
}
