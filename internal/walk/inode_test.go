// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
	"github.com/bareos-contrib/vz7ct/test/loopfs"
)

// Flags and projects of what has them, read with the content and without, and none of what
// must not be opened for them.
func TestInode(t *testing.T) {
	root := loopfs.Saved(t,
		"write /etc/hostname f", "set_inode_field f flags 0x80030", "set_inode_field f projid 7",
		"write /etc/hostname opened", "set_inode_field opened flags 0x80040",
		"write /dev/null empty", "set_inode_field empty projid 8",
		"mkdir d", "set_inode_field d flags 0x20080000", "set_inode_field d projid 9",
		"write /etc/hostname plain", "symlink l plain", "mknod p p", "mknod c c 1 3")
	want := map[string]chattr.Attributes{
		"f": {Flags: chattr.Locks, Project: 7}, "opened": {Flags: 0x40}, "empty": {Project: 8}, "d": {Flags: 0x20000000, Project: 9},
		"plain": {}, "l": {}, "p": {}, "c": {}, "": {}, "lost+found": {},
	}
	c := start(t, root)
	defer c.Close()
	for {
		e, err := c.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		if e.Path == "opened" {
			fd, err := e.Open()
			must(t, err)
			unix.Close(fd)
			if !e.inodeKnown {
				t.Error("flags were not read with the content")
			}
		}
		a, known := want[e.Path]
		delete(want, e.Path)
		if got, err := e.Inode(); got != a || err != nil || !known {
			t.Errorf("Inode of %q = %+v, %v, want %+v", e.Path, got, err, a)
		}
	}
	if len(want) > 0 {
		t.Errorf("did not come: %v", want)
	}
}

// An image that somebody has written himself, with an attribute of our name: the kernel
// shows no name without a handler of the file system's.
func TestOurNameOnDisk(t *testing.T) {
	root := loopfs.Saved(t, "write /etc/hostname f", "ea_set f user.x y", "ea_set f vz7ct.inode flags=0x10", "ea_set f vz7ct.x y")
	c := start(t, root)
	defer c.Close()
	seen := 0
	for {
		e, err := c.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		list, err := e.Xattrs()
		if err != nil && !strings.Contains(err.Error(), "the name is kept for this plugin") {
			t.Errorf("Xattrs of %q = %v", e.Path, err)
		}
		for _, x := range list {
			seen++
			if x.Name != "user.x" {
				t.Errorf("%q has attribute %s", e.Path, x.Name)
			}
		}
	}
	if seen != 1 {
		t.Errorf("%d attributes, want user.x", seen)
	}
}

// Something else that took the file's place is not asked for flags.
func TestInodeOfWhatTookItsPlace(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "")
	c := start(t, dir)
	defer c.Close()
	e, err := c.Next()
	must(t, err)
	must(t, os.Remove(filepath.Join(dir, "f")))
	must(t, unix.Mkfifo(filepath.Join(dir, "f"), 0o600))
	if _, err := e.Inode(); err == nil || !strings.Contains(err.Error(), "another file is there now") {
		t.Errorf("Inode = %v, want another file", err)
	}
}

func TestErrorsOfOneFileAreBounded(t *testing.T) {
	var errs []error
	for range 1000 {
		errs = append(errs, errors.New("bad"))
	}
	if err := firstOf(errs); strings.Count(err.Error(), "bad") != maxErrors || !strings.HasSuffix(err.Error(), "and 990 more") {
		t.Errorf("firstOf = %v", err)
	}
	if err := firstOf(nil); err != nil {
		t.Errorf("firstOf(nil) = %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
