// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// small is a disk of 64 clusters of 32 KiB.
var small = Spec{Sectors: 64 * 64, Blocksize: 64, Version: 2}

func newImage(t *testing.T, name string, s Spec) *Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := Create(path, s); err != nil {
		t.Fatalf("Create(%s) = %v", name, err)
	}
	return reopen(t, path, s)
}

func reopen(t *testing.T, path string, s Spec) *Image {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	var m *Image
	if s.Mode == Raw {
		m, err = OpenRaw(OS(f), s.Blocksize)
	} else {
		m, err = Open(OS(f), true)
	}
	if err != nil {
		t.Fatalf("Open(%s) = %v", path, err)
	}
	return m
}

func (m *Image) name() string { return m.f.(osFile).Name() }

func newChain(t *testing.T, s Spec) *Chain {
	t.Helper()
	m := newImage(t, "base", s)
	if err := m.MarkInUse(true); err != nil {
		t.Fatal(err)
	}
	c, err := NewChain([]*Image{m}, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pattern(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // test data
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func mustWrite(t *testing.T, c *Chain, b []byte, off int64) {
	t.Helper()
	if _, err := c.WriteAt(b, off); err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %v", len(b), off, err)
	}
}

func contents(t *testing.T, c *Chain) []byte {
	t.Helper()
	b := make([]byte, c.Size())
	if _, err := c.ReadAt(b, 0); err != nil {
		t.Fatalf("ReadAt(all) = %v", err)
	}
	return b
}

func TestHeaderRoundTrip(t *testing.T) {
	for _, h := range []Header{
		NewHeader(2097152, 2048, 2), NewHeader(409600, 2048, 1), NewHeader(1<<33, 2048, 2), NewHeader(64*10, 64, 1),
	} {
		got, err := ParseHeader(h.Marshal())
		if err != nil || got != h {
			t.Errorf("ParseHeader(Marshal(%+v)) = %+v, %v", h, got, err)
		}
	}
}

// The figures of a real 300 GiB image: more BAT entries than fit one cluster.
func TestHeaderOfBigDisk(t *testing.T) {
	h := NewHeader(300<<21, 2048, 2)
	if h.First != 4096 || h.Clusters != 307200 {
		t.Errorf("NewHeader(300 GiB) = first %d, clusters %d, want 4096, 307200", h.First, h.Clusters)
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	good := NewHeader(4096, 64, 2)
	for _, c := range []struct {
		name string
		at   int
		to   byte
		want error
	}{{"signature", 0, 'x', ErrSignature}, {"type", 16, 3, ErrType}, {"cluster", 28, 65, ErrCluster}, {"first", 48, 63, ErrFirst}} {
		b := good.Marshal()
		b[c.at] = c.to
		if _, err := ParseHeader(b); !errors.Is(err, c.want) {
			t.Errorf("ParseHeader(bad %s) = %v, want %v", c.name, err, c.want)
		}
	}
}

// The geometry of descriptors the real tool wrote.
func TestGeometry(t *testing.T) {
	for _, c := range []struct{ size, cyl, heads, sectors uint32 }{{2097152, 2080, 16, 63}, {409600, 800, 16, 32}, {131072, 256, 16, 32}} {
		if cyl, h, s := Geometry(uint64(c.size)); cyl != c.cyl || h != c.heads || s != c.sectors {
			t.Errorf("Geometry(%d) = %d, %d, %d, want %d, %d, %d", c.size, cyl, h, s, c.cyl, c.heads, c.sectors)
		}
	}
}

func TestWriteReadReopen(t *testing.T) {
	for _, s := range []Spec{
		small,
		{Sectors: small.Sectors, Blocksize: 64, Version: 1},
		{Sectors: small.Sectors, Blocksize: 64, Version: 2, Mode: Preallocated},
		{Sectors: small.Sectors, Blocksize: 64, Mode: Raw},
	} {
		c := newChain(t, s)
		b := pattern(100000, 5)
		mustWrite(t, c, b, 33000)
		want := contents(t, c)
		if !bytes.Equal(want[33000:133000], b) {
			t.Errorf("%+v: read back differs", s)
		}
		name := c.levels[0].name()
		if err := c.Close(); err != nil {
			t.Errorf("%+v: Close() = %v", s, err)
		}
		again, err := NewChain([]*Image{reopen(t, name, s)}, true)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(contents(t, again), want) {
			t.Errorf("%+v: content after Close differs", s)
		}
		if again.levels[0].hdr.Dirty() {
			t.Errorf("%+v: in use after Close", s)
		}
	}
}

func TestReadOnlyChainRefusesWrites(t *testing.T) {
	c, err := NewChain([]*Image{newImage(t, "ro", small)}, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteAt([]byte("x"), 0); !errors.Is(err, ErrReadOnly) {
		t.Errorf("WriteAt on a read-only disk = %v, want ErrReadOnly", err)
	}
}

func TestOutOfRange(t *testing.T) {
	c := newChain(t, small)
	if _, err := c.ReadAt(make([]byte, 10), c.Size()-5); err == nil {
		t.Error("ReadAt across the end = nil, want an error")
	}
	if _, err := c.WriteAt(make([]byte, 1), c.Size()); err == nil {
		t.Error("WriteAt at the end = nil, want an error")
	}
}

func TestOpenRefusesDirtyAndBroken(t *testing.T) {
	c := newChain(t, small)
	mustWrite(t, c, pattern(100, 1), 0)
	if err := c.Sync(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(c.levels[0].name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := Open(OS(f), false); !errors.Is(err, ErrInUse) {
		t.Errorf("Open(in use) = %v, want ErrInUse", err)
	}
	if _, err := f.WriteAt([]byte{200}, 64); err != nil { // entry 0 points far behind the end
		t.Fatal(err)
	}
	if _, err := Open(OS(f), true); !errors.Is(err, ErrEntry) {
		t.Errorf("Open(entry behind the end) = %v, want ErrEntry", err)
	}
}

// Bug 3 of the study: parts of an image that were only reserved, or holes, are refused by ploop check.
func TestNoHolesInImages(t *testing.T) {
	for _, s := range []Spec{small, {Sectors: small.Sectors, Blocksize: 64, Version: 2, Mode: Preallocated}, {Sectors: small.Sectors, Blocksize: 64, Mode: Raw}} {
		c := newChain(t, s)
		mustWrite(t, c, []byte("x"), 20*32768+5) // one byte: the whole cluster must be there
		mustWrite(t, c, []byte("y"), 3*32768)
		if err := c.Sync(); err != nil {
			t.Fatal(err)
		}
		f := c.levels[0].f.(osFile)
		size, err := f.Size()
		if err != nil {
			t.Fatal(err)
		}
		hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
		if err != nil || hole != size {
			t.Errorf("mode %d: first hole at %d of %d, %v; want none", s.Mode, hole, size, err)
		}
		if size%32768 != 0 {
			t.Errorf("mode %d: %d bytes are not whole clusters", s.Mode, size)
		}
	}
}

// Bug 7 of the study: the header says "empty" until the first cluster, and not one moment longer.
func TestEmptyFlag(t *testing.T) {
	c := newChain(t, small)
	flags := func() uint32 {
		b := make([]byte, 64)
		if _, err := c.levels[0].f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		return h.Flags
	}
	if flags()&flagEmpty == 0 {
		t.Error("a new image is not marked empty")
	}
	mustWrite(t, c, []byte("x"), 0)
	if err := c.Sync(); err != nil {
		t.Fatal(err)
	}
	if flags()&flagEmpty != 0 {
		t.Error("an image with data is marked empty")
	}
}

func TestConvertBothWays(t *testing.T) {
	c := newChain(t, small)
	mustWrite(t, c, pattern(300000, 3), 1000)
	want := contents(t, c)
	name := c.levels[0].name()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, v := range []int{1, 2, 1} {
		m := reopen(t, name, small)
		if err := m.Convert(v); err != nil {
			t.Fatalf("Convert(%d) = %v", v, err)
		}
		again := reopen(t, name, small)
		chain, err := NewChain([]*Image{again}, true)
		if err != nil {
			t.Fatal(err)
		}
		if again.hdr.Version != v || again.hdr.Dirty() || !bytes.Equal(contents(t, chain), want) {
			t.Errorf("Convert(%d): version %d, dirty %v, or content differs", v, again.hdr.Version, again.hdr.Dirty())
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	h := NewHeader(4096, 64, 2)
	f.Add(h.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err == nil && (h.slots() == 0 || h.Cluster() <= 0) {
			t.Errorf("ParseHeader(%x) = %+v: no room for the header", b, h)
		}
	})
}
