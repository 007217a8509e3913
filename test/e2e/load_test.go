// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// TestRandomKills lets the daemon die, or the power go, at random moments, while two
// containers work and are saved. VZ7CT_SEED repeats the moments of a run, as far as
// the machine does.
func TestRandomKills(t *testing.T) {
	kills := 10
	if os.Getenv("VZ7CT_FULL") != "" {
		kills = 100
	}
	seed, err := strconv.ParseUint(os.Getenv("VZ7CT_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d kills, VZ7CT_SEED=%d", kills, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f := newFaults(t, &score{})
	f.create(rig.Container{Name: "other", UUID: oldUUID, Size: "600M", Tree: smallTree})
	f.run("prlctl", "start", "other")
	f.world.set("rate=50")
	f.load(webUUID, 48)
	f.load(oldUUID, 48)
	f.syncNode()
	active := f.activeTime()
	planted := 0
	for n := 1; n <= kills; n++ {
		kind := []string{"kill", "kill", "power"}[random.IntN(3)]
		moment := time.Duration(random.Int64N(int64(active)))
		planted += f.randomKill(kind, moment, random.Uint64N(2)*random.Uint64())
		if n%5 == 0 {
			f.nextBackup()
		}
		for _, l := range f.comesBack() {
			t.Errorf("kill %d (%s, %s after the job had begun to work): left on the node: %s", n, kind, moment, l)
		}
		for _, uuid := range []string{webUUID, oldUUID} {
			if out := strings.TrimSpace(f.run("prlctl", "list", "-a", "-H", "-o", "status", uuid)); out != "running" {
				t.Fatalf("kill %d: container %s is %q", n, uuid, out)
			}
		}
		if n%25 == 0 || n == kills {
			f.durable()
		}
	}
	t.Logf("random kills: kills=%d with_leftovers=%d lost=%d", kills, planted, f.score.lost)
	if planted == 0 {
		t.Error("no kill has left anything: the moments are wrong, and nothing was tested")
	}
}

// load puts data into a running container that a job has to read.
func (w *world) load(uuid string, mib int) {
	w.Helper()
	w.run("sh", "-c", fmt.Sprintf("mkdir -p /vz/root/%[1]s/srv/load && cd /vz/root/%[1]s/srv/load && head -c %[2]dM /dev/urandom | split -a 4 -b 64K", uuid, mib))
}

// both begins a job of each container at the same time.
func (f *faults) both() []int {
	f.Helper()
	var ids []int
	for _, job := range []string{"web", "other"} {
		id, err := f.sys.Begin(job)
		f.must(err)
		ids = append(ids, id)
	}
	return ids
}

// begun waits until one of the jobs has a journal. A Director that has just lost a daemon
// in the midst of two jobs may keep others waiting for longer than a minute.
func (f *faults) begun(ids []int) {
	f.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f.run("sh", "-c", "ls /var/lib/vz7ct/journal 2>/dev/null || true") != "" {
			return
		}
	}
	f.Fatalf("jobs %v do not begin to work", ids)
}

// activeTime runs both jobs undisturbed and returns how long they work on the node.
func (f *faults) activeTime() time.Duration {
	f.Helper()
	ids := f.both()
	f.begun(ids)
	begin := time.Now()
	for _, id := range ids {
		r, err := f.sys.Wait(id)
		f.must(err)
		f.good(r)
	}
	return time.Since(begin)
}

// randomKill begins jobs, kills the daemon at a moment after they have begun to work,
// or cuts the power, and waits until the node has come back. It returns 1 if anything
// was left before.
func (f *faults) randomKill(kind string, moment time.Duration, seed uint64) (planted int) {
	f.Helper()
	ids := f.both()
	f.begun(ids)
	time.Sleep(moment) // a random one: there is nothing to wait for
	if kind == "power" {
		f.lab("crash", f.node.Dir, "--seed", strconv.FormatUint(seed, 10))
	}
	f.sys.StopDaemon("fd", syscall.SIGKILL)
	if kind == "power" {
		f.lab("up", f.node.Dir)
	}
	left, err := f.node.Leftovers()
	f.must(err)
	planted = min(1, len(left))
	f.must(f.sys.StartDaemon("fd"))
	f.comesBack()
	for _, f.job = range ids {
		f.forget()
	}
	if kind == "power" {
		f.run("prlctl", "start", "web")
		f.run("prlctl", "start", "other")
	}
	return planted
}

// crowd is how many containers are saved at the same time, and by how many jobs: two
// of them are of one container.
const crowd = 8

// TestCrowd saves eight containers that work, one of them twice, all at the same time
// and several times over: every backup is good, and the daemon's memory does not grow.
func TestCrowd(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.set("rate=15")
	rounds := 4
	if os.Getenv("VZ7CT_FULL") != "" {
		rounds = 12
	}
	var cfg rig.Config
	want := make([]compare.Tree, crowd)
	for n := range crowd {
		name, uuid := crowdName(n)
		cfg.Jobs = append(cfg.Jobs, rig.Job{Name: name, Plugin: []string{"name=" + name}})
		if n == 0 {
			cfg.Jobs = append(cfg.Jobs, rig.Job{Name: "again", Plugin: []string{"name=" + name}})
		}
		w.create(rig.Container{Name: name, UUID: uuid, Size: "600M", Tree: smallTree})
		w.run("prlctl", "mount", name)
		w.load(uuid, 16)
		w.run("prlctl", "umount", name)
		want[n] = w.scan(descriptor(uuid, "root.hdd"))
		w.run("prlctl", "start", name)
	}
	w.start(cfg)
	var rss []int
	var results []rig.Result
	var before string
	waited := false
	for range rounds {
		now, err := w.node.Lab("now")
		w.must(err)
		before = strings.TrimSpace(now)
		results = w.together(cfg.Jobs)
		waited = waited || strings.Contains(results[0].Log+results[1].Log, "waiting for another job on container")
		w.nothingLeft()
		rss = append(rss, w.residentKiB())
	}
	t.Logf("resident memory of the File Daemon after each round of %d backups, in KiB: %v", len(cfg.Jobs), rss)
	if err := flat(rss); err != nil {
		t.Error(err)
	}
	if !waited {
		t.Errorf("none of two jobs on one container has waited for the other:\n%s\n%s", results[0], results[1])
	}
	w.judgeCrowd(results, want, before)
}

func crowdName(n int) (name, uuid string) {
	return fmt.Sprintf("ct%d", n), fmt.Sprintf("%08d-5231-475f-bc44-5cabf5d8503b", n+1)
}

// together runs jobs at the same time, each to its good end.
func (w *world) together(jobs []rig.Job) []rig.Result {
	w.Helper()
	var ids []int
	for _, j := range jobs {
		id, err := w.sys.Begin(j.Name)
		w.must(err)
		ids = append(ids, id)
	}
	var all []rig.Result
	for _, id := range ids {
		r, err := w.sys.Wait(id)
		w.must(err)
		if !r.OK() {
			w.Errorf("one of many: %s", r)
		}
		all = append(all, r)
	}
	return all
}

// judgeCrowd restores every backup, one after another, and compares: what nobody has
// changed is as it was, and what the container's programs had synced before is there.
func (w *world) judgeCrowd(results []rig.Result, want []compare.Tree, before string) {
	w.Helper()
	for n := range crowd {
		name, _ := crowdName(n)
		w.run("prlctl", "stop", name)
		w.run("prlctl", "destroy", name)
	}
	for i, r := range results {
		n := max(0, i-1) // the first two are of one container
		name, uuid := crowdName(n)
		w.restore(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=ct"})
		got := w.scan(descriptor(uuid, "root.hdd"))
		w.same(want[n], got, worked)
		if len(compare.Diff(want[(n+1)%crowd], got, worked)) == 0 {
			w.Errorf("%s passes for another container: the comparison sees nothing", name)
		}
		w.run("prlctl", "mount", name)
		out, err := w.node.Run(filepath.Join(w.node.Dir, "bin/lab"), "workload-verify", "--ledger", filepath.Join(w.node.Dir, "ledger", uuid),
			"--before", before, "/vz/root/"+uuid)
		if err != nil || !strings.Contains(out, "missing=0 wrong=0") || strings.Contains(out, "files=0 ") {
			w.Errorf("backup %d of %s: what was synced before it began: %v %s", i, name, err, out)
		}
		w.run("prlctl", "umount", name)
		w.run("prlctl", "destroy", name)
	}
}

// worked ignores what a container's programs have made, and that they have made it.
func worked(d compare.Difference) bool {
	for _, dir := range []string{"var/lib", "var/log"} {
		if d.Path == dir && (d.What == compare.Mtime || d.What == compare.Nanos) || strings.HasPrefix(d.Path, dir+"/workload") {
			return true
		}
	}
	return false
}

// residentKiB is the memory that the File Daemon has.
func (w *world) residentKiB() int {
	w.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.sys.Pid()))
	w.must(err)
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	w.must(err)
	return n
}

