// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// TestAlwaysIncremental is Bareos' way to make full backups out of incremental ones.
func TestAlwaysIncremental(t *testing.T) {
	if !rig.IsBareos() {
		t.Skip("Always Incremental jobs are Bareos' own")
	}
	l := &levels{world: &world{T: t}}
	l.newNode()
	l.set("rate=1")
	l.create(rig.Container{Name: "web", UUID: webUUID, Size: "1500M", Disks: []string{"mnt=/data,size=512M"}, Tree: smallTree})
	plugin := []string{"name=web:excluded_backup_paths=" + busyDirs}
	l.start(rig.Config{Jobs: []rig.Job{{Name: "always", Plugin: plugin, Accurate: true, Always: true}, {Name: "virtual", Plugin: plugin, Accurate: true}}})
	l.run("prlctl", "start", "web")
	l.busy(1)
	l.changes(0)
	c := l.chain("always", true)
	c.full()
	l.changes(1)
	c.backup("Incremental", c.after(1))
	l.changes(2)
	c.backup("Incremental", c.after(2))
	then := l.live()
	l.changes(3)
	c.backup("Incremental", c.after(3))

	whole := l.consolidate()
	l.changes(controlMoment)
	r := l.backup("always", "level=Incremental")
	c.judge("Incremental after it", c.files(r), c.after(controlMoment))
	// Of a virtual full backup the File Daemon hears nothing, and the next job goes by it.
	v := l.chain("virtual", true)
	v.full()
	l.changes(controlMoment + 1)
	v.backup("Incremental", v.after(controlMoment+1))
	l.backup("virtual", "level=VirtualFull")
	l.changes(controlMoment + 2)
	v.backup("Incremental", v.after(controlMoment+2))
	c.backup("Incremental", c.after(controlMoment+1, controlMoment+2))
	now := l.live()

	l.run("prlctl", "stop", "web")
	for _, from := range []struct {
		what string
		rig.Restore
		want compare.Tree
	}{
		{"the consolidated job alone", rig.Restore{JobIDs: []int{whole}}, then},
		{"the Director's choice", rig.Restore{FileSet: "always"}, now},
	} {
		l.run("prlctl", "destroy", "web")
		from.Options = "restore=ct"
		l.says(l.restore(from.Restore), "restored and registered", "0 not restored exactly")
		l.run("prlctl", "mount", "web")
		list := misrestored(from.want, l.live(), nil)
		l.run("prlctl", "umount", "web")
		for _, d := range list {
			t.Errorf("restored from %s: %s", from.what, d)
		}
		judge(t, l.world)
	}
}

// consolidate makes one job of all that are there but the newest, and returns it.
func (l *levels) consolidate() int {
	l.Helper()
	tick() // the jobs must be older than a second
	r, err := l.sys.Run("consolidate")
	l.must(err)
	m := regexp.MustCompile(`Job queued. JobId=(\d+)`).FindStringSubmatch(r.Log)
	if m == nil {
		l.Fatalf("nothing was consolidated:\n%s", r.Log)
	}
	id, _ := strconv.Atoi(m[1])
	whole, err := l.sys.Wait(id)
	l.must(err)
	if !whole.OK() {
		l.Fatalf("the consolidated job has ended with %q:\n%s", whole.Termination, whole.Log)
	}
	return id
}
