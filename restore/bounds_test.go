// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A backup may have any number of attributes that cannot be set, of a file whose path is
// long: what is told of them does not grow with both.
func TestFaultsOfOneFileAreBounded(t *testing.T) {
	tr, _ := tree(t)
	path := strings.Repeat(strings.Repeat("d", 250)+"/", 80) + "x"
	f, err := tr.Create(file(path))
	must(t, err)
	for n := range 20000 {
		f.SetXattr(fmt.Sprintf("nonsense%d", n), nil)
		f.SetXattr(fmt.Sprintf("vz7ct.nonsense%d", n), nil)
	}
	f.SetXattr(strings.Repeat("n", 1<<20), nil)
	err = f.Finish()
	if err == nil {
		t.Fatal("Finish = nil, want errors")
	}
	said := err.Error()
	if len(said) > 30*len(path) || !strings.Contains(said, "19991 more attributes") {
		t.Errorf("Finish = %d bytes, %.300s", len(said), said)
	}
}

func TestAttributesOfOneFileAreBounded(t *testing.T) {
	tr, _ := tree(t)
	f, err := tr.Create(file("x"))
	must(t, err)
	value := make([]byte, 1<<20)
	for n := range 100 {
		f.SetXattr(fmt.Sprintf("nonsense%d", n), value)
	}
	if len(f.xattrs) > maxXattrs>>20 {
		t.Errorf("%d attributes of 1 MiB are kept", len(f.xattrs))
	}
	if err := f.Finish(); err == nil || !strings.Contains(err.Error(), "85 attributes beyond 16 MiB") {
		t.Errorf("Finish = %v", err)
	}
}

// Somebody makes a file of the name between the look and the making: the directory that
// could not get its name does not stay under the other one.
func TestNothingTemporaryStays(t *testing.T) {
	tr, root := tree(t)
	f, err := tr.Create(dir("d"))
	must(t, err)
	f.temporary = temporaryName()
	must(t, os.Rename(filepath.Join(root, "d"), filepath.Join(root, f.temporary)))
	must(t, os.WriteFile(filepath.Join(root, "d"), nil, 0o644))
	if err := f.Finish(); err == nil {
		t.Error("Finish = nil: a directory in the place of a file")
	}
	entries, err := os.ReadDir(root)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "d" {
		t.Errorf("the tree has %v, want d alone", entries)
	}
}

// With O_NONBLOCK writing waits for no mandatory lock of a tenant's. Kernels from 5.15 on
// have none to try it with.
func TestWritingWaitsForNoLock(t *testing.T) {
	tr, _ := tree(t)
	f, err := tr.Create(file("x"))
	must(t, err)
	defer f.Abort()
	if flags, err := unix.FcntlInt(uintptr(f.Fd()), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("the descriptor has flags %#x, %v, want O_NONBLOCK", flags, err)
	}
}
