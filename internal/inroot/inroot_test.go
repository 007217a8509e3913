// SPDX-License-Identifier: AGPL-3.0-only

package inroot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/openfds"
)

func tree(t testing.TB) (*os.File, string) {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for _, d := range []string{"root/a/b", "root/etc", "outside"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"root/a/f": "f", "root/etc/passwd": "inside", "outside/secret": "secret"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"abs": "/etc/passwd", "rel": "a/b", "up": "../../../../../../etc/passwd", "out": dir + "/outside/secret", "out2": "../outside/secret",
		"a/b/back": "../../etc", "loop": "loop", "ring1": "ring2", "ring2": "ring1", "todir": "/a", "chain": "todir/b/back/passwd", "proc": "/proc/self/root",
		"slash": "a/f/",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, root
}

// all lets everything in; kernel and walk are the two ways without a gate.
func all(*os.File) error { return nil }

func kernel(root *os.File, path string) (*os.File, error) { return byKernel(root, path, 0) }

func walk(root *os.File, path string) (*os.File, error) { return byWalk(root, path, all) }

func opened(root *os.File, path string) (*os.File, error) { return Open(root, path, all) }

// Both ways must agree on every path.
func TestBothWays(t *testing.T) {
	root, dir := tree(t)
	ways := map[string]func(*os.File, string) (*os.File, error){"walk": walk}
	if _, err := kernel(root, "."); err == nil {
		ways["openat2"] = kernel
	} else {
		t.Logf("openat2 is not tested: %v", err)
	}
	for _, tt := range []struct {
		path, want string // path below the root
		err        error
	}{
		{"", "", nil},
		{".", "", nil},
		{"..", "", nil},
		{"../../..", "", nil},
		{"/", "", nil},
		{"a/b", "a/b", nil},
		{"a//b/.", "a/b", nil},
		{"a/b/..", "a", nil},
		{"/a/f", "a/f", nil},
		{"abs", "etc/passwd", nil},
		{"rel", "a/b", nil},
		{"up", "etc/passwd", nil},
		{"out", "", unix.ENOENT},
		{"out2", "", unix.ENOENT},
		{"a/b/back/passwd", "etc/passwd", nil},
		{"chain", "etc/passwd", nil},
		{"todir/../etc", "etc", nil},
		{"loop", "", unix.ELOOP},
		{"ring1/x", "", unix.ELOOP},
		{"none", "", unix.ENOENT},
		{"a/f/x", "", unix.ENOTDIR},
		{"a/f/..", "", unix.ENOTDIR},
		{"a/f/", "", unix.ENOTDIR},
		{"slash", "", unix.ENOTDIR},
		{"proc", "", unix.ELOOP},
		{strings.Repeat("n", 256), "", unix.ENAMETOOLONG},
	} {
		for way, open := range ways {
			f, err := open(root, tt.path)
			if tt.err != nil {
				if !errors.Is(err, tt.err) {
					t.Errorf("%s of %q = %v, want %v", way, tt.path, err, tt.err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s of %q = %v", way, tt.path, err)
				continue
			}
			got, _ := f.Stat()
			want, err := os.Lstat(filepath.Join(dir, tt.want))
			if err != nil || !os.SameFile(got, want) {
				t.Errorf("%s of %q is not %q", way, tt.path, tt.want)
			}
			f.Close()
		}
	}
}

func TestLongerThanTheKernelTakes(t *testing.T) {
	root, _ := tree(t)
	at, err := openat(root, ".")
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("n", 200)
	for range 40 {
		if err := unix.Mkdirat(int(at.Fd()), name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := openat(at, name)
		if err != nil {
			t.Fatal(err)
		}
		at.Close()
		at = next
	}
	defer at.Close()
	f, err := opened(root, strings.TrimSuffix(strings.Repeat(name+"/", 40), "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, _ := at.Stat()
	b, _ := f.Stat()
	if !os.SameFile(a, b) {
		t.Error("another directory was opened")
	}
}

// A directory that moves up and down while paths with ".." lead through it.
func TestRacingRename(t *testing.T) {
	root, dir := tree(t)
	out, err := os.Stat(filepath.Join(filepath.Dir(dir), "outside"))
	if err != nil {
		t.Fatal(err)
	}
	deep, top := filepath.Join(dir, "a/b/deep"), filepath.Join(dir, "deep")
	if err := os.MkdirAll(filepath.Join(deep, "x/y"), 0o755); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Rename(deep, top)
				_ = os.Rename(top, deep)
			}
		}
	}()
	path := "a/b/deep/x/y/../../../../../../outside"
	for begin, n := time.Now(), 0; time.Since(begin) < 500*time.Millisecond; n++ {
		for way, open := range map[string]func(*os.File, string) (*os.File, error){"walk": walk, "open": opened} {
			f, err := open(root, path)
			if err != nil {
				continue
			}
			if st, _ := f.Stat(); os.SameFile(st, out) {
				t.Errorf("%s has left the root", way)
			}
			f.Close()
		}
	}
	close(stop)
	<-done
}

func TestNoDescriptorIsLost(t *testing.T) {
	root, _ := tree(t)
	count := func() int { return len(openfds.Below(t, filepath.Dir(root.Name()))) }
	before := count()
	for _, p := range []string{"chain", "loop", "a/f/x", "none", "up", "todir/../etc"} {
		for _, open := range []func(*os.File, string) (*os.File, error){walk, kernel, opened} {
			if f, err := open(root, p); err == nil {
				f.Close()
			}
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// Both ways lead to the same place, or to none, and never out of the root.
func FuzzOpen(f *testing.F) {
	for _, p := range []string{"abs", "rel/../f", "up", "out2", "a/b/back/passwd", "chain", "./a//b/../..", "todir/../etc", "slash", "loop/x", "a/f/..", "\xff\x00", strings.Repeat("a/../", 300) + "etc", "proc/etc"} {
		f.Add(p)
	}
	root, dir := tree(f)
	f.Fuzz(func(t *testing.T, path string) {
		walked, err := walk(root, path)
		if err == nil {
			defer walked.Close()
			if at, err := os.Readlink(procName(walked)); err != nil || at != dir && !strings.HasPrefix(at, dir+"/") {
				t.Fatalf("byWalk(%q) leads to %q, %v", path, at, err)
			}
		}
		opened, err2 := kernel(root, path)
		if errors.Is(err2, unix.ENOSYS) || errors.Is(err2, unix.EPERM) {
			return
		}
		if err2 == nil {
			defer opened.Close()
		}
		if (err == nil) != (err2 == nil) && !errors.Is(err2, unix.ENAMETOOLONG) {
			t.Fatalf("byWalk(%q) = %v, by the kernel %v", path, err, err2)
		}
		if err == nil && err2 == nil && !same(walked, opened) {
			t.Errorf("byWalk(%q) leads elsewhere than the kernel", path)
		}
	})
}

func procName(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

func same(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// Nothing behind the gate is opened, and by the kernel no other mount is entered.
func TestGate(t *testing.T) {
	root, _ := tree(t)
	shut := errors.New("shut")
	asked := 0
	for _, path := range []string{"a/b", "todir/b", "rel", "abs"} {
		f, err := byWalk(root, path, func(place *os.File) error {
			asked++
			if place.Name() == "b" || place.Name() == "passwd" {
				return shut
			}
			return nil
		})
		if !errors.Is(err, shut) {
			t.Errorf("byWalk(%s) = %v, %v, want what the gate says", path, f, err)
		}
	}
	if asked < 8 {
		t.Errorf("the gate was asked %d times", asked)
	}
	top, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	if f, err := Open(top, "proc/sys", func(place *os.File) error {
		if place.Name() == "proc" {
			return shut
		}
		return nil
	}); !errors.Is(err, shut) {
		t.Errorf("Open(proc/sys) = %v, %v, want what the gate says", f, err)
	}
}
