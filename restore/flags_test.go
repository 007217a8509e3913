// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
	"github.com/bareos-contrib/vz7ct/test/loopfs"
)

const (
	noDump  = 0x40
	inherit = 0x20000000
)

// flagTree opens a tree on an ext4 with flags.
func flagTree(t *testing.T) (*Tree, string) {
	t.Helper()
	return treeAt(t, loopfs.Ext4(t))
}

func treeAt(t *testing.T, at string) (*Tree, string) {
	t.Helper()
	root, err := os.Open(at)
	must(t, err)
	tr, err := Open(root, t.TempDir())
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return tr, at
}

// flagged restores an item with flags and project.
func flagged(tr *Tree, it Item, content string, want chattr.Attributes) error {
	f, err := tr.Create(it)
	if err != nil {
		return err
	}
	if f.Fd() >= 0 {
		if _, err := unix.Write(f.Fd(), []byte(content)); err != nil {
			return err
		}
	}
	if value := want.Encode(); value != nil {
		f.SetXattr(chattr.Name, value)
	}
	return f.Finish()
}

func flagsOf(t *testing.T, path string) chattr.Attributes {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	a, err := chattr.Read(int(f.Fd()))
	must(t, err)
	return a
}

func setFlagsOf(t *testing.T, path string, want chattr.Attributes) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	must(t, chattr.Set(int(f.Fd()), want, 0))
}

// What is immutable, append-only or of another project is restored whole: content, times,
// further names, what is in a directory.
func TestFlagsComeLast(t *testing.T) {
	for name, root := range map[string]string{"flags": loopfs.Ext4(t), "flags and projects": loopfs.Projects(t)} {
		t.Run(name, func(t *testing.T) { flagsComeLast(t, root, name != "flags") })
	}
}

func flagsComeLast(t *testing.T, root string, projects bool) {
	tr, root := treeAt(t, root)
	linked := file("first")
	linked.Linked, linked.Nanoseconds = true, 123456789
	want := map[string]chattr.Attributes{
		"immutable": {Flags: chattr.Immutable}, "append": {Flags: chattr.Append | noDump, Project: 5}, "first": {Flags: chattr.Immutable, Project: 9},
		"d/f": {Flags: chattr.Append, Project: 6}, "d/plain": {}, "d": {Flags: chattr.Immutable | inherit, Project: 7}, "e": {Flags: chattr.Append},
	}
	for path, a := range want {
		if !projects {
			a.Project, a.Flags = 0, a.Flags&^inherit
		}
		want[path] = a
	}
	must(t, flagged(tr, file("immutable"), "i", want["immutable"]))
	must(t, flagged(tr, file("append"), "a", want["append"]))
	must(t, flagged(tr, linked, "l", want["first"]))
	for range 2 { // as a full and an incremental backup have it
		must(t, flagged(tr, dir("d"), "", want["d"]))
		must(t, flagged(tr, dir("e"), "", want["e"]))
	}
	must(t, flagged(tr, file("d/f"), "f", want["d/f"]))
	must(t, flagged(tr, file("d/plain"), "f", chattr.Attributes{}))
	must(t, put(tr, Item{Path: "d/second", First: "first", Replace: Always}, ""))
	must(t, closed(tr))
	want["d/second"] = want["first"]
	for path, a := range want {
		p := filepath.Join(root, path)
		if got := flagsOf(t, p); got != a {
			t.Errorf("%s: flags %s project %d, want %s and %d", path, chattr.Words(got.Flags), got.Project, chattr.Words(a.Flags), a.Project)
		}
		if st := stat(t, p); st.Mtim.Sec != 1e9 || st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size != 1 {
			t.Errorf("%s: mtime %d, %d bytes", path, st.Mtim.Sec, st.Size)
		}
	}
	if st := stat(t, filepath.Join(root, "d/second")); st.Nlink != 2 || st.Mtim.Nsec != 123456789 {
		t.Errorf("second: %d links, %d ns", st.Nlink, st.Mtim.Nsec)
	}
}

