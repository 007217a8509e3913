// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// busyDirs are where the container's own programs write all the time.
const busyDirs = "/var/lib/workload,/var/log/workload,/data/workload"

// TestLevels is `make levels`: all kinds of changes happen in a running container
// between jobs of every level, with Accurate and without. Each job must have saved, and
// recorded as deleted, what the daemon's own rule says, to the name, and what the jobs
// have together must be the container. The last line that it prints has the figures.
func TestLevels(t *testing.T) {
	l := &levels{world: &world{T: t}}
	l.newNode()
	l.set("rate=1")
	l.create(rig.Container{Name: "web", UUID: webUUID, Size: "1500M", Disks: []string{"mnt=/data,size=512M"}, Tree: smallTree})
	plugin := []string{"name=web:excluded_backup_paths=" + busyDirs}
	l.start(rig.Config{Jobs: []rig.Job{
		{Name: "plain", Plugin: plugin}, {Name: "accurate", Plugin: plugin, Accurate: true},
		{Name: "letters", Plugin: plugin, Accurate: true, Block: "Accurate = ms"}, {Name: "mtimeonly", Plugin: plugin, Block: "MtimeOnly = yes"},
	}})
	l.run("prlctl", "start", "web")
	l.busy(1)
	l.changes(0)
	plain, accurate := l.chain("plain", false), l.chain("accurate", true)

	plain.full()
	accurate.full()
	l.changes(1)
	plain.estimated("Incremental", plain.after(1))
	accurate.estimated("Incremental", accurate.after(1))
	plain.backup("Incremental", plain.after())
	accurate.backup("Incremental", accurate.after())

	l.changes(2)
	plainSince, accurateSince := plain.since(), accurate.since()
	l.run("prlctl", "stop", "web")
	plain.estimated("Differential", plainSince)
	accurate.estimated("Differential", accurateSince)
	l.run("prlctl", "start", "web")
	accurate.backup("Incremental", accurate.after())

	l.changes(3)
	plain.backup("Incremental", plain.after(3))
	accurate.backup("Incremental", accurate.after(3))
	want := l.live()
	l.judgeInput(accurate)
	l.judgeRestored(want, plain.restored(want), plain)
	l.judgeRestored(want, accurate.restored(want), accurate)
	accurate.beside(want)
	l.options()
	l.forced(plain, accurate)

	fmt.Printf("levels: changes=%d wrong=%d controls=%d/%d\n", len(l.table()), l.wrong, l.reported, l.planted)
	if l.wrong > 0 || l.reported < l.planted || l.planted < 15 || len(l.table()) < 60 {
		t.Error("jobs have not saved what had changed, or too little was judged")
	}
}
