// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cutOff makes a disk whose snapshot aa was cut off: the descriptor has the old top
// alone, the one beside it the snapshot and the new top.
func cutOff(t *testing.T, oldUsed, newUsed bool) (dd, before, after string) {
	t.Helper()
	dir := t.TempDir()
	dd = filepath.Join(dir, "DiskDescriptor.xml")
	name := func(text string) string {
		return strings.NewReplacer("i0.hds", "root.hds", "i1.hds", "root.hds.{0a0b0c0d-0000-4000-8000-00000000abcd}").Replace(text)
	}
	before, after = name(build(top+" "+null)), name(build("aa "+null, top+" aa"))
	for path, text := range map[string]string{dd: before, dd + ".tmp": after} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	image(t, filepath.Join(dir, "root.hds"), oldUsed)
	image(t, filepath.Join(dir, "root.hds.{0a0b0c0d-0000-4000-8000-00000000abcd}"), newUsed)
	return dd, before, after
}

func TestSettle(t *testing.T) {
	const orphan = "root.hds.{0a0b0c0d-0000-4000-8000-00000000abcd}"
	for _, tt := range []struct {
		name             string
		oldUsed, newUsed bool
		spoil            func(dir string) error
		done             bool   // the descriptor is the new one
		left             string // of tmp and orphan what stays
		want             string // part of the error
	}{
		{name: "after the switch", newUsed: true, done: true, left: "o"},
		{name: "before the switch, running", oldUsed: true, left: ""},
		{name: "before the switch, stopped", left: ""},
		{name: "image not made", oldUsed: true, spoil: func(dir string) error { return os.Remove(filepath.Join(dir, orphan)) }},
		{name: "image has no header yet", spoil: func(dir string) error { return os.Truncate(filepath.Join(dir, orphan), 0) }},
		{name: "descriptor half written", newUsed: true, left: "to", spoil: func(dir string) error { return os.Truncate(filepath.Join(dir, "DiskDescriptor.xml.tmp"), 300) }},
		{name: "no descriptor", newUsed: true, left: "o", spoil: func(dir string) error { return os.Remove(filepath.Join(dir, "DiskDescriptor.xml.tmp")) }},
		{name: "started since, running", oldUsed: true, newUsed: true, left: "to", want: "both "},
		{name: "started since, stopped again", newUsed: true, left: "to", want: "was written to after", spoil: func(dir string) error {
			return os.Chtimes(filepath.Join(dir, orphan), time.Time{}, time.Now().Add(-time.Minute))
		}},
		{name: "data, not in use", left: "to", want: "has data but is not marked in use", spoil: func(dir string) error {
			return os.Truncate(filepath.Join(dir, orphan), 4<<20)
		}},
		{name: "another's snapshot", newUsed: true, left: "to", spoil: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "DiskDescriptor.xml.tmp"), []byte(build("bb "+null, top+" bb")), 0o600)
		}},
	} {
		dd, before, after := cutOff(t, tt.oldUsed, tt.newUsed)
		dir := filepath.Dir(dd)
		if tt.spoil != nil {
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
		}
		c, f := client()
		err := c.Settle(dd, "{AA}")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Settle = %v, want %q", tt.name, err, tt.want)
		}
		want, left := before, ""
		if tt.done {
			want = after
		}
		if b, _ := os.ReadFile(dd); string(b) != want {
			t.Errorf("%s: descriptor is\n%s\nwant\n%s", tt.name, b, want)
		}
		if exists(dd + ".tmp") {
			left += "t"
		}
		if exists(filepath.Join(dir, orphan)) {
			left += "o"
		}
		if left != tt.left {
			t.Errorf("%s: left %q, want %q", tt.name, left, tt.left)
		}
		if len(f.calls) > 0 {
			t.Errorf("%s: calls %q", tt.name, f.calls)
		}
	}
	c, _ := client()
	if err := c.Settle(filepath.Join(t.TempDir(), "DiskDescriptor.xml"), "aa"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Settle of no disk = %v", err)
	}
}

// Whatever the descriptor beside the disk's names, no other file is taken for the
// new image.
func TestSettleIsAboutTheImageOfTheSnapshot(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "short") // has no header, as an image that is being made
	for what, images := range map[string][]string{
		"an image elsewhere":     {"root.hds", elsewhere},
		"an image of the disk":   {"root.hds", "root.hds"},
		"another image below it": {"other.hds", "new.hds"},
		"another one beside it":  {"root.hds", "new.hds", "other.hds"},
		"the images exchanged":   {"new.hds", "root.hds"},
	} {
		dir := t.TempDir()
		dd := filepath.Join(dir, "DiskDescriptor.xml")
		shots := []string{"aa " + null, top + " aa", "bb " + null}[:len(images)]
		next := build(shots...)
		for i, name := range images {
			next = strings.Replace(next, fmt.Sprintf("i%d.hds", i), name, 1)
		}
		for path, text := range map[string]string{
			dd: strings.Replace(build(top+" "+null), "i0.hds", "root.hds", 1), dd + ".tmp": next,
			elsewhere: "short", filepath.Join(dir, "root.hds"): "short", filepath.Join(dir, "other.hds"): "short", filepath.Join(dir, "new.hds"): "short",
		} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, _ := client()
		if err := c.Settle(dd, "aa"); err != nil {
			t.Errorf("%s: Settle = %v", what, err)
		}
		for _, path := range []string{dd, dd + ".tmp", elsewhere, filepath.Join(dir, "root.hds"), filepath.Join(dir, "other.hds"), filepath.Join(dir, "new.hds")} {
			if !exists(path) {
				t.Errorf("%s: %s is gone", what, filepath.Base(path))
			}
		}
	}
}

// A dropped top: what was written last may be in an image that nobody names.
func TestSafeWithADroppedTop(t *testing.T) {
	dd, _, _ := cutOff(t, false, true)
	var unsafe *UnsafeError
	if err := Safe(dd); !errors.As(err, &unsafe) || unsafe.Passing || !strings.Contains(unsafe.Cure, "mv "+dd+".tmp "+dd) {
		t.Errorf("Safe = %v, want what to do", err)
	}
	dd, _, _ = cutOff(t, true, false)
	if err := Safe(dd); err != nil {
		t.Errorf("Safe beside an image that is not in use = %v", err)
	}
}
