// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// A step that no job takes is not taken back, whoever has written it into the
// journal: nothing is removed, unmounted or merged, and it is said which.
func TestHostileSteps(t *testing.T) {
	n := webNode(t)
	put(t, n.path("precious"), "content")
	must(t, os.Mkdir(n.path("empty"), 0o700))
	must(t, os.Mkdir(n.path("mnt/m"), 0o700))
	put(t, n.path("mnt/file"), "content")
	must(t, os.Symlink(n.path("empty"), n.path("mnt/link")))
	must(t, os.Symlink(n.path("precious"), n.path("precious.lock")))
	descriptor := filepath.Join(n.place.Private, "root.hdd/DiskDescriptor.xml")
	before := look(t, n.dir)
	for what, s := range map[string]undo.Step{
		"a file":                 {Do: undo.MadeDir, Dir: n.path("precious")},
		"a directory elsewhere":  {Do: undo.MadeDir, Dir: n.path("empty")},
		"no directory":           {Do: undo.MadeDir},
		"the mount directory":    {Do: undo.MadeDir, Dir: n.path("mnt")},
		"further down":           {Do: undo.MadeDir, Dir: n.path("mnt/m/x")},
		"a file among mounts":    {Do: undo.MadeDir, Dir: n.path("mnt/file")},
		"a link among mounts":    {Do: undo.MadeDir, Dir: n.path("mnt/link")},
		"a mount elsewhere":      {Do: undo.Mounted, Dir: n.path("root/" + webID), Descriptor: descriptor, Snapshot: oldID},
		"a mount of no disk":     {Do: undo.Mounted, Dir: n.path("mnt/m"), Snapshot: oldID},
		"no snapshot":            {Do: undo.MadeSnapshot, Descriptor: descriptor},
		"an odd snapshot":        {Do: undo.MadeSnapshot, Descriptor: descriptor, Snapshot: "-A"},
		"a snapshot in capitals": {Do: undo.MadeSnapshot, Descriptor: descriptor, Snapshot: strings.ToUpper(oldID)},
		"a snapshot of no disk":  {Do: undo.MadeSnapshot, Snapshot: oldID},
		"an odd mounted one":     {Do: undo.Mounted, Dir: n.path("mnt/m"), Descriptor: descriptor, Snapshot: "x"},
		"no tree":                {Do: undo.MadeTree, Container: oldID, Mark: "x"},
		"no lock file":           {Do: undo.MadeLink, Dir: n.path("precious")},
		"no lock of ours":        {Do: undo.LockedContainer, Dir: n.path("precious"), Mark: oldID},
		"a lock's odd mark":      {Do: undo.LockedContainer, Dir: n.path("x.lck"), Mark: "../precious"},
		"no control group":       {Do: undo.Frozen, Dir: n.path("empty")},
		"a snapshot of a path":   {Do: undo.MadeSnapshot, Descriptor: descriptor, Snapshot: oldID, Container: "../../x"},
		"no replaced area":       {Do: undo.Replaced, Dir: n.path("precious"), Container: webID, Mark: oldID, State: "running"},
		"of no container":        {Do: undo.Replaced, Dir: n.path("private/" + webID), Container: "../x", Mark: oldID, State: "running"},
		"a mark that is a path":  {Do: undo.Replaced, Dir: n.path("private/" + webID), Container: webID, Mark: "/../../precious", State: "running"},
		"no mark":                {Do: undo.Replaced, Dir: n.path("private/" + webID), Container: webID, State: "running"},
		"an odd state":           {Do: undo.Replaced, Dir: n.path("private/" + webID), Container: webID, Mark: oldID, State: "mounted"},
		"of a later release":     {Do: "format", Dir: n.path("empty")},
	} {
		j, log := n.job(t, bareos)
		n.calls = nil
		if err := j.undo(s); err == nil || !strings.Contains(err.Error(), "step ") && !strings.Contains(err.Error(), "remove mount directory") {
			t.Errorf("%s: undo = %v, want it refused", what, err)
		}
		if len(n.calls) > 0 || log.all() != "" {
			t.Errorf("%s: calls %q, said %s", what, n.calls, log.all())
		}
	}
	// Lock files that are none of ours stay; that is no error.
	j, _ := n.job(t, bareos)
	if err := j.undo(undo.Step{Do: undo.MadeLink, Dir: n.path("precious.lock")}); err != nil {
		t.Error(err)
	}
	for name, was := range before {
		if now := look(t, n.dir)[name]; now != was {
			t.Errorf("%s is %q, before %q", name, now, was)
		}
	}
}

