// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// planted is how long the controls let the File Daemon stand still.
const planted = time.Second

// controlFiles is how many files the container has that the controls are played on.
const controlFiles = 300

// controls shows that the measure sees what it is there for: a daemon that stands still for a second in the midst of its list
// takes that much longer, on both sides; and a job that has not saved what it had to is told from one that has.
func (w *world) controls() error {
	c := benchCase{name: "control", container: "control", kind: "backup", level: "Full", warm: true}
	ours, err := w.ours(c, nil)
	if err == nil {
		err = w.judge(c, ours, true)
	}
	if err != nil {
		return fmt.Errorf("ours: %w", err)
	}
	native, err := w.native(c, "native-", nil)
	if err == nil {
		err = w.judge(c, native, false)
	}
	if err != nil {
		return fmt.Errorf("native: %w", err)
	}
	for _, plugin := range []bool{true, false} {
		r := native
		if plugin {
			r = ours
		}
		r.Files--
		if w.judge(c, r, plugin) == nil {
			return errors.New("a job that has saved a file less is not told")
		}
		r.Wall = float64(r.Elapsed) + 10
		if plausible(r, false) == nil {
			return errors.New("a list that took longer than its job is not told")
		}
	}
	short := native
	short.Elapsed += 10
	if plausible(short, true) == nil {
		return errors.New("a list that took much less than its job is not told")
	}
	late, err := w.ours(c, w.standStill)
	if err == nil {
		err = seen("ours", ours, late)
	}
	if err != nil {
		return err
	}
	lateNative, err := w.stoppedNative(c)
	if err == nil {
		err = seen("native", native, lateNative)
	}
	if err == nil {
		w.say("controls: a halt of %s is seen: ours %.2f s and %.2f s, native %.2f s and %.2f s; so are a file less, and a list longer or much shorter than its job",
			planted, ours.Wall, late.Wall, native.Wall, lateNative.Wall)
	}
	return err
}

// standStill stops the File Daemon for a while.
func (w *world) standStill() error {
	pid := w.sys.Pid()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(planted)
	return syscall.Kill(pid, syscall.SIGCONT)
}

// stoppedNative stops the File Daemon when it has begun with its list. The list of a small tree may be at its end before the
// daemon stands still; then it is tried again.
func (w *world) stoppedNative(c benchCase) (Run, error) {
	for range 10 {
		r, err := w.native(c, "native-", func(r *rootWatch) error {
			if err := r.wait(w.ctx); err != nil {
				return err
			}
			return w.standStill()
		})
		if err != nil || r.Wall > planted.Seconds()/2 {
			return r, err
		}
	}
	return Run{}, errors.New("native: the daemon was never stopped in the midst of its list")
}

// seen judges that a halt in the midst of a list is in its time.
func seen(who string, plain, late Run) error {
	if late.Wall < planted.Seconds() || late.Wall < plain.Wall {
		return fmt.Errorf("%s: the list took %.3f s, and %.3f s with a halt of %s: the measure does not see it", who, plain.Wall, late.Wall, planted)
	}
	return nil
}

// plausible compares a measured time with the whole seconds of the daemons' own report: a list does not take longer than its
// job. Native's does not take much less either, where the catalogue gets no names after it; a job of ours also waits for
// caches to be prepared.
func plausible(r Run, native bool) error {
	said := float64(r.Elapsed)
	if r.Wall > said+1.5 || native && said > 1.2*(r.Wall+r.Before)+5 {
		return fmt.Errorf("the list took %.1f s by the measure, the job %d s by the daemons' report", r.Wall, r.Elapsed)
	}
	return nil
}
