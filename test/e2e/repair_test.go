// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// pausedPloop waits until a ploop stands at the point that was set for it, and
// returns its process.
func (w *world) pausedPloop() int {
	w.Helper()
	paused := filepath.Join(w.node.Dir, "paused")
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(paused)
		if pid, _, _ := strings.Cut(string(b), " "); err == nil && pid != "" {
			n, err := strconv.Atoi(pid)
			w.must(err)
			return n
		}
		if time.Now().After(end) {
			w.Fatal("no ploop has come to its point")
		}
	}
}

func (w *world) set(words ...string) {
	w.Helper()
	out, err := w.node.Lab(append([]string{"set", w.node.Dir}, words...)...)
	if err != nil {
		w.Fatalf("lab set: %v %s", err, out)
	}
}

// killMerge kills a ploop in the midst of an offline merge.
func (w *world) killMerge() {
	w.Helper()
	pid := w.pausedPloop()
	w.must(syscall.Kill(pid, syscall.SIGKILL))
	w.set("pause=")
	w.must(os.Remove(filepath.Join(w.node.Dir, "paused")))
}

// The merge of a stopped container's disk is cut off: somebody's, and our own. What
// a snapshot would lose on such a disk (`ploop snapshot` drops the newest image and
// says nothing) is completed first.
func TestMergesThatWereCutOff(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}, {Name: "slow", Slow: true, Plugin: []string{"name=web"}}}})
	dd := descriptor(webUUID, "root.hdd")
	const theirs = "11111111-2222-4333-8444-555555555555"
	change := func() {
		t.Helper()
		w.run("prlctl", "mount", "web")
		// As many files as in waiting.
		w.run("sh", "-c", "mkdir -p /vz/root/"+webUUID+"/var/lib/many && cd /vz/root/"+webUUID+"/var/lib/many && head -c 64M /dev/urandom | split -a 4 -b 64K")
		w.run("prlctl", "umount", "web")
	}
	change()
	w.run("ploop", "snapshot", "-u", theirs, dd)
	change()
	want := w.scan(dd)
	w.set("pause=offline-merge")
	merge := exec.Command(rig.Build("lab"), "exec", w.node.Dir, "--", "ploop", "snapshot-delete", "-u", theirs, dd)
	w.must(merge.Start())
	w.killMerge()
	_ = merge.Wait()

	// What the job meets is what it is about.
	if out := w.run("cat", dd); !strings.Contains(out, "<Temporary") {
		t.Fatalf("the merge was not cut off:\n%s", out)
	}
	r, err := w.sys.Backup("web")
	w.must(err)
	w.says(r, "nobody had it open, and the merge was completed")
	if !r.OK() && !strings.Contains(r.Termination, "warnings") {
		t.Errorf("job has ended with %q:\n%s", r.Termination, r.Log)
	}
	w.nothingLeft()
	w.same(want, w.scan(dd), nil)

	// Our own, at the end of a job, after something was written beside it; vz7ct recover
	// --wait, which the job starts, or the next job completes it.
	id, err := w.sys.Begin("slow")
	w.must(err)
	w.must(w.sys.WaitLog(id, "Cannot find any appendable volumes"))
	w.run("mkdir", "-p", "/run/beside")
	w.run("ploop", "mount", "-m", "/run/beside", dd)
	w.run("sh", "-c", "head -c 20M /dev/urandom > /run/beside/srv/new")
	w.run("ploop", "umount", "-m", "/run/beside")
	want = w.scan(dd)
	w.set("pause=offline-merge")
	w.must(w.sys.Label("V1", 0))
	w.killMerge()
	r, err = w.sys.Wait(id)
	w.must(err)
	w.says(r, "not all could be taken back: merge snapshot: ", "ploop snapshot-delete -u {")
	// Then, or in the background before it.
	r, err = w.sys.Backup("web")
	w.must(err)
	if !r.OK() && !strings.Contains(r.Termination, "warnings") {
		t.Errorf("job has ended with %q:\n%s", r.Termination, r.Log)
	}
	w.nothingLeft()
	w.same(want, w.scan(dd), nil)
	if out, err := w.node.Lab("check", w.node.Dir); err != nil {
		t.Errorf("lab check: %v\n%s", err, out)
	}
}

// The node's journals are lost, or the container has failed over to this node while
// another one had a snapshot of it: the record beside the images tells.
func TestSnapshotWithoutAJournal(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Slow: true, Plugin: []string{"name=web"}}, {Name: "quick", Plugin: []string{"name=web"}}}})
	w.run("prlctl", "start", "web")
	id := w.waiting("web")
	w.sys.StopDaemon("fd", syscall.SIGKILL)
	// The lock that prlctl knows is stale then; a node empties its folder at boot.
	w.run("sh", "-c", "rm -rf /var/lib/vz7ct/journal /var/lib/vz7ct/locks /vz/lock/*.lck")
	left, err := w.node.Leftovers()
	w.must(err)
	if got := strings.Join(left, "\n"); strings.Count(got, "record ") != 2 || strings.Count(got, "snapshot {") != 2 {
		t.Errorf("of a dead job are left:\n%s\nwant two snapshots with their records", got)
	}
	// Not while it may be live elsewhere.
	owner := "/vz/private/" + webUUID + "/.owner"
	was := w.run("cat", owner)
	w.run("sh", "-c", "echo another-node > "+owner)
	w.must(w.sys.StartDaemon("fd"))
	w.must(w.sys.Cancel(id))
	out, err := w.node.Run(rig.Build("vz7ct"), "recover")
	if err != nil {
		t.Errorf("vz7ct recover: %v %s", err, out)
	}
	if snaps, err := w.node.Snapshots(); err != nil || len(snaps) != 2 {
		t.Errorf("snapshots of a container of another node: %v, %v, want both", snaps, err)
	}
	w.must(os.WriteFile(filepath.Join(w.node.Dir, "node/vz/private", webUUID, ".owner"), []byte(was), 0o644))
	w.sys.StopDaemon("fd", syscall.SIGKILL)
	w.must(w.sys.StartDaemon("fd"))
	w.eventuallyNothingLeft(30 * time.Second)
	w.backup("quick")
}