// A tree is removed by its mark, which is a file and not a link to one, and only if
// nothing is mounted in it under whatever name.
func TestMarkIsAFile(t *testing.T) {
	n := webNode(t)
	tree := n.path("private/" + oldID)
	put(t, n.path("mark"), "mine")
	s := undo.Step{Do: undo.MadeTree, Dir: tree, Container: "not registered", Mark: "mine"}
	put(t, tree+"/root.hdd/x", "content")
	for what, plant := range map[string]func(string) error{
		"link":      func(p string) error { return os.Symlink(n.path("mark"), p) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"long":      func(p string) error { return os.WriteFile(p, []byte("mine"+strings.Repeat("\x00", 1<<20)), 0o600) },
	} {
		mark := filepath.Join(tree, markName)
		must(t, os.RemoveAll(mark))
		must(t, plant(mark))
		j, _ := n.job(t, bareos)
		_ = j.undo(s)
		if !exists(tree + "/root.hdd/x") {
			t.Fatalf("%s as a mark: the tree was removed", what)
		}
	}
	must(t, os.RemoveAll(filepath.Join(tree, markName)))
	put(t, filepath.Join(tree, markName), "mine")
	// Whatever a restored tree has of that name is no disk at work.
	must(t, os.MkdirAll(tree+"/a", 0o700))
	must(t, os.Symlink("/dev/null", tree+"/a/DiskDescriptor.xml.lck"))
	must(t, os.MkdirAll(tree+"/b/DiskDescriptor.xml.lck", 0o700))
	j, _ := n.job(t, bareos)
	if err := j.undo(s); err != nil || exists(tree) {
		t.Errorf("undo = %v, the tree is there: %v", err, exists(tree))
	}
}

func TestMountedBelow(t *testing.T) {
	const info = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" +
		`30 22 8:2 / /vz/my\040private/x/root\012hdd rw - ext4 /dev/sdb1 rw` + "\n" +
		`31 22 8:2 / /vz/back\134slash rw - ext4 /dev/sdb1 rw` + "\n30 22\n\nbroken"
	for dir, want := range map[string]string{
		"/vz/my private/x": "/vz/my private/x/root\nhdd", "/vz/my private/x/root\nhdd": "/vz/my private/x/root\nhdd",
		`/vz/back\slash`: `/vz/back\slash`, "/vz/my": "", "/vz/my private/y": "", `/vz/my\040private/x`: "", "/vz/private": "",
	} {
		if got := mountedBelow(info, dir); got != want {
			t.Errorf("mountedBelow(%q) = %q, want %q", dir, got, want)
		}
	}
}

// What a tenant mounts is named on one line, and in bounds.
func FuzzMounts(f *testing.F) {
	f.Add("100 99 0:50 / /srv/nfs\\040share rw - nfs4 server:/ex\\134port rw\n", "/srv")
	f.Add("1 1 0:1 / /\\12 rw - x \\777\\\n1 - - -", "/")
	f.Fuzz(func(t *testing.T, info, dir string) {
		others := otherMounts(info, map[string]bool{"/": true})
		if len(others) > 21 {
			t.Errorf("otherMounts(%q) = %d", info, len(others))
		}
		if at := mountedBelow(info, dir); at != "" && at != dir && !strings.HasPrefix(at, dir+"/") {
			t.Errorf("mountedBelow(%q, %q) = %q", info, dir, at)
		}
		if s := unescape(info); len(s) > len(info) {
			t.Errorf("unescape(%q) = %q", info, s)
		}
	})
}
