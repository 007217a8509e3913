// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
	"github.com/bareos-contrib/vz7ct/test/loopfs"
)

// state is something with the name a, as a backup sends it.
type state struct {
	items []Item
	flags uint32 // of a itself
	below bool   // a is a directory
}

func kind(path string, mode uint32, link string) Item {
	it := file(path)
	it.Mode, it.Link, it.Rdev = mode|0o640, link, unix.Mkdev(1, 3)
	return it
}

// states are what a may be; out is a directory outside the tree.
func states(out string) map[string]state {
	full := []Item{file("a/x"), file("a/sub/deep/y"), kind("a/sub/deep/link", unix.S_IFLNK, out), kind("a/out", unix.S_IFLNK, "../../outside"),
		dir("a/sub/deep"), kind("a/sub/fifo", unix.S_IFIFO, ""), dir("a/sub"), dir("a")}
	first := file("beside")
	first.Linked = true
	return map[string]state{
		"file": {items: []Item{file("a")}}, "locked file": {items: []Item{file("a")}, flags: chattr.Immutable}, "log": {items: []Item{file("a")}, flags: chattr.Append},
		"directory": {items: full, below: true}, "directory on the way": {items: full[:len(full)-1], below: true}, "directory first": {items: append([]Item{dir("a")}, full[:7]...), below: true},
		"locked directory": {items: full, flags: chattr.Immutable, below: true}, "empty directory": {items: []Item{dir("a")}, below: true},
		"link to a directory": {items: []Item{dir("d"), kind("a", unix.S_IFLNK, "d")}}, "link outside": {items: []Item{kind("a", unix.S_IFLNK, out)}},
		"broken link": {items: []Item{kind("a", unix.S_IFLNK, "nowhere")}}, "fifo": {items: []Item{kind("a", unix.S_IFIFO, "")}},
		"socket": {items: []Item{kind("a", unix.S_IFSOCK, "")}}, "device": {items: []Item{kind("a", unix.S_IFCHR, "")}},
		"hard link": {items: []Item{first, {Path: "a", First: "beside", Mode: first.Mode, Mtime: 1e9, Linked: true, Replace: Always}}},
	}
}

func (s state) restore(t *testing.T, tr *Tree) {
	t.Helper()
	for _, it := range s.items {
		it.Replace = Always
		var flags chattr.Attributes
		if it.Path == "a" {
			flags.Flags = s.flags
		}
		if err := flagged(tr, it, it.Path, flags); err != nil {
			t.Errorf("%s = %v", it.Path, err)
		}
	}
}

// seen describes what is at a and below.
func seen(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(filepath.Join(root, "a"), func(p string, e os.DirEntry, err error) error {
		must(t, err)
		st := stat(t, p)
		// A directory that was made on the way only has the time of the test.
		what := fmt.Sprintf("%o %d links, as saved %v", st.Mode, st.Nlink, st.Mtim.Sec == 1e9)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(p)
			must(t, err)
			what += fmt.Sprintf(" %q %s", b, chattr.Words(flagsOf(t, p).Flags))
		case unix.S_IFDIR:
			what += " " + chattr.Words(flagsOf(t, p).Flags)
		case unix.S_IFLNK:
			to, err := os.Readlink(p)
			must(t, err)
			what += " " + to
		}
		rel, err := filepath.Rel(root, p)
		must(t, err)
		all[rel] = what
		return nil
	}))
	return all
}

// unlock makes what a test has locked removable.
func unlock(t *testing.T, at string) {
	t.Helper()
	must(t, filepath.WalkDir(at, func(p string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() && !e.IsDir() {
			return err
		}
		f, err := os.Open(p)
		must(t, err)
		defer f.Close()
		return chattr.Reset(int(f.Fd()), chattr.Attributes{})
	}))
}

