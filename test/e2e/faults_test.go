// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// faults plays jobs that are stopped at every call of ploop and prlctl, before
// and after its work, by the death of the daemon or by a call that fails, and
// looks whether the node comes back.
type faults struct {
	*world
	points, recovered, leftover, lost int
	// controls: how often something was left when nothing had recovered yet, of the
	// points at which something must have been.
	controls, planted int
	// job is the one that was stopped last.
	job int
}

// operation is a job that can be stopped.
type operation struct {
	name string
	// prepare brings the node into the state before it, begin starts it, check
	// looks at the node after it was recovered: what a user expects then.
	prepare func()
	begin   func() int
	check   func()
}

// calls returns how many calls of the tools one undisturbed run makes.
func (f *faults) calls(op operation) int {
	f.Helper()
	op.prepare()
	f.set("0:-:-")
	r, err := f.sys.Wait(op.begin())
	f.must(err)
	if !r.OK() {
		f.Fatalf("%s, undisturbed: %s", op.name, r)
	}
	info, err := os.Stat(filepath.Join(f.node.Dir, "calls"))
	f.must(err)
	f.set("")
	return int(info.Size())
}

// set sets the fault of the next calls.
func (f *faults) set(fault string) {
	f.Helper()
	_ = os.Remove(filepath.Join(f.node.Dir, "calls"))
	out, err := f.node.Lab("set", f.node.Dir, "fault="+fault)
	if err != nil {
		f.Fatalf("lab set: %v %s", err, out)
	}
}

// stopAt brings a job to a call, which stands still then, and kills the daemon
// with all of its process group. It returns the job, and the file that holds the call.
func (f *faults) stopAt(op operation, n int, when string) (id int, paused string) {
	f.Helper()
	op.prepare()
	f.set(fmt.Sprintf("%d:%s:hold", n, when))
	paused = filepath.Join(f.node.Dir, "paused")
	id = op.begin()
	f.job = id
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(paused); err == nil {
			break
		}
		if time.Now().After(end) {
			f.Fatalf("%s does not come to its call %d:\n%s", op.name, n, f.sys.Log(id))
		}
	}
	_ = syscall.Kill(-f.sys.Pid(), syscall.SIGKILL)
	f.sys.StopDaemon("fd", syscall.SIGKILL)
	journal, err := f.node.Must("sh", "-c", "cat /var/lib/vz7ct/journal/*.journal 2>/dev/null || true")
	f.must(err)
	f.control(strings.Contains(journal, `"step"`))
	f.set("")
	return id, paused
}

// kill lets the daemon die while a call stands at a point, which then goes on,
// and starts another one.
func (f *faults) kill(op operation, n int, when string) {
	f.Helper()
	id, paused := f.stopAt(op, n, when)
	f.must(os.Remove(paused))
	f.must(f.sys.StartDaemon("fd"))
	f.must(f.sys.Cancel(id))
}

// power cuts the node's power at a point, and starts the node, the daemon and
// the container again.
func (f *faults) power(op operation, n int, when string) {
	f.Helper()
	id, paused := f.stopAt(op, n, when)
	if out, err := f.node.Lab("crash", f.node.Dir); err != nil {
		f.Fatalf("lab crash: %v %s", err, out)
	}
	_ = os.Remove(paused)
	if out, err := f.node.Lab("up", f.node.Dir); err != nil {
		f.Fatalf("lab up: %v %s", err, out)
	}
	f.must(f.sys.StartDaemon("fd"))
	f.must(f.sys.Cancel(id))
	f.comesBack()
	if op.name != "restore=ct" {
		f.run("prlctl", "start", "web")
	}
}

// comesBack waits until nothing is left on the node.
func (f *faults) comesBack() (left []string) {
	f.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var err error
		left, err = f.node.Leftovers()
		f.must(err)
		if len(left) == 0 {
			break
		}
	}
	return left
}

// control counts whether the check for leftovers reports a node that nobody has
// recovered yet.
func (f *faults) control(planted bool) {
	f.Helper()
	if !planted {
		return
	}
	f.planted++
	left, err := f.node.Leftovers()
	f.must(err)
	if len(left) > 0 {
		f.controls++
	}
}

// fail lets one call fail, before or after it has done its work.
func (f *faults) fail(op operation, n int, when string) {
	f.Helper()
	op.prepare()
	f.set(fmt.Sprintf("%d:%s:fail", n, when))
	f.job = op.begin()
	f.ended(f.job)
	f.set("")
}

// ended waits until the plugin has ended the job, well or not. A Director may
// wait another minute for a daemon that has failed.
func (f *faults) ended(id int) {
	f.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		log := f.sys.Log(id)
		if strings.Contains(log, "Termination:") {
			return
		}
		if strings.Contains(log, "Fatal error: vz7ct: ") {
			if locks, err := f.node.Must("sh", "-c", "ls /var/lib/vz7ct/locks"); err == nil && locks == "" {
				return
			}
		}
	}
	f.Fatalf("job %d has not ended:\n%s", id, f.sys.Log(id))
}

// point plays one fault and judges the node after it.
func (f *faults) point(op operation, n int, when, kind string) {
	f.Helper()
	f.points++
	switch kind {
	case "kill":
		f.kill(op, n, when)
		f.comesBack()
	case "power":
		f.power(op, n, when)
	default:
		// What could not be taken back is the next job's, which check runs.
		f.fail(op, n, when)
	}
	failed := f.Failed()
	if strings.HasPrefix(op.name, "restore") && !rig.IsBareos() {
		// Its Director waits another minute, and Bacula 9.6 mixes up two restores.
		_, err := f.sys.Wait(f.job)
		f.must(err)
	}
	op.check()
	left, err := f.node.Leftovers()
	f.must(err)
	if len(left) > 0 {
		f.leftover++
		f.Errorf("%s, %s %s call %d: left on the node: %s", op.name, kind, when, n, strings.Join(left, "; "))
		return
	}
	if f.Failed() == failed {
		f.recovered++
	}
}

