// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/walk"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// treeNames are the names of the entries below the disks of a container.
func treeNames(list []saved) (names []string) {
	for _, s := range list {
		if rest, ok := strings.CutPrefix(s.Name, treeRoot+webID+"/"); ok && s.Kind != Object {
			names = append(names, rest)
		}
	}
	return names
}

var bacula = Daemon{Name: "Bacula 9.6.7", AlwaysXattrs: true, Plain: true}

// fullJob runs a backup of level F.
func fullJob(t *testing.T, n *fakeNode, d Daemon) []saved {
	t.Helper()
	j, log := n.job(t, d)
	must(t, j.StartBackup(cmd))
	list, err := save(j)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.all())
	}
	return list
}

// partialJob runs a backup of level I that goes by the one before, in which the daemon
// calls the files changed whose names end in one of the words.
func partialJob(t *testing.T, n *fakeNode, d Daemon, changed ...string) []saved {
	t.Helper()
	j, log := n.job(t, d)
	j.SetLevel('I')
	j.Host.(*counter).previous = j.Name
	j.Host.(*counter).changed = func(e *Entry) bool {
		return slices.ContainsFunc(changed, func(w string) bool { return strings.HasSuffix(e.Name, w) })
	}
	must(t, j.StartBackup(cmd))
	list, err := save(j)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.all())
	}
	return list
}

func TestPartialJobSavesWhatHasChanged(t *testing.T) {
	n := webNode(t)
	all := fullJob(t, n, bareos)
	var tree, rest int
	for _, s := range all {
		if strings.HasPrefix(s.Name, treeRoot) {
			tree++
		} else {
			rest++
		}
	}
	list := partialJob(t, n, bareos)
	if got := treeNames(list); len(got) != 0 {
		t.Errorf("nothing has changed, and saved is %q", got)
	}
	// The manifest of the full job is not sent again, and not gone.
	if len(list) != rest-1 || tree == 0 {
		t.Errorf("a job without changes sends %d entries, want the %d of the configuration less one", len(list), rest)
	}
}

// A group of hard links comes whole or not at all.
func TestPartialJobSavesGroupsWhole(t *testing.T) {
	n := webNode(t)
	dir := n.path("tree-root")
	must(t, os.MkdirAll(filepath.Join(dir, "links/moved"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "links/a"), []byte("one"), 0o600))
	must(t, os.Link(filepath.Join(dir, "links/a"), filepath.Join(dir, "links/b")))
	must(t, os.Link(filepath.Join(dir, "links/a"), filepath.Join(dir, "links/moved/c")))
	must(t, os.WriteFile(filepath.Join(dir, "links/x"), []byte("other"), 0o600))
	must(t, os.Link(filepath.Join(dir, "links/x"), filepath.Join(dir, "links/y")))
	fullJob(t, n, bareos)
	for _, d := range []Daemon{bareos, bacula} {
		got := treeNames(partialJob(t, n, d, "links/moved/c", "links/moved/"))
		slices.Sort(got)
		if want := []string{"links/a", "links/b", "links/moved/", "links/moved/c"}; !slices.Equal(got, want) {
			t.Errorf("%s: saved is %q, want %q", d.Name, got, want)
		}
	}
	list := partialJob(t, n, bacula, "links/b")
	var data int
	for _, s := range list {
		if s.content == "one" {
			data++
		}
		if s.Kind == HardLink && (s.Link == "" || s.LinkIndex == 0) {
			t.Errorf("hard link %s to %q, number %d", s.Name, s.Link, s.LinkIndex)
		}
	}
	if data != 1 {
		t.Errorf("the content came %d times, want once", data)
	}
}

// What the FileSet does not let pass is neither saved nor entered.
func TestFileSetChooses(t *testing.T) {
	n := webNode(t)
	dir := n.path("tree-root")
	must(t, os.MkdirAll(filepath.Join(dir, "srv/cache/deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "srv/cache/deep/x"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "srv/a.log"), nil, 0o600))
	j, _ := n.job(t, bareos)
	var asked []string
	j.Host.(*counter).accepts = func(e *Entry) bool {
		asked = append(asked, e.Name)
		return !strings.HasSuffix(e.Name, ".log") && !strings.HasSuffix(e.Name, "/cache")
	}
	must(t, j.StartBackup(cmd))
	list, err := save(j)
	must(t, err)
	for _, name := range treeNames(list) {
		if strings.HasSuffix(name, ".log") || strings.Contains(name, "cache") {
			t.Errorf("saved: %s", name)
		}
	}
	for _, name := range asked {
		if strings.Contains(name, "deep") || strings.HasSuffix(name, "/") {
			t.Errorf("the daemon was asked about %s", name)
		}
	}
	if len(treeNames(list)) == 0 || len(asked) == 0 {
		t.Errorf("saved %d, asked %d", len(list), len(asked))
	}
}

func TestUnreadPlacesAreKept(t *testing.T) {
	var u unread
	if u.covers("/a") {
		t.Error("nothing was unread, and /a is kept")
	}
	u.add("/t/dir/")
	for name, want := range map[string]bool{"/t/dir": true, "/t/dir/": true, "/t/dir/x/y": true, "/t/dirx": false, "/t": false, "": false} {
		if got := u.covers(name); got != want {
			t.Errorf("covers(%q) = %v", name, got)
		}
	}
	for i := range maxUnread {
		u.add("/" + strings.Repeat("x", i+1))
	}
	if !u.covers("/anything") {
		t.Error("more places than are remembered, and a name is not kept")
	}
	if u.bytes > maxUnreadBytes {
		t.Errorf("%d bytes are remembered", u.bytes)
	}
}

// What is not in a job, though it may be there, is not recorded as deleted; what was never
// in one does not count.
func TestWhatIsKept(t *testing.T) {
	n := webNode(t)
	tree := n.path("tree-root")
	put(t, filepath.Join(tree, "srv/a"), "")
	j, log := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	_, err := save(j)
	must(t, err)
	limits := privateRoot + webID + "/" + quotaFolder + "/disk-" + prlctl.RootDisk + ".txt"
	if !strings.Contains(log.all("warning"), "the quota limits of disk / are not saved") || !j.Keeps(limits) {
		t.Errorf("limits that cannot be read are recorded as deleted\n%s", log.all("warning"))
	}
	b := &backup{job: &Job{}}
	for range maxUnread + 1 {
		_ = b.unread(nil, "/mnt/bareos/x", &walk.Error{Op: "save", Path: "long...", Err: walk.ErrTooLong})
	}
	if len(b.job.unread.places) != 0 || b.job.Keeps("/mnt/bareos/y") {
		t.Error("paths that are too long are taken for unread ones")
	}
}
