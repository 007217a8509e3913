// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// How long a call of a tool that changes the node is awaited: toolWait where no
// option says so, cancelWait at most once the job was cancelled. It is never ended
// by force.
const (
	toolWait   = 6 * time.Hour
	cancelWait = 5 * time.Minute
)

// patient returns a context for one call of a tool: it is done after wait, and
// soon after ctx is done.
func patient(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	if wait == 0 {
		wait = toolWait
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	stop := context.AfterFunc(ctx, func() {
		defer func() {
			if recover() != nil {
				cancel()
			}
		}()
		t := time.NewTimer(min(wait, cancelWait))
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-call.Done():
		}
	})
	return call, func() { stop(); cancel() }
}

// call lets a tool change the node, unless the job was cancelled. paths are what it
// works on, descriptors, directories: if the tool is not awaited to its end, nothing
// of that is taken back by this job.
func (j *Job) call(work func(context.Context) error, paths ...string) error {
	if err := j.ctx.Err(); err != nil {
		return err
	}
	ctx, done := patient(j.ctx, j.toolWait)
	defer done()
	err := work(ctx)
	if stillRuns(err) {
		j.busy = append(j.busy, paths...)
	}
	return err
}

// stillRuns reports whether an error is that of a command which goes on.
func stillRuns(err error) bool {
	var e interface{ StillRuns() bool }
	return errors.As(err, &e) && e.StillRuns()
}

// idle reports whether no tool that this job has not awaited works on what a step
// has made.
func (j *Job) idle(s undo.Step) bool {
	for _, p := range j.busy {
		if p != "" && (p == s.Descriptor || p == s.Dir) || s.Do == undo.MadeTree && strings.HasPrefix(p, s.Dir+"/") {
			return false
		}
	}
	return true
}
