// SPDX-License-Identifier: AGPL-3.0-only

package medium

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

const sectors = 64

func backing(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(path, bytes.Repeat([]byte{'0'}, sectors*sector), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, path string) *Disk {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func write(t *testing.T, d *Disk, what byte, from, to int64) {
	t.Helper()
	if err := d.WriteAt(bytes.Repeat([]byte{what}, int(to-from)), from); err != nil {
		t.Fatalf("WriteAt(%d) = %v", from, err)
	}
}

// count tells how many sectors begin with what.
func count(t *testing.T, path string, what byte) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := 0; i < len(b); i += sector {
		if b[i] == what {
			n++
		}
	}
	return n
}

func TestReadsWhatWasWritten(t *testing.T) {
	path := backing(t)
	d := open(t, path)
	write(t, d, 'a', 100, 3*sector+7)
	got := make([]byte, 4*sector)
	if err := d.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{'0'}, 4*sector)
	copy(want[100:], bytes.Repeat([]byte{'a'}, 3*sector+7-100))
	if !bytes.Equal(got, want) {
		t.Error("ReadAt() shows something else than what was written")
	}
	if n := count(t, path, 'a'); n != 0 {
		t.Errorf("%d sectors are in the file before a flush", n)
	}
	for _, off := range []int64{-1, sectors * sector} {
		if err := d.WriteAt([]byte{1}, off); !errors.Is(err, unix.EINVAL) {
			t.Errorf("WriteAt(%d) = %v, want EINVAL", off, err)
		}
		if err := d.ReadAt([]byte{1}, off); !errors.Is(err, unix.EINVAL) {
			t.Errorf("ReadAt(%d) = %v, want EINVAL", off, err)
		}
	}
}

// What was flushed survives, what came later does not, or in parts that a seed decides.
func TestCut(t *testing.T) {
	survivors := map[uint64][]byte{}
	for _, seed := range []uint64{0, 1, 1, 2} {
		path := backing(t)
		d := open(t, path)
		write(t, d, 'a', 0, 20*sector)
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		write(t, d, 'b', 10*sector, sectors*sector)
		if err := d.Cut(seed); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{"WriteAt": d.WriteAt([]byte("c"), 0), "ReadAt": d.ReadAt([]byte("c"), 0), "Sync": d.Sync()} {
			if !errors.Is(err, unix.EIO) {
				t.Errorf("%s after the power cut = %v, want EIO", name, err)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b[:10*sector], []byte("a")); n != 10*sector {
			t.Errorf("seed %d: %d bytes of the flushed ones that were not written again, want all %d", seed, n, 10*sector)
		}
		switch n := count(t, path, 'b'); {
		case seed == 0 && n != 0, seed != 0 && (n < 10 || n > 44):
			t.Errorf("seed %d: %d of 54 sectors that were not flushed have survived", seed, n)
		}
		if before, ok := survivors[seed]; ok && !bytes.Equal(before, b) {
			t.Errorf("seed %d: two cuts leave different sectors", seed)
		}
		survivors[seed] = b
	}
	if bytes.Equal(survivors[1], survivors[2]) {
		t.Error("two seeds leave the same sectors")
	}
}

func TestCloseLosesNothing(t *testing.T) {
	path := backing(t)
	d := open(t, path)
	write(t, d, 'a', 0, sectors*sector)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, path, 'a'); n != sectors {
		t.Errorf("%d sectors are in the file, want %d", n, sectors)
	}
}

func TestNoDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil {
		t.Error("Open(a file of 5 bytes) = nil, want an error")
	}
}
