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

// A name may come twice in one restore, from a full backup and a later one, with other
// flags: those of the later one count, wherever it is restored to.
func TestFlagsOfWhatComesTwice(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: locked files")
	}
	disk := loopfs.Ext4(t)
	sets := map[string]uint32{"none": 0, "immutable": chattr.Immutable, "append": chattr.Append, "nodump": noDump, "both": chattr.Immutable | noDump}
	n := 0
	for where, set := range map[string]func(*Tree){"own": func(tr *Tree) { tr.Own = true }, "stopped": func(*Tree) {}, "running": func(tr *Tree) { tr.Shared = true }} {
		for first, old := range sets {
			for second, flags := range sets {
				n++
				root := filepath.Join(disk, where, first, second)
				must(t, os.MkdirAll(root, 0o755))
				must(t, os.Mkdir(filepath.Join(root, "there"), 0o700))
				setFlagsOf(t, filepath.Join(root, "there"), chattr.Attributes{Flags: 0x80})
				tr, _ := treeAt(t, root)
				set(tr)
				linked := file("linked")
				linked.Linked = true
				for _, now := range []struct {
					flags   uint32
					mtime   int64
					content string
				}{{old, 1e9, "old"}, {flags, 2e9, "new"}} {
					for _, it := range []Item{file("f"), linked, {Path: "further", First: "linked", Linked: true, Replace: Always, Mode: linked.Mode}, file("d/x"), dir("d"), dir("there"), dir("")} {
						it.Mtime = now.mtime
						a := chattr.Attributes{Flags: now.flags}
						if it.Path == "d/x" || it.Path == "" || it.First != "" {
							a.Flags = 0
						}
						if it.Path == "there" {
							a.Flags |= 0x80
						}
						if err := flagged(tr, it, now.content, a); err != nil {
							t.Errorf("%s, %s then %s: %q = %v", where, first, second, it.Path, err)
						}
					}
				}
				if err := closed(tr); err != nil {
					t.Errorf("%s, %s then %s: Close = %v", where, first, second, err)
				}
				for path, want := range map[string]uint32{"f": flags, "linked": flags, "further": flags, "d": flags, "d/x": 0, "there": flags | 0x80, "": 0} {
					p := filepath.Join(root, path)
					if got := flagsOf(t, p).Flags; got != want {
						t.Errorf("%s, %s then %s: %q has %s, want %s", where, first, second, path, chattr.Words(got), chattr.Words(want))
					}
					st := stat(t, p)
					b, _ := os.ReadFile(p)
					if st.Mtim.Sec != 2e9 || st.Mode&unix.S_IFMT == unix.S_IFREG && string(b) != "new" {
						t.Errorf("%s, %s then %s: %q is of %d, %q", where, first, second, path, st.Mtim.Sec, b)
					}
				}
				if a, b := stat(t, filepath.Join(root, "linked")), stat(t, filepath.Join(root, "further")); a.Ino != b.Ino || a.Nlink != 2 {
					t.Errorf("%s, %s then %s: %d links", where, first, second, a.Nlink)
				}
				unlock(t, root)
			}
		}
	}
}

// The project of the later record counts; where it has none, that of the place does.
func TestProjectsOfWhatComesTwice(t *testing.T) {
	tr, root := treeAt(t, loopfs.Projects(t))
	setFlagsOf(t, root, chattr.Attributes{Flags: inherit, Project: 7})
	for _, a := range []chattr.Attributes{{Project: 5, Flags: chattr.Immutable}, {}} {
		must(t, flagged(tr, dir("back"), "", a))
		must(t, flagged(tr, file("back/f"), "", chattr.Attributes{Project: a.Project}))
	}
	for _, a := range []chattr.Attributes{{Project: 5, Flags: chattr.Immutable}, {Project: 6, Flags: chattr.Append}} {
		must(t, flagged(tr, dir("to"), "", a))
	}
	must(t, closed(tr))
	for path, want := range map[string]chattr.Attributes{"back": {Flags: inherit, Project: 7}, "back/f": {Project: 7}, "to": {Flags: inherit | chattr.Append, Project: 6}} {
		if got := flagsOf(t, filepath.Join(root, path)); got != want {
			t.Errorf("%s: flags %s project %d, want %s and %d", path, chattr.Words(got.Flags), got.Project, chattr.Words(want.Flags), want.Project)
		}
	}
	unlock(t, root)
}

// The flags of more files than are kept for the end come at once.
func TestFlagsThatAreNotKept(t *testing.T) {
	tr, root := flagTree(t)
	for n := range maxMade {
		tr.held[uint64(n)] = n
	}
	linked := file("linked")
	linked.Linked = true
	must(t, flagged(tr, linked, "x", chattr.Attributes{Flags: chattr.Immutable}))
	must(t, flagged(tr, file("f"), "x", chattr.Attributes{Flags: chattr.Append}))
	if got := flagsOf(t, filepath.Join(root, "f")).Flags; got != chattr.Append {
		t.Errorf("f has %s before the end", chattr.Words(got))
	}
	must(t, closed(tr))
	if got := flagsOf(t, filepath.Join(root, "linked")).Flags; got != chattr.Immutable {
		t.Errorf("linked has %s", chattr.Words(got))
	}
	unlock(t, root)
}

