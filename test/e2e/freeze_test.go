// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// frozen is a world with a container of three disks, in which a program writes a
// counter to one disk after another.
type frozen struct {
	*world
	// first is the number of a backup's first snapshot among the calls of its tools.
	first int
}

// disks are those of the container, in the order in which its program writes.
var disks = []string{"/", "/data", "/srv"}

// multi_disk=freeze on the freezers that nodes have: the disks that come back are of
// one moment, whatever happens between their snapshots. With multi_disk=skew and
// the same delay between two snapshots, the same judge reports a difference.
func TestMultiDisk(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			if version == "v2" && os.Getenv("VZ7CT_FULL") == "" {
				t.Skip("VZ7CT_FULL is not set; that the kernel freezes by v2 is tested in internal/freezer")
			}
			multiDisk(t, version)
		})
	}
}

func multiDisk(t *testing.T, version string) {
	w := newFrozenWorld(t, version)
	skewed := w.delayed("skew", false)
	w.says(skewed, "the disks were frozen one after another")
	whole := w.delayed("freeze", true)
	w.says(whole, "multi_disk=freeze (", "snapshot {")
	if ms := stoodStill(whole.Log); ms < 1000 || strings.Contains(whole.Log, "one after another") {
		t.Errorf("it stood still for %d ms while a snapshot was held for more than a second:\n%s", ms, whole.Ours())
	}
	plain := w.backup("freeze")
	t.Logf("without a delay it stood still for %d ms", stoodStill(plain.Log))

	w.dies()
	w.diesWithItsGuard()
	w.refusals()

	w.run("prlctl", "stop", "web")
	judge(t, w.world)
	for _, job := range []struct {
		what string
		id   int
		good bool
	}{{"skew with a delay", skewed.ID, false}, {"freeze with a delay", whole.ID, true}, {"freeze", plain.ID, true}} {
		w.run("prlctl", "destroy", "web")
		w.restore(rig.Restore{JobIDs: []int{job.id}, Options: "restore=ct"})
		w.run("prlctl", "mount", "web")
		args := append([]string{rig.Build("lab"), "lockstep", "/vz/root/" + webUUID}, disks...)
		out, err := w.node.Run(args...)
		t.Logf("%s: %s", job.what, strings.TrimSpace(out))
		if strings.Contains(out, "is no counter") || (err == nil) != job.good {
			t.Errorf("%s: %v, %s", job.what, err, out)
		}
		w.run("prlctl", "umount", "web")
	}
}

func newFrozenWorld(t *testing.T, version string) *frozen {
	t.Helper()
	w := &frozen{world: &world{T: t}}
	w.newNode()
	w.set("cgroup="+version, "lockstep=200")
	if s, err := w.node.Status(); err != nil || s.Freezer == "" {
		t.Skipf("this machine has no freezer of cgroup %s (%v)", version, err)
	}
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Disks: []string{"mnt=/data,size=512M", "mnt=/srv,size=512M"}, Tree: smallTree})
	w.start(rig.Config{Jobs: []rig.Job{
		{Name: "skew", Plugin: []string{"name=web"}},
		{Name: "freeze", Plugin: []string{"name=web:multi_disk=freeze"}},
	}})
	w.run("prlctl", "start", "web")
	w.counts(10)
	before := len(w.calls())
	w.backup("skew")
	for n, c := range w.calls()[before:] {
		if slices.Contains(c.Argv, "snapshot") {
			w.first = n + 1
			return w
		}
	}
	t.Fatal("a backup takes no snapshot")
	return nil
}

func (w *frozen) set(pairs ...string) {
	w.Helper()
	out, err := w.node.Lab(append([]string{"set", w.node.Dir}, pairs...)...)
	if err != nil {
		w.Fatalf("lab set: %v %s", err, out)
	}
}

// calls are all calls of prlctl and ploop so far, in their order.
func (w *frozen) calls() (list []struct {
	Argv []string
	Mono int64
}) {
	w.Helper()
	for _, name := range []string{"prlctl", "ploop"} {
		b, err := os.ReadFile(filepath.Join(w.node.Dir, "log", name+".jsonl"))
		w.must(err)
		part := list[len(list):]
		for line := range bytes.Lines(b) {
			part = append(part, struct {
				Argv []string
				Mono int64
			}{})
			w.must(json.Unmarshal(line, &part[len(part)-1]))
		}
		list = append(list, part...)
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Mono < list[j].Mono })
	return list
}

