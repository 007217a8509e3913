// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// newFaults puts up a node with a container that works, and makes the backup that
// restores are made from, of the container at rest.
func newFaults(t *testing.T, s *score) *faults {
	t.Helper()
	f := &faults{world: &world{T: t}, score: s}
	f.newNode("--disk", "6144")
	f.world.set("rate=10")
	f.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Disks: []string{"mnt=/data,size=512M"}, Tree: smallTree})
	f.start(rig.Config{Jobs: []rig.Job{
		{Name: "web", Plugin: []string{"name=web"}},
		{Name: "impatient", Plugin: []string{"name=web:tool_wait=3"}},
		{Name: "freeze", Plugin: []string{"name=web:multi_disk=freeze"}},
		{Name: "freeze-impatient", Plugin: []string{"name=web:multi_disk=freeze:tool_wait=3"}},
		{Name: "other", Plugin: []string{"name=other"}},
		{Name: "plain", Files: []string{smallTree + "/etc"}},
	}})
	f.want = map[string]compare.Tree{}
	for _, disk := range []string{"root.hdd", "disk-1.hdd"} {
		f.want[disk] = f.scan(descriptor(webUUID, disk))
	}
	f.base = f.backup("web").ID
	f.run("prlctl", "start", "web")
	f.busy(10)
	f.syncNode()
	return f
}

// operation is a job that can be stopped.
type operation struct {
	name string
	// prepare brings the node into the state before it, begin starts it, with further
	// options of the plugin.
	prepare func(*faults)
	begin   func(f *faults, options string) int
	// rebooted is what is done after a power cut, check looks at the node after it was
	// recovered: what a user expects then. after follows an undisturbed run.
	rebooted, check, after func(*faults)
	// rests: the container does not run while the job does, or is another one then.
	rests bool
}

const lostFile = "/etc/hostname"

// operations are a backup of the running container, its restore, and that of a file into
// it while it runs and while it does not, and that over the running container.
func operations() []operation {
	nothing := func(*faults) {}
	start := func(f *faults) { f.run("prlctl", "start", "web") }
	file := rig.Restore{Files: []string{"/mnt/bareos/" + webUUID + lostFile}, Options: "restore=file"}
	ct := rig.Restore{Options: "restore=ct:start=yes"}
	backup := func(job, impatient string) func(f *faults, options string) int {
		return func(f *faults, options string) int {
			name := job
			if options != "" {
				name = impatient
			}
			id, err := f.sys.Begin(name)
			f.must(err)
			return id
		}
	}
	saved := func(f *faults) {
		f.running()
		f.nextBackup()
	}
	return []operation{
		{"backup", nothing, backup("web", "impatient"), start, saved, nothing, false},
		{"freeze", nothing, backup("freeze", "freeze-impatient"), start, saved, nothing, false},
		{"restore=file", (*faults).loseFile, begin(file), start, func(f *faults) {
			f.running()
			f.loseFile()
			f.again(file)
			if out := f.run("cat", "/vz/root/"+webUUID+lostFile); out != "web\n" {
				f.Errorf("the restored file holds %q", out)
			}
			f.running()
		}, nothing, false},
		{"stopped", func(f *faults) {
			f.loseFile()
			f.run("prlctl", "stop", "web")
		}, begin(file), nothing, func(f *faults) {
			// The start finds nothing in its way, and all that there was.
			f.comesBack()
			f.run("prlctl", "start", "web")
			f.running()
			f.loseFile()
			f.run("prlctl", "stop", "web")
			f.again(file)
			if out := strings.TrimSpace(f.run("prlctl", "list", "-a", "-H", "-o", "status", webUUID)); out != "stopped" {
				f.Errorf("container is %q, want it stopped", out)
			}
			f.run("prlctl", "start", "web")
			if out := f.run("cat", "/vz/root/"+webUUID+lostFile); out != "web\n" {
				f.Errorf("the restored file holds %q", out)
			}
			f.nextBackup()
		}, start, true},
		{"restore=ct", (*faults).destroy, begin(ct), nothing, func(f *faults) {
			// Nothing is in the way of the next one, unless this one was complete.
			f.destroy()
			f.again(rig.Restore{Options: "restore=ct"})
			for disk, want := range f.want {
				f.same(want, f.scan(descriptor(webUUID, disk)), mountPoint)
			}
			f.run("prlctl", "start", "web")
			f.running()
			f.nextBackup()
		}, nothing, true},
		{"replace", (*faults).markOld, begin(rig.Restore{Options: "restore=ct:replace_ct=yes"}), (*faults).startAgain, (*faults).oldOrNew, func(f *faults) {
			f.running()
			if f.isOld() {
				f.Error("undisturbed, the container was not replaced")
			}
			f.newLedger()
		}, true},
	}
}

