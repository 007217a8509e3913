// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/nasty"
)

// describe writes down everything of a tree that a backup must carry, a line for each entry.
func describe(t *testing.T, root string, skip ...string) map[string]string {
	t.Helper()
	m := map[string]string{}
	links := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		if slices.Contains(skip, name) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("mode=%o uid=%d gid=%d rdev=%d", st.Mode, st.Uid, st.Gid, st.Rdev)
		if name != "" { // the root itself gets lost+found and the balloon
			line += fmt.Sprintf(" mtime=%d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			first, seen := links[st.Ino]
			if !seen {
				links[st.Ino] = name
				first = name
			}
			line += fmt.Sprintf(" size=%d nlink=%d first=%q data=%s holes=%v", st.Size, st.Nlink, first, sum(t, path), extents(t, path))
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" to=%q", to)
		}
		m[name] = line + attributes(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	h := sha256.New()
	if st, err := f.Stat(); err == nil && st.Size() >= nasty.Sparse {
		// Only the data: the holes are compared by their places.
		for _, at := range nasty.SparseAt {
			b := make([]byte, 64<<10)
			if _, err := f.ReadAt(b, at); err != nil {
				t.Fatal(err)
			}
			h.Write(b)
		}
	} else if b, err := os.ReadFile(path); err == nil {
		h.Write(b)
	} else {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// extents lists where the data of a large file lies.
func extents(t *testing.T, path string) []int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil || st.Size() < 4<<20 {
		return nil
	}
	var l []int64
	for at := int64(0); ; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err != nil {
			return l
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			t.Fatal(err)
		}
		l, at = append(l, data, hole), hole
	}
}

func attributes(t *testing.T, path string) string {
	t.Helper()
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, b)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for a := range bytes.SplitSeq(b[:n], []byte{0}) {
		if len(a) > 0 {
			names = append(names, string(a))
		}
	}
	slices.Sort(names)
	line := ""
	for _, a := range names {
		v := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, a, v)
		if err != nil {
			t.Fatal(err)
		}
		line += fmt.Sprintf(" %s=%x", a, v[:n])
	}
	return line
}

func differ(t *testing.T, got, want map[string]string) {
	t.Helper()
	bad := 0
	for name, w := range want {
		if g := got[name]; g != w {
			t.Errorf("%q:\n got %s\nwant %s", name, g, w)
			if bad++; bad > 10 {
				t.Fatal("and more")
			}
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%q: not in the tree", name)
		}
	}
}

// A container holds its tree with every owner, mode, time, link, attribute and hole.
func TestCreateKeepsEverything(t *testing.T) {
	needs(t, "mkfs.ext4", "setfattr", "setfacl")
	tree := smallTree(t)
	command(t, patience, binary, "nasty", tree)
	want := describe(t, tree)
	if len(want) < nasty.SmallFiles+100 {
		t.Fatalf("the tree has %d entries only", len(want))
	}
	for _, must := range []string{"nasty/special/socket", "nasty/names/K\xdcBLER.csv", "nasty/names/new\nline", "nasty/links/itself"} {
		if want[must] == "" {
			t.Errorf("the tree lacks %q", must)
		}
	}
	for name, part := range map[string]string{
		"nasty/attr/capable": "security.capability=", "nasty/attr/acl-dir": "system.posix_acl_default=", "nasty/attr/trusted": "trusted.vz7ct=",
		"nasty/links/b/hard3": "nlink=4", "nasty/times/before-1970": "mtime=-6180",
		"nasty/sparse": "holes=[0 65536 314572800 314638336 1073676288 1073741824]",
	} {
		if !strings.Contains(want[name], part) {
			t.Errorf("%s: %s; want %s", name, want[name], part)
		}
	}
	l := up(t)
	for name, source := range map[string]string{"folder": tree, "archive": pack(t, tree)} {
		uuid := ctUUID
		if name == "archive" {
			uuid = "6c9a0000-0000-4000-8000-000000000002"
		}
		l.do("create", l.dir, "--name", name, "--uuid", uuid, "--size", "700M", "--tree", source)
		l.in("prlctl", "mount", name)
		got := l.describe("/vz/root/" + uuid)
		differ(t, got, want)
		l.in("prlctl", "umount", name)
	}
}

// describe looks at a tree inside the node, through the root of a process in it.
func (l *lab) describe(root string) map[string]string {
	l.t.Helper()
	_, holder := l.processes()
	return describe(l.t, filepath.Join("/proc", itoa(holder), "root", root), "lost+found", ".balloon-c3a5ae3d-ce7f-43c4-a1ea-c61e2b4504e8")
}

// pack makes an archive as tree.sh does.
func pack(t *testing.T, tree string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "tree.tar")
	cmd := exec.Command("tar", "--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--sparse",
		"--warning=no-file-ignored", "-C", tree, "-cf", out, ".")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, b)
	}
	return out
}

// The Debian tree, from tree.sh: made once, then taken as it is; a container of it holds all of it.
func TestDebianTree(t *testing.T) {
	needs(t, "mkfs.ext4")
	if !full() {
		t.Skip("VZ7CT_FULL is not 1: makes a Debian tree, which takes a minute and the mirror")
	}
	out := filepath.Join(t.TempDir(), "tree.tar")
	t.Setenv("LAB", binary)
	r := command(t, 10*patience, "./tree.sh", out)
	if r.code != 0 || !strings.Contains(r.out, "entries") {
		t.Fatalf("tree.sh = %d\n%s%s", r.code, r.out, r.err)
	}
	if r := command(t, patience, "./tree.sh", out); r.code != 0 || r.out != "" {
		t.Errorf("a second tree.sh = %d, %q; want nothing done", r.code, r.out)
	}
	dir := t.TempDir()
	r = command(t, 5*patience, "tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-xpf", out, "-C", dir)
	if r.code != 0 {
		t.Fatal(r.err)
	}
	if err := nasty.MakeSockets(dir); err != nil {
		t.Fatal(err)
	}
	want := describe(t, dir)
	if len(want) < 11000 {
		t.Errorf("%d entries, want more than 11,000", len(want))
	}
	l := up(t)
	l.do("create", l.dir, "--name", "debian", "--uuid", ctUUID, "--size", "2G", "--tree", out)
	l.in("prlctl", "mount", "debian")
	got := l.describe("/vz/root/" + ctUUID)
	differ(t, got, want)
	l.in("prlctl", "umount", "debian")
	l.do("check", l.dir)
}