// counter is what the container's program has written to its first disk.
func (w *frozen) counter() int {
	w.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(w.run("cat", "/vz/root/"+webUUID+"/var/lib/workload/lockstep")))
	w.must(err)
	return n
}

// counts waits until the program has counted on by n.
func (w *frozen) counts(n int) {
	w.Helper()
	w.run("sh", "-c", fmt.Sprintf(`f=/vz/root/%s/var/lib/workload/lockstep
		value() { sed 's/^0*//' $f 2>/dev/null || true; }
		from=$(value); from=${from:-0}
		for i in $(seq 600); do now=$(value); [ ${now:-0} -ge $((from + %d)) ] && exit 0; sleep 0.1; done; exit 1`, webUUID, n))
}

// stands reports whether the container stands still.
func (w *frozen) stands() bool {
	w.Helper()
	s, err := w.node.Status()
	w.must(err)
	return len(s.Frozen) > 0
}

// hold begins a job and holds it after its first snapshot. go on lets it go on.
func (w *frozen) hold(job string) (id int, goOn func()) {
	w.Helper()
	paused := filepath.Join(w.node.Dir, "paused")
	w.must(errors.Join(gone(filepath.Join(w.node.Dir, "calls")), gone(paused)))
	w.set(fmt.Sprintf("fault=%d:after:hold", w.first))
	id, err := w.sys.Begin(job)
	w.must(err)
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(paused); err == nil {
			break
		}
		if time.Now().After(end) {
			w.Fatalf("no snapshot is held:\n%s", w.sys.Log(id))
		}
	}
	w.set("fault=")
	calls := w.calls()
	if last := calls[len(calls)-1].Argv; slices.Contains(last, "snapshot") {
		w.Fatalf("a snapshot is logged before it has ended: %q", last)
	}
	return id, func() { w.Helper(); w.must(gone(paused)) }
}

