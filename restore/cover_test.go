// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A covered directory is reached by no name: its own, through a link to it, or that of
// a hard link.
func TestCover(t *testing.T) {
	tr, root := tree(t)
	must(t, os.MkdirAll(filepath.Join(root, "mnt/data/sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "mnt/data/first"), nil, 0o644))
	must(t, os.Symlink("/mnt/data", filepath.Join(root, "data")))
	must(t, os.Symlink("../mnt/data/sub", filepath.Join(root, "mnt/deep")))
	must(t, os.Symlink("loop", filepath.Join(root, "loop")))
	for _, p := range []string{"data", "none", "none/x", "mnt/data/first/x", "loop"} {
		if err := tr.Cover(p); err != nil {
			t.Errorf("Cover(%s) = %v", p, err)
		}
	}
	link := file("hard")
	link.First = "data/first"
	for _, it := range []Item{file("data/f"), file("mnt/data/f"), file("mnt/data/sub/f"), file("mnt/deep/f"), dir("mnt/data"), dir("data/new"), link} {
		if err := put(tr, it, "x"); !errors.Is(err, ErrCovered) {
			t.Errorf("%s = %v, want ErrCovered", it.Path, err)
		}
	}
	must(t, os.Mkdir(filepath.Join(root, "other"), 0o755))
	must(t, os.Symlink("../other", filepath.Join(root, "mnt/good")))
	for _, name := range []string{"mnt/f", "mnt/good/f"} {
		if err := put(tr, file(name), "x"); err != nil {
			t.Errorf("beside it: %v", err)
		}
	}
	if names, _ := os.ReadDir(filepath.Join(root, "mnt/data")); len(names) != 2 {
		t.Errorf("it has %v", names)
	}
}
