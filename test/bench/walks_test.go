// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// grown is a small tree, multiplied.
func grown(t *testing.T) (root string, c Count) {
	t.Helper()
	dir := t.TempDir()
	seed := filepath.Join(dir, "seed")
	for _, d := range []string{"etc/empty", "usr/lib"} {
		if err := os.MkdirAll(filepath.Join(seed, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, size := range map[string]int{"etc/a": 10, "etc/b": 0, "usr/lib/c": 5000, "usr/lib/large": largest + 1} {
		if err := os.WriteFile(filepath.Join(seed, name), make([]byte, size), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(seed, "etc/a"), filepath.Join(seed, "usr/a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../etc", filepath.Join(seed, "usr/link")); err != nil {
		t.Fatal(err)
	}
	root = filepath.Join(dir, "root")
	if err := Fill(seed, root, 11); err != nil {
		t.Fatal(err)
	}
	c, err := CountTree(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, c
}

func TestFill(t *testing.T) {
	_, c := grown(t)
	// 5 files, 4 without the large one, and 2 of the third copy; the names of one file are counted once.
	if want := int64(largest+1) + 2*(10+5000) + 10; c.Files != 11 || c.Bytes != want {
		t.Errorf("%d files with %d bytes, want 11 with %d", c.Files, c.Bytes, want)
	}
	if err := Fill(t.TempDir(), t.TempDir(), 1); err == nil {
		t.Error("Fill of nothing is no error")
	}
}

// All lists find the same entries, or their times could not be compared.
func TestListsAgree(t *testing.T) {
	root, c := grown(t)
	for _, who := range []string{"ours", "find", "parallel", "reference", "reference-data"} {
		r, err := Walk(who, root)
		if err != nil {
			t.Error(err)
		} else if r.Entries != c.Entries || r.Wall <= 0 {
			t.Errorf("Walk(%s) = %d entries in %f s, want %d", who, r.Entries, r.Wall, c.Entries)
		}
	}
	if r, err := Walk("reference-data", root); err != nil || r.Bytes < c.Bytes {
		t.Errorf("Walk(reference-data) has read %d bytes, %v, want %d at least", r.Bytes, err, c.Bytes)
	}
	for _, who := range []string{"ours", "find", "parallel", "reference", "nobody"} {
		if r, err := Walk(who, root+"/missing"); err == nil {
			t.Errorf("Walk(%s) of a missing tree = %d entries, want an error", who, r.Entries)
		}
	}
	if err := ReadIn("data", root); err != nil {
		t.Error(err)
	}
}

// What a process does between opening a tree's top directory and closing it is in the window, and what it does before is not.
func TestRootWatch(t *testing.T) {
	dir := t.TempDir()
	w, err := watchRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A file below is not the directory.
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if w.closed() {
		t.Error("the directory is closed before it was")
	}
	unix.Close(fd)
	for !w.closed() {
		if err := pause(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	opened, ended, err := w.stop()
	if err != nil || opened.Before(before) || ended.Before(opened) {
		t.Errorf("stop() = %v, %v, %v", opened, ended, err)
	}
	if w, err = watchRoot(dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.stop(); err == nil {
		t.Error("a directory that nobody has opened has a window")
	}
}

// The meter sees what a process uses.
func TestMeter(t *testing.T) {
	m, err := newMeter(os.Getpid(), 1)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<20)
	for end := time.Now().Add(10 * time.Second); ; {
		for n := range block {
			block[n]++
		}
		if u, _, err := readUsage(os.Getpid()); err != nil || u.cpu-m.base.cpu > 0.1 || time.Now().After(end) {
			break
		}
	}
	u, err := m.stop()
	if err != nil || u.cpu < 0.1 || u.peak < 64 || u.switches < 0 {
		t.Errorf("stop() = %+v, %v, want 0.1 s and 64 MiB at least", u, err)
	}
}
