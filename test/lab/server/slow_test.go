// SPDX-License-Identifier: AGPL-3.0-only

package server

import (
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// read reads a part of a disk as the kernel does.
func read(t *testing.T, fs *disks, d *device, at uint64, size uint32) {
	t.Helper()
	in := &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: d.node}, Offset: at, Size: size}
	if _, s := fs.Read(nil, in, make([]byte, size)); !s.Ok() {
		t.Errorf("Read(%d at %d) = %v", size, at, s)
	}
}

// Only what does not go on where the read before has ended waits, each disk by itself, and for as long as was asked for.
func TestSlowDiskDelaysRandomReads(t *testing.T) {
	fs, d := shown(t, false)
	_, other := shown(t, false)
	other.info.Name = "ploop2"
	if err := fs.add(other); err != nil {
		t.Fatal(err)
	}
	var waited []time.Duration
	fs.pace.wait = func(d time.Duration) { waited = append(waited, d) }
	read(t, fs, d, 0, 4096)
	if len(waited) != 0 {
		t.Fatalf("%d reads waited on a disk that is not slow", len(waited))
	}
	fs.pace.set(2 * time.Millisecond)
	for _, r := range []struct {
		d      *device
		at     uint64
		waits  bool
		reason string
	}{
		{d, 4096, true, "first"}, {d, 8192, false, "sequential"}, {d, 12288, false, "sequential"}, {other, 16384, true, "first of another disk"},
		{d, 16384, false, "sequential in spite of the other disk"}, {d, 16384, true, "again"}, {d, 4096, true, "backwards"}, {d, 65536, true, "forwards"},
	} {
		before := len(waited)
		read(t, fs, r.d, r.at, 4096)
		if got := len(waited) > before; got != r.waits {
			t.Errorf("read at %d of %s (%s): waited = %v, want %v", r.at, r.d.info.Name, r.reason, got, r.waits)
		}
	}
	for _, w := range waited {
		if w != 2*time.Millisecond {
			t.Errorf("a read waited %s, want 2ms", w)
		}
	}
	if got, want := fs.pace.set(0), (Served{Random: 5, Sequential: 3, AtOnce: 1}); got != want {
		t.Errorf("served = %+v, want %+v", got, want)
	}
	before := len(waited)
	read(t, fs, d, 0, 4096)
	if len(waited) != before {
		t.Error("a read waited after the disk was made fast again")
	}
}

// A disk serves many reads at the same time: none of these ends before all of them wait.
func TestSlowDiskServesManyAtOnce(t *testing.T) {
	const many = 32
	fs, d := shown(t, false)
	var arrived sync.WaitGroup
	arrived.Add(many)
	fs.pace.wait = func(time.Duration) {
		arrived.Done()
		arrived.Wait()
	}
	fs.pace.set(time.Millisecond)
	var readers sync.WaitGroup
	for n := range many {
		readers.Go(func() { read(t, fs, d, uint64(n)*32768, 512) })
	}
	done := make(chan struct{})
	go func() { readers.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%d reads do not wait at the same time", many)
	}
	if got := fs.pace.set(0); got.AtOnce != many || got.Random != many {
		t.Errorf("served = %+v, want %d random ones at once", got, many)
	}
}

// The real wait takes as long as it is told.
func TestSlowDiskWaits(t *testing.T) {
	fs, d := shown(t, false)
	fs.pace.set(20 * time.Millisecond)
	begin := time.Now()
	read(t, fs, d, 4096, 4096)
	if took := time.Since(begin); took < 20*time.Millisecond {
		t.Errorf("a random read took %s, want 20ms at least", took)
	}
}
