// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// control is one alteration that a comparison must report.
type control struct {
	name string
	// want finds an entry that has what is to be altered.
	want func(*Entry) bool
	// alter changes the file at path in the tree below root.
	alter func(root, path string) error
	// what must be reported, for the path that alter returns or was given.
	what string
}

// Report is what became of the alterations.
type Report struct {
	// Planted is how many there were. Missed are those of which the comparison said
	// nothing, NotPlanted those that the scratch directory's file system has no place for.
	Planted            int
	Missed, NotPlanted []string
}

// Controls copies the tree below source into scratch once for each known
// alteration, plants it there, and compares. If attributes are named, only
// alterations of these are planted.
func Controls(source, scratch string, only ...string) (Report, error) {
	var r Report
	base := filepath.Join(scratch, "control-base")
	defer os.RemoveAll(base)
	if err := sample(source, base); err != nil {
		return r, err
	}
	want, err := Scan(base, Options{})
	if err != nil {
		return r, err
	}
	for n, c := range controls() {
		if len(only) > 0 && !slices.Contains(only, c.what) {
			continue
		}
		dir := filepath.Join(scratch, fmt.Sprintf("control-%d", n))
		if err := copyTree(base, dir); err != nil {
			return r, err
		}
		report, err := c.try(want, dir)
		if removed := remove(dir); err == nil {
			err = removed
		}
		switch {
		case errors.Is(err, errNowhere):
			r.NotPlanted = append(r.NotPlanted, c.name+": "+err.Error())
			continue
		case err != nil:
			return r, fmt.Errorf("control %q: %w", c.name, err)
		}
		r.Planted++
		if report != "" {
			r.Missed = append(r.Missed, c.name+": "+report)
		}
	}
	return r, nil
}

// remove removes a tree that may have an immutable directory.
func remove(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	// It fails for what can have no flags, and says nothing of that with -f.
	out, err := exec.Command("chattr", "-R", "-f", "-i", dir).CombinedOutput()
	if removed := os.RemoveAll(dir); removed != nil {
		return fmt.Errorf("remove %s: %w (chattr: %v: %s)", dir, removed, err, out)
	}
	return nil
}

// sample copies a tree without its directories of very many files: they have
// nothing of their own to alter.
func sample(source, base string) error {
	if err := copyTree(source, base); err != nil {
		return err
	}
	return filepath.WalkDir(base, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if names, err := os.ReadDir(p); err == nil && len(names) > 500 {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
			return filepath.SkipDir
		}
		return nil
	})
}

func copyTree(from, to string) error {
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy tree: %w: %s", err, out)
	}
	return nil
}

// try plants one alteration and returns why the comparison has failed on it.
func (c control) try(want Tree, dir string) (string, error) {
	path := ""
	for p, e := range want {
		if c.want(e) && (path == "" || p < path) {
			path = p
		}
	}
	if path == "" {
		return "nothing in the tree has what it alters", nil
	}
	before, err := Scan(dir, Options{})
	if err != nil {
		return "", err
	}
	if d := Diff(want, before, nil); len(d) > 0 {
		return fmt.Sprintf("the copy differs before the alteration: %v", d[0]), nil
	}
	if err := c.alter(dir, path); err != nil {
		return "", err
	}
	after, err := Scan(dir, Options{})
	if err != nil {
		return "", err
	}
	for _, d := range Diff(want, after, nil) {
		if d.What != c.what || !strings.HasPrefix(d.Path, path) {
			continue
		}
		if k := KindOf(d); k != nil {
			return fmt.Sprintf("%s of %q passes for the documented %q", c.what, path, k.Name), nil
		}
		return "", nil
	}
	return fmt.Sprintf("%s of %q is not reported", c.what, path), nil
}
