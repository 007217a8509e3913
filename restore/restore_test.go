// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree opens a tree below a new directory.
func tree(t *testing.T) (*Tree, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := Open(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.root.Close() })
	return tr, dir
}

// put restores one item with content.
func put(tr *Tree, it Item, content string) error {
	f, err := tr.Create(it)
	if err != nil {
		return err
	}
	if f.Fd() >= 0 {
		if _, err := unix.Write(f.Fd(), []byte(content)); err != nil {
			f.Abort()
			return err
		}
	}
	return f.Finish()
}

// closed closes a tree and returns all that it tells.
func closed(tr *Tree) error {
	var errs []error
	err := tr.Close(func(_ string, err error, _ bool) { errs = append(errs, err) })
	return errors.Join(append(errs, err)...)
}

func file(path string) Item {
	return Item{Path: path, Mode: unix.S_IFREG | 0o644, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Mtime: 1e9, Replace: Always}
}

func dir(path string) Item {
	it := file(path)
	it.Mode = unix.S_IFDIR | 0o755
	return it
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st
}

func TestEveryTypeAndItsAttributes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: makes device nodes and files of other owners")
	}
	tr, root := tree(t)
	for _, it := range []Item{
		{Path: "d/reg", Mode: unix.S_IFREG | 0o6711},
		{Path: "d/link", Mode: unix.S_IFLNK | 0o777, Link: "/etc/passwd"},
		{Path: "d/dangling", Mode: unix.S_IFLNK | 0o777, Link: "K\xdcBLER"},
		{Path: "d/fifo", Mode: unix.S_IFIFO | 0o622},
		{Path: "d/chr", Mode: unix.S_IFCHR | 0o660, Rdev: unix.Mkdev(1, 3)},
		{Path: "d/blk", Mode: unix.S_IFBLK | 0o660, Rdev: unix.Mkdev(7, 200)},
		{Path: "d/sock", Mode: unix.S_IFSOCK | 0o755},
		{Path: "d/sub", Mode: unix.S_IFDIR | 0o1777},
		{Path: "d", Mode: unix.S_IFDIR | 0o2500},
		{Path: "", Mode: unix.S_IFDIR | 0o751},
	} {
		it.UID, it.GID, it.Atime, it.Mtime, it.Replace = 1234, 5678, -1000, 5e9, Always
		f, err := tr.Create(it)
		must(t, err)
		must(t, f.Finish())
	}
	must(t, closed(tr))
	for path, mode := range map[string]uint32{"d/reg": 0o106711, "d/link": 0o120777, "d/fifo": 0o010622, "d/chr": 0o020660,
		"d/blk": 0o060660, "d/sock": 0o140755, "d/sub": 0o041777, "d": 0o042500, "": 0o040751} {
		st := stat(t, filepath.Join(root, path))
		if st.Mode != mode || st.Uid != 1234 || st.Gid != 5678 || st.Mtim.Sec != 5e9 || st.Atim.Sec != -1000 {
			t.Errorf("%q: mode %o owner %d:%d mtime %d atime %d, want %o 1234:5678 5000000000 -1000",
				path, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Atim.Sec, mode)
		}
	}
	if st := stat(t, filepath.Join(root, "d/blk")); st.Rdev != unix.Mkdev(7, 200) {
		t.Errorf("blk: rdev %x", st.Rdev)
	}
	if l, _ := os.Readlink(filepath.Join(root, "d/dangling")); l != "K\xdcBLER" {
		t.Errorf("link target %q", l)
	}
}

func TestXattrsOfEveryType(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: trusted attributes")
	}
	tr, root := tree(t)
	for path, mode := range map[string]uint32{"reg": unix.S_IFREG, "link": unix.S_IFLNK, "fifo": unix.S_IFIFO, "dir": unix.S_IFDIR, "chr": unix.S_IFCHR} {
		it := Item{Path: path, Mode: mode | 0o644, Link: "x", Replace: Always}
		f, err := tr.Create(it)
		must(t, err)
		f.SetXattr("trusted.k", []byte("v\x00w"))
		if err := f.Finish(); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		buf := make([]byte, 10)
		n, err := unix.Lgetxattr(filepath.Join(root, path), "trusted.k", buf)
		if err != nil || string(buf[:n]) != "v\x00w" {
			t.Errorf("%s: trusted.k = %q, %v", path, buf[:max(n, 0)], err)
		}
	}
}

