// SPDX-License-Identifier: AGPL-3.0-only

package server

import (
	"sync"
	"time"
)

// Served is what a slow disk has done since it was made slow.
type Served struct {
	Random     int `json:"random"`     // reads that were delayed
	Sequential int `json:"sequential"` // reads that went on where the one before had ended, and were not
	AtOnce     int `json:"at_once"`    // the most that were being delayed at the same time
}

// pace makes all disks slow, as a busy RAID is: each read waits, but for one that begins where the read before it on the
// same disk has ended. Any number of them wait at the same time: there are many arms.
type pace struct {
	wait func(time.Duration)

	mu     sync.Mutex
	delay  time.Duration
	ends   map[uint64]int64 // by node, where the last read ended
	now    int              // reads that wait
	served Served
}

// set changes the delay, 0 is none, counts anew and returns what was counted.
func (p *pace) set(delay time.Duration) Served {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.served
	p.delay, p.ends, p.served = delay, map[uint64]int64{}, Served{}
	return was
}

// read is called before a part of a disk is read.
func (p *pace) read(node uint64, from, to int64) {
	delay, random := p.begin(node, from, to)
	if !random {
		return
	}
	p.wait(delay)
	p.mu.Lock()
	p.now--
	p.mu.Unlock()
}

func (p *pace) begin(node uint64, from, to int64) (delay time.Duration, random bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.delay == 0 {
		return 0, false
	}
	end, known := p.ends[node]
	p.ends[node] = to
	if known && end == from {
		p.served.Sequential++
		return 0, false
	}
	p.now++
	p.served.Random++
	p.served.AtOnce = max(p.served.AtOnce, p.now)
	return p.delay, true
}

// Slow delays each random read of all disks by so much, 0 not at all, and returns what was read since the last call.
func (c Client) Slow(delay time.Duration) (Served, error) {
	a, err := c.call(request{Op: "slow", DelayUS: delay.Microseconds()}, nil)
	if err != nil {
		return Served{}, err
	}
	return a.Served, nil
}
