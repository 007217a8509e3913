// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// outside makes a directory beside the root with a file that must never change.
func outside(t *testing.T, root string) string {
	t.Helper()
	out := filepath.Join(filepath.Dir(root), "outside")
	must(t, os.Mkdir(out, 0o755))
	must(t, os.WriteFile(filepath.Join(out, "flag"), []byte("untouched"), 0o644))
	return out
}

// untouched reports what has changed outside.
func untouched(t *testing.T, out string) {
	t.Helper()
	entries, err := os.ReadDir(out)
	must(t, err)
	b, _ := os.ReadFile(filepath.Join(out, "flag"))
	st := stat(t, filepath.Join(out, "flag"))
	if len(entries) != 1 || string(b) != "untouched" || st.Nlink != 1 || st.Mode&0o777 != 0o644 || st.Mtim.Sec == 1e9 {
		t.Errorf("outside the root: %v, flag %q with %d links, mode %o", entries, b, st.Nlink, st.Mode&0o777)
	}
	if d := stat(t, out); d.Mode&0o777 != 0o755 {
		t.Errorf("outside the root: mode %o of the directory", d.Mode&0o777)
	}
}

func TestPathsThatLeaveTheRootAreRefused(t *testing.T) {
	tr, root := tree(t)
	out := outside(t, root)
	for _, p := range []string{"..", "../outside/flag", "a/../../outside/flag", "/etc/x", "a//b", "./a", "a/.", "a/..", "x\x00y"} {
		for _, it := range []Item{file(p), dir(p), {Path: p, Mode: unix.S_IFLNK, Link: "x"}, {Path: p, First: "a"}, {Path: "ok", First: p}} {
			if f, err := tr.Create(it); !errors.Is(err, ErrOutside) {
				t.Errorf("Create(%+v) = %v, %v, want ErrOutside", it, f, err)
			}
		}
	}
	untouched(t, out)
}

// Links planted by the tenant, absolute and relative, at every component.
func TestPlantedLinksStayInside(t *testing.T) {
	tr, root := tree(t)
	out := outside(t, root)
	must(t, os.Mkdir(filepath.Join(root, "dir"), 0o755))
	for name, target := range map[string]string{
		"abs": out, "rel": "../outside", "up": "../../../../../../../../../../.." + out, "dir/abs": out, "dir/rel": "../../outside", "self": "self", "proc": "/proc/1/root" + out, "fd": "/proc/self/cwd",
	} {
		must(t, os.Symlink(target, filepath.Join(root, name)))
		// Whether this is refused or goes somewhere inside does not matter here.
		_ = put(tr, file(name+"/flag"), "changed")
		_ = put(tr, dir(name+"/newdir"), "")
		_ = put(tr, Item{Path: name + "/link", First: name + "/flag", Replace: Always}, "")
		_ = put(tr, dir(name), "")
	}
	for _, name := range []string{"last-abs", "last-dangling"} {
		target := filepath.Join(out, "flag")
		if name == "last-dangling" {
			target = filepath.Join(out, "new")
		}
		p := filepath.Join(root, name)
		must(t, os.Symlink(target, p))
		must(t, put(tr, file(name), "mine"))
		if st := stat(t, p); st.Mode&unix.S_IFMT != unix.S_IFREG {
			t.Errorf("%s: the link was not replaced, mode %o", name, st.Mode)
		}
	}
	// A hard link to a planted link is one to the link itself.
	must(t, os.Symlink(filepath.Join(out, "flag"), filepath.Join(root, "bait")))
	must(t, put(tr, Item{Path: "hard", First: "bait", Replace: Always}, ""))
	_ = closed(tr)
	untouched(t, out)
}

// What a hostile backup could hold: a link, then names below it.
func TestHostileStream(t *testing.T) {
	tr, root := tree(t)
	out := outside(t, root)
	link := Item{Path: "etc", Mode: unix.S_IFLNK | 0o777, Link: out, Replace: Always}
	must(t, put(tr, link, ""))
	_ = put(tr, file("etc/flag"), "changed")
	_ = put(tr, Item{Path: "etc/dev", Mode: unix.S_IFIFO | 0o666, Replace: Always}, "")
	// The times of a directory that a link replaces before the end.
	must(t, put(tr, dir("later"), ""))
	must(t, os.Remove(filepath.Join(root, "later")))
	must(t, os.Symlink(out, filepath.Join(root, "later")))
	_ = closed(tr)
	untouched(t, out)
	if d := stat(t, out); d.Mtim.Sec == 1e9 {
		t.Error("times were set outside the root")
	}
}

