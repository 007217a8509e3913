// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/nasty"
)

// Every alteration of the list is planted into a tree with every kind of file,
// and the comparison must report each.
func TestControls(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: device nodes, owners, trusted attributes")
	}
	dir, err := os.MkdirTemp("/var/tmp", "vz7ct-compare-") // tmpfs has no user attributes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := nasty.Make(source); err != nil {
		t.Fatal(err)
	}
	r, err := Controls(source, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Missed {
		t.Errorf("not caught: %s", m)
	}
	for _, m := range r.NotPlanted {
		t.Logf("not planted: %s", m)
	}
	if r.Planted < 20 {
		t.Errorf("%d controls, want 20 at least", r.Planted)
	}
}

func TestContentInHolesAndZeros(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, p := range []string{a, b} {
		if err := os.Mkdir(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The same content, once with zeros written and once with a hole.
	if err := os.WriteFile(filepath.Join(a, "f"), append(make([]byte, 1<<20), "end"...), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(b, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("end"), 1<<20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	ta, err := Scan(a, Options{})
	if err != nil {
		t.Fatal(err)
	}
	tb, err := Scan(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ta["f"].Digest != tb["f"].Digest {
		t.Error("the same content has two digests")
	}
	if ta["f"].Data == tb["f"].Data {
		t.Error("a hole and zeros are not told apart")
	}
}

// Projects are on file systems that have them: of those that this can be tried on
// everywhere XFS alone, since ext4 wants a kernel with CONFIG_QFMT_V2.
func TestProjectControl(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv("VZ7CT_ROOT_TESTS") == "" {
		t.Skip("needs root and VZ7CT_ROOT_TESTS=1: a file system is mounted")
	}
	dir := t.TempDir()
	image, mnt, source := filepath.Join(dir, "image"), filepath.Join(dir, "mnt"), filepath.Join(dir, "source")
	if err := errors.Join(os.Mkdir(mnt, 0o755), os.Mkdir(source, 0o755), os.WriteFile(filepath.Join(source, "f"), []byte("content"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"truncate", "-s", "300M", image}, {"mkfs.xfs", "-q", image}, {"mount", "-o", "loop", image, mnt}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	defer func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	r, err := Controls(source, mnt, Project)
	if err != nil {
		t.Fatal(err)
	}
	if r.Planted != 1 || len(r.Missed)+len(r.NotPlanted) > 0 {
		t.Errorf("Controls = %+v, want one planted and reported", r)
	}
}

// A tree deeper than PATH_MAX is read to its bottom, and what differs there is seen.
func TestDepth(t *testing.T) {
	dir := t.TempDir()
	const depth = 600
	name := strings.Repeat("n", 20)
	err := alone(func() error {
		if err := unix.Chdir(dir); err != nil {
			return err
		}
		for range depth {
			if err := unix.Mkdir(name, 0o755); err != nil {
				return err
			}
			if err := unix.Chdir(name); err != nil {
				return err
			}
		}
		return os.WriteFile("bottom", []byte("x"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Scan(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	bottom := strings.Repeat(name+"/", depth) + "bottom"
	if e := tree[bottom]; len(tree) != depth+2 || e == nil || e.Size != 1 {
		t.Errorf("%d entries, at the bottom %v, want %d and a file of one byte", len(tree), e, depth+2)
	}
	if wd, err := os.Getwd(); err != nil || strings.HasPrefix(wd, dir) {
		t.Errorf("the working directory of the program is %q, %v after a scan", wd, err)
	}
}

// Flags and project ids are read where the file system has them.
func TestFlags(t *testing.T) {
	dir, err := os.MkdirTemp("/var/tmp", "vz7ct-compare-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := setFlags(filepath.Join(dir, "b"), noDump); err != nil {
		t.Skipf("flags on %s: %v", dir, err)
	}
	tree, err := Scan(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := tree["a"].Flags, tree["b"].Flags; a != 0 || b != noDump {
		t.Errorf("flags are %#x and %#x, want 0 and %#x", a, b, noDump)
	}
}

// Two trees of 300,000 entries are compared in the memory of a small machine, and
// one difference among them is found.
func TestManyEntries(t *testing.T) {
	const entries = 300000
	tree := Tree{}
	for n := range entries {
		p := fmt.Sprintf("usr/share/doc/package-%04d/file-%06d", n/100, n)
		tree[p] = &Entry{Path: p, Mode: unix.S_IFREG | 0o644, Size: 1, Mtime: int64(n), Digest: fmt.Sprintf("%064x", n), Data: "0-4096"}
	}
	file := filepath.Join(t.TempDir(), "tree")
	if err := tree.Save(file); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	got["usr/share/doc/package-2999/file-299999"].Mtime++
	if d := Diff(tree, got, nil); len(d) != 1 || d[0].What != Mtime {
		t.Errorf("Diff = %v, want one mtime", d)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 400<<20 {
		t.Errorf("two trees of %d entries take %d MiB, want 400 at most", entries, m.HeapAlloc>>20)
	}
	runtime.KeepAlive(tree)
	runtime.KeepAlive(got)
}

// A file that was cut off is no tree.
func TestLoadOfHalfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tree")
	if err := (Tree{".": {Path: "."}, "a": {Path: "a"}}).Save(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b[:len(b)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	if tree, err := Load(file); err == nil {
		t.Errorf("Load of half a file = %v", tree)
	}
}

// The kinds that are documented cover what they say and nothing beside it.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		d    Difference
		want string
	}{
		{Difference{Path: "a", What: Missing, Type: "file"}, ""},
		{Difference{Path: "a", What: Missing, Type: "socket"}, "sockets"},
		{Difference{Path: "a", What: Extra, Type: "socket"}, ""},
		{Difference{Path: strings.Repeat("a", 1<<16), What: Missing, Type: "file"}, ""},
		{Difference{Path: strings.Repeat("a", 1<<16+1), What: Missing, Type: "file"}, "long paths"},
		{Difference{Path: strings.Repeat("a", 1<<16+1), What: Content, Type: "file"}, ""},
		{Difference{Path: "a", What: Mtime, Type: "file"}, ""},
		{Difference{Path: "a", What: HardLink, Type: "file"}, ""},
		{Difference{Path: "a", What: HardLink, Type: "link"}, "hard links of symbolic links"},
	} {
		got := ""
		if k := KindOf(c.d); k != nil {
			got = k.Name
		}
		if got != c.want {
			t.Errorf("KindOf(%v) = %q, want %q", c.d, got, c.want)
		}
	}
	for _, k := range Kinds {
		if k.Name == "" || k.Reason == "" {
			t.Errorf("a documented kind without name or reason: %+v", k)
		}
	}
}

// The page for operators has the same kinds, in the same order.
func TestKindsAreOnThePage(t *testing.T) {
	b, err := os.ReadFile("../../docs/fidelity.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "<!-- kinds:")
	rows, _, _ := strings.Cut(rest, "<!-- kinds end -->")
	var page, want []string
	for line := range strings.SplitSeq(rows, "\n") {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if strings.HasPrefix(line, "| ") && name != "kind" {
			page = append(page, name)
		}
	}
	for _, k := range Kinds {
		want = append(want, k.Name)
	}
	if !slices.Equal(page, want) {
		t.Errorf("docs/fidelity.md has the kinds %q, want %q", page, want)
	}
}