// slack is how much more memory the daemon may have after the last round than after
// the second: the first fills its pools. In KiB.
const slack = 4 << 10

// flat judges the memory after each of some rounds, in KiB. What grows from round to
// round reaches any bound at last, so the last round counts.
func flat(kib []int) error {
	if len(kib) < 4 {
		return fmt.Errorf("%d rounds say nothing of memory that grows", len(kib))
	}
	if grown := kib[len(kib)-1] - kib[1]; grown > slack {
		return fmt.Errorf("the File Daemon's memory has grown by %d KiB from the second round to the last, %d KiB are allowed: %v", grown, slack, kib)
	}
	return nil
}

// The controls of flat: leaks that it must report, and a daemon that has none.
func TestFlat(t *testing.T) {
	for name, c := range map[string]struct {
		kib []int
		ok  bool
	}{
		"flat":           {[]int{40000, 52000, 52100, 51900, 52200}, true},
		"warming up":     {[]int{20000, 60000, 60500, 60400}, true},
		"leak":           {[]int{40000, 52000, 54500, 57000}, false},
		"leak per round": {[]int{40000, 41000, 42000, 43000, 44000, 45000, 46000}, false},
		"too few rounds": {[]int{40000, 40000}, false},
	} {
		if err := flat(c.kib); (err == nil) != c.ok {
			t.Errorf("%s: flat(%v) = %v, want good %v", name, c.kib, err, c.ok)
		}
	}
}
