// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"os"
	"slices"
	"testing"
)

// damaged is a closed image with three clusters whose bytes a test changes.
func damaged(t *testing.T, version int, change func(*os.File)) *Report {
	t.Helper()
	s := small
	s.Version = version
	c := newChain(t, s)
	mustWrite(t, c, pattern(3*32768, 1), 0)
	name := c.levels[0].name()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	change(f)
	r, err := Inspect(OS(f))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func put32(t *testing.T, f *os.File, off int64, v uint32) {
	t.Helper()
	if _, err := f.WriteAt([]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}, off); err != nil {
		t.Fatal(err)
	}
}

func TestProblems(t *testing.T) {
	entry := func(i int64) int64 { return 64 + 4*i }
	for _, c := range []struct {
		name    string
		version int
		change  func(*os.File)
		want    []Problem
	}{
		{"none", 2, func(*os.File) {}, nil},
		{"behind the end", 2, func(f *os.File) { put32(t, f, entry(1), 99) }, []Problem{{BeyondEOF, 1, 99}}},
		{"used twice", 2, func(f *os.File) { put32(t, f, entry(9), 2) }, []Problem{{UsedTwice, 9, 2}}},
		{"inside a cluster", 1, func(f *os.File) { put32(t, f, entry(2), 65) }, []Problem{{Misaligned, 2, 1}}},
		{"behind the disk", 2, func(f *os.File) { put32(t, f, entry(70), 2) }, []Problem{{BeyondDisk, 70, 2}}},
	} {
		if got := damaged(t, c.version, c.change).Problems(true); !slices.Equal(got, c.want) {
			t.Errorf("%s: Problems() = %v, want %v", c.name, got, c.want)
		}
	}
}

// Bug 4 of the study: what lies behind the last cluster after a crash is nobody's, and must not be used again as it is.
func TestEndIgnoresTail(t *testing.T) {
	r := damaged(t, 2, func(f *os.File) {
		if _, err := f.WriteAt(pattern(2*32768, 9), 4*32768); err != nil {
			t.Fatal(err)
		}
	})
	if r.Size != 6*32768 || r.End() != 4*32768 {
		t.Errorf("size %d, End() = %d, want %d, %d", r.Size, r.End(), 6*32768, 4*32768)
	}
}
