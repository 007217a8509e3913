// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// faults is a node with a hard disk of its own and a container that works, on which
// jobs are stopped in all ways.
type faults struct {
	*world
	score *score
	// base is the backup that restores are made from, want what its disks hold.
	base int
	want map[string]compare.Tree
	// job is the one that was stopped last.
	job int
}

// on returns the same node for another test.
func (f *faults) on(t *testing.T) *faults {
	w := *f.world
	w.T = t
	g := *f
	g.world = &w
	return &g
}

// set sets the fault of the next calls.
func (f *faults) set(fault string) {
	f.Helper()
	for _, list := range []string{"calls", "journal-steps", "points", "paused"} {
		_ = os.Remove(filepath.Join(f.node.Dir, list))
	}
	f.world.set("fault=" + fault)
}

// play plays one fault and judges the node after it.
func (f *faults) play(p point) {
	f.Helper()
	left := false
	defer func() { f.score.played(p, !f.Failed(), left) }()
	begin := time.Now()
	p.op.prepare(f)
	// What was done until now shall not be what a power cut undoes.
	f.syncNode()
	init := f.initOf()
	switch p.kind {
	case "kill", "group":
		f.kill(p)
	case "power":
		f.power(p)
	case "hang":
		f.hang(p)
	case "fail":
		f.spoil(p, "fail")
	case "die":
		f.spoil(p, "die")
	case "full system":
		f.spoil(p, "full-system")
	case "full /vz":
		f.spoil(p, "full-vz")
	default:
		f.Fatalf("no kind of fault %q", p.kind)
	}
	struck := time.Since(begin)
	if !p.op.rests && p.kind != "power" && (init == "" || f.initOf() != init) {
		f.Errorf("%s: the container was not running all the while: its init was %s, is %s", p, init, f.initOf())
	}
	p.op.check(f)
	f.set("")
	for _, l := range f.comesBack() {
		left = true
		f.Errorf("%s, at %s: left on the node: %s", p, p.what, l)
	}
	f.Logf("%s: %.1f s, %.1f s more to judge it; %s", p, struck.Seconds(), (time.Since(begin) - struck).Seconds(), p.what)
}

// initOf returns the process number of the container's init, "" if there is none.
func (f *faults) initOf() string {
	f.Helper()
	return f.run("sh", "-c", "cat /run/ve/"+webUUID+".init.pid 2>/dev/null || true")
}

// stand starts a job and returns when it stands still at the point, with the number
// of the process that holds it up there.
func (f *faults) stand(p point, options string) (pid int) {
	f.Helper()
	f.set(p.at + ":hold")
	f.job = p.op.begin(f, options)
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(f.node.Dir, "paused"))
		if word, _, ok := strings.Cut(string(b), " "); err == nil && ok {
			pid, err = strconv.Atoi(word)
			f.must(err)
			return pid
		}
		if time.Now().After(end) {
			f.Fatalf("%s is not come to:\n%s", p, f.sys.Log(f.job))
		}
	}
}

// goOn lets what stands still go on.
func (f *faults) goOn() {
	f.Helper()
	f.must(os.Remove(filepath.Join(f.node.Dir, "paused")))
}

// kill kills the daemon, or in a group everything that has to do with the job at
// once: its process group and the command that is at work. Another daemon is started.
func (f *faults) kill(p point) {
	f.Helper()
	pid := f.stand(p, "")
	daemon := f.sys.Pid()
	f.must(syscall.Kill(daemon, syscall.SIGKILL))
	if p.kind == "group" {
		_ = syscall.Kill(-daemon, syscall.SIGKILL)
		f.must(syscall.Kill(pid, syscall.SIGKILL))
	}
	// A thread of the daemon may be the one that stands.
	if p.place() == "journal" {
		f.goOn()
	}
	f.sys.StopDaemon("fd", syscall.SIGKILL)
	journal, err := f.node.Must("sh", "-c", "cat /var/lib/vz7ct/journal/*.journal 2>/dev/null || true")
	f.must(err)
	if strings.Contains(journal, `"step"`) {
		left, err := f.node.Leftovers()
		f.must(err)
		f.score.control(len(left) > 0)
	}
	if p.place() != "journal" {
		f.goOn()
	}
	f.set("")
	f.must(f.sys.StartDaemon("fd"))
	f.backWithoutJob(p)
	f.forget()
}

// power cuts the node's power, and starts the node, the daemon and the container
// again. Of what was not flushed nothing survives, at every other point about half.
func (f *faults) power(p point) {
	f.Helper()
	f.stand(p, "")
	seed := 0
	if f.job%2 == 1 {
		seed = f.job
	}
	f.lab("crash", f.node.Dir, "--seed", strconv.Itoa(seed))
	f.sys.StopDaemon("fd", syscall.SIGKILL)
	_ = os.Remove(filepath.Join(f.node.Dir, "paused"))
	f.lab("up", f.node.Dir)
	f.set("")
	f.must(f.sys.StartDaemon("fd"))
	f.backWithoutJob(p)
	f.forget()
	p.op.rebooted(f)
}

