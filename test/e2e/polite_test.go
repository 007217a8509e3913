// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// The threads of a job stand back while it saves or restores, no others do, no program that
// it starts does, and none does afterwards: the daemon uses its threads again.
func TestPoliteJobs(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{
		{Name: "polite", Slow: true, Plugin: []string{"name=web:nice=7:ionice=idle"}}, {Name: "plain", Slow: true, Plugin: []string{"name=web"}},
	}})
	w.run("prlctl", "start", "web")
	w.ordinary()
	if low := w.lowered(); len(low) > 0 {
		t.Fatalf("threads that stand back before any job: %q", low)
	}
	for _, tt := range []struct {
		job    string
		cancel bool
		want   string
	}{{"plain", false, ""}, {"polite", false, "nice 7, class 3"}, {"polite", true, "nice 7, class 3"}} {
		id := w.waiting(tt.job)
		during := w.lowered()
		if tt.want == "" && len(during) > 0 || tt.want != "" && (len(during) == 0 || strings.ReplaceAll(strings.Join(during, ""), tt.want, "") != "") {
			t.Errorf("%s: %q stand back while files are saved, want %q and no others", tt.job, during, tt.want)
		}
		tools, done := map[string]bool{}, make(chan rig.Result)
		go func() {
			defer close(done)
			if !tt.cancel {
				done <- w.goesOn(id)
				return
			}
			if err := w.sys.Cancel(id); err != nil {
				t.Error(err)
			}
			r, err := w.sys.Wait(id)
			if err != nil {
				t.Error(err)
			}
			done <- r
		}()
		var r rig.Result
		for r.ID == 0 {
			select {
			case got, ok := <-done:
				if r = got; !ok {
					t.FailNow() // goesOn has said why
				}
			default:
				w.children(tools)
			}
		}
		if r.OK() == tt.cancel {
			t.Errorf("%s has ended with %q", tt.job, r.Termination)
		}
		w.eventuallyNothingLeft(time.Minute)
		if low := w.lowered(); len(low) > 0 {
			t.Errorf("%s: %q stand back after the job", tt.job, low)
		}
		if !tools["nice 0, class 0"] || len(tools) != 1 {
			t.Errorf("%s: the programs that it has started have %v, want nice 0, class 0", tt.job, tools)
		}
		if !tt.cancel {
			continue
		}
		// What was saved before is restored.
		id, err := w.sys.BeginRestore(rig.Restore{
			JobIDs: []int{id - 1}, Files: []string{"/mnt/bareos/" + webUUID + "/var/lib/many/"}, Options: "name=web:restore=file:restore_dir=/srv/r:nice=9:ionice=best-effort/7",
		})
		w.must(err)
		seen := ""
		for !strings.Contains(w.sys.Log(id), "Termination:") {
			if low := w.lowered(); len(low) > 0 {
				seen = low[0]
			}
		}
		r, err = w.sys.Wait(id)
		w.must(err)
		w.says(r, "0 not restored exactly", "nice=9")
		if seen != "nice 9, class 2" {
			t.Errorf("while files are restored %q stands back, want nice 9, class 2", seen)
		}
		if low := w.lowered(); len(low) > 0 {
			t.Errorf("%q stand back after the restore", low)
		}
	}
}

// ordinary gives the File Daemon what a service has: the tests may be run with nice(1).
func (w *world) ordinary() {
	w.Helper()
	for _, tid := range w.threads() {
		w.must(unix.Setpriority(unix.PRIO_PROCESS, tid, 0))
	}
}

// threads are those of the File Daemon.
func (w *world) threads() (tids []int) {
	list, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", w.sys.Pid()))
	w.must(err)
	for _, path := range list {
		if tid, err := strconv.Atoi(filepath.Base(path)); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids
}

// lowered says what those of the daemon's threads have that stand back.
func (w *world) lowered() (low []string) {
	w.Helper()
	for _, tid := range w.threads() {
		if s := standing(fmt.Sprintf("/proc/%d/task/%d/stat", w.sys.Pid(), tid), tid); s != "" && s != "nice 0, class 0" {
			low = append(low, s)
		}
	}
	return low
}

// children notes what the programs have that the daemon runs now.
func (w *world) children(seen map[string]bool) {
	w.Helper()
	for _, tid := range w.threads() {
		list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", w.sys.Pid(), tid))
		for _, f := range strings.Fields(string(list)) {
			pid, err := strconv.Atoi(f)
			w.must(err)
			if s := standing(fmt.Sprintf("/proc/%d/stat", pid), pid); s != "" {
				seen[s] = true
			}
		}
	}
}

// standing says what a thread has, "" if it has ended.
func standing(stat string, tid int) string {
	b, err := os.ReadFile(stat)
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(b[strings.LastIndex(string(b), ")"):]))
	const whoProcess, classShift, bestEffort, norm = 1, 13, 2, 4
	io, _, e := unix.Syscall(unix.SYS_IOPRIO_GET, whoProcess, uintptr(tid), 0)
	if e != 0 {
		return ""
	}
	class := io >> classShift
	if io == bestEffort<<classShift|norm {
		class = 0 // what some kernels say of a thread that has none
	}
	return fmt.Sprintf("nice %s, class %d", fields[17], class)
}

// The content of files is read no faster than read_rate says.
func TestReadRate(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "slow", Plugin: []string{"name=web:read_rate=4M"}}, {Name: "fast", Plugin: []string{"name=web"}}}})
	w.run("prlctl", "mount", "web")
	w.run("sh", "-c", "cd /vz/root/"+webUUID+" && head -c 64M /dev/urandom >large && truncate -s 4G holes && head -c 16M /dev/urandom >>holes")
	w.run("prlctl", "umount", "web")
	const want = (64 + 16) / 4 * time.Second
	took := map[string]time.Duration{}
	for _, job := range []string{"slow", "fast"} {
		begin := time.Now()
		r := w.backup(job)
		took[job] = time.Since(begin)
		w.nothingLeft()
		w.run("prlctl", "destroy", "web")
		w.restore(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=ct"})
	}
	if took["slow"] < want || took["slow"] > 5*want {
		t.Errorf("80 MiB at 4 MiB a second have taken %v, want %v and what else there is to do", took["slow"], want)
	}
	if took["fast"] >= want {
		t.Errorf("control: without read_rate the job has taken %v too", took["fast"])
	}
}