// A directory that comes twice has the attributes of the later record alone.
func TestAttributesOfADirectoryThatComesTwice(t *testing.T) {
	tr, root := tree(t)
	tr.Own = true
	for n, names := range [][]string{{"user.old", "user.both", "trusted.old"}, {"user.both", "user.new"}} {
		it := dir("d")
		it.Mode, it.Mtime = unix.S_IFDIR|0o555, 1e9+int64(n)
		f, err := tr.Create(it)
		must(t, err)
		for _, name := range names {
			if strings.HasPrefix(name, "user.") || os.Getuid() == 0 {
				f.SetXattr(name, []byte{byte(n)})
			}
		}
		must(t, f.Finish())
		if os.Getuid() == 0 { // others cannot write to such a directory
			must(t, put(tr, file("d/f"), "x"))
		}
	}
	must(t, closed(tr))
	st := stat(t, filepath.Join(root, "d"))
	list := make([]byte, 1024)
	k, err := unix.Listxattr(filepath.Join(root, "d"), list)
	must(t, err)
	for name, want := range map[string]bool{"user.old": false, "trusted.old": false, "user.both": true, "user.new": true} {
		if strings.Contains(string(list[:k]), name) != want {
			t.Errorf("it has the attributes %q", list[:k])
		}
	}
	if st.Mode&0o7777 != 0o555 || st.Mtim.Sec != 1e9+1 {
		t.Errorf("mode %o, of %d", st.Mode, st.Mtim.Sec)
	}
}

// A group of hard links is sent again under another first name: all are one file, and what
// is not sent again stays what it was.
func TestHardLinksAcrossJobs(t *testing.T) {
	for where, set := range map[string]func(*Tree){"own": func(tr *Tree) { tr.Own = true }, "stopped": func(*Tree) {}, "running": func(tr *Tree) { tr.Shared = true }} {
		tr, root := tree(t)
		set(tr)
		group := func(first string, others ...string) {
			it := file(first)
			it.Linked = true
			must(t, put(tr, it, first))
			for _, o := range others {
				link := it
				link.Path, link.First = o, first
				must(t, put(tr, link, ""))
			}
		}
		group("A", "B", "d/S")
		group("C", "A", "B")
		ino := func(name string) uint64 { return stat(t, filepath.Join(root, name)).Ino }
		if ino("A") != ino("C") || ino("B") != ino("C") || ino("d/S") == ino("C") || stat(t, filepath.Join(root, "C")).Nlink != 3 {
			t.Errorf("%s: A, B, C are %d, %d, %d", where, ino("A"), ino("B"), ino("C"))
		}
		must(t, put(tr, file("B"), "alone"))
		for name, want := range map[string]string{"A": "C", "B": "alone", "C": "C", "d/S": "A"} {
			if b, err := os.ReadFile(filepath.Join(root, name)); string(b) != want || err != nil {
				t.Errorf("%s: %s = %q, %v, want %q", where, name, b, err, want)
			}
		}
		if st := stat(t, filepath.Join(root, "B")); st.Nlink != 1 {
			t.Errorf("%s: B has %d links", where, st.Nlink)
		}
		must(t, closed(tr))
	}
}

// A further name is not made of an older file, of which the newer one did not come whole.
func TestHardLinkToWhatDidNotCome(t *testing.T) {
	tr, root := tree(t)
	first := file("A")
	first.Linked, first.Size = true, 3
	must(t, put(tr, first, "old"))
	first.Size, first.Mtime = 5, 2e9
	f, err := tr.Create(first)
	must(t, err)
	f.Abort()
	link := first
	link.Path, link.First = "B", "A"
	if err := put(tr, link, ""); err == nil || !strings.Contains(err.Error(), "another file than the one that was saved") {
		t.Errorf("B = %v", err)
	}
	must(t, put(tr, first, "newer"))
	link.Mtime++ // as if that time could not be set
	must(t, put(tr, link, ""))
	must(t, closed(tr))
	if b, err := os.ReadFile(filepath.Join(root, "B")); string(b) != "newer" {
		t.Errorf("B = %q, %v", b, err)
	}
}

// The same where the newer one was not even begun.
func TestHardLinkToWhatWasSkipped(t *testing.T) {
	tr, _ := tree(t)
	first := file("A")
	first.Linked, first.Size = true, 3
	must(t, put(tr, first, "old"))
	first.Size, first.Replace = 5, Never
	if err := put(tr, first, "newer"); !errors.Is(err, ErrSkipped) {
		t.Errorf("A = %v", err)
	}
	link := first
	link.Path, link.First = "B", "A"
	if err := put(tr, link, ""); err == nil || !strings.Contains(err.Error(), "another file than the one that was saved") {
		t.Errorf("B = %v", err)
	}
	must(t, closed(tr))
}

// In a tree of one's own a first name is never found over a link, which is older.
func TestHardLinkOverAnOlderLink(t *testing.T) {
	tr, root := tree(t)
	tr.Own = true
	must(t, put(tr, file("D/A"), "another"))
	must(t, put(tr, kind("L", unix.S_IFLNK, "D"), ""))
	it := file("B")
	it.First = "L/A" // which was not selected
	if err := put(tr, it, ""); err == nil || !strings.Contains(err.Error(), "it is a hard link to L/A, which is not there: restore that one too, from the same job") {
		t.Errorf("B = %v", err)
	}
	if _, err := os.Lstat(filepath.Join(root, "B")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("B: %v", err)
	}
	must(t, closed(tr))
}

// The time of a directory is given to nothing that has taken its place.
func TestTimeOfADirectoryThatIsGone(t *testing.T) {
	tr, root := tree(t)
	tr.Shared = true
	must(t, put(tr, dir("d"), ""))
	must(t, os.Mkdir(filepath.Join(root, "other"), 0o755))
	must(t, os.Rename(filepath.Join(root, "d"), filepath.Join(root, "away")))
	must(t, os.Symlink("other", filepath.Join(root, "d")))
	if err := closed(tr); err == nil || !strings.Contains(err.Error(), "times of directory d: something else is there now") {
		t.Errorf("Close = %v", err)
	}
	if st := stat(t, filepath.Join(root, "other")); st.Mtim.Sec == 1e9 {
		t.Error("another directory got its time")
	}
}