// A directory that is moved out between two files gets no more of them.
func TestMovedOutIsLeft(t *testing.T) {
	tr, root := tree(t)
	tr.Shared = true
	out := outside(t, root)
	must(t, put(tr, file("a/b/x"), "x"))
	must(t, os.Rename(filepath.Join(root, "a"), filepath.Join(filepath.Dir(out), "moved")))
	must(t, put(tr, file("a/b/y"), "y"))
	if _, err := os.Stat(filepath.Join(filepath.Dir(out), "moved/b/y")); err == nil {
		t.Error("a file was made in a directory that was moved out of the root")
	}
	if _, err := os.Stat(filepath.Join(root, "a/b/y")); err != nil {
		t.Error(err)
	}
	untouched(t, out)
}

// A tenant who swaps a directory for a link as fast as it can.
func TestRacingSwap(t *testing.T) {
	tr, root := tree(t)
	out := outside(t, root)
	must(t, os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		swaps := 0
		real, link := filepath.Join(root, "a"), filepath.Join(root, "link")
		_ = os.Symlink(out, link)
		for {
			select {
			case <-stop:
				done <- swaps
				return
			default:
				if unix.Renameat2(unix.AT_FDCWD, real, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE) == nil {
					swaps++
				}
			}
		}
	}()
	tried := 0
	for begin := time.Now(); time.Since(begin) < 2*time.Second; tried++ {
		tr.forget(0) // no descriptor of an earlier round helps
		_ = put(tr, file("a/flag"), "changed")
		_ = put(tr, file("a/b/x"), "x")
		_ = put(tr, dir("a/new"), "")
	}
	close(stop)
	swaps := <-done
	if swaps == 0 || tried < 10 {
		t.Errorf("%d swaps in %d rounds: nothing was tested", swaps, tried)
	}
	untouched(t, out)
}

// The same swap against a restorer that joins paths: the test's own control.
func TestRacingSwapCatchesANaiveRestorer(t *testing.T) {
	root := t.TempDir()
	out := outside(t, filepath.Join(root, "root"))
	must(t, os.MkdirAll(filepath.Join(root, "root"), 0o755))
	must(t, os.Symlink(out, filepath.Join(root, "root/a")))
	must(t, os.WriteFile(filepath.Join(root, "root", "a", "flag"), []byte("changed"), 0o644))
	if b, _ := os.ReadFile(filepath.Join(out, "flag")); string(b) != "changed" {
		t.Error("the attack does not work against a naive restorer, so it proves nothing")
	}
}

// A tenant mounts over a directory, or a device node, as soon as it is made: what is
// there now is given no owner and no mode.
func TestWhatIsMountedAtOnceIsRefused(t *testing.T) {
	tr, root := tree(t)
	must(t, os.Mkdir(filepath.Join(root, "tmp"), 0o755))
	for _, p := range []struct {
		dir, name string
		mode      uint32
		ok        bool
	}{
		{"/", "proc", unix.S_IFDIR, false},
		{"/", "sys", unix.S_IFDIR, false},
		{"/proc", "mounts", unix.S_IFLNK, false},
		{"/proc", "version", unix.S_IFIFO, false},
		{root, "tmp", unix.S_IFDIR, true},
		{"/dev", "null", unix.S_IFCHR, false}, // among the node's own devices
		{"/dev", "null", unix.S_IFBLK, false},
	} {
		d, err := os.Open(p.dir)
		must(t, err)
		f := &File{tree: tr, dir: d, item: Item{Path: p.name, Mode: p.mode}}
		if err := f.open(p.name); (err == nil) != p.ok || (f.path == nil) == p.ok {
			t.Errorf("open of %s in %s as %o = %v", p.name, p.dir, p.mode, err)
		}
		f.close()
	}
}

func TestKernelFileSystemsAreRefused(t *testing.T) {
	for _, p := range []string{"/proc", "/proc/sys", "/sys"} {
		d, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(d, t.TempDir()); err == nil {
			t.Errorf("Open(%s) = nil, want refusal", p)
		}
		d.Close()
	}
}
