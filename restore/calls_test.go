// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/openfds"
)

func openFiles(t *testing.T, root string) int {
	t.Helper()
	return len(openfds.Below(t, root))
}

// The directory of an item is the tree's own: it stays open while the tree goes elsewhere
// for that item, and is closed after that.
func TestLentDirectories(t *testing.T) {
	tr, root := tree(t)
	tr.Own = true
	must(t, put(tr, file("elsewhere/first"), "first"))
	tr.Leave()
	before := openFiles(t, root)
	it := file("a/b/other")
	it.First = "elsewhere/first"
	must(t, put(tr, it, ""))
	must(t, put(tr, file("a/b/c/d/old"), "old"))
	must(t, put(tr, file("a/b/c"), "instead of a directory"))
	it.First = "nowhere/first"
	if err := put(tr, it, ""); err == nil {
		t.Error("a link to nothing was made")
	}
	kept := file("elsewhere/first")
	kept.Replace = Never
	if err := put(tr, kept, ""); !errors.Is(err, ErrSkipped) {
		t.Errorf("Create(%s) = %v, want %v", kept.Path, err, ErrSkipped)
	}
	f, err := tr.Create(file("a/given/up"))
	must(t, err)
	f.Abort()
	tr.Leave()
	if n := openFiles(t, root) - before; n != 0 {
		t.Errorf("%d descriptors stay open", n)
	}
	for path, want := range map[string]string{"a/b/other": "first", "a/b/c": "instead of a directory"} {
		if got, err := os.ReadFile(filepath.Join(root, path)); string(got) != want {
			t.Errorf("%s = %q, %v, want %q", path, got, err, want)
		}
	}

	// One that is lent while the tree leaves it, and a second one beside it.
	f, err = tr.Create(file("a/b/one"))
	must(t, err)
	g, err := tr.Create(file("a/b/two"))
	must(t, err)
	tr.Leave()
	if n := openFiles(t, root) - before; n != 4 {
		t.Errorf("%d descriptors are open, want two files and two directories: what is counted is not what it should be", n)
	}
	must(t, g.Finish())
	must(t, f.Finish())
	if n := openFiles(t, root) - before; n != 0 {
		t.Errorf("%d descriptors stay open after two at a time", n)
	}
	must(t, closed(tr))
}

// What a new file gets from its directory is not what it is to have.
func TestInheritedOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: owners")
	}
	tr, root := tree(t)
	must(t, put(tr, dir("d"), ""))
	must(t, os.Chown(filepath.Join(root, "d"), 0, 77))
	must(t, unix.Chmod(filepath.Join(root, "d"), 0o2777))
	for i, want := range []struct {
		uid, gid, mode uint32
	}{{0, 0, 0o644}, {0, 77, 0o644}, {8, 77, 0o644}, {8, 9, 0o6755}, {0, 0, 0o6755}, {0, 77, 0o2755}} {
		for _, kind := range []uint32{unix.S_IFREG, unix.S_IFDIR, unix.S_IFIFO} {
			it := file(fmt.Sprintf("d/%d-%o", i, kind))
			it.UID, it.GID, it.Mode = want.uid, want.gid, kind|want.mode
			must(t, put(tr, it, ""))
			if st := stat(t, filepath.Join(root, it.Path)); st.Uid != want.uid || st.Gid != want.gid || st.Mode != it.Mode {
				t.Errorf("%s: owner %d, group %d, mode %o, want %d, %d, %o", it.Path, st.Uid, st.Gid, st.Mode, want.uid, want.gid, it.Mode)
			}
		}
	}
	must(t, closed(tr))
}

// Access lists are looked for by descriptor and by name.
func TestInheritedListsOfEveryType(t *testing.T) {
	tr, root := tree(t)
	list := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 6, 0, 7, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
		0x10, 0, 7, 0, 255, 255, 255, 255, 0x20, 0, 4, 0, 255, 255, 255, 255}
	must(t, put(tr, dir("d"), ""))
	if err := unix.Setxattr(filepath.Join(root, "d"), "system.posix_acl_default", list, 0); err != nil {
		t.Skipf("no POSIX ACLs in %s: %v", root, err)
	}
	// The directory does hand its list down.
	must(t, os.WriteFile(filepath.Join(root, "d/by-hand"), nil, 0o600))
	if _, err := unix.Lgetxattr(filepath.Join(root, "d/by-hand"), "system.posix_acl_access", nil); err != nil {
		t.Fatalf("nothing is inherited there: %v", err)
	}
	for _, kind := range []uint32{unix.S_IFREG, unix.S_IFDIR, unix.S_IFIFO} {
		it := file(fmt.Sprintf("d/%o", kind))
		it.Mode = kind | 0o750
		must(t, put(tr, it, ""))
		for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
			if _, err := unix.Lgetxattr(filepath.Join(root, it.Path), name, nil); !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
				t.Errorf("%s of %s: %v, want none", name, it.Path, err)
			}
		}
		if st := stat(t, filepath.Join(root, it.Path)); st.Mode != it.Mode {
			t.Errorf("%s: mode %o, want %o", it.Path, st.Mode, it.Mode)
		}
	}
	must(t, closed(tr))
}

// The second name of two restored files is refused or replaced as Replace says, though a
// file is made without looking first.
func TestNamesThatAreTaken(t *testing.T) {
	for _, tt := range []struct {
		replace Replace
		want    string
		err     error
	}{{Always, "new", nil}, {Never, "old", ErrSkipped}, {IfNewer, "old", ErrSkipped}} {
		tr, root := tree(t)
		must(t, put(tr, file("x"), "old"))
		must(t, os.Symlink("old", filepath.Join(root, "l")))
		it := file("x")
		it.Replace = tt.replace
		if err := put(tr, it, "new"); !errors.Is(err, tt.err) {
			t.Errorf("replace %c: %v, want %v", tt.replace, err, tt.err)
		}
		link := it
		link.Path, link.Mode, link.Link = "l", unix.S_IFLNK|0o777, "new"
		if tt.replace == IfNewer {
			link.Mtime = 1
		}
		if err := put(tr, link, ""); !errors.Is(err, tt.err) {
			t.Errorf("replace %c of a link: %v, want %v", tt.replace, err, tt.err)
		}
		if got, err := os.ReadFile(filepath.Join(root, "x")); string(got) != tt.want {
			t.Errorf("replace %c: x = %q, %v, want %q", tt.replace, got, err, tt.want)
		}
		if got, err := os.Readlink(filepath.Join(root, "l")); got != tt.want {
			t.Errorf("replace %c: l leads to %q, %v, want %q", tt.replace, got, err, tt.want)
		}
		must(t, closed(tr))
	}
}

// BenchmarkSmallFiles restores files of 2 KiB, 50 in a directory.
func BenchmarkSmallFiles(b *testing.B) {
	for _, shared := range []bool{false, true} {
		b.Run(fmt.Sprintf("shared=%v", shared), func(b *testing.B) {
			root, err := os.Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			tr, err := Open(root, b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			tr.Shared, tr.Own = shared, !shared
			content := string(bytes.Repeat([]byte("x"), 2048))
			b.ResetTimer()
			for n := range b.N {
				if err := put(tr, file(fmt.Sprintf("usr/share/%d/%d", n/50, n)), content); err != nil {
					b.Fatal(err)
				}
			}
			if err := closed(tr); err != nil {
				b.Fatal(err)
			}
		})
	}
}
