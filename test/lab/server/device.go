// SPDX-License-Identifier: AGPL-3.0-only

package server

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/image"
)

// device is one disk at work.
type device struct {
	node  uint64 // FUSE node
	chain *image.Chain

	mu      sync.Mutex
	info    Device
	opens   int
	closed  chan struct{} // closed when opens falls to 0; nil while nobody waits
	removed bool
	merging *merging
}

// merging is a merge that runs, or has run and was not acknowledged: its caller died.
type merging struct {
	drop   int  // the level that leaves the chain
	middle bool // below the top: the tool's own work on a real node, which ends with the tool
	gone   atomic.Bool
	done   chan struct{}
	stats  image.Stats
	err    error
}

// errGone stops a merge below the top when its caller is gone.
var errGone = errors.New("caller is gone")

// levelOf describes an open image file.
func levelOf(path string, raw bool, f *os.File) (Level, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Level{}, err
	}
	return Level{Path: path, Raw: raw, Dev: st.Dev, Ino: st.Ino}, nil
}

// newDevice opens a chain. It owns files, also when it fails.
func newDevice(d Device, files []*os.File) (*device, error) {
	ok := false
	defer func() {
		if !ok {
			closeAll(files)
		}
	}()
	if len(files) == 0 || len(files) != len(d.Levels) {
		return nil, fmt.Errorf("%d files for %d images: %w", len(files), len(d.Levels), unix.EINVAL)
	}
	var levels []*image.Image
	for i, f := range files {
		l, err := levelOf(d.Levels[i].Path, d.Levels[i].Raw, f)
		if err != nil {
			return nil, err
		}
		d.Levels[i] = l
		var m *image.Image
		if l.Raw {
			m, err = image.OpenRaw(imageFile(f), d.Blocksize)
		} else {
			m, err = image.Open(imageFile(f), true)
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", l.Path, err)
		}
		levels = append(levels, m)
	}
	chain, err := image.NewChain(levels, d.ReadOnly)
	if err != nil {
		return nil, err
	}
	if !d.ReadOnly {
		if err := levels[len(levels)-1].MarkInUse(true); err != nil {
			return nil, err
		}
	}
	h := levels[len(levels)-1].Header()
	d.Sectors, d.Blocksize, d.Version, d.Loop, d.Part = h.Sectors, h.Blocksize, h.Version, -1, -1
	ok = true
	return &device{chain: chain, info: d}, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// snapshot puts a new top on the chain.
func (d *device) snapshot(path string, f *os.File) error {
	next, err := image.Open(imageFile(f), false)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if err := next.MarkInUse(true); err != nil {
		return err
	}
	l, err := levelOf(path, false, f)
	if err != nil {
		return err
	}
	if err := d.chain.Snapshot(next); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.info.Levels = append(d.info.Levels, l)
	return nil
}

// grow makes the disk larger.
func (d *device) grow(sectors uint64) error {
	if err := d.chain.Grow(sectors); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.info.Sectors = sectors
	return nil
}

// startMerge begins a merge, or joins the one that is there. It owns below.
func (d *device) startMerge(r request, below *os.File) (*merging, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.merging != nil {
		if below != nil {
			_ = below.Close()
		}
		return d.merging, nil
	}
	m := &merging{done: make(chan struct{}), drop: r.Level}
	pace := func(int) error {
		time.Sleep(time.Duration(r.PaceMS) * time.Millisecond)
		if m.middle && m.gone.Load() {
			return errGone
		}
		return nil
	}
	var work func() (image.Stats, error)
	if r.Up {
		m.drop = len(d.info.Levels) - 2
		work = func() (image.Stats, error) { return d.chain.MergeUp(pace) }
	} else {
		if below == nil || r.Level < 1 || r.Level >= len(d.info.Levels) {
			return nil, fmt.Errorf("merge level %d: %w", r.Level, unix.EINVAL)
		}
		lower := d.info.Levels[r.Level-1]
		parent, err := openBelow(below, lower, d.info.Blocksize)
		if err != nil {
			return nil, err
		}
		if r.Level == len(d.info.Levels)-1 && !d.info.ReadOnly {
			work = func() (image.Stats, error) { return d.chain.MergeTop(parent, pace) }
		} else {
			m.middle = true
			work = func() (image.Stats, error) { return d.chain.MergeMiddle(r.Level, parent, pace) }
		}
	}
	d.merging = m
	d.info.Merging = true
	go func() {
		defer close(m.done)
		m.stats, m.err = work()
	}()
	return m, nil
}

// openBelow opens the image that a merge writes to.
func openBelow(f *os.File, l Level, blocksize uint32) (*image.Image, error) {
	var m *image.Image
	var err error
	if l.Raw {
		m, err = image.OpenRaw(imageFile(f), blocksize)
	} else {
		m, err = image.Open(imageFile(f), true)
	}
	if err == nil {
		err = m.MarkInUse(true)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open %s: %w", l.Path, err)
	}
	return m, nil
}

// endMerge takes the merged level out of the chain. Only a caller that lives to hear of it ends a merge.
func (d *device) endMerge(m *merging) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.merging != m {
		return nil // another caller was faster
	}
	if m.middle && m.err != nil {
		d.abandon()
	}
	if m.err != nil {
		return m.err
	}
	if err := d.chain.Drop(m.drop); err != nil {
		return err
	}
	d.info.Levels = append(d.info.Levels[:m.drop:m.drop], d.info.Levels[m.drop+1:]...)
	d.merging, d.info.Merging = nil, false
	return nil
}

// abandon forgets a merge below the top. The caller holds d.mu.
func (d *device) abandon() {
	d.chain.Abandon()
	d.merging, d.info.Merging = nil, false
}

// open counts one more user. ENOENT after removal.
func (d *device) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.removed {
		return unix.ENOENT
	}
	d.opens++
	return nil
}

func (d *device) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opens--
	if d.opens == 0 && d.closed != nil {
		close(d.closed)
		d.closed = nil
	}
}

// remove waits a little for the last user, then closes the chain. EBUSY if somebody stays.
func (d *device) remove(wait time.Duration) error {
	d.mu.Lock()
	if d.merging != nil {
		d.mu.Unlock()
		return fmt.Errorf("merge under way: %w", unix.EBUSY)
	}
	if d.opens > 0 {
		if d.closed == nil {
			d.closed = make(chan struct{})
		}
		c := d.closed
		d.mu.Unlock()
		select {
		case <-c:
		case <-time.After(wait):
			return fmt.Errorf("%s is open: %w", d.info.Name, unix.EBUSY)
		}
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	if d.removed {
		return unix.ENOENT
	}
	if d.opens > 0 {
		return fmt.Errorf("%s is open: %w", d.info.Name, unix.EBUSY)
	}
	d.removed = true
	return d.chain.Close()
}

// errno finds the system's number in an error, EIO if there is none.
func errno(err error) unix.Errno {
	var e unix.Errno
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, image.ErrReadOnly):
		return unix.EROFS
	case errors.Is(err, image.ErrBusy), errors.Is(err, image.ErrInUse):
		return unix.EBUSY
	}
	return unix.EIO
}
