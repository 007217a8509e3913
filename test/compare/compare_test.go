// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/lab/nasty"
)

// Every alteration of the list is planted into a tree with every kind of file,
// and the comparison must report each.
func TestControls(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: device nodes, owners, trusted attributes")
	}
	dir, err := os.MkdirTemp("/var/tmp", "vz7ct-compare-") // tmpfs has no user attributes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := nasty.Make(source); err != nil {
		t.Fatal(err)
	}
	planted, missed, err := Controls(source, dir, WholeSeconds)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range missed {
		t.Errorf("not caught: %s", m)
	}
	if planted < 20 {
		t.Errorf("%d controls, want 20 at least", planted)
	}
}

func TestContentInHolesAndZeros(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, p := range []string{a, b} {
		if err := os.Mkdir(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The same content, once with zeros written and once with a hole.
	if err := os.WriteFile(filepath.Join(a, "f"), append(make([]byte, 1<<20), "end"...), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(b, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("end"), 1<<20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	ta, err := Scan(a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	tb, err := Scan(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ta["f"].Digest != tb["f"].Digest {
		t.Error("the same content has two digests")
	}
	if ta["f"].Data == tb["f"].Data {
		t.Error("a hole and zeros are not told apart")
	}
}
