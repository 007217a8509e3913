// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"sync"
	"time"
)

// pace is how fast the content of files may be read, by all that read for the job
// together.
type pace struct {
	rate uint64 // bytes a second
	now  func() time.Time

	mu  sync.Mutex
	due time.Time // when all that was read until now may have been read
}

// slack is how far reading may be ahead before it waits, and how much of the time in
// which nothing was read may be made up for: shorter waits are longer than was asked for.
const slack = 20 * time.Millisecond

func newPace(rate uint64) *pace { return &pace{rate: rate, now: time.Now} }

// took tells of n bytes that were read, and returns how long to wait before more are.
func (p *pace) took(n int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if first := now.Add(-slack); p.due.Before(first) {
		p.due = first
	}
	p.due = p.due.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	if wait := p.due.Sub(now); wait > slack {
		return wait
	}
	return 0
}

// step is how long a wait lasts before it is looked whether the job goes on.
const step = 200 * time.Millisecond

// Took tells of content that was read, in bytes that are on the disk, and returns when more
// may be. It waits no longer when the job does not go on.
func (j *Job) Took(n int64) {
	j.mu.Lock()
	var wait time.Duration
	if !j.halted() && j.backup.pace != nil {
		wait = j.backup.pace.took(n)
	}
	j.mu.Unlock()
	for wait > 0 && j.waits(j.ctx, min(wait, step)) {
		wait -= step
	}
}

// waits waits, and reports whether the backup goes on.
func (j *Job) waits(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.halted()
}