// An access list that the directory would hand down must not stay on a file
// that had none; one that the file had is set after the mode.
func TestAccessLists(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: owners")
	}
	tr, root := tree(t)
	// version 2; user::rwx user:7:rw- group::r-x mask::rwx other::r--
	acl := func(mask byte) []byte {
		return []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 6, 0, 7, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
			0x10, 0, mask, 0, 255, 255, 255, 255, 0x20, 0, 4, 0, 255, 255, 255, 255}
	}
	must(t, put(tr, dir("d"), ""))
	if err := unix.Setxattr(filepath.Join(root, "d"), "system.posix_acl_default", acl(7), 0); err != nil {
		t.Skipf("no POSIX ACLs in %s: %v", root, err)
	}
	must(t, put(tr, file("d/plain"), ""))
	if _, err := unix.Lgetxattr(filepath.Join(root, "d/plain"), "system.posix_acl_access", nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("an inherited list stayed: %v", err)
	}
	if st := stat(t, filepath.Join(root, "d/plain")); st.Mode&0o777 != 0o644 {
		t.Errorf("mode %o, want 644", st.Mode&0o777)
	}
	it := file("d/listed")
	it.Mode = unix.S_IFREG | 0o764
	f, err := tr.Create(it)
	must(t, err)
	f.SetXattr("system.posix_acl_access", acl(6))
	must(t, f.Finish())
	buf := make([]byte, 100)
	n, err := unix.Lgetxattr(filepath.Join(root, "d/listed"), "system.posix_acl_access", buf)
	if err != nil || !bytes.Equal(buf[:n], acl(6)) {
		t.Errorf("list = %v, %v", buf[:max(n, 0)], err)
	}
	if st := stat(t, filepath.Join(root, "d/listed")); st.Mode&0o777 != 0o764 {
		t.Errorf("mode %o, want 764", st.Mode&0o777)
	}
}

func TestSyncKnowsEveryFileSystem(t *testing.T) {
	tr, _ := tree(t)
	must(t, put(tr, file("a/b"), "x"))
	if n := len(tr.mounts); n != 1 {
		t.Errorf("%d file systems, want the root's alone", n)
	}
	must(t, tr.Sync())
}

func TestNoLinks(t *testing.T) {
	tr, root := tree(t)
	tr.NoLinks = true
	must(t, os.Mkdir(filepath.Join(root, "real"), 0o755))
	must(t, os.Symlink("real", filepath.Join(root, "link")))
	if err := put(tr, file("link/x"), "x"); err == nil {
		t.Error("Create(link/x) = nil, want an error: the way leads over a link")
	}
	must(t, put(tr, file("real/x"), "x"))
}

func TestHardLinks(t *testing.T) {
	tr, root := tree(t)
	must(t, put(tr, file("a/first"), "x"))
	second := Item{Path: "b/second", First: "a/first", Replace: Always}
	for range 2 { // the second time over itself
		must(t, put(tr, second, ""))
	}
	must(t, os.WriteFile(filepath.Join(root, "b/old"), []byte("old"), 0o644))
	second.Path = "b/old"
	must(t, put(tr, second, ""))
	if st := stat(t, filepath.Join(root, "a/first")); st.Nlink != 3 {
		t.Errorf("%d links, want 3", st.Nlink)
	}
	second.First = "a/none"
	if err := put(tr, second, ""); err == nil || !strings.Contains(err.Error(), "restore that one too") {
		t.Errorf("link to what is not there = %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(root, "b/.vz7ct*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestReplace(t *testing.T) {
	for _, tt := range []struct {
		how      Replace
		existing int64
		want     string
	}{
		{Always, 2e9, "new"},
		{IfNewer, 2e9, "old"},
		{IfNewer, 1e9, "old"},
		{IfNewer, 5e8, "new"},
		{IfOlder, 2e9, "new"},
		{IfOlder, 1e9, "old"},
		{IfOlder, 5e8, "old"},
		{Never, 5e8, "old"},
	} {
		tr, root := tree(t)
		p := filepath.Join(root, "f")
		must(t, os.WriteFile(p, []byte("old"), 0o600))
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{}, {Sec: tt.existing}}, 0))
		it := file("f")
		it.Replace = tt.how
		err := put(tr, it, "new")
		if got, _ := os.ReadFile(p); string(got) != tt.want || (tt.want == "old") != errors.Is(err, ErrSkipped) {
			t.Errorf("replace %c over mtime %d: %q, %v, want %q", tt.how, tt.existing, got, err, tt.want)
		}
	}
}

// A further name of a file counts as the file does: it would take away what is newer.
func TestReplaceOfLinks(t *testing.T) {
	for how, want := range map[Replace]string{Always: "first", IfNewer: "other", IfOlder: "first", Never: "other"} {
		tr, root := tree(t)
		must(t, put(tr, file("first"), "first"))
		p := filepath.Join(root, "second")
		must(t, os.WriteFile(p, []byte("other"), 0o600)) // just now: newer than the backup
		it := file("second")
		it.First, it.Replace = "first", how
		err := put(tr, it, "")
		if got, _ := os.ReadFile(p); string(got) != want || (want == "other") != errors.Is(err, ErrSkipped) {
			t.Errorf("replace %c over a newer name: %q, %v, want %q", how, got, err, want)
		}
	}
}