// hang lets a call not come to an end: the job gives it up, and says so unless the
// call had done its work. When it goes on after all, the node comes back without any
// job.
func (f *faults) hang(p point) {
	f.Helper()
	f.stand(p, "tool_wait=3")
	f.ended(f.job, 2*time.Minute)
	// What prlctl start or stop has called itself, it waits for.
	words := strings.Join(strings.Fields(p.what)[:2], " ")
	log := f.sys.Log(f.job)
	named := strings.Contains(log, words) || strings.Contains(log, "prlctl start "+webUUID+": after") || strings.Contains(log, "prlctl stop "+webUUID+": after")
	done := strings.HasSuffix(p.at, ":after") && strings.Contains(log, "Backup OK")
	if !done && (!named || !strings.Contains(log, "not awaited any longer")) {
		f.Errorf("%s: the job log does not say that %s is not awaited any longer:\n%s", p, words, log)
	}
	f.goOn()
	f.set("")
	f.backWithoutJob(p)
	f.forget()
}

// spoil lets one call or one change of the journal fail, or a file system be full
// from there on until the job has ended, or waits. What could not be taken back is
// the next job's, which the check runs.
func (f *faults) spoil(p point, what string) {
	f.Helper()
	f.set(p.at + ":" + what)
	f.job = p.op.begin(f, "")
	if strings.HasPrefix(what, "full") {
		if !f.over(f.job, 10*time.Second) {
			f.Logf("%s: the job waits for room", p)
		}
		f.lab("free", f.node.Dir)
	}
	f.ended(f.job, 2*time.Minute)
	f.set("")
	f.forget()
}

// over waits until the plugin has ended the job, well or not, and reports whether it
// has. A Director may wait another minute for a daemon that has failed.
func (f *faults) over(id int, limit time.Duration) bool {
	f.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		log := f.sys.Log(id)
		if strings.Contains(log, "Termination:") {
			return true
		}
		if strings.Contains(log, "Fatal error: vz7ct: ") {
			if locks, err := f.node.Must("sh", "-c", "ls /var/lib/vz7ct/locks 2>/dev/null || true"); err == nil && locks == "" {
				return true
			}
		}
	}
	return false
}

func (f *faults) ended(id int, limit time.Duration) {
	f.Helper()
	if !f.over(id, limit) {
		f.Fatalf("job %d has not ended:\n%s", id, f.sys.Log(id))
	}
}

// forget lets the Director forget the job. Bacula's listens for another minute to a
// File Daemon that is dead or has failed, and 9.6 mixes up two restores: a new
// Director knows of none.
func (f *faults) forget() {
	f.Helper()
	if strings.Contains(f.sys.Log(f.job), "Termination:") {
		return
	}
	if rig.IsBareos() {
		f.must(f.sys.Cancel(f.job))
		_, err := f.sys.Wait(f.job)
		f.must(err)
		return
	}
	f.sys.StopDaemon("dir", syscall.SIGKILL)
	f.must(f.sys.StartDaemon("dir"))
}

// comesBack waits until nothing is left on the node, and returns what is. What is
// taken back in the background is tried again every half minute.
func (f *faults) comesBack() (left []string) {
	f.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var err error
		left, err = f.node.Leftovers()
		f.must(err)
		if len(left) == 0 {
			return nil
		}
	}
	return left
}

// backWithoutJob waits until the node has come back by itself: the daemon was
// started, or a call of the dead job has ended.
func (f *faults) backWithoutJob(p point) {
	f.Helper()
	for _, l := range f.comesBack() {
		f.Errorf("%s: left on the node, without another job: %s", p, l)
	}
}

func (f *faults) lab(args ...string) {
	f.Helper()
	if out, err := f.node.Lab(args...); err != nil {
		f.Fatalf("lab %s: %v %s", strings.Join(args, " "), err, out)
	}
}

// nobodyRecovers is the control of the look for leftovers: where nothing recovers,
// since the daemon is started without the plugin, it names everything by its kind.
func (f *faults) nobodyRecovers(p point) {
	f.Helper()
	p.op.prepare(f)
	pid := f.stand(p, "")
	f.must(syscall.Kill(f.sys.Pid(), syscall.SIGKILL))
	f.must(syscall.Kill(pid, syscall.SIGKILL))
	f.sys.StopDaemon("fd", syscall.SIGKILL)
	f.set("")
	f.forget()
	f.must(f.sys.Plugin(false))
	f.must(f.sys.StartDaemon("fd"))
	f.backup("plain") // this daemon works, and does nothing for the node
	left, err := f.node.Leftovers()
	f.must(err)
	for _, kind := range []string{"mount", "directory", "device", "snapshot", "record", "journal", "lock"} {
		seen := slices.ContainsFunc(left, func(l string) bool { return strings.HasPrefix(l, kind+" ") })
		f.score.control(seen)
		if !seen {
			f.Errorf("where nobody recovers, no %s is found among: %s", kind, strings.Join(left, "; "))
		}
	}
	f.sys.StopDaemon("fd", syscall.SIGTERM)
	f.must(f.sys.Plugin(true))
	f.must(f.sys.StartDaemon("fd"))
	for _, l := range f.comesBack() {
		f.Errorf("left when the plugin is there again: %s", l)
	}
}
