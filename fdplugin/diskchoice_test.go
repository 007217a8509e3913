// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"slices"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/prlctl"
)

func TestDisksThatAreSaved(t *testing.T) {
	for _, tt := range []struct {
		disks      string
		root, data bool
		refused    string
	}{
		{"root,/data", true, true, ""}, {"root", true, false, ""}, {"/data", false, true, ""}, {"{" + dataID + "}", false, true, ""},
		{"!/data", true, false, ""}, {"!{" + strings.ToUpper(dataID) + "}", true, false, ""}, {"!root", false, true, ""}, {"!/", false, true, ""},
		{"{" + prlctl.RootDisk + "}", true, false, ""},
		{"/scratch", false, false, "disks: it has no disk /scratch; it has root, /data"},
		{"!/scratch", false, false, "it has no disk /scratch; it has root, /data"},
		{"root,{" + oldID + "}", false, false, "it has no disk {" + oldID + "}; it has root, /data"},
		{"!root,!/data", false, false, "all of its disks are left out: /, /data"},
	} {
		n := webNode(t)
		j, log := n.job(t, bareos)
		err := j.StartBackup(cmd + ":disks=" + tt.disks)
		if tt.refused != "" {
			if err == nil || !strings.Contains(log.all("fatal"), tt.refused) || slices.Contains(n.calls, "snapshot") {
				t.Errorf("disks=%s: %v, %s after %q, want %q", tt.disks, err, log.all("fatal"), n.calls, tt.refused)
			}
			continue
		}
		must(t, err)
		list, err := save(j)
		must(t, err)
		names := treeNames(list)
		if slices.Contains(names, "etc/hostname") != tt.root || slices.Contains(names, "data/file") != tt.data || slices.Contains(names, "data/hidden") {
			t.Errorf("disks=%s: saved %q", tt.disks, names)
		}
		// The mount point of a disk that is not saved stays, without what it hides.
		if tt.root && slices.Contains(names, "data/") == false {
			t.Errorf("disks=%s: /data is not saved", tt.disks)
		}
		if said := strings.Contains(log.all("warning"), "disks= leaves out the root disk: restore=ct cannot"); said == tt.root {
			t.Errorf("disks=%s: said that the root disk is left out: %v", tt.disks, said)
		}
		if tt.root && tt.data == strings.Contains(log.all("info"), "disks left out 1 disk: /data (a disk, ") {
			t.Errorf("disks=%s: the job log:\n%s", tt.disks, log.all())
		}
	}
}

// A container cannot be made without its root disk, its files can be restored.
func TestRestoreWithoutTheRootDisk(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	must(t, j.StartBackup(cmd+":disks=/data"))
	list, err := save(j)
	must(t, err)
	on := emptyNode(t)
	k, log := on.job(t, bareos)
	if err := play(k, "vz7ct:name=web:disks=/data", "", list); err == nil || !strings.Contains(log.all("fatal"), "the backup is without the root disk, as the option disks said") {
		t.Errorf("restore=ct of a backup without the root disk: %v\n%s", err, log.all())
	}
	k.Close()
	if slices.Contains(on.calls, "init") {
		t.Errorf("calls %q, want no disk made", on.calls)
	}
	if left := on.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A job that has waited looks at the disks again, and counts them once.
func TestDisksAreCountedOnce(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	b := &backup{job: j, place: n.place, opts: Options{Choice: Choice{Disks: DiskChoice{Names: []string{"root"}}}}}
	for range 2 {
		must(t, b.readDisks())
	}
	if l := b.left.by[byDisks]; l.disks != 1 || len(l.names) != 1 || len(b.volumes) != 1 || len(b.leftDisks) != 1 {
		t.Errorf("left out: %+v, saved %d", l, len(b.volumes))
	}
}
