// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// ErrReadOnly is returned for a write to a chain that was opened read-only.
var ErrReadOnly = errors.New("read-only disk")

// stripes is the number of cluster locks of a chain.
const stripes = 512

// Chain is one disk: a base image and the deltas on it, base first. All methods may be called from many goroutines.
type Chain struct {
	// shape guards the list of levels. Every read, write and Sync holds it for reading, to its end: a merge or a snapshot
	// must not close a file under a running fdatasync.
	shape  sync.RWMutex
	levels []*Image
	ro     bool
	merge  *merge

	locks   [stripes]sync.RWMutex
	cluster int64
	sectors atomic.Uint64
}

// NewChain stacks levels, base first. All must have one cluster size.
func NewChain(levels []*Image, ro bool) (*Chain, error) {
	if len(levels) == 0 {
		return nil, errors.New("disk without images")
	}
	top := levels[len(levels)-1]
	c := &Chain{levels: levels, ro: ro, cluster: top.hdr.Cluster()}
	c.sectors.Store(top.hdr.Sectors)
	for i, m := range levels {
		if m.hdr.Cluster() != c.cluster {
			return nil, fmt.Errorf("level %d has clusters of %d bytes, the top of %d: %w", i, m.hdr.Cluster(), c.cluster, ErrCluster)
		}
		if m.raw && i > 0 {
			return nil, fmt.Errorf("level %d is raw: %w", i, ErrSignature)
		}
	}
	return c, nil
}

// Size is the size of the disk in bytes.
func (c *Chain) Size() int64 { return int64(c.sectors.Load()) * SectorSize }

// Levels counts the images.
func (c *Chain) Levels() int {
	c.shape.RLock()
	defer c.shape.RUnlock()
	return len(c.levels)
}

// Allocated counts the clusters of each level, base first.
func (c *Chain) Allocated() []int {
	c.shape.RLock()
	defer c.shape.RUnlock()
	var n []int
	for _, m := range c.levels {
		n = append(n, m.Allocated())
	}
	return n
}

// each calls fn for the part of every cluster that [off, off+len(p)) touches.
func (c *Chain) each(p []byte, off int64, fn func(i uint32, p []byte, off int64) error) error {
	if off < 0 || off+int64(len(p)) > c.Size() {
		return fmt.Errorf("%d bytes at %d of a disk of %d bytes: out of range", len(p), off, c.Size())
	}
	for len(p) > 0 {
		in := off % c.cluster
		n := min(int64(len(p)), c.cluster-in)
		if err := fn(uint32(off/c.cluster), p[:n], in); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

func (c *Chain) lock(i uint32) *sync.RWMutex { return &c.locks[i%stripes] }

// ReadAt reads all of p, or fails.
func (c *Chain) ReadAt(p []byte, off int64) (int, error) {
	c.shape.RLock()
	defer c.shape.RUnlock()
	err := c.each(p, off, func(i uint32, p []byte, off int64) error {
		l := c.lock(i)
		l.RLock()
		defer l.RUnlock()
		return c.read(i, p, off, len(c.levels))
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// read takes cluster i from the topmost of the lowest n levels that has it. The caller holds the cluster's lock.
func (c *Chain) read(i uint32, p []byte, off int64, n int) error {
	for k := n - 1; k >= 0; k-- {
		if c.levels[k].Has(i) {
			return c.levels[k].ReadCluster(i, p, off)
		}
	}
	clear(p)
	return nil
}

// WriteAt writes all of p, or fails.
func (c *Chain) WriteAt(p []byte, off int64) (int, error) {
	c.shape.RLock()
	defer c.shape.RUnlock()
	if c.ro {
		return 0, ErrReadOnly
	}
	if err := c.each(p, off, c.write); err != nil {
		return 0, err
	}
	return len(p), nil
}

// write changes one cluster: in place if the image that takes writes has it, else the whole cluster is copied up.
func (c *Chain) write(i uint32, p []byte, off int64) error {
	l := c.lock(i)
	l.RLock()
	k := c.target(i)
	if c.levels[k].Has(i) {
		defer l.RUnlock()
		return c.levels[k].WriteCluster(i, p, off)
	}
	l.RUnlock()

	l.Lock()
	defer l.Unlock()
	k = c.target(i)
	if c.levels[k].Has(i) {
		return c.levels[k].WriteCluster(i, p, off)
	}
	full := p
	if int64(len(p)) != c.cluster {
		full = make([]byte, c.cluster)
		if err := c.read(i, full, 0, k); err != nil {
			return err
		}
		copy(full[off:], p)
	}
	return c.levels[k].Allocate(i, full)
}

// target is the level that takes a write to cluster i: the top, but while the top is merged down, the level below it
// takes what the top no longer has.
func (c *Chain) target(i uint32) int {
	top := len(c.levels) - 1
	if c.merge != nil && c.merge.down && !c.levels[top].Has(i) {
		return top - 1
	}
	return top
}

// Sync makes every write that has returned durable.
func (c *Chain) Sync() error {
	c.shape.RLock()
	defer c.shape.RUnlock()
	if c.ro {
		return nil
	}
	top := len(c.levels) - 1
	// While the top is merged down the level below holds data too, and must have it before the top forgets.
	if c.merge != nil && c.merge.down {
		if err := c.levels[top-1].Sync(); err != nil {
			return err
		}
	}
	return c.levels[top].Sync()
}

// Snapshot freezes the top and lets further writes go to next, an empty image marked in use. The old top is closed.
func (c *Chain) Snapshot(next *Image) error {
	if next.hdr.Cluster() != c.cluster || next.raw {
		return fmt.Errorf("snapshot: %w", ErrCluster)
	}
	c.shape.Lock()
	defer c.shape.Unlock()
	if c.ro {
		return ErrReadOnly
	}
	if c.merge != nil {
		return ErrBusy
	}
	if err := c.levels[len(c.levels)-1].Finish(); err != nil {
		return fmt.Errorf("close old top: %w", err)
	}
	c.levels = append(c.levels, next)
	return nil
}

// Close ends the disk: a writable top is closed cleanly, then every file is closed.
func (c *Chain) Close() error {
	c.shape.Lock()
	defer c.shape.Unlock()
	var all error
	if !c.ro {
		all = c.levels[len(c.levels)-1].Finish()
	}
	for _, m := range c.levels {
		all = errors.Join(all, m.Close())
	}
	return all
}
