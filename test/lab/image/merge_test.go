// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// addTop puts a snapshot on the disk.
func addTop(t *testing.T, c *Chain, s Spec) {
	t.Helper()
	s.Mode = Expanded
	if s.Version == 0 {
		s.Version = 2
	}
	m := newImage(t, "delta", s)
	if err := m.MarkInUse(true); err != nil {
		t.Fatal(err)
	}
	if err := c.Snapshot(m); err != nil {
		t.Fatalf("Snapshot() = %v", err)
	}
}

// forMerge opens the image of a level once more, as the tool hands it over.
func forMerge(t *testing.T, c *Chain, k int, s Spec) *Image {
	t.Helper()
	if !c.levels[k].raw {
		s.Mode = Expanded
	}
	m := reopen(t, c.levels[k].name(), s)
	if err := m.MarkInUse(true); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSnapshotFreezes(t *testing.T) {
	c := newChain(t, small)
	mustWrite(t, c, pattern(200000, 1), 0)
	before := contents(t, c)
	addTop(t, c, small)
	mustWrite(t, c, pattern(100000, 2), 50000)
	frozen := reopen(t, c.levels[0].name(), small)
	if frozen.hdr.Dirty() {
		t.Error("the frozen image is marked in use")
	}
	old, err := NewChain([]*Image{frozen}, true)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, old), before) {
		t.Error("the frozen image changed")
	}
}

// model runs random writes, snapshots and merges against a plain byte slice.
func model(t *testing.T, s Spec, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // test data
	c := newChain(t, s)
	want := make([]byte, c.Size())
	for step := range 60 {
		switch k := r.IntN(10); {
		case k < 6:
			b := pattern(1+r.IntN(90000), seed+uint64(step))
			off := r.Int64N(c.Size() - int64(len(b)))
			mustWrite(t, c, b, off)
			copy(want[off:], b)
		case k == 6 && c.Levels() < 6:
			addTop(t, c, s)
		case k == 7 && c.Levels() > 1:
			top := c.Levels() - 1
			if _, err := c.MergeTop(forMerge(t, c, top-1, s), nil); err != nil {
				t.Fatalf("MergeTop() = %v", err)
			}
			if err := c.Drop(top); err != nil {
				t.Fatalf("Drop(%d) = %v", top, err)
			}
		case k == 8 && c.Levels() > 2:
			mid := 1 + r.IntN(c.Levels()-2)
			if _, err := c.MergeMiddle(mid, forMerge(t, c, mid-1, s), nil); err != nil {
				t.Fatalf("MergeMiddle(%d) = %v", mid, err)
			}
			if err := c.Drop(mid); err != nil {
				t.Fatalf("Drop(%d) = %v", mid, err)
			}
		case k == 9 && c.Levels() > 1 && !c.levels[0].raw:
			if _, err := c.MergeUp(nil); err != nil {
				t.Fatalf("MergeUp() = %v", err)
			}
			if err := c.Drop(c.Levels() - 2); err != nil {
				t.Fatalf("Drop() = %v", err)
			}
			if c.Levels() > 1 {
				continue
			}
		}
		if err := c.Sync(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(contents(t, c), want) {
			t.Fatalf("seed %d step %d: content differs from the model", seed, step)
		}
	}
	var names []string
	for _, m := range c.levels {
		names = append(names, m.name())
	}
	raw := c.levels[0].raw
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	var levels []*Image
	for i, n := range names {
		o := s
		if i > 0 || !raw {
			o.Mode = Expanded
		}
		levels = append(levels, reopen(t, n, o))
	}
	again, err := NewChain(levels, true)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, again), want) {
		t.Fatalf("seed %d: content after closing differs from the model", seed)
	}
}

func TestModel(t *testing.T) {
	for seed := range uint64(12) {
		model(t, small, seed)
		model(t, Spec{Sectors: small.Sectors, Blocksize: 64, Version: 1}, seed+100)
	}
	model(t, Spec{Sectors: small.Sectors, Blocksize: 64, Mode: Raw}, 7)
	model(t, Spec{Sectors: small.Sectors, Blocksize: 64, Version: 2, Mode: Preallocated}, 8)
}

func TestMergeFiles(t *testing.T) {
	for _, s := range []Spec{small, {Sectors: small.Sectors, Blocksize: 64, Mode: Raw}} {
		c := newChain(t, s)
		mustWrite(t, c, pattern(200000, 1), 0)
		addTop(t, c, s)
		mustWrite(t, c, pattern(200000, 2), 150000)
		want := contents(t, c)
		base, top := c.levels[0].name(), c.levels[1].name()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		child, parent := reopen(t, top, small), reopen(t, base, s)
		if _, err := MergeFiles(child, parent, nil); err != nil {
			t.Fatalf("MergeFiles() = %v", err)
		}
		merged, err := NewChain([]*Image{reopen(t, base, s)}, true)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(contents(t, merged), want) {
			t.Errorf("mode %d: content after the merge differs", s.Mode)
		}
	}
}

