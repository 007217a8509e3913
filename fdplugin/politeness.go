// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// standing is what one thread gets of the machine: on Linux each has its own.
type standing struct {
	nice int
	// io is as ioprio_get(2) has it: class and level. 0 means by the nice value.
	io int
}

// The classes of ioprio_set(2), and where they are in its number (linux/ioprio.h).
const (
	ioRealTime   = 1
	ioBestEffort = 2
	ioIdle       = 3
	ioClassShift = 13
	ioThread     = 1 // IOPRIO_WHO_PROCESS, which takes a thread
)

// politeness is how far the threads of a job stand back for others. The job's own thread
// is the daemon's, which uses it again: what was changed is put back.
type politeness struct {
	// want is what the job's options say. It does not change while goroutines join.
	want standing
	// tid is the thread that was changed, 0 if none was; born is when it began, by which it
	// is known again, was what it had, now what it was given.
	tid      int
	born     string
	was, now standing
}

// begin lets the calling thread stand back, which is the job's.
func (p *politeness) begin() error {
	tid := unix.Gettid()
	if p.tid != tid || p.want == (standing{}) {
		if err := p.end(); err != nil || p.want == (standing{}) {
			return err
		}
		born, err := birth(tid)
		if err != nil {
			return err
		}
		was, err := standingOf(tid)
		if err != nil {
			return err
		}
		p.tid, p.born, p.was, p.now = tid, born, was, was
	}
	before := p.now
	p.now = p.was.behind(p.want)
	return p.now.give(tid, before)
}

// end puts back what begin has changed. It may be called on any thread, and more than once.
func (p *politeness) end() error {
	tid := p.tid
	p.tid = 0
	if tid == 0 {
		return nil
	}
	if born, err := birth(tid); err != nil || born != p.born {
		return nil // the daemon has ended the thread
	}
	return p.was.give(tid, p.now)
}

// join lets a goroutine that works for the job stand back as the job does: defer its result
// at the goroutine's start. It has its thread for itself meanwhile. What cannot be lowered
// stays as it is, of which the job's own thread has told.
func (p *politeness) join() (leave func()) {
	if p.want == (standing{}) {
		return func() {}
	}
	runtime.LockOSThread()
	tid := unix.Gettid()
	was, err := standingOf(tid)
	if err != nil {
		return runtime.UnlockOSThread
	}
	now := was.behind(p.want)
	_ = now.give(tid, was)
	return func() {
		// Else the thread ends with the goroutine.
		if was.give(tid, now) == nil {
			runtime.UnlockOSThread()
		}
	}
}

// behind returns what a thread gets that has s and is to stand back: never more than it has.
func (s standing) behind(want standing) standing {
	if want.io != 0 && rank(want.io) >= rank(s.effective()) {
		s.io = want.io
	}
	s.nice = max(s.nice, want.nice)
	return s
}

// effective is the priority for the disk that counts (ioprio_set(2)).
func (s standing) effective() int {
	if s.io == 0 {
		return ioBestEffort<<ioClassShift | (s.nice+20)/5
	}
	return s.io
}

// rank orders priorities for the disk; the larger one comes later.
func rank(io int) int {
	class, level := io>>ioClassShift, io&(1<<ioClassShift-1)
	if class == ioIdle {
		level = 0 // it has none
	}
	return class<<ioClassShift | level
}

// standingOf asks for what a thread of this process has.
func standingOf(tid int) (standing, error) {
	// The call itself returns 20 less the nice value (getpriority(2)).
	n, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err != nil {
		return standing{}, fmt.Errorf("ask for the nice value: %w", err)
	}
	io, _, e := unix.Syscall(unix.SYS_IOPRIO_GET, ioThread, uintptr(tid), 0)
	if e != 0 {
		return standing{}, fmt.Errorf("ask for the priority for the disk: %w", e)
	}
	return toldOf(20-n, int(io)), nil
}

// toldOf reads what the kernel tells. Of a thread without a priority for the disk that is,
// in one release or another, level 4 of no class, what the nice value means, or 0; it is
// given none again.
func toldOf(nice, io int) standing {
	if s := (standing{nice: nice}); io>>ioClassShift == 0 || io == s.effective() {
		return s
	}
	return standing{nice, io}
}

// give sets what a thread of this process has, where it is not what it had before.
func (s standing) give(tid int, before standing) error {
	var errs []error
	if s.nice != before.nice {
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, s.nice); err != nil {
			errs = append(errs, fmt.Errorf("nice value %d: %w", s.nice, err))
		}
	}
	if s.io != before.io {
		if _, _, e := unix.Syscall(unix.SYS_IOPRIO_SET, ioThread, uintptr(tid), uintptr(s.io)); e != 0 {
			errs = append(errs, fmt.Errorf("class %d, level %d for the disk: %w", s.io>>ioClassShift, s.io&(1<<ioClassShift-1), e))
		}
	}
	return errors.Join(errs...)
}

// birth returns when a thread of this process began, in ticks: the 22nd field of proc(5).
func birth(tid int) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
	if err != nil {
		return "", err
	}
	// The name of a thread may have anything in it.
	_, after, _ := strings.Cut(string(b[max(0, strings.LastIndex(string(b), ")")):]), ")")
	fields := strings.Fields(after)
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/self/task/%d/stat is not understood: %q", tid, b)
	}
	return fields[19], nil
}

// standBack lets the job's thread stand back for others as the options say.
func (j *Job) standBack() {
	if err := j.polite.begin(); err != nil {
		j.Log.Warnf("nice and ionice: %v; the job goes on without that", err)
	}
}

// standUp puts back what the job's thread had.
func (j *Job) standUp() {
	if err := j.polite.end(); err != nil {
		j.Log.Errorf("the thread of this job, which the File Daemon uses again, keeps a low priority: %v; restart the daemon when it has no jobs", err)
	}
}