// A new file has the flags of the backup and none of the directory that it comes to; its
// project, if the backup has none, is that of the directory, as for every new file.
func TestInheritedFlagsAreDropped(t *testing.T) {
	tr, root := treeAt(t, loopfs.Projects(t))
	must(t, os.Mkdir(filepath.Join(root, "d"), 0o755))
	setFlagsOf(t, filepath.Join(root, "d"), chattr.Attributes{Flags: noDump | 0x80 | inherit, Project: 7})
	must(t, flagged(tr, file("d/f"), "x", chattr.Attributes{Flags: noDump}))
	must(t, flagged(tr, file("d/plain"), "x", chattr.Attributes{}))
	must(t, flagged(tr, dir("d/sub"), "", chattr.Attributes{}))
	must(t, flagged(tr, file("d/f"), "y", chattr.Attributes{Project: 9})) // over the first
	must(t, flagged(tr, dir("d"), "", chattr.Attributes{Flags: inherit, Project: 7}))
	must(t, closed(tr))
	for path, want := range map[string]chattr.Attributes{"d/f": {Project: 9}, "d/plain": {Project: 7}, "d/sub": {Flags: inherit, Project: 7}, "d": {Flags: inherit, Project: 7}} {
		if got := flagsOf(t, filepath.Join(root, path)); got != want {
			t.Errorf("%s: flags %s project %d, want %s and %d", path, chattr.Words(got.Flags), got.Project, chattr.Words(want.Flags), want.Project)
		}
	}
}

