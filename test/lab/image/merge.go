// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"errors"
	"fmt"
	"time"
)

// ErrBusy says that a merge is under way.
var ErrBusy = errors.New("merge under way")

// batch is the number of clusters a merge moves between two barriers.
const batch = 16

// merge is the state of a running merge.
type merge struct {
	down bool // the top goes down into its parent, and writes follow it
}

// Stats says what a merge did.
type Stats struct {
	Clusters int     `json:"clusters"`
	Seconds  float64 `json:"seconds"`
}

// Pace is called between two batches of a merge; it may wait, and an error from it stops the merge.
type Pace func(done int) error

// MergeTop moves every cluster of the top down into the level below while the disk is used, then Drop must be called.
// parent is the level below, opened for writing and marked in use; it takes the place of the read-only one.
//
// A batch is copied and made durable below before the top forgets it, so a crash loses nothing at any point.
func (c *Chain) MergeTop(parent *Image, pace Pace) (Stats, error) {
	if err := c.begin(len(c.levels)-1, parent, true); err != nil {
		return Stats{}, err
	}
	top := c.levels[len(c.levels)-1]
	return c.move(top, parent, pace, func(i uint32, buf []byte) error {
		return put(top, parent, i, buf)
	}, top.Forget)
}

// MergeMiddle copies level k, which is not the top, into the level below it; then Drop must be called. Readers see level k
// all the while, so nothing needs to be locked for them.
func (c *Chain) MergeMiddle(k int, parent *Image, pace Pace) (Stats, error) {
	if err := c.begin(k, parent, false); err != nil {
		return Stats{}, err
	}
	child := c.levels[k]
	return c.move(child, parent, pace, func(i uint32, buf []byte) error {
		return put(child, parent, i, buf)
	}, func(uint32) {})
}

// MergeUp copies into the top what only the level below has; then Drop of that level must be called. The dm driver of
// Virtuozzo 9 ends temporary snapshots so.
func (c *Chain) MergeUp(pace Pace) (Stats, error) {
	c.shape.Lock()
	if c.merge != nil || len(c.levels) < 2 {
		c.shape.Unlock()
		return Stats{}, ErrBusy
	}
	c.merge = &merge{}
	c.shape.Unlock()
	n := len(c.levels)
	top, low := c.levels[n-1], c.levels[n-2]
	return c.move(low, top, pace, func(i uint32, buf []byte) error {
		if top.Has(i) {
			return nil
		}
		return put(low, top, i, buf)
	}, func(uint32) {})
}

// begin replaces the level below k by parent and announces the merge.
func (c *Chain) begin(k int, parent *Image, down bool) error {
	c.shape.Lock()
	defer c.shape.Unlock()
	switch {
	case c.merge != nil:
		return ErrBusy
	case k < 1 || k >= len(c.levels):
		return fmt.Errorf("merge level %d of %d: no such level", k, len(c.levels))
	case parent.hdr.Cluster() != c.cluster:
		return fmt.Errorf("merge into level %d: %w", k-1, ErrCluster)
	}
	if err := fit(c.levels[k], parent); err != nil {
		return fmt.Errorf("merge into level %d: %w", k-1, err)
	}
	old := c.levels[k-1]
	c.levels[k-1] = parent
	c.merge = &merge{down: down}
	return old.Close()
}

// move copies the clusters of from in batches, with a barrier after each.
func (c *Chain) move(from, to *Image, pace Pace, one func(uint32, []byte) error, done func(uint32)) (Stats, error) {
	start := time.Now()
	var s Stats
	buf := make([]byte, c.cluster)
	var todo []uint32
	for i := range from.hdr.Clusters {
		if from.Has(i) {
			todo = append(todo, i)
		}
		if len(todo) == batch || (i == from.hdr.Clusters-1 && len(todo) > 0) {
			if err := c.moveBatch(todo, to, buf, one, done); err != nil {
				return s, err
			}
			s.Clusters += len(todo)
			todo = todo[:0]
			if pace != nil {
				if err := pace(s.Clusters); err != nil {
					return s, err
				}
			}
		}
	}
	s.Seconds = time.Since(start).Seconds()
	return s, nil
}

// moveBatch copies a few clusters and makes them durable while their locks are held, then forgets them above.
func (c *Chain) moveBatch(todo []uint32, to *Image, buf []byte, one func(uint32, []byte) error, done func(uint32)) error {
	c.shape.RLock()
	defer c.shape.RUnlock()
	held := map[uint32]bool{}
	for _, i := range todo {
		// Neighbours of one batch never wait for each other: ascending order, each lock once. Two batches never run at
		// once, and readers hold one lock at a time.
		if s := i % stripes; !held[s] {
			held[s] = true
			c.locks[s].Lock()
			defer c.locks[s].Unlock()
		}
		if err := one(i, buf); err != nil {
			return fmt.Errorf("merge cluster %d: %w", i, err)
		}
	}
	if err := to.Sync(); err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	for _, i := range todo {
		done(i)
	}
	return nil
}

// Abandon ends a middle merge half-way: both levels stay, the one below keeps its mark "in use". That is what a killed
// tool leaves.
func (c *Chain) Abandon() {
	c.shape.Lock()
	defer c.shape.Unlock()
	c.merge = nil
}

// put copies cluster i from one image into another.
func put(from, to *Image, i uint32, buf []byte) error {
	if err := from.ReadCluster(i, buf, 0); err != nil {
		return err
	}
	if to.Has(i) {
		return to.WriteCluster(i, buf, 0)
	}
	return to.Allocate(i, buf)
}

// Drop ends a merge: level k, whose clusters are elsewhere now, leaves the chain and is closed.
func (c *Chain) Drop(k int) error {
	c.shape.Lock()
	defer c.shape.Unlock()
	if c.merge == nil || k < 0 || k >= len(c.levels) {
		return fmt.Errorf("drop level %d: no merge", k)
	}
	down, top := c.merge.down, len(c.levels)-1
	if down && c.levels[top].Allocated() > 0 {
		return fmt.Errorf("drop top: %d clusters left in it", c.levels[top].Allocated())
	}
	if k > 0 && k != top {
		// A middle merge: the image below is complete and closed again.
		if m := c.levels[k-1]; m.hdr.Dirty() {
			if err := m.Finish(); err != nil {
				return fmt.Errorf("close merged image: %w", err)
			}
		}
	}
	gone := c.levels[k]
	c.levels = append(c.levels[:k:k], c.levels[k+1:]...)
	c.merge = nil
	if err := gone.Sync(); err != nil {
		return err
	}
	return gone.Close()
}

// MergeFiles merges child into parent offline, with no disk running on them. A crash leaves parent marked in use and both
// readable: the child still has everything.
func MergeFiles(child, parent *Image, pace Pace) (Stats, error) {
	c, err := NewChain([]*Image{parent, child}, true)
	if err != nil {
		return Stats{}, err
	}
	if !parent.raw && child.hdr.Version != parent.hdr.Version {
		return Stats{}, fmt.Errorf("merge version %d into %d: %w", child.hdr.Version, parent.hdr.Version, ErrSignature)
	}
	if err := fit(child, parent); err != nil {
		return Stats{}, err
	}
	c.merge = &merge{}
	s, err := c.move(child, parent, pace, func(i uint32, buf []byte) error { return put(child, parent, i, buf) }, func(uint32) {})
	if err != nil {
		return s, err
	}
	return s, parent.Finish()
}
