// SPDX-License-Identifier: AGPL-3.0-only

package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/image"
)

// shown is a device in a file system without a mount.
func shown(t *testing.T, readOnly bool) (*disks, *device) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.hds")
	if err := image.Create(path, image.Spec{Sectors: 4096, Blocksize: 64, Version: 2}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDevice(Device{Name: "ploop1", ReadOnly: readOnly, Levels: []Level{{Path: path}}}, []*os.File{f})
	if err != nil {
		t.Fatal(err)
	}
	fs := newDisks()
	if err := fs.add(d); err != nil {
		t.Fatal(err)
	}
	return fs, d
}

func open(t *testing.T, fs *disks, d *device) fuse.Status {
	t.Helper()
	in := &fuse.OpenIn{InHeader: fuse.InHeader{NodeId: d.node}}
	return fs.Open(nil, in, &fuse.OpenOut{})
}

// Bug 2 of the study: an open without a release left the device in use for ever.
func TestEveryOpenIsReleased(t *testing.T) {
	fs, d := shown(t, false)
	for range 3 {
		if s := open(t, fs, d); !s.Ok() {
			t.Fatalf("Open() = %v", s)
		}
	}
	release := func() { fs.Release(nil, &fuse.ReleaseIn{InHeader: fuse.InHeader{NodeId: d.node}}) }
	release()
	release()
	if err := d.remove(time.Millisecond); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("remove() with one user = %v, want EBUSY", err)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		release()
	}()
	if err := d.remove(5 * time.Second); err != nil {
		t.Fatalf("remove() while the last user goes = %v", err)
	}
	if s := open(t, fs, d); s != fuse.Status(unix.ENOENT) {
		t.Errorf("Open() after remove = %v, want ENOENT", s)
	}
}

func TestReadWriteThroughTheFileSystem(t *testing.T) {
	fs, d := shown(t, false)
	in := fuse.InHeader{NodeId: d.node}
	if n, s := fs.Write(nil, &fuse.WriteIn{InHeader: in, Offset: 1000}, []byte("hello")); n != 5 || !s.Ok() {
		t.Fatalf("Write() = %d, %v", n, s)
	}
	r, s := fs.Read(nil, &fuse.ReadIn{InHeader: in, Offset: 1000, Size: 5}, make([]byte, 5))
	if !s.Ok() {
		t.Fatalf("Read() = %v", s)
	}
	if b, _ := r.Bytes(nil); string(b) != "hello" {
		t.Errorf("Read() = %q, want hello", b)
	}
	size := uint64(d.chain.Size())
	if r, s = fs.Read(nil, &fuse.ReadIn{InHeader: in, Offset: size - 2, Size: 10}, make([]byte, 10)); !s.Ok() || r.Size() != 2 {
		t.Errorf("Read() across the end = %d bytes, %v, want 2", r.Size(), s)
	}
	if s := fs.Fsync(nil, &fuse.FsyncIn{InHeader: in}); !s.Ok() {
		t.Errorf("Fsync() = %v", s)
	}
	var out fuse.EntryOut
	if s := fs.Lookup(nil, &in, "ploop1", &out); !s.Ok() || out.Size != size {
		t.Errorf("Lookup() = %v, %d bytes", s, out.Size)
	}
	if s := fs.Lookup(nil, &in, "ploop2", &out); s != fuse.ENOENT {
		t.Errorf("Lookup(unknown) = %v, want ENOENT", s)
	}
}

// A spoilt part fails where it is read, also beside others and on a second device of the same image, until it is healed.
func TestSpoiltPart(t *testing.T) {
	fs, d := shown(t, false)
	_, other := shown(t, true)
	other.info.Name = "ploop2"
	snapshot := &device{chain: d.chain, info: Device{Name: "ploop3", Levels: []Level{d.info.Levels[0], {Path: "delta"}}}}
	for _, more := range []*device{other, snapshot} {
		if err := fs.add(more); err != nil {
			t.Fatal(err)
		}
	}
	read := func(d *device, at uint64, size uint32) fuse.Status {
		_, s := fs.Read(nil, &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: d.node}, Offset: at, Size: size}, make([]byte, size))
		return s
	}
	if err := fs.spoil(d, 8192, 4096); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		d    *device
		at   uint64
		size uint32
		want fuse.Status
	}{
		{d, 8192, 4096, fuse.EIO}, {d, 12287, 1, fuse.EIO}, {d, 0, 65536, fuse.EIO}, {snapshot, 8192, 1, fuse.EIO},
		{d, 4096, 4096, fuse.OK}, {d, 12288, 4096, fuse.OK}, {other, 8192, 4096, fuse.OK},
	} {
		if got := read(c.d, c.at, c.size); got != c.want {
			t.Errorf("read of %d bytes at %d of %s = %v, want %v", c.size, c.at, c.d.info.Name, got, c.want)
		}
	}
	fs.heal()
	if got := read(d, 8192, 4096); !got.Ok() {
		t.Errorf("read after heal = %v", got)
	}
	if err := fs.spoil(d, d.chain.Size()-1, 2); !errors.Is(err, unix.EINVAL) {
		t.Errorf("spoil behind the end = %v, want EINVAL", err)
	}
}

func TestReadOnlyDevice(t *testing.T) {
	fs, d := shown(t, true)
	if _, s := fs.Write(nil, &fuse.WriteIn{InHeader: fuse.InHeader{NodeId: d.node}}, []byte("x")); s != fuse.EROFS {
		t.Errorf("Write() = %v, want EROFS", s)
	}
}

func TestNamesAreUnique(t *testing.T) {
	fs, _ := shown(t, false)
	_, other := shown(t, false)
	if err := fs.add(other); !errors.Is(err, unix.EEXIST) {
		t.Errorf("add(same name) = %v, want EEXIST", err)
	}
}

func TestDeviceWithoutItsFiles(t *testing.T) {
	if _, err := newDevice(Device{Name: "x", Levels: []Level{{Path: "a"}}}, nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("newDevice(no files) = %v, want EINVAL", err)
	}
}