// What is immutable or append-only where files are restored to stays as it is: the error
// says so, and nothing is left behind.
func TestLockedIsNamed(t *testing.T) {
	tr, root := flagTree(t)
	for _, d := range []string{"imm/sub", "app"} {
		must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	for _, f := range []string{"imm/f", "app/f", "file", "log"} {
		must(t, os.WriteFile(filepath.Join(root, f), []byte("old"), 0o600))
	}
	setFlagsOf(t, filepath.Join(root, "imm"), chattr.Attributes{Flags: chattr.Immutable})
	setFlagsOf(t, filepath.Join(root, "app"), chattr.Attributes{Flags: chattr.Append})
	setFlagsOf(t, filepath.Join(root, "file"), chattr.Attributes{Flags: chattr.Immutable})
	setFlagsOf(t, filepath.Join(root, "log"), chattr.Attributes{Flags: chattr.Append})
	directory, name := "the directory there is immutable (i): take that off (chattr -i) and", "what has its name there is "
	for _, tt := range []struct {
		it   Item
		want string
	}{
		{file("imm/new"), directory},
		{file("imm/f"), directory},
		{dir("imm/newdir"), directory},
		{file("imm/newdir/f"), directory},
		{Item{Path: "imm/link", Mode: unix.S_IFLNK, Link: "x", Replace: Always}, directory},
		{Item{Path: "imm/hard", First: "app/f", Replace: Always}, directory},
		{dir("imm"), "its owner, mode, attributes and times are left as they are: " + directory},
		{file("app/f"), "the directory there is append only (a): take that off (chattr -a) and"},
		{dir("app"), "the directory there is append only (a)"},
		{file("file"), name + "immutable (i): take that off (chattr -i) and"},
		{dir("file"), name + "immutable (i)"},
		{file("log"), name + "append only (a): take that off (chattr -a) and"},
	} {
		if err := put(tr, tt.it, "new"); !errors.Is(err, unix.EPERM) && tt.it.Path != "imm" && tt.it.Path != "app" || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q = %v, want %q", tt.it.Path, err, tt.want)
		}
	}
	if err := put(tr, file("app/new"), "new"); err != nil {
		t.Errorf("a new file in an append-only directory = %v", err)
	}
	must(t, closed(tr))
	for _, f := range []string{"imm/f", "app/f", "file", "log"} {
		if b, _ := os.ReadFile(filepath.Join(root, f)); string(b) != "old" {
			t.Errorf("%s = %q", f, b)
		}
	}
	for _, d := range []string{"", "imm", "app"} {
		if left, _ := filepath.Glob(filepath.Join(root, d, ".vz7ct*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	if got := flagsOf(t, filepath.Join(root, "imm")); got.Flags != chattr.Immutable {
		t.Errorf("the directory has flags %s now", chattr.Words(got.Flags))
	}
}

// Below a root that is to be removable, nothing becomes immutable.
func TestHold(t *testing.T) {
	tr, root := flagTree(t)
	tr.Hold = chattr.Locks
	if err := flagged(tr, file("f"), "x", chattr.Attributes{Flags: chattr.Immutable | noDump}); !errors.Is(err, chattr.ErrHeld) {
		t.Errorf("Finish = %v, want ErrHeld", err)
	}
	must(t, flagged(tr, dir("d"), "", chattr.Attributes{Flags: chattr.Append}))
	if err := closed(tr); !errors.Is(err, chattr.ErrHeld) || !strings.Contains(err.Error(), "flags of d: ") {
		t.Errorf("Close = %v, want ErrHeld", err)
	}
	if got := flagsOf(t, filepath.Join(root, "f")); got != (chattr.Attributes{Flags: noDump}) {
		t.Errorf("f has %+v", got)
	}
	if got := flagsOf(t, filepath.Join(root, "d")); got.Flags != 0 {
		t.Errorf("d has %+v", got)
	}
}

// What came in an attribute of ours and cannot be given is told, and never set as one.
func TestStrangeFlags(t *testing.T) {
	tr, root := tree(t)
	for _, tt := range []struct {
		path, name, value, want string
		mode                    uint32
	}{
		{"fifo", chattr.Name, "flags=0x10", "no file and no directory", unix.S_IFIFO},
		{"link", chattr.Name, "flags=0x10", "no file and no directory", unix.S_IFLNK},
		{"bad", chattr.Name, "flags=x", `not known to this release: "flags=x"`, unix.S_IFREG},
		{"newer", chattr.Prefix + "btime", "1", `"vz7ct.btime" is of a newer release`, unix.S_IFREG},
	} {
		it := file(tt.path)
		it.Mode, it.Link = tt.mode|0o644, "x"
		f, err := tr.Create(it)
		must(t, err)
		f.SetXattr(tt.name, []byte(tt.value))
		if err := f.Finish(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s = %v, want %q", tt.path, err, tt.want)
		}
		if st := stat(t, filepath.Join(root, tt.path)); st.Mtim.Sec != 1e9 {
			t.Errorf("%s: mtime %d", tt.path, st.Mtim.Sec)
		}
	}
	must(t, closed(tr))
}

// What took the place of a restored directory or file before the end gets nothing of it.
func TestNothingElseGetsFlags(t *testing.T) {
	tr, root := flagTree(t)
	linked := file("f")
	linked.Linked = true
	want := chattr.Attributes{Flags: chattr.Immutable}
	must(t, flagged(tr, linked, "x", want))
	must(t, flagged(tr, dir("d"), "", want))
	for _, n := range []string{"f", "d"} {
		must(t, os.Rename(filepath.Join(root, n), filepath.Join(root, n+"-away")))
	}
	must(t, os.WriteFile(filepath.Join(root, "f"), nil, 0o644))
	must(t, os.Mkdir(filepath.Join(root, "d"), 0o755))
	err := closed(tr)
	for _, words := range []string{"flags of d: something else is there now", "flags of f: something else is there now"} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("Close = %v, want %q", err, words)
		}
	}
	for _, n := range []string{"f", "d"} {
		if got := flagsOf(t, filepath.Join(root, n)); got.Flags != 0 {
			t.Errorf("%s has flags %s", n, chattr.Words(got.Flags))
		}
	}
}

func TestNanoseconds(t *testing.T) {
	tr, root := tree(t)
	link := file("link")
	link.Mode, link.Link = unix.S_IFLNK|0o777, "x"
	fifo := file("fifo")
	fifo.Mode = unix.S_IFIFO | 0o600
	for _, it := range []Item{file("f"), link, fifo, dir("d"), dir("")} {
		it.Mtime, it.Nanoseconds = -7, 999999999
		must(t, put(tr, it, ""))
	}
	must(t, closed(tr))
	for _, p := range []string{"f", "link", "fifo", "d", ""} {
		if st := stat(t, filepath.Join(root, p)); st.Mtim != (unix.Timespec{Sec: -7, Nsec: 999999999}) {
			t.Errorf("%q: mtime %d.%09d, want -7.999999999", p, st.Mtim.Sec, st.Mtim.Nsec)
		}
	}
}
