// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// Everything that must stop a backup before anything is touched: the job fails,
// its log says why and what would be right, no ploop call has changed a disk.
func TestRefusedBeforeAnythingIsTouched(t *testing.T) {
	cases := []struct {
		plugin string
		words  []string
	}{
		{"name=web:blocker2=x", []string{"unknown option blocker2=x", "known are: blocker, defaults_file,"}},
		{"name=web:restore=everything", []string{"option restore=everything", "is none of ct, file", "valid is ct, file, files or dir"}},
		{"name=web:disk=1:disk_size=2", []string{"disk=1 and disk_size=2", "contradict each other"}},
		{"name=web:lockfile=relative", []string{"lockfile=relative", "no absolute path"}},
		{"name=web:blocker=../etc/passwd", []string{"leaves the container"}},
		{"name=web:excluded_backup_paths=/", []string{"means the whole container"}},
		{"name=web:defaults_file=/run/nosuchfile", []string{"defaults_file /run/nosuchfile", "no such file"}},
		{"name=web:justtext", []string{`"justtext" is no key=value`, `a colon inside a value is written \:`}},
		{"blocker=x", []string{"neither name nor uuid is given"}},
		{"name=nosuch", []string{"no such container on this node", "prlctl list -a"}},
		{"name=web:uuid=" + oldUUID, []string{"do not belong together", webUUID}},
		{"uuid=web", []string{"is neither a UUID nor a number"}},
		{"name=web:min_free=99%", []string{"min_free wants", "make room"}},
		{"name=web:lockfile=/run/planted", []string{"symbolic link"}},
		{"name=web:blocker=home/*/block", []string{"blocker=home/*/block", "/home/admin/block", "is not saved while it is there"}},
	}
	var cfg rig.Config
	for n, c := range cases {
		cfg.Jobs = append(cfg.Jobs, rig.Job{Name: fmt.Sprintf("job%d", n), Plugin: []string{c.plugin}})
	}
	w := newWorld(t, cfg)
	w.run("prlctl", "start", "web")
	w.run("touch", "/vz/root/"+webUUID+"/home/admin/block")
	w.run("ln", "-s", "/run/victim", "/run/planted")
	before := w.changes()
	for n, c := range cases {
		w.refused(fmt.Sprintf("job%d", n), c.words...)
	}
	if after := w.changes(); after != before {
		t.Errorf("%d calls of ploop have changed a disk", after-before)
	}
	if out, err := w.node.Run("ls", "/run/victim"); err == nil {
		t.Errorf("a file was made through a planted link: %s", out)
	}
}

// changes counts the ploop calls that change something.
func (w *world) changes() int {
	w.Helper()
	calls, err := w.node.PloopCalls()
	w.must(err)
	n := 0
	for _, c := range calls {
		for _, a := range c.Argv {
			switch a {
			case "snapshot", "tsnapshot", "snapshot-delete", "mount", "umount", "init":
				n++
			}
		}
	}
	return n
}

// A blocker that only the snapshot shows: of a stopped container. And one that a
// planted link seems to show, but that lies outside the container.
func TestBlockerInSnapshotDecides(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{
		{Name: "inside", Plugin: []string{"name=web:blocker=/home/admin/docs/b"}},
		{Name: "data", Plugin: []string{"name=web:blocker=nothere:blocker=data/marker"}},
		{Name: "outside", Plugin: []string{"name=web:blocker=escape/passwd:blocker=escape2/passwd:blocker=*/passwd"}},
	}})
	w.refused("inside", "/home/admin/docs/b")
	w.run("prlctl", "mount", "web")
	w.run("sh", "-c", "cd /vz/root/"+webUUID+" && touch data/marker && ln -s /etc escape && ln -s ../../../../../../etc escape2")
	w.run("prlctl", "umount", "web")
	w.refused("data", "/data/marker")
	w.run("test", "-e", "/etc/passwd")
	w.backup("outside")
	w.nothingLeft()
}

func TestStates(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{
		{Name: "web", Plugin: []string{"uuid={" + strings.ToUpper(webUUID) + "}"}},
		{Name: "old", Plugin: []string{"name=old container"}},
		{Name: "number", Plugin: []string{"uuid=101"}},
	}})
	state := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(w.run("prlctl", "list", "-a", "-H", "-o", "status", webUUID)); got != want {
			t.Fatalf("state %q, want %q", got, want)
		}
	}
	for _, s := range []struct{ command, state string }{{"list", "stopped"}, {"mount", "mounted"}, {"start", "running"}, {"suspend", "suspended"}} {
		if s.command != "list" {
			w.run("prlctl", s.command, webUUID)
		}
		state(s.state)
		r := w.backup("web")
		w.says(r, "of "+s.state+" container taken in")
		w.nothingLeft()
		state(s.state)
	}
	// A container of an older release: a number for an id, and a name with a blank.
	w.create(rig.Container{Name: "old container", UUID: oldUUID, CTID: "101", Size: "1G", Tree: smallTree})
	r := w.backup("old")
	w.says(w.backup("number"), "container old container saved")
	listing, err := w.sys.Listing(r.ID)
	w.must(err)
	if !strings.Contains(listing, "/vz/private/"+oldUUID+"/ve.conf") || strings.Contains(listing, "/101/") {
		t.Error("names of a container with a numeric id are not canonical")
	}
	want := w.scan(descriptor("101", "root.hdd"))
	w.run("prlctl", "destroy", "old container")
	w.restore(rig.Restore{JobIDs: []int{r.ID}})
	w.same(want, w.scan(descriptor("101", "root.hdd")), nil)
}

// A snapshot of the user's own stays, below and beside ours; a disk in a state
// in which ploop would lose data is refused with the commands that repair it.
func TestSnapshotsOfOthers(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	w.run("prlctl", "start", "web")
	w.run("prlctl", "snapshot", "web")
	before, err := w.node.Snapshots()
	w.must(err)
	w.backup("web")
	after, err := w.node.Snapshots()
	w.must(err)
	if len(before) == 0 || strings.Join(before, " ") != strings.Join(after, " ") {
		t.Errorf("snapshots before %v, after %v", before, after)
	}
	// Of a stopped container this is repaired: see TestMergesThatWereCutOff.
	dd := descriptor(webUUID, "root.hdd")
	w.run("sh", "-c", `sed -i '0,/<\/ParentGUID>/s//<\/ParentGUID><Temporary\/>/' `+dd)
	changed := w.changes()
	r, err := w.sys.Backup("web")
	w.must(err)
	if r.OK() {
		t.Errorf("a disk with a temporary snapshot was saved: %s", r.Termination)
	}
	w.says(r, "not safe to snapshot", "marked temporary", "ploop check -d "+dd+" && ploop snapshot-delete -u {")
	if n := w.changes() - changed; n > 0 {
		t.Errorf("%d calls of ploop have changed a disk that is not safe", n)
	}
}
