// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// onAThread runs f on a thread of its own, which ends with it. The tests may be run with
// nice(1): it has 0 if that can be.
func onAThread(t *testing.T, f func(tid int)) {
	t.Helper()
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread()
		clear := func() { _ = standing{}.give(unix.Gettid(), standing{-1, -1}) }
		clear()
		defer clear() // it may be the first thread, which does not end
		f(unix.Gettid())
	}()
	<-done
}

// statNice is the nice value as /proc has it: the 19th field of proc(5).
func statNice(t *testing.T, tid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
	must(t, err)
	return strings.Fields(string(b[strings.LastIndex(string(b), ")"):]))[17]
}

// ionice is the priority for the disk as ionice(1) has it.
func ionice(t *testing.T, tid int) string {
	t.Helper()
	out, err := exec.Command("ionice", "-p", fmt.Sprint(tid)).CombinedOutput()
	if err != nil {
		t.Skipf("ionice: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestBehind(t *testing.T) {
	be := func(level int) int { return ioBestEffort<<ioClassShift | level }
	idle, real := ioIdle<<ioClassShift, ioRealTime<<ioClassShift|3
	for _, tt := range []struct{ has, want, gets standing }{
		{standing{0, 0}, standing{0, 0}, standing{0, 0}},
		{standing{0, 0}, standing{10, 0}, standing{10, 0}},
		{standing{10, 0}, standing{5, 0}, standing{10, 0}},
		{standing{-5, 0}, standing{5, 0}, standing{5, 0}},
		{standing{0, 0}, standing{0, idle}, standing{0, idle}},
		{standing{0, 0}, standing{0, be(7)}, standing{0, be(7)}},
		{standing{0, 0}, standing{0, be(3)}, standing{0, 0}}, // 4 is what a nice value of 0 means
		{standing{10, 0}, standing{0, be(5)}, standing{10, 0}},
		{standing{10, 0}, standing{0, be(6)}, standing{10, be(6)}},
		{standing{0, be(6)}, standing{0, be(5)}, standing{0, be(6)}},
		{standing{0, idle}, standing{0, be(7)}, standing{0, idle}},
		{standing{0, idle | 7}, standing{0, idle}, standing{0, idle}},
		{standing{0, real}, standing{19, be(0)}, standing{19, be(0)}},
	} {
		if got := tt.has.behind(tt.want); got != tt.gets {
			t.Errorf("%+v.behind(%+v) = %+v, want %+v", tt.has, tt.want, got, tt.gets)
		}
	}
}

// A thread without a priority for the disk has that of its nice value: kernels tell of it in
// three ways.
func TestNoPriorityForTheDisk(t *testing.T) {
	be := func(level int) int { return ioBestEffort<<ioClassShift | level }
	for _, tt := range []struct{ nice, told, want int }{
		{0, 0, 0}, {0, 4, 0}, {0, be(4), 0}, {10, be(6), 0}, {-20, be(0), 0}, {19, be(7), 0},
		{0, be(7), be(7)}, {10, be(4), be(4)}, {0, ioIdle << ioClassShift, ioIdle << ioClassShift}, {0, ioRealTime<<ioClassShift | 4, ioRealTime<<ioClassShift | 4},
	} {
		if got := toldOf(tt.nice, tt.told); got != (standing{tt.nice, tt.want}) {
			t.Errorf("toldOf(%d, %#x) = %+v, want %#x", tt.nice, tt.told, got, tt.want)
		}
	}
}

// What a thread has is lowered and put back, on whatever thread.
func TestPoliteness(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: nobody else may put a nice value back")
	}
	idle, low := ioIdle<<ioClassShift, ioBestEffort<<ioClassShift|7
	for _, tt := range []struct {
		has, want standing
		nice, io  string // meanwhile
	}{
		{standing{}, standing{}, "0", "none: prio 0|best-effort: prio 4|none: prio 4"},
		{standing{}, standing{nice: 7, io: idle}, "7", "idle"},
		{standing{}, standing{io: low}, "0", "best-effort: prio 7"},
		{standing{nice: 12}, standing{nice: 7, io: low}, "12", "best-effort: prio 7"},
		{standing{nice: 3, io: low}, standing{nice: 19, io: idle}, "19", "idle"},
		{standing{io: idle}, standing{nice: 1, io: low}, "1", "idle"},
	} {
		onAThread(t, func(tid int) {
			if err := tt.has.give(tid, standing{}); err != nil {
				t.Errorf("%+v cannot be given: %v", tt.has, err)
				return
			}
			before := ionice(t, tid)
			p := politeness{want: tt.want}
			for range 2 { // begin may come again
				if err := p.begin(); err != nil {
					t.Errorf("begin %+v: %v", tt.want, err)
				}
			}
			if nice, io := statNice(t, tid), ionice(t, tid); nice != tt.nice || !strings.Contains("|"+tt.io+"|", "|"+io+"|") {
				t.Errorf("%+v with %+v: nice %s, io %s, want %s, %s", tt.want, tt.has, nice, io, tt.nice, tt.io)
			}
			onAThread(t, func(int) {
				for range 2 {
					if err := p.end(); err != nil {
						t.Errorf("end %+v: %v", tt.want, err)
					}
				}
			})
			if nice, io := statNice(t, tid), ionice(t, tid); nice != fmt.Sprint(tt.has.nice) || io != before {
				t.Errorf("%+v after %+v: nice %s, io %s, want what it had, %s", tt.has, tt.want, nice, io, before)
			}
			if tt.has != (standing{}) {
				return
			}
			// Without a priority for the disk it has that of its nice value again.
			other := ""
			onAThread(t, func(tid int) {
				_ = standing{nice: 19}.give(tid, standing{})
				other = ionice(t, tid)
			})
			_ = standing{nice: 19}.give(tid, standing{})
			if got := ionice(t, tid); got != other {
				t.Errorf("after %+v and with nice 19: io %s, want %s", tt.want, got, other)
			}
		})
	}
}

// A thread that has ended meanwhile is nobody's, whoever has its number by now.
func TestPolitenessOfAThreadThatHasEnded(t *testing.T) {
	p := politeness{want: standing{nice: 5}}
	gone := 0
	onAThread(t, func(tid int) {
		gone = tid
		if err := p.begin(); err != nil {
			t.Error(err)
		}
	})
	for { // it ends after the goroutine
		if _, err := birth(gone); err != nil {
			break
		}
		runtime.Gosched()
	}
	if err := p.end(); err != nil || p.tid != 0 {
		t.Errorf("end for a thread that is gone = %v", err)
	}
	onAThread(t, func(tid int) {
		p = politeness{tid: tid, born: "1", now: standing{}, was: standing{nice: 9}}
		if err := p.end(); err != nil || statNice(t, tid) != "0" {
			t.Errorf("end has given another thread %s, %v", statNice(t, tid), err)
		}
	})
}

// Goroutines that work for the job are as polite as it is, and no thread has what they had
// when they have ended.
func TestJoin(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: nobody else may put a nice value back")
	}
	own := ""
	func() {
		defer (&politeness{}).join()()
		own = statNice(t, unix.Gettid())
	}()
	if own != "0" {
		t.Skipf("the tests are run with nice %s already", own)
	}
	p := &politeness{want: standing{nice: 6}}
	for range 8 {
		done := make(chan bool)
		go func() {
			defer close(done)
			defer p.join()()
			if nice := statNice(t, unix.Gettid()); nice != "6" {
				t.Errorf("a goroutine that has joined has nice %s, want 6", nice)
			}
			// Threads that the runtime makes now are not made of this one.
			made := make(chan bool)
			for range 32 {
				go func() {
					ts := unix.Timespec{Nsec: 1e6}
					_ = unix.Nanosleep(&ts, nil)
					made <- true
				}()
			}
			tid := unix.Gettid()
			for range 32 {
				if <-made; unix.Gettid() != tid {
					t.Error("a goroutine that has joined goes on on another thread")
				}
			}
		}()
		<-done
	}
	list, err := os.ReadDir("/proc/self/task")
	must(t, err)
	for _, task := range list {
		tid := 0
		_, _ = fmt.Sscan(task.Name(), &tid)
		if _, err := birth(tid); err != nil {
			continue // it has ended
		}
		if nice := statNice(t, tid); nice != "0" {
			t.Errorf("thread %d of %d has nice %s afterwards", tid, len(list), nice)
		}
	}
}