// begin returns a function that begins a restore.
func begin(r rig.Restore) func(*faults, string) int {
	return func(f *faults, options string) int {
		f.Helper()
		r := r
		r.JobIDs = []int{f.base}
		if options != "" {
			r.Options += ":" + options
		}
		id, err := f.sys.BeginRestore(r)
		f.must(err)
		return id
	}
}

// again restores once more, undisturbed.
func (f *faults) again(r rig.Restore) {
	f.Helper()
	r.JobIDs = []int{f.base}
	res, err := f.sys.Restore(r)
	f.must(err)
	f.good(res)
}

// nextBackup is the backup after a fault.
func (f *faults) nextBackup() {
	f.Helper()
	r, err := f.sys.Backup("web")
	f.must(err)
	f.good(r)
}

// good accepts warnings: the job after a fault may tell of what it has taken back.
func (f *faults) good(r rig.Result) {
	f.Helper()
	if !r.OK() && !strings.Contains(r.Termination, "warnings") {
		f.Errorf("the next job: %s", r)
	}
}

// running checks that the container was running all the while: its programs are
// those that were started.
func (f *faults) running() {
	f.Helper()
	if out := strings.TrimSpace(f.run("prlctl", "list", "-a", "-H", "-o", "status", webUUID)); out != "running" {
		f.Errorf("container is %q, want it running all the while", out)
	}
}

func (f *faults) loseFile() { f.run("rm", "-f", "/vz/root/"+webUUID+lostFile) }

// destroy takes the container away, in whatever state it is, and the ledger of what
// its programs have written, which begins anew with the next one.
func (f *faults) destroy() {
	f.Helper()
	if out := strings.TrimSpace(f.run("prlctl", "list", "-a", "-H", "-o", "status")); out != "" {
		// A start that fails in its midst leaves a container mounted.
		switch out {
		case "running":
			f.run("prlctl", "stop", "web")
		case "mounted":
			f.run("prlctl", "umount", "web")
		}
		f.run("prlctl", "destroy", "web")
	}
	f.run("sh", "-c", "rm -f "+f.node.Dir+"/ledger/*")
}

// durable asks the judges who know nothing of the plugin about the disks, and the
// containers' programs whether all that they had synced is there.
func (f *faults) durable() {
	f.Helper()
	now, err := f.node.Lab("now")
	f.must(err)
	uuids := strings.Fields(f.run("prlctl", "list", "-a", "-H", "-o", "uuid"))
	for _, uuid := range uuids {
		f.run("prlctl", "stop", uuid)
	}
	s, err := f.node.Status()
	f.must(err)
	if n := len(s.Mounts) + len(s.Loops) + len(s.Devices) + len(s.Leftovers) + len(s.Locks) + len(s.Flocks); n > 0 {
		f.Errorf("where no container runs there are left: %+v", s)
	}
	judge(f.T, f.world)
	for _, uuid := range uuids {
		f.run("prlctl", "mount", uuid)
		f.verify(strings.Trim(uuid, "{}"), strings.TrimSpace(now))
		f.run("prlctl", "umount", uuid)
		f.run("prlctl", "start", uuid)
	}
	f.busy(10)
}

// verify compares a mounted container with the ledgers of its disks.
func (f *faults) verify(uuid, before string) {
	f.Helper()
	ledgers, err := filepath.Glob(filepath.Join(f.node.Dir, "ledger", uuid+"*"))
	f.must(err)
	if len(ledgers) == 0 {
		f.Errorf("container %s has no ledger", uuid)
	}
	for _, ledger := range ledgers {
		out, err := f.node.Run(filepath.Join(f.node.Dir, "bin/lab"), "workload-verify", "--ledger", ledger, "--before", before, "/vz/root/"+uuid)
		var files, missing, wrong int
		at := max(0, strings.Index(out, "workload: "))
		if _, scan := fmt.Sscanf(out[at:], "workload: files=%d missing=%d wrong=%d", &files, &missing, &wrong); scan != nil || files == 0 {
			f.Errorf("workload-verify: %v %s", err, out)
			continue
		}
		if missing+wrong > 0 {
			f.score.loses(missing + wrong)
			f.Errorf("%s: %s", ledger, out)
		}
	}
}
