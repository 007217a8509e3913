// SPDX-License-Identifier: AGPL-3.0-only

package nasty

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/compare"
)

// disk is a file system, mounted until the test ends.
func disk(t *testing.T, mkfs ...string) string {
	t.Helper()
	if os.Getuid() != 0 || os.Getenv("VZ7CT_ROOT_TESTS") == "" {
		t.Skip("needs root and VZ7CT_ROOT_TESTS=1: a file system is mounted")
	}
	dir := t.TempDir()
	image, mnt := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	for _, argv := range [][]string{
		{"truncate", "-s", "300M", image}, append(mkfs, image), {"mkdir", mnt}, {"mount", "-o", "loop", image, mnt},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return mnt
}

// What MakeFull promises is there, by the judge's own eyes.
func TestMakeFull(t *testing.T) {
	mnt := disk(t, "mkfs.ext4", "-q", "-b4096", "-N", "8000")
	if err := MakeFull(mnt, Small); err != nil {
		t.Fatal(err)
	}
	if err := MakeTooLong(mnt); err != nil {
		t.Fatal(err)
	}
	tree, err := compare.Scan(filepath.Join(mnt, FullName), compare.Options{})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	longest := map[string]int{}
	for p := range tree {
		top, _, _ := strings.Cut(p, "/")
		count[top]++
		longest[top] = max(longest[top], len(p))
	}
	for top, want := range map[string]int{"names": Small.Names + 3, "crowd": Small.Entries + 1, "deep": Small.Depth + 4, DeepLong: Small.Depth + 4} {
		if count[top] != want {
			t.Errorf("%s has %d entries, want %d", top, count[top], want)
		}
	}
	if longest["deep"] >= 4096-len("/run/somewhere/srv/"+FullName) || longest[DeepLong] < 2*4096 || longest[TooLong] <= 1<<16 {
		t.Errorf("longest paths: %d, %d and %d bytes", longest["deep"], longest[DeepLong], longest[TooLong])
	}
	if g := tree["names/00299"]; g == nil || g.Group != "names/00000" {
		t.Errorf("names/00299 is %+v, want one of many names", g)
	}
	for p, want := range map[string]string{SparseFar: "0-8192,536883200-536891392,1073733632-1073741824", "hole-at-end": "0-8192", Unread: "0-1048576", "small-hole": "4096-8192"} {
		if got := tree[p].Data; got != want {
			t.Errorf("%s has data at %s, want %s", p, got, want)
		}
	}
	for p, want := range map[string]uint32{
		"flags/immutable": flagImmutable, "flags/append-only-again": flagAppend, "flags/immutable-dir": flagImmutable,
		"flags/append-dir": flagAppend, "flags/several": flagNoAtime | flagSync | flagNoDump,
	} {
		if got := tree[p].Flags; got != want {
			t.Errorf("flags of %s are %#x, want %#x", p, got, want)
		}
	}
	size := 0
	for n, v := range tree["attr/full"].Xattrs {
		size += len(n) + len(v)
	}
	if size < 4000 {
		t.Errorf("the attributes of attr/full have %d bytes, want a full block", size)
	}
	if n := len(tree["attr/acl-30"].Xattrs["system.posix_acl_access"]); n != 4+30*8 {
		t.Errorf("the long access list has %d bytes", n)
	}
	if e := tree["attr/setuid-capable"]; e.Mode&unix.S_ISUID == 0 || e.Xattrs["security.capability"] == "" {
		t.Errorf("attr/setuid-capable is %+v", e)
	}
	for p, want := range map[string]int64{"times/first": -1 << 31, "times/last": 1<<34 - 1<<31 - 1, "times/first-dir": -1 << 31, "times/last-link": 1<<34 - 1<<31 - 1} {
		if got := tree[p].Mtime; got != want {
			t.Errorf("mtime of %s is %d, want %d", p, got, want)
		}
	}
}
