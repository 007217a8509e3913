// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// faulty is a device of which a read fails, or panics, or is the one at which something
// else happens.
type faulty struct {
	io.ReaderAt
	left atomic.Int64 // good reads
	then func() error
}

func (f *faulty) ReadAt(p []byte, off int64) (int, error) {
	if f.left.Add(-1) < 0 {
		if err := f.then(); err != nil {
			return 0, err
		}
	}
	return f.ReaderAt.ReadAt(p, off)
}

// all opens, checks and walks.
func all(ctx context.Context, dev io.ReaderAt) error {
	f, err := Open(dev)
	if err != nil {
		return err
	}
	if _, err := f.Check(ctx, Options{Sample: 5, Ahead: func(int64, int64) {}, AheadBytes: 1 << 20}); err != nil {
		return err
	}
	_, err = everything(f.NewReader(), Root, Root)
	return err
}

// Each read that fails is an error, whichever it is, and so is the end of the device.
func TestReadErrors(t *testing.T) {
	missing(t, "mke2fs", "debugfs")
	image := mkfs(t, "64M", append(virtuozzo, "-d", tree(t))...)
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	good := int64(-1)
	for n := int64(0); good < 0; n++ {
		d := &faulty{ReaderAt: file, then: func() error { return unix.EIO }}
		d.left.Store(n)
		switch err := all(t.Context(), d); {
		case err == nil:
			good = n
		case !errors.Is(err, unix.EIO):
			t.Fatalf("read %d fails: %v, want EIO", n, err)
		}
	}
	if good < 20 {
		t.Errorf("all in %d reads", good)
	}
	f := openImage(t, image)
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for size := info.Size() - 1; size > 0; size -= info.Size() / 50 {
		d := io.NewSectionReader(file, 0, size)
		if err := all(t.Context(), d); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a device of %d bytes: %v", size, err)
		} else if err == nil && size < int64(f.groups[0].table)<<f.blockBits {
			t.Errorf("a device of %d bytes: no error", size)
		}
	}
}

// A panic in a goroutine of Check is an error of Check, and nothing goes on after it.
func TestPanic(t *testing.T) {
	missing(t, "mke2fs", "debugfs")
	f := openImage(t, mkfs(t, "64M", "-d", tree(t)))
	d := &faulty{ReaderAt: f.dev, then: func() error { panic("planted") }}
	d.left.Store(1)
	f.dev = d
	before := runtime.NumGoroutine()
	if _, err := f.Check(t.Context(), Options{Workers: 3}); err == nil || !strings.Contains(err.Error(), "planted") {
		t.Errorf("Check = %v, want the panic", err)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, before %d", n, before)
	}
}

// A cancelled job ends the scan.
func TestCancel(t *testing.T) {
	missing(t, "mke2fs", "debugfs")
	f := openImage(t, mkfs(t, "256M", "-g", "1024", "-d", tree(t)))
	ctx, cancel := context.WithCancel(t.Context())
	d := &faulty{ReaderAt: f.dev, then: func() error { cancel(); return nil }}
	d.left.Store(3)
	f.dev = d
	if _, err := f.Check(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Check = %v, want %v", err, context.Canceled)
	}
	if n := -d.left.Load(); n > 10 {
		t.Errorf("%d reads after the cancel", n)
	}
}

// The memory does not grow with the number of files, but by what the caller allows for the
// places of directories.
func TestMemory(t *testing.T) {
	missing(t, "mke2fs", "debugfs")
	f := openImage(t, mkfs(t, "64M", append(virtuozzo, "-d", tree(t))...))
	one := func() (bytes uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		check(t, f, Options{Sample: 20, Workers: 2, Ahead: func(int64, int64) {}, AheadBytes: 1 << 20})
		if _, err := everything(f.NewReader(), Root, Root); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	one()
	if got := one(); got > 8<<20 {
		t.Errorf("%d bytes for 1,600 files, all told", got)
	}
}