// Directories come after what is in them. One that was made for that was not there
// before, whatever Replace says; one that was there is left as it is.
func TestReplaceOfDirectories(t *testing.T) {
	for how, replaced := range map[Replace]bool{Always: true, IfNewer: false, IfOlder: true, Never: false} {
		tr, root := tree(t)
		must(t, os.Mkdir(filepath.Join(root, "there"), 0o711))
		for _, name := range []string{"made", "there"} {
			f, d := file(name+"/x/f"), dir(name)
			d.Mode, d.Replace = unix.S_IFDIR|0o750, how
			must(t, put(tr, f, "new"))
			if err := put(tr, d, ""); err != nil && !errors.Is(err, ErrSkipped) {
				t.Error(err)
			}
		}
		if got := stat(t, filepath.Join(root, "made")).Mode & 0o777; got != 0o750 {
			t.Errorf("replace %c: a directory that was made has mode %o", how, got)
		}
		if got := stat(t, filepath.Join(root, "there")).Mode&0o777 == 0o750; got != replaced {
			t.Errorf("replace %c: a directory that was there is replaced: %v, want %v", how, got, replaced)
		}
		again := dir("made")
		again.Mode, again.Replace = unix.S_IFDIR|0o700, Never
		if err := put(tr, again, ""); !errors.Is(err, ErrSkipped) {
			t.Errorf("replace %c: it comes twice: %v", how, err)
		}
		if len(tr.made) != 2 {
			t.Errorf("replace %c: %d directories to come, want x twice", how, len(tr.made))
		}
	}
}

func TestTypesInTheWay(t *testing.T) {
	tr, root := tree(t)
	must(t, os.Mkdir(filepath.Join(root, "empty"), 0o755))
	must(t, os.MkdirAll(filepath.Join(root, "full/x"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o644))
	must(t, os.Mkdir(filepath.Join(root, "real"), 0o755))
	must(t, os.Symlink("real", filepath.Join(root, "todir")))
	must(t, os.Symlink("nowhere", filepath.Join(root, "broken")))
	if err := put(tr, file("empty"), "x"); err != nil {
		t.Errorf("file over an empty directory = %v", err)
	}
	if err := put(tr, file("full"), "x"); !errors.Is(err, ErrInTheWay) {
		t.Errorf("file over a full directory = %v, want ErrInTheWay", err)
	}
	if err := put(tr, dir("file"), ""); err != nil {
		t.Errorf("directory over a file = %v", err)
	}
	if err := put(tr, dir("todir"), ""); !errors.Is(err, ErrKeptLink) {
		t.Errorf("directory over a link to one = %v, want ErrKeptLink", err)
	}
	if err := put(tr, dir("broken"), ""); err != nil {
		t.Errorf("directory over a broken link = %v", err)
	}
	// Content goes where the link leads, as it would for a process in the tree.
	must(t, put(tr, file("todir/f"), "x"))
	if _, err := os.Stat(filepath.Join(root, "real/f")); err != nil {
		t.Errorf("file below a kept link: %v", err)
	}
}

func TestAbortLeavesWhatWasThere(t *testing.T) {
	tr, root := tree(t)
	must(t, os.WriteFile(filepath.Join(root, "f"), []byte("old"), 0o600))
	must(t, os.Mkdir(filepath.Join(root, "d"), 0o700))
	for _, it := range []Item{file("f"), file("new"), dir("d"), dir("newdir")} {
		f, err := tr.Create(it)
		must(t, err)
		f.Abort()
	}
	var got []string
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != "[d f]" {
		t.Errorf("after Abort: %v, want [d f]", got)
	}
	if b, _ := os.ReadFile(filepath.Join(root, "f")); string(b) != "old" {
		t.Errorf("f = %q, want its old content", b)
	}
}

func TestDirectoryTimesAreSetAtTheEnd(t *testing.T) {
	tr, root := tree(t)
	must(t, put(tr, dir("d"), ""))
	must(t, put(tr, file("d/later"), "x"))
	must(t, closed(tr))
	if st := stat(t, filepath.Join(root, "d")); st.Mtim.Sec != 1e9 {
		t.Errorf("mtime %d, want 1000000000", st.Mtim.Sec)
	}
}

func TestDeepAndLong(t *testing.T) {
	tr, root := tree(t)
	long := strings.Repeat("n", 255)
	deep := strings.TrimSuffix(strings.Repeat(long+"/", 100), "/") // 25 KiB
	must(t, put(tr, file(deep+"/a"), "a"))
	must(t, put(tr, file(deep+"/b"), "b"))
	must(t, put(tr, Item{Path: "link", First: deep + "/a", Replace: Always}, ""))
	must(t, put(tr, dir(deep), ""))
	must(t, closed(tr))
	if b, err := os.ReadFile(filepath.Join(root, "link")); string(b) != "a" {
		t.Errorf("link = %q, %v", b, err)
	}
	if n := len(tr.last); n != 0 {
		t.Errorf("%d directories open after Close", n)
	}
}
