// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/restore"
)

// racing are attacks by processes that change the tree as fast as they can while the
// same items are restored again and again.
func racing() []*attack {
	return []*attack{
		{name: "race: directory and link exchanged", plant: links("%s", "/link"),
			race:  func(*ground) bool { return exchange("/a", "/link") },
			items: []item{file("a/flag"), file("a/b/flag"), dir("a/new"), file("a/b/x")}},
		{name: "race: parent and the link in it exchanged", plant: func(g *ground) { plantLink(g.outside(), "/a/link") },
			race: func(*ground) bool {
				_ = os.Rename("/a/link", "/link")
				ok := exchange("/a", "/link")
				_ = exchange("/link", "/a")
				_ = os.Rename("/link", "/a/link")
				return ok
			}, items: []item{file("a/flag"), dir("a/b"), hard("a/second", "a/flag")}},
		{name: "race: directory moved away and a link put there", plant: func(*ground) {}, race: func(g *ground) bool {
			away := fmt.Sprint("/a/away", os.Getpid())
			ok := os.Rename("/a/b", away) == nil
			_ = os.Symlink(g.outside(), "/a/b")
			_ = os.Remove("/a/b")
			if os.Rename(away, "/a/b") != nil {
				_ = os.RemoveAll(away) // a restore has made another one
			}
			return ok
		}, items: []item{file("a/b/flag"), dir("a/b/b"), dir("a/b")}},
		{name: "race: file and link exchanged", plant: func(g *ground) {
			check(os.WriteFile("/target", nil, 0o644))
			plantLink(g.flag(), "/link")
		}, race: func(g *ground) bool {
			_ = os.Symlink(g.flag(), "/link")
			return exchange("/target", "/link")
		}, items: []item{file("target"), replaced("target", restore.IfNewer)}},
		{name: "race: file just made replaced by a link", race: func(g *ground) bool {
			_ = os.Remove("/target")
			return os.Symlink(g.flag(), "/target") == nil
		}, items: []item{file("target")}},
		{name: "race: file just made replaced by a foreign one", prepare: foreign, foreign: true, race: func(*ground) bool {
			_ = os.Remove("/target")
			return os.Link("/foreign", "/target") == nil
		}, items: []item{file("target")}},
		{name: "race: directory just made replaced by a link", race: func(g *ground) bool {
			_ = unix.Rmdir("/dir")
			_ = os.Remove("/dir")
			return os.Symlink(g.outside(), "/dir") == nil
		}, items: []item{dir("dir")}},
		{name: "race: link just made replaced by a foreign file", prepare: foreign, foreign: true, naive: "links as links", race: func(*ground) bool {
			_ = os.Remove("/target")
			return os.Link("/foreign", "/target") == nil
		}, items: []item{link("target", "x")}},
		{name: "race: special file just made replaced by a link", race: func(g *ground) bool {
			_ = os.Remove("/target")
			return os.Symlink(g.flag(), "/target") == nil
		}, items: []item{special("target")}},
		{name: "race: temporary names replaced", prepare: foreign, foreign: true, naive: "by a known temporary name", plant: func(*ground) {
			check(os.WriteFile("/target", nil, 0o644))
			check(os.Symlink("x", "/link"))
		}, race: func(g *ground) bool {
			did := false
			names, _ := filepath.Glob("/.vz7ct-*")
			for n, name := range append(names, "/target.tmp") {
				_ = os.Remove(name)
				if n%2 == 0 {
					did = os.Link("/foreign", name) == nil || did
				} else {
					did = os.Symlink(g.flag(), name) == nil || did
				}
				if strings.HasPrefix(name, "/.vz7ct-") {
					_ = os.Remove(name)
				}
			}
			return did
		}, items: []item{file("target"), link("link", "x"), file("target"), link("link", "y")}},
		{name: "race: first name of a hard link replaced", prepare: foreign, foreign: true, plant: func(g *ground) { plantLink(g.flag(), "/link") },
			race: func(*ground) bool { return exchange("/first", "/link") }, items: []item{file("first"), hard("second", "first")}},
		{name: "race: fifo put in place of the file", race: func(*ground) bool {
			_ = os.Remove("/target")
			return unix.Mkfifo("/target", 0o666) == nil
		}, items: []item{file("target")}, hangs: true},
		fileThatStops(),
		{name: "race: settings mounted over a directory just made", plant: func(*ground) { mount("proc", "/proc", "proc", 0, "") },
			mounts: func(*ground) bool {
				ok := unix.Mount("/proc/sys/kernel", "/dir", "", unix.MS_BIND, "") == nil
				if ok {
					_ = unix.Unmount("/dir", unix.MNT_DETACH)
				}
				_ = unix.Rmdir("/dir")
				return ok
			}, items: []item{{Item: dir("dir").Item}, {Item: file("dir/hostname").Item, content: "changed"}}},
		{name: "race: directory moved out of the root while it is open", naive: "by going there", plant: func(*ground) {},
			outsider: func(g *ground) bool {
				moved := filepath.Join(g.outside(), "moved")
				ok := os.Rename(filepath.Join(g.root(), "a"), moved) == nil
				_ = os.Rename(moved, filepath.Join(g.root(), "a"))
				if ok {
					return true
				}
				// A restore has made the directory meanwhile.
				_ = os.RemoveAll(moved)
				_ = os.MkdirAll(filepath.Join(g.root(), "a/b"), 0o755)
				return false
			}, items: []item{file("a/b/x"), file("a/b/y"), file("flag"), file("b/flag"), file("a/flag")}},
		{name: "race: way with dots while its directories move", plant: func(*ground) {
			check(os.MkdirAll("/a/b/c/d", 0o755))
			plantLink("c/d/../../../../../outside", "/a/b/up")
		}, race: func(*ground) bool {
			ok := os.Rename("/a/b/c", "/c") == nil
			_ = os.Rename("/c", "/a/b/c")
			return ok
		}, items: []item{file("a/b/up/flag"), dir("a/b/up/b")}},
	}
}

// foreign gives the root another name of the flag, which is not the tenant's.
func foreign(g *ground) func() {
	check(os.Link(g.flag(), g.root()+"/foreign"))
	return nil
}

func special(path string) item {
	it := file(path)
	it.Mode = unix.S_IFCHR | 0o666
	it.Rdev = unix.Mkdev(1, 3)
	return it
}

// fileThatStops is mounted over and is itself again, until it stays as it is: who asks
// while the server is there is let go with it.
func fileThatStops() *attack {
	var begin time.Time // in the tenant's process
	return &attack{name: "race: file with flags to come never answers", mounts: func(*ground) bool {
		if begin.IsZero() {
			begin = time.Now()
		}
		if time.Since(begin) > 3*time.Second {
			return false
		}
		_ = os.WriteFile("/target", nil, 0o644)
		server, err := tryFuse("/target", "100000") // a restore may take the file away
		if err == nil && time.Since(begin) > 2*time.Second {
			begin = time.Unix(0, 0)
			return true
		}
		_ = unix.Unmount("/target", unix.MNT_DETACH)
		_ = unix.Close(server)
		return err == nil
	}, items: []item{flagsToCome("target")}, hangs: true}
}

// flagsToCome is a file that gets its flags at the end, by its name.
func flagsToCome(path string) item {
	it := file(path)
	it.Linked = true
	it.xattrs = map[string]string{"vz7ct.inode": "flags=0x40"}
	return it
}