// TestFaults is `make faults`: VZ7CT_FAULTS names the operation, or is all; without
// it the deaths in a backup alone are played.
func TestFaults(t *testing.T) {
	which := os.Getenv("VZ7CT_FAULTS")
	f := &faults{world: newFaultWorld(t)}
	first := f.backup("web")
	for _, op := range f.operations(first.ID) {
		if which == "" && op.name != "backup" || which != "" && which != "all" && which != op.name {
			continue
		}
		calls := f.calls(op)
		t.Logf("%s makes %d calls of ploop and prlctl", op.name, calls)
		for n := 1; n <= calls; n++ {
			for _, when := range []string{"before", "after"} {
				f.point(op, n, when, "kill")
				if which != "" {
					f.point(op, n, when, "fail")
					f.point(op, n, when, "power")
				}
			}
		}
	}
	f.durable()
	t.Logf("faults: points=%d recovered=%d lost=%d leftover=%d skipped=0 controls=%d/%d", f.points, f.recovered, f.lost, f.leftover, f.controls, f.planted)
	if f.recovered != f.points || f.lost+f.leftover > 0 || f.controls != f.planted || f.planted == 0 {
		t.Error("the node has not come back everywhere, or the check does not see it")
	}
}

func newFaultWorld(t *testing.T) *world {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Disks: []string{"mnt=/data,size=512M"}, Tree: smallTree})
	w.start(rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}, {Name: "freeze", Plugin: []string{"name=web:multi_disk=freeze"}}}})
	w.run("prlctl", "start", "web")
	w.busy(20)
	return w
}

// operations are a backup of the running container, its restore, and that of a file.
func (f *faults) operations(job int) []operation {
	running := func() {
		f.Helper()
		if out := strings.TrimSpace(f.run("prlctl", "list", "-a", "-H", "-o", "status", webUUID)); out != "running" {
			f.Errorf("container is %q, want it running all the while", out)
		}
	}
	destroyed := func() {
		f.Helper()
		if out := f.run("prlctl", "list", "-a", "-H", "-o", "status"); strings.TrimSpace(out) != "" {
			// A start that fails in its midst leaves a container mounted.
			switch strings.TrimSpace(out) {
			case "running":
				f.run("prlctl", "stop", "web")
			case "mounted":
				f.run("prlctl", "umount", "web")
			}
			f.run("prlctl", "destroy", "web")
		}
	}
	begin := func(r rig.Restore) func() int {
		r.JobIDs = []int{job}
		return func() int {
			f.Helper()
			id, err := f.sys.BeginRestore(r)
			f.must(err)
			return id
		}
	}
	lost := rig.Restore{JobIDs: []int{job}, Files: []string{"/mnt/bareos/" + webUUID + "/etc/hostname"}, Options: "restore=file"}
	return []operation{
		{"backup", func() {}, func() int {
			id, err := f.sys.Begin("web")
			f.must(err)
			return id
		}, func() {
			running()
			f.recoveredBackup()
		}},
		{"freeze", func() {}, func() int {
			id, err := f.sys.Begin("freeze")
			f.must(err)
			return id
		}, func() {
			running()
			f.recoveredBackup()
		}},
		{"restore=file", func() { f.run("rm", "-f", "/vz/root/"+webUUID+"/etc/hostname") }, begin(lost), func() {
			running()
			f.recoveredBackup()
		}},
		{"restore=ct", destroyed, begin(rig.Restore{Options: "restore=ct:start=yes"}), func() {
			// Nothing is in the way of the next one, unless this one was complete.
			destroyed()
			f.restore(rig.Restore{JobIDs: []int{job}, Options: "restore=ct:start=yes"})
			running()
		}},
	}
}

// recoveredBackup is the backup after a fault: it may tell of what it has taken back.
func (f *faults) recoveredBackup() {
	f.Helper()
	r, err := f.sys.Backup("web")
	f.must(err)
	if !r.OK() && !strings.Contains(r.Termination, "warnings") {
		f.Errorf("the next backup: %s", r)
	}
}

// durable asks the container's programs whether all that they had synced is there.
func (f *faults) durable() {
	f.Helper()
	now, err := f.node.Lab("now")
	f.must(err)
	f.run("prlctl", "stop", "web")
	judge(f.T, f.world)
	f.run("prlctl", "mount", "web")
	defer f.run("prlctl", "umount", "web")
	for _, ledger := range []string{webUUID, webUUID + "@data"} {
		out, err := f.node.Run(rig.Build("lab"), "workload-verify", "--ledger", filepath.Join(f.node.Dir, "ledger", ledger),
			"--before", strings.TrimSpace(now), "/vz/root/"+webUUID)
		var files, missing, wrong int
		if _, scan := fmt.Sscanf(strings.TrimSpace(out), "workload: files=%d missing=%d wrong=%d", &files, &missing, &wrong); scan != nil || files == 0 {
			f.Errorf("workload-verify: %v %s", err, out)
		}
		f.lost += missing + wrong
		f.Logf("%s: %s", ledger, strconv.Quote(strings.TrimSpace(out)))
	}
}
