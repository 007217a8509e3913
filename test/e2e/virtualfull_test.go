// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// After a job that the Director makes of others, which no node has run, those that go by
// it do not ask for a full backup.
func TestVirtualFull(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{
		{Name: "web", Plugin: []string{"name=web"}}, {Name: "accurate", Plugin: []string{"name=web"}, Accurate: true},
	}})
	for _, job := range []string{"web", "accurate"} {
		w.backup(job)
		tick()
		w.backup(job, "level=Incremental")
		tick()
		w.backup(job, "level=VirtualFull")
		for _, level := range []string{"Differential", "Incremental"} {
			tick()
			w.says(w.backup(job, "level="+level), "container web saved:")
		}
		w.run("rm", "-rf", "/var/lib/vz7ct/levels")
		tick()
		w.backup(job, "level=VirtualFull")
		id, err := w.sys.Begin(job, "level=Differential")
		w.must(err)
		r, err := w.sys.Wait(id)
		w.must(err)
		if r.OK() || !strings.Contains(r.Log, "A new full level backup of this job is required.") {
			t.Errorf("nothing is remembered, and the job ends with %q:\n%s", r.Termination, r.Log)
		}
		w.nothingLeft()
	}
}
