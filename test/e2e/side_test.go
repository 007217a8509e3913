// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// What others do to a container while it is saved. docs/side-by-side.md is the
// table of it.

const vzLock = "/vz/lock/" + webUUID + ".lck"

// locked checks that Virtuozzo's lock of the container is a backup's.
func (w *world) locked() {
	w.Helper()
	if b, err := w.node.Run("cat", vzLock); err != nil || !strings.Contains(b, "\nBacking up\n") {
		w.Errorf("Virtuozzo's lock of the container: %q, %v", b, err)
	}
}

// mustRefuse runs commands of users that have to be refused since the container is
// locked.
func (w *world) mustRefuse(commands ...string) {
	w.Helper()
	for _, c := range commands {
		out, err := w.node.Run(strings.Fields(c)...)
		if err == nil || !strings.Contains(out, "Cannot lock the Container") {
			w.Errorf("%s while the container is saved: %v %s, want it refused", c, err, out)
		}
	}
}

// within waits for a condition on the node.
func (w *world) within(what, condition string) {
	w.Helper()
	if out, err := w.node.Run("sh", "-c", "for i in $(seq 300); do "+condition+" && exit 0; sleep 0.1; done; exit 1"); err != nil {
		w.Fatalf("not within 30 s: %s\n%s", what, out)
	}
}

// state is prlctl's word for the state of a container.
func (w *world) state(name string) string {
	w.Helper()
	return strings.TrimSpace(w.run("prlctl", "list", "-a", "-H", "-o", "status", name))
}

// goesOn lets a job of the slow storage come to its end. The next one stops again.
func (w *world) goesOn(id int) rig.Result {
	w.Helper()
	volume := fmt.Sprintf("L%d", id)
	w.must(w.sys.Label(volume, 0))
	r, err := w.sys.Wait(id)
	w.must(err)
	_, err = w.sys.Console("update volume=" + volume + " volstatus=Used")
	w.must(err)
	w.must(w.sys.Label(fmt.Sprintf("S%d", id), 1<<20))
	return r
}

// waitingStopped is waiting for a container that does not run.
func (w *world) waitingStopped(job string) int {
	w.Helper()
	w.run("prlctl", "mount", "web")
	w.run("sh", "-c", "mkdir -p /vz/root/"+webUUID+"/var/lib/many && cd /vz/root/"+webUUID+"/var/lib/many && "+
		"head -c 64M /dev/urandom | split -a 4 -b 64K")
	w.run("prlctl", "umount", "web")
	id, err := w.sys.Begin(job)
	w.must(err)
	w.must(w.sys.WaitLog(id, "snapshot mounted in"))
	w.must(w.sys.WaitLog(id, "Cannot find any appendable volumes"))
	return id
}