// gone removes a file that may be there.
func gone(name string) error {
	if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// delayed runs a backup that is held for a while between its first snapshot and the
// others. The program counts meanwhile, unless the container stands still.
func (w *frozen) delayed(job string, still bool) rig.Result {
	w.Helper()
	id, goOn := w.hold(job)
	if w.stands() != still {
		w.Errorf("%s: the container stands still: %v, want %v", job, !still, still)
	}
	if still {
		before := w.counter()
		time.Sleep(time.Second) // that nothing happens cannot be awaited
		if after := w.counter(); after != before {
			w.Errorf("%s: the program has counted from %d to %d", job, before, after)
		}
	} else {
		w.counts(20)
	}
	goOn()
	r, err := w.sys.Wait(id)
	w.must(err)
	if !r.OK() {
		w.Fatalf("%s: %s", job, r)
	}
	w.nothingLeft()
	w.counts(5)
	return r
}

var still = regexp.MustCompile(`all processes of the container stood still for (\d+) ms`)

// stoodStill is the time that a job log tells, -1 if it tells none.
func stoodStill(log string) int {
	m := still.FindStringSubmatch(log)
	if m == nil {
		return -1
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// guards are the processes that watch over the node's container.
func (w *frozen) guards() (pids []int) {
	w.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	w.must(err)
	s, err := w.node.Status()
	w.must(err)
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for _, state := range s.Frozen {
			_, group, _ := strings.Cut(state, " ")
			if strings.HasSuffix(string(b), "\x00thaw-guard\x00"+group+"\x00") {
				pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// kill9 kills the File Daemon with all of its process group.
func (w *frozen) kill9() {
	_ = syscall.Kill(-w.sys.Pid(), syscall.SIGKILL)
	w.sys.StopDaemon("fd", syscall.SIGKILL)
}

// dies: a daemon that is killed while the container stands still. The guard lets it
// go on, at once.
func (w *frozen) dies() {
	w.Helper()
	id, goOn := w.hold("freeze")
	if n := len(w.guards()); n != 1 || !w.stands() {
		w.Fatalf("%d guards, the container stands still: %v", n, w.stands())
	}
	begin := time.Now()
	w.kill9()
	for w.stands() {
		if time.Since(begin) > 20*time.Second {
			w.Fatal("the container stands still 20 s after the daemon's death")
		}
	}
	w.Logf("the container goes on %.1f s after the daemon's death, as far as it is seen", time.Since(begin).Seconds())
	w.counts(5)
	w.afterDeath(id, goOn)
}

// diesWithItsGuard: nobody is there to let the container go on until the daemon is
// started again, which does not wait for the snapshot that is still being made.
func (w *frozen) diesWithItsGuard() {
	w.Helper()
	id, goOn := w.hold("freeze")
	guards := w.guards()
	if len(guards) != 1 {
		w.Fatalf("guards %v, want one", guards)
	}
	w.must(syscall.Kill(guards[0], syscall.SIGKILL))
	w.kill9()
	left, err := w.node.Leftovers()
	w.must(err)
	if !slices.ContainsFunc(left, func(l string) bool { return strings.HasPrefix(l, "frozen ") }) {
		w.Errorf("a container that stands still is not among what is left: %q", left)
	}
	if out := w.run("vz7ct", "status"); !strings.Contains(out, "stand still") {
		w.Errorf("vz7ct status does not tell of it:\n%s", out)
	}
	w.must(w.sys.StartDaemon("fd"))
	w.counts(5)
	w.afterDeath(id, goOn)
}

// afterDeath lets the held snapshot end and looks whether the node comes back.
func (w *frozen) afterDeath(id int, goOn func()) {
	w.Helper()
	goOn()
	if w.sys.Running("fd") {
		w.must(w.sys.Cancel(id))
	} else {
		w.must(w.sys.StartDaemon("fd"))
		w.must(w.sys.Cancel(id))
	}
	w.eventuallyNothingLeft(time.Minute)
	if out := w.run("prlctl", "list", "-a", "-H", "-o", "status", "web"); strings.TrimSpace(out) != "running" {
		w.Errorf("container is %q", out)
	}
	w.backup("freeze")
	w.nothingLeft()
}

// refusals: a job that was to have one moment and cannot have it saves nothing.
func (w *frozen) refusals() {
	w.Helper()
	w.run("mount", "--bind", "/dev/null", "/usr/bin/vz7ct")
	w.refused("freeze", "multi_disk=freeze: container web: the command vz7ct", "is not installed: put it to /usr/bin", "with multi_disk=skew")
	w.run("umount", "/usr/bin/vz7ct")

	s, err := w.node.Status()
	w.must(err)
	_, mount, _ := strings.Cut(s.Freezer, " ")
	groups, err := filepath.Glob(filepath.Join(mount, "vz7ct-lab-*", "machine.slice", webUUID))
	w.must(err)
	pid := strings.TrimSpace(w.run("cat", "/run/ve/"+webUUID+".init.pid"))
	for _, g := range groups {
		if b, _ := os.ReadFile(filepath.Join(g, "cgroup.procs")); !slices.Contains(strings.Fields(string(b)), pid) {
			continue // another lab's
		}
		file, frozen, thawed := filepath.Join(g, "freezer.state"), "FROZEN", "THAWED"
		if strings.HasPrefix(s.Freezer, "v2") {
			file, frozen, thawed = filepath.Join(g, "cgroup.freeze"), "1", "0"
		}
		w.must(os.WriteFile(file, []byte(frozen), 0o644))
		r, err := w.sys.Backup("freeze")
		w.must(err)
		if !w.stands() {
			w.Error("a job has let go what somebody else had frozen")
		}
		w.must(os.WriteFile(file, []byte(thawed), 0o644))
		w.failed(r, "already: somebody else has frozen it", "with multi_disk=skew")
		return
	}
	w.Errorf("none of %q has the container's first process", groups)
}

// The guard's time is over before a snapshot has ended: the container goes on, and
// the job does not pretend.
func TestGuardLosesPatience(t *testing.T) {
	if os.Getenv("VZ7CT_FULL") == "" {
		t.Skip("holds a container for a minute: VZ7CT_FULL is not set")
	}
	w := newFrozenWorld(t, "v1")
	id, _ := w.hold("freeze") // for a minute
	begin := time.Now()
	w.counts(1)
	t.Logf("it goes on after %s", time.Since(begin).Round(time.Second))
	r, err := w.sys.Wait(id)
	w.must(err)
	w.failed(r, "it does not stand still any more", "longer than a minute", "with multi_disk=skew")
	w.backup("freeze")
	w.nothingLeft()
}