func TestMergeFilesRefusesOtherVersion(t *testing.T) {
	child, parent := newImage(t, "c", small), newImage(t, "p", Spec{Sectors: small.Sectors, Blocksize: 64, Version: 1})
	if _, err := MergeFiles(child, parent, nil); err == nil {
		t.Error("MergeFiles(v2 into v1) = nil, want an error")
	}
}

// A merge that is stopped at any batch loses nothing: what lies on disk at that moment, read as a crash would leave it,
// is the disk as it was last synced.
func TestMergeTopStoppedAnywhere(t *testing.T) {
	for stop := range 4 {
		c := newChain(t, small)
		mustWrite(t, c, pattern(int(c.Size()), 1), 0)
		addTop(t, c, small)
		mustWrite(t, c, pattern(int(c.Size()), 2), 0)
		if err := c.Sync(); err != nil {
			t.Fatal(err)
		}
		want := contents(t, c)
		base, top := c.levels[0].name(), c.levels[1].name()
		n := 0
		_, err := c.MergeTop(forMerge(t, c, 0, small), func(int) error {
			if n++; n > stop {
				return errors.New("power cut")
			}
			return nil
		})
		if err == nil {
			t.Fatal("the merge was not stopped")
		}
		crashed, err := NewChain([]*Image{reopen(t, base, small), reopen(t, top, small)}, true)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(contents(t, crashed), want) {
			t.Errorf("stopped after %d batches: content differs", stop+1)
		}
	}
}

// closable fails every call after Close, as a file descriptor does.
type closable struct {
	File
	closed atomic.Bool
}

func (f *closable) Close() error {
	f.closed.Store(true)
	return nil
}

func (f *closable) Sync() error {
	if f.closed.Load() {
		return os.ErrClosed
	}
	err := f.File.Sync()
	if f.closed.Load() {
		return os.ErrClosed // it was closed under the call
	}
	return err
}

// Bug 1 of the study: a sync that ran while the end of a merge closed the file failed, the container's journal was
// aborted, and its file system was damaged.
func TestSyncDuringEndOfMerge(t *testing.T) {
	for round := range 20 {
		c := newChain(t, small)
		c.levels[0].f = &closable{File: c.levels[0].f}
		mustWrite(t, c, pattern(500000, 1), 0)
		addTop(t, c, small)
		c.levels[1].f = &closable{File: c.levels[1].f}
		mustWrite(t, c, pattern(300000, 2), 100000)
		parent := forMergeClosable(t, c)
		stop := make(chan struct{})
		errs := make(chan error, 100)
		var g sync.WaitGroup
		for w := range 3 {
			g.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := c.WriteAt([]byte{byte(i)}, int64(w*400000+i%1000)); err != nil {
						errs <- err
						return
					}
					if err := c.Sync(); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		if _, err := c.MergeTop(parent, nil); err != nil {
			t.Fatalf("MergeTop() = %v", err)
		}
		if err := c.Drop(1); err != nil {
			t.Fatalf("Drop() = %v", err)
		}
		close(stop)
		g.Wait()
		select {
		case err := <-errs:
			t.Fatalf("round %d: write or sync beside a merge = %v", round, err)
		default:
		}
	}
}

func forMergeClosable(t *testing.T, c *Chain) *Image {
	t.Helper()
	f, err := os.OpenFile(c.levels[0].f.(*closable).File.(osFile).Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	m, err := Open(&closable{File: OS(f)}, true)
	if err == nil {
		err = m.MarkInUse(true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDropRefusesUnfinishedMerge(t *testing.T) {
	c := newChain(t, small)
	addTop(t, c, small)
	mustWrite(t, c, pattern(int(c.Size()), 2), 0)
	_, err := c.MergeTop(forMerge(t, c, 0, small), func(int) error { return errors.New("stop") })
	if err == nil {
		t.Fatal("the merge was not stopped")
	}
	if err := c.Drop(1); err == nil {
		t.Error("Drop(top with data in it) = nil: data would be lost")
	}
	if err := c.Snapshot(newImage(t, "n", small)); !errors.Is(err, ErrBusy) {
		t.Errorf("Snapshot during a merge = %v, want ErrBusy", err)
	}
}