// While a container is saved, prlctl does nothing to it; other containers are
// saved meanwhile, and a second job on this one waits. A snapshot that a user has
// made before stays.
func TestContainerIsLockedWhileItIsSaved(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{
		{Name: "web", Slow: true, Plugin: []string{"name=web"}}, {Name: "again", Plugin: []string{"name=web"}}, {Name: "other", Plugin: []string{"name=other"}},
	}})
	w.create(rig.Container{Name: "other", UUID: oldUUID, Size: "1G", Tree: smallTree})
	w.run("prlctl", "start", "web")
	made := w.run("prlctl", "snapshot", "web")
	_, id, ok := strings.Cut(made, "with id ")
	users := strings.Fields(id)
	if !ok || len(users) == 0 {
		t.Fatalf("prlctl snapshot: %s", made)
	}
	before, err := w.node.Snapshots()
	w.must(err)
	job := w.waiting("web")
	w.locked()
	w.mustRefuse("prlctl stop web", "prlctl suspend web", "prlctl destroy web", "prlctl snapshot web", "prlctl backup web",
		"prlctl snapshot-delete web -i "+users[0], "prlctl set web --name mail", "prlctl set web --device-set hdd0 --size 1800",
		"prlctl set web --device-add hdd --size 512 --mnt /srv/more")
	second, err := w.sys.Begin("again")
	w.must(err)
	w.must(w.sys.WaitLog(second, "waiting for another job on container "+webUUID))
	w.backup("other")
	w.locked()
	if r := w.goesOn(job); !r.OK() {
		t.Errorf("the job: %s", r)
	}
	if r, err := w.sys.Wait(second); err != nil || !r.OK() {
		t.Errorf("the second job: %v %s", err, r)
	}
	if after, err := w.node.Snapshots(); err != nil || strings.Join(after, " ") != strings.Join(before, " ") || len(after) != 2 {
		t.Errorf("snapshots %v, %v, want the user's %v", after, err, before)
	}
	w.run("prlctl", "snapshot-delete", "web", "-i", users[0])
	w.nothingLeft()

	// prlctl backup is waited for, and named; so is whatever else has the lock.
	theirs := exec.Command(rig.Build("lab"), "exec", w.node.Dir, "--", "prlctl", "backup", "web")
	w.must(theirs.Start())
	defer func() { _ = theirs.Process.Kill(); _ = theirs.Wait() }()
	paused := filepath.Join(w.node.Dir, "paused")
	w.within("prlctl backup is at work", "grep -qs backup "+paused)
	job, err = w.sys.Begin("again")
	w.must(err)
	w.must(w.sys.WaitLog(job, fmt.Sprintf(`held by process %d (prlctl) with status "Backing up"`, theirs.Process.Pid)))
	w.must(os.Remove(paused))
	r, err := w.sys.Wait(job)
	w.must(err)
	w.says(r, "waiting for Virtuozzo's lock of container "+webUUID)
	if !r.OK() {
		t.Errorf("after prlctl backup: %s", r)
	}
	w.nothingLeft()
	if s := w.state("web"); s != "running" {
		t.Errorf("container is %q", s)
	}
	w.run("prlctl", "stop", "web")
	judge(t, w)
}

// A container is started while it is saved: the lock lets that through, and is
// there again after it. What is saved is how it was before.
func TestContainerIsStartedWhileItIsSaved(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Slow: true, Plugin: []string{"name=web"}}}})
	job := w.waitingStopped("web")
	w.locked()
	w.mustRefuse("prlctl mount web", "prlctl destroy web")
	w.run("prlctl", "start", "web")
	w.within("the lock is taken again", "grep -qs 'Backing up' "+vzLock)
	w.mustRefuse("prlctl stop web")
	w.busy(60)
	r := w.goesOn(job)
	w.says(r, "of stopped container taken", "by a start of the container that it has let through: it is taken again")
	if !r.OK() {
		t.Errorf("the job: %s", r)
	}
	w.nothingLeft()
	if s := w.state("web"); s != "running" {
		t.Errorf("container is %q, want running", s)
	}
	w.keptAll()
	// What it has written since is not in the backup, what was there is.
	w.run("prlctl", "destroy", "web")
	w.restore(rig.Restore{JobIDs: []int{r.ID}})
	w.run("prlctl", "mount", "web")
	defer w.run("prlctl", "umount", "web")
	if out := w.run("sh", "-c", "cd /vz/root/"+webUUID+"; ls var/lib/many | wc -l; cat etc/hostname; ls -d workload 2>/dev/null || true"); out != "1024\nweb\n" {
		t.Errorf("restored: %q, want 1024 files, the host name, nothing of what it wrote later", out)
	}
}

// keptAll stops the container web, asks the judges of its disks, and its programs
// whether all that they have synced is there.
func (w *world) keptAll() {
	w.Helper()
	now, err := w.node.Lab("now")
	w.must(err)
	if w.state("web") != "stopped" {
		w.run("prlctl", "stop", "web")
	}
	judge(w.T, w)
	w.run("prlctl", "mount", "web")
	defer w.run("prlctl", "umount", "web")
	for _, ledger := range []string{webUUID, webUUID + "@data"} {
		out, err := w.node.Run(rig.Build("lab"), "workload-verify", "--ledger", filepath.Join(w.node.Dir, "ledger", ledger),
			"--before", strings.TrimSpace(now), "/vz/root/"+webUUID)
		if err != nil || !strings.Contains(out, "missing=0 wrong=0") || strings.Contains(out, "files=0 ") {
			w.Errorf("what was synced: %v %s", err, out)
		}
	}
}