// A job stands back when its snapshot is mounted, and no longer when there are no more
// files, or when it fails.
func TestJobStandsBack(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: nobody else may put a nice value back")
	}
	for _, tt := range []struct {
		name string
		end  func(j *Job)
	}{
		{"end of the list", func(j *Job) {
			for j.FileDone() {
			}
		}},
		{"end of the job", (*Job).EndBackup}, {"closed", (*Job).Close}, {"cancelled", func(j *Job) { j.Cancel(); j.EndBackup() }},
		{"failed", func(j *Job) { j.fatal(ErrStop); j.EndBackup() }}, {"abandoned", (*Job).Abandon},
	} {
		n := webNode(t)
		j, log := n.job(t, bareos)
		during := ""
		n.fault = func(string) error { during += " " + statNice(t, unix.Gettid()); return nil }
		onAThread(t, func(tid int) {
			if err := j.StartBackup(cmd + ":nice=4"); err != nil {
				t.Error(err)
				return
			}
			if nice := statNice(t, tid); nice != "4" {
				t.Errorf("%s: nice %s while files are saved, want 4", tt.name, nice)
			}
			tt.end(j)
			if nice := statNice(t, tid); nice != "0" {
				t.Errorf("%s: nice %s afterwards, want 0", tt.name, nice)
			}
		})
		if strings.Contains(during, "4") || during == "" {
			t.Errorf("%s: the tools were called with nice%s, want 0 each time", tt.name, during)
		}
		if strings.Contains(log.all(), "nice and ionice") {
			t.Errorf("%s: %s", tt.name, log.all())
		}
	}
}

// A restore stands back for as long as files come: a container that is replaced stands
// still after that.
func TestRestoreStandsBack(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: nobody else may put a nice value back")
	}
	list, _ := backedUp(t, bareos)
	linkAsBareos(list)
	for name, end := range map[string]func(j *Job){
		"good": func(j *Job) { j.EndRestore(Good) }, "failed": func(j *Job) { j.EndRestore(Failed) }, "closed": (*Job).Close, "abandoned": (*Job).Abandon,
	} {
		n := emptyNode(t)
		j, log := n.job(t, bareos)
		j.AddOptions("vz7ct:start=yes:restore_trust_config=yes:nice=4")
		onAThread(t, func(tid int) {
			if err := play(j, cmd, "/tmp/restores", list); err != nil {
				t.Error(err, log.all())
				return
			}
			if nice := statNice(t, tid); nice != "4" {
				t.Errorf("%s: nice %s while files are restored, want 4", name, nice)
			}
			during := ""
			n.fault = func(string) error { during += " " + statNice(t, unix.Gettid()); return nil }
			end(j)
			if nice := statNice(t, tid); nice != "0" || strings.Contains(during, "4") || during == "" && name != "abandoned" {
				t.Errorf("%s: nice %s afterwards, and%s at what came last, want 0", name, nice, during)
			}
		})
	}
}
