// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"context"
	"io"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// recover is `vz7ct recover`, how its switch.
func (a app) recover(how string) int {
	// A merge that has begun is brought to its record, even if the terminal goes.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	c := fdplugin.Cleaner{Node: a.node, Log: a.log}
	switch how {
	case atBoot:
		c.Boot = true
	case waiting:
		return a.wait(c)
	}
	left, ok := a.sweep(c, how == dryRun)
	switch {
	case left > 0 && how == dryRun:
		a.log.Infof("%d job(s) have left something; nothing was changed", left)
		return failed
	case !ok || left > 0 && how != atBoot:
		return failed
	case left == 0:
		a.log.Infof("nothing of a dead job is left")
	}
	return done
}

// How often and for how long `vz7ct recover --wait` tries.
const (
	waitPause = 30 * time.Second
	waitLimit = 24 * time.Hour
)

// wait sweeps until nothing of dead jobs is left that time may help with.
func (a app) wait(c fdplugin.Cleaner) int {
	a.log.Logger.SetFormatter(once{&sync.Map{}})
	// A job that starts it in the background lets nobody read what it says.
	a.log.Logger.SetOutput(io.MultiWriter(a.syslog, a.stderr))
	c.SkipBusy = true
	for end := a.now().Add(waitLimit); ; {
		busy := a.busy() // before the sweep: a tool may end in its midst
		left, ok := a.sweep(c, false)
		switch {
		case left == 0 && ok:
			a.log.Infof("nothing of a dead job is left")
			return done
		case left == 0:
			return failed
		case !a.now().Before(end):
			a.log.Errorf("%d job(s) have left something that could not be taken back within %s; see vz7ct status", left, text.Duration(waitLimit))
			return failed
		}
		a.log.Infof("%d job(s) have left something: tried again every %s, for %s at most", left, text.Duration(waitPause), text.Duration(waitLimit))
		a.rest(busy)
	}
}

// rest pauses until the next sweep. That a tool of a dead job has ended, of which
// there were some before the last one, is a reason for one at once.
func (a app) rest(before int) {
	for slept := time.Duration(0); slept < waitPause && a.busy() >= before; slept += time.Second {
		a.pause(time.Second)
	}
}

// busy counts the jobs that have ended and of which a tool still runs.
func (a app) busy() (n int) {
	list, _ := undo.List(a.journals())
	for _, e := range list {
		if e.Live && e.Ended {
			n++
		}
	}
	return n
}

// sweep takes back, or tells, what dead jobs have left. It returns how many of
// them have something left now, and whether all went well and could be read.
func (a app) sweep(c fdplugin.Cleaner, dry bool) (left int, ok bool) {
	stuck, err := c.Sweep(context.Background(), dry)
	a.complain(err)

	// What is there now counts, not what the sweep has said.
	list, unread := undo.List(a.journals())
	for _, e := range list {
		switch {
		case len(e.Pending) == 0:
		case e.Live:
			if e.Ended {
				left++
			}
			a.log.Infof("job %s of %s (container %s) is %s: what it has made is left alone",
				text.Name(e.Head.Job), e.Head.Started, text.Name(e.Head.Container), stateOf(e))
		default:
			left++
			// At boot it is no fault that something is left; the sweep has named it.
			if !c.Boot {
				a.log.Warnf("left of job %s (container %s): %s", text.Name(e.Head.Job), text.Name(e.Head.Container), inWords(e.Pending))
			}
		}
	}
	if unread != nil {
		if err == nil {
			a.complain(unread)
		}
		a.log.Warnf("a journal in %s cannot be read: look into it, take back by hand what it names (README, When a snapshot is left over), then remove it", a.journals())
	}
	if left == 0 && len(stuck) > 0 {
		left = 1 // of a job without a journal here: see fdplugin.Recorded
	}
	return left, err == nil && unread == nil
}

// inWords describes steps, the oldest first.
func inWords(steps []undo.Step) string {
	var words []string
	for _, s := range steps {
		words = append(words, fdplugin.DescribeStep(s))
	}
	return strings.Join(words, ", ")
}