// A container ends while it is saved: from inside, which no lock keeps it from, and
// by a stop that did not ask for the lock (vzctl --skiplock stop).
func TestContainerStopsWhileItIsSaved(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Slow: true, Plugin: []string{"name=web"}}}})
	halt := "kill -9 $(cat /run/ve/" + webUUID + ".init.pid)"
	for _, how := range []struct{ what, command, state string }{
		{"from inside", halt, "mounted"},
		{"without asking", "rm " + vzLock + "; prlctl stop web", "stopped"},
	} {
		w.run("prlctl", "start", "web")
		job := w.waiting("web")
		w.busy(60)
		w.run("sh", "-c", how.command)
		w.within("the container is "+how.state, "prlctl list -a -H -o status web | grep -q "+how.state)
		w.within("the lock is there", "grep -qs 'Backing up' "+vzLock)
		if r := w.goesOn(job); !r.OK() {
			t.Errorf("%s: %s", how.what, r)
		}
		if s := w.state("web"); s != how.state {
			t.Errorf("%s: container is %q, want %q", how.what, s, how.state)
		}
		w.run("prlctl", "stop", "web")
		w.nothingLeft()
		w.keptAll()
	}
}

// A container goes away while it is saved, against the lock: destroyed, or taken
// over by another node. In the second case its images may be in use there: nothing
// of them is touched, until it is back.
func TestContainerGoesAwayWhileItIsSaved(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Slow: true, Plugin: []string{"name=web"}}, {Name: "quick", Plugin: []string{"name=web"}}}})
	want := w.scan(descriptor(webUUID, "disk-1.hdd"))
	job := w.waitingStopped("web")
	w.run("sh", "-c", "rm "+vzLock+"; prlctl destroy web")
	r := w.goesOn(job)
	if !r.OK() {
		t.Errorf("destroyed: %s", r)
	}
	w.nothingLeft()
	w.restore(rig.Restore{JobIDs: []int{r.ID}})
	w.same(want, w.scan(descriptor(webUUID, "disk-1.hdd")), nil)

	job = w.waitingStopped("web")
	private := "/vz/private/" + webUUID
	w.run("sh", "-c", "cp -a "+private+"/.owner /run/owner; cp -a /etc/vz/conf/"+webUUID+".conf /run/conf; cp -a /etc/vz/names/web /run/name; "+
		"echo node2 > "+private+"/.owner; rm /etc/vz/conf/"+webUUID+".conf /etc/vz/names/web")
	changes := w.changes()
	r = w.goesOn(job)
	w.says(r, `belongs to node "node2" by its file .owner`, "by hand, on the node that has the container and on no other: ploop snapshot-delete -u {", "container web saved")
	if strings.Contains(r.Log, "Fatal error") {
		t.Errorf("taken over by another node: %s", r)
	}
	if n := w.changes() - changes; n != 2 {
		t.Errorf("%d calls of ploop have changed something, want two unmounts", n)
	}
	for what, command := range map[string]string{
		"mount": "grep /mnt/bareos/ /proc/self/mountinfo", "device": "ploop list | grep vz7ct-", "directory": "ls -A /mnt/bareos | grep .", "lock": "ls -A /vz/lock | grep .",
	} {
		if out, err := w.node.Run("sh", "-c", command); err == nil {
			t.Errorf("%s left: %s", what, out)
		}
	}
	out, err := w.node.Run(rig.Build("vz7ct"), "recover")
	if err == nil || !strings.Contains(out, "nothing is touched") {
		t.Errorf("vz7ct recover: %v %s", err, out)
	}
	if n := w.changes() - changes; n != 2 {
		t.Errorf("vz7ct recover: %d calls of ploop have changed something", n-2)
	}
	// It comes back.
	w.run("sh", "-c", "cp -a /run/owner "+private+"/.owner; cp -a /run/conf /etc/vz/conf/"+webUUID+".conf; cp -a /run/name /etc/vz/names/web")
	r, err = w.sys.Backup("quick")
	w.must(err)
	w.says(r, "has not ended properly: taking back what it left behind", "container web saved")
	w.eventuallyNothingLeft(10 * time.Second)
	w.same(want, w.scan(descriptor(webUUID, "disk-1.hdd")), nil)
	judge(t, w)
}