// In a tree that a restore alone has made, what comes later is the newer state: whatever
// had its name goes, and nothing of it is left, nor told of at the end.
func TestLaterStateWins(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: devices and locked files")
	}
	disk := loopfs.Ext4(t)
	out := filepath.Join(disk, "outside")
	must(t, os.Mkdir(out, 0o755))
	must(t, os.WriteFile(filepath.Join(out, "flag"), []byte("untouched"), 0o644))
	n := 0
	own := func() (*Tree, string) {
		n++
		at := filepath.Join(disk, fmt.Sprint(n))
		must(t, os.Mkdir(at, 0o755))
		tr, _ := treeAt(t, at)
		tr.Own = true
		return tr, at
	}
	for newer, second := range states(out) {
		alone, at := own()
		second.restore(t, alone)
		must(t, closed(alone))
		want := seen(t, at)
		unlock(t, at)
		for older, first := range states(out) {
			if first.below && second.below {
				continue // their content is of both
			}
			tr, root := own()
			first.restore(t, tr)
			second.restore(t, tr)
			if err := closed(tr); err != nil {
				t.Errorf("%s over %s: Close = %v", newer, older, err)
			}
			if got := seen(t, root); !reflect.DeepEqual(got, want) {
				t.Errorf("%s over %s: %q, want %q", newer, older, got, want)
			}
			if left, _ := filepath.Glob(filepath.Join(root, ".vz7ct*")); len(left) > 0 {
				t.Errorf("%s over %s: left behind %q", newer, older, left)
			}
			unlock(t, root)
		}
	}
	untouched(t, out)
}

// Where something else may lie, a directory goes only if this restore has made it and
// nobody else is at work; else the error says what to do, and nothing has changed.
func TestOlderStateElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name         string
		there, own   bool // a/x is there before; the directory comes itself too
		shared, goes bool
		replace      Replace
	}{
		{name: "made on the way", goes: true, replace: Always}, {name: "made, replace=never", goes: true, replace: Never}, {name: "made, replace=ifnewer", goes: true, replace: IfNewer},
		{name: "came itself", own: true, replace: Always}, {name: "was there", there: true, replace: Always}, {name: "in a container that runs", shared: true, replace: Always},
	} {
		tr, root := tree(t)
		tr.Shared = tt.shared
		if tt.there {
			must(t, os.MkdirAll(filepath.Join(root, "a"), 0o755))
			must(t, os.WriteFile(filepath.Join(root, "a/x"), []byte("old"), 0o644))
		}
		must(t, put(tr, file("a/y"), "old"))
		must(t, put(tr, file("a/sub/z"), "old"))
		must(t, put(tr, dir("a/sub"), ""))
		if tt.own {
			must(t, put(tr, dir("a"), ""))
		}
		it := file("a")
		it.Replace = tt.replace
		err := put(tr, it, "new")
		if goes := err == nil; goes != tt.goes || !goes && (!errors.Is(err, ErrInTheWay) || !strings.Contains(err.Error(), "move it away and restore this again")) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := closed(tr); err != nil {
			t.Errorf("%s: Close = %v", tt.name, err)
		}
		b, err := os.ReadFile(filepath.Join(root, "a/y"))
		if tt.goes {
			b, err = os.ReadFile(filepath.Join(root, "a"))
		}
		if want := map[bool]string{true: "new", false: "old"}[tt.goes]; string(b) != want || err != nil {
			t.Errorf("%s: there is %q, %v", tt.name, b, err)
		}
		if len(tr.made) > 1 {
			t.Errorf("%s: %d directories are to come", tt.name, len(tr.made))
		}
	}
}

// An empty directory goes wherever it is, and nothing is told of it at the end.
func TestOlderEmptyDirectoryElsewhere(t *testing.T) {
	tr, root := tree(t)
	must(t, put(tr, dir("a"), ""))
	must(t, put(tr, file("a"), "new"))
	must(t, closed(tr))
	if b, err := os.ReadFile(filepath.Join(root, "a")); string(b) != "new" {
		t.Errorf("a = %q, %v", b, err)
	}
}

// Something that has the name of a directory on the way stays where it may be somebody's.
func TestOlderStateOnTheWayElsewhere(t *testing.T) {
	tr, root := tree(t)
	must(t, put(tr, file("a"), "old"))
	if err := put(tr, file("a/x"), "new"); !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), "open directory a: something else has that name there, move it away and restore this again") {
		t.Errorf("a/x = %v", err)
	}
	must(t, closed(tr))
	if b, err := os.ReadFile(filepath.Join(root, "a")); string(b) != "old" {
		t.Errorf("a = %q, %v", b, err)
	}
}

// What did not come whole takes nothing away.
func TestOlderStateStaysUntilTheNewerIsWhole(t *testing.T) {
	tr, root := tree(t)
	tr.Own = true
	must(t, put(tr, file("a/x"), "old"))
	must(t, put(tr, dir("a"), ""))
	f, err := tr.Create(file("a"))
	must(t, err)
	if !f.Replaces() {
		t.Error("Replaces() = false")
	}
	f.Abort()
	must(t, closed(tr))
	if b, err := os.ReadFile(filepath.Join(root, "a/x")); string(b) != "old" {
		t.Errorf("a/x = %q, %v", b, err)
	}
	if st := stat(t, filepath.Join(root, "a")); st.Mtim.Sec != 1e9 {
		t.Errorf("a is of %d", st.Mtim.Sec)
	}
}

// What is to stay is not removed, nor what is mounted somewhere below.
func TestWhatIsNotRemoved(t *testing.T) {
	tr, root := tree(t)
	tr.Own = true
	tr.Keep = []string{"root.hdd/image", "srv/data"}
	must(t, put(tr, file("root.hdd/image"), "image"))
	must(t, put(tr, dir("srv/data"), ""))
	must(t, put(tr, dir("srv/data2"), ""))
	for _, name := range []string{"root.hdd", "srv", "srv/data/.."} {
		if err := put(tr, file(name), "new"); err == nil || name != "srv/data/.." && !errors.Is(err, ErrInTheWay) {
			t.Errorf("%s = %v", name, err)
		}
	}
	for _, name := range []string{"root.hdd/image/x", "root.hdd/image/x/y"} {
		if err := put(tr, file(name), "new"); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("%s = %v", name, err)
		}
	}
	must(t, put(tr, file("srv/data2"), "new"))
	if b, err := os.ReadFile(filepath.Join(root, "root.hdd/image")); string(b) != "image" {
		t.Errorf("the image is %q, %v", b, err)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a tmpfs")
	}
	must(t, put(tr, file("a/m/n/x"), "x"))
	must(t, unix.Mount("tmpfs", filepath.Join(root, "a/m/n"), "tmpfs", 0, "size=64k"))
	defer func() { _ = unix.Unmount(filepath.Join(root, "a/m/n"), unix.MNT_DETACH) }()
	must(t, os.WriteFile(filepath.Join(root, "a/m/n/flag"), []byte("untouched"), 0o644))
	if err := put(tr, file("a"), "new"); err == nil || !strings.Contains(err.Error(), "another file system is mounted there") {
		t.Errorf("a = %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(root, "a/m/n/flag")); string(b) != "untouched" {
		t.Errorf("in what is mounted there: %q, %v", b, err)
	}
}

// A tree of any depth and with any number of names goes with few descriptors.
func TestDeepAndWideOlderState(t *testing.T) {
	tr, root := tree(t)
	tr.Own = true
	long := strings.Repeat("n", 255)
	deep := "a/" + strings.TrimSuffix(strings.Repeat(long+"/", 400), "/") // 100 KiB
	must(t, put(tr, file(deep+"/x"), "x"))
	must(t, put(tr, dir(deep), ""))
	for n := range 3000 {
		must(t, put(tr, file(fmt.Sprintf("a/wide/%d", n)), ""))
		if n%10 == 0 {
			must(t, put(tr, dir(fmt.Sprintf("a/wide/d%d/e", n)), ""))
		}
	}
	var limit, few unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	tr.forget(0)
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	few = limit
	few.Cur = uint64(len(entries) + 16)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	err = put(tr, file("a"), "new")
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	must(t, err)
	must(t, closed(tr))
	if b, err := os.ReadFile(filepath.Join(root, "a")); string(b) != "new" {
		t.Errorf("a = %q, %v", b, err)
	}
	if len(tr.made) != 0 {
		t.Errorf("%d directories are to come", len(tr.made))
	}
}
