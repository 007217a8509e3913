// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/restore"
)

// planted are links that wait where a restore will come by.
func planted() []*attack {
	up := strings.Repeat("../", 20)
	list := []*attack{
		{name: "absolute link in place of the directory", plant: links("%s", "/a"), items: []item{file("a/flag")}},
		{name: "relative link in place of the directory", plant: links("../outside", "/a"), items: []item{file("a/flag")}},
		{name: "link that climbs far above the root", plant: links(up+"%s", "/a"), items: []item{file("a/flag")}},
		{name: "link at the second component", plant: links("%s", "/a/b"), items: []item{file("a/b/flag")}},
		{name: "relative link at the third component", plant: links("../../../outside", "/a/b/c"), items: []item{file("a/b/c/flag")}},
		{name: "link with dots in the middle", plant: links("b/.././../../outside/./b/..", "/a/x"), items: []item{file("a/x/flag")}},
		{name: "link to a link to a link", plant: func(g *ground) {
			plantLink(g.outside(), "/three")
			plantLink("../three", "/a/two")
			plantLink("a/two", "/one")
		}, items: []item{file("one/flag")}},
		{name: "link behind an honest link", plant: func(g *ground) {
			plantLink("a", "/srv")
			plantLink(g.outside(), "/a/www")
		}, items: []item{file("srv/www/flag")}},
		{name: "link with slashes at its end", plant: links("%s///", "/a"), items: []item{dir("a/b")}},
		{name: "absolute link in place of the file", plant: links("%s/flag", "/target"), items: []item{file("target")}},
		{name: "relative link in place of the file", plant: links("../outside/flag", "/target"), items: []item{file("target")}},
		{name: "link to nowhere in place of the file", plant: links("%s/new", "/target"), items: []item{file("target")}},
		{name: "link in place of a directory that gets attributes", plant: links("%s", "/dir"), items: []item{dir("dir")}},
		{name: "link in place of a directory to be made", plant: links("%s", "/dir"), items: []item{dir("dir/new")}},
		{name: "a link to be restored gets attributes", items: []item{link("target", "../outside/flag")}},
		{name: "a name restored as a link, then as a file", items: []item{link("target", "../outside/flag"), file("target")}},
		{name: "magic link to the restorer's root", plant: links("/proc/self/root%s", "/a"), items: []item{file("a/flag")}},
		{name: "magic link to where a process of the node is", plant: func(g *ground) {
			plantLink(fmt.Sprintf("/proc/%d/cwd/%s%s", g.Node, up, g.outside()), "/a")
		}, items: []item{file("a/flag")}},
		{name: "magic link in a proc of its own", plant: func(g *ground) {
			mount("proc", "/proc", "proc", 0, "")
			plantLink(fmt.Sprintf("/proc/%d/root%s", g.Node, g.outside()), "/a")
		}, items: []item{file("a/flag")}},
		{name: "newer file asked for, and a link in its place", plant: links("%s/flag", "/target"), items: []item{replaced("target", restore.IfNewer)}},
		{name: "missing file asked for, and a link to nowhere", plant: links("%s/new", "/target"), items: []item{replaced("target", restore.Never)}},
		{name: "planted temporary name", naive: "by a known temporary name", plant: func(g *ground) {
			plantLink(g.flag(), "/target.tmp")
			for _, name := range []string{"/.vz7ct-0000000000000000", "/.vz7ct-", "/.target.vz7ct"} {
				plantLink(g.flag(), name)
			}
			check(os.WriteFile("/target", nil, 0o600))
		}, items: []item{file("target")}},
		{name: "directory replaced by a link before the end", items: []item{dir("dir"), {first: func(g *ground) {
			check(os.Remove(g.root() + "/dir"))
			check(os.Symlink(g.outside()+"/b", g.root()+"/dir"))
		}, Item: file("x").Item}}, naive: "links as links"},
	}
	moved := file("a/b/y")
	moved.first = func(g *ground) { check(os.Rename(g.root()+"/a", g.outside()+"/moved")) }
	return append(list, &attack{name: "directory moved out between two files", naive: "by a kept descriptor", items: []item{file("a/b/x"), moved},
		seen: func(g *ground) []string {
			if _, err := os.Lstat(g.outside() + "/moved/b/y"); err == nil {
				return []string{"a file was made in a directory that had been moved out"}
			}
			return nil
		}})
}

func replaced(path string, how restore.Replace) item {
	it := file(path)
	it.Replace, it.Mtime = how, 4e9
	return it
}

// objects are planted in place of what is restored, and are no links.
func objects() []*attack {
	return []*attack{
		{name: "hard link to a file that is not the tenant's", foreign: true, prepare: func(g *ground) func() {
			check(os.Link(g.flag(), g.root()+"/target"))
			return nil
		}, items: []item{file("target")}},
		{name: "first name of a hard link is a link", plant: links("%s/flag", "/first"), items: []item{hard("second", "first")}},
		{name: "first name of a hard link is behind a link", naive: byNode, plant: links("%s", "/way"), items: []item{hard("second", "way/flag")}},
		{name: "second name of a hard link is behind a link", naive: byNode, plant: links("%s", "/way"), items: []item{file("first"), hard("way/flag", "first")}},
		device(),
		{name: "descriptor held of a file that becomes setuid", plant: func(*ground) {
			check(os.WriteFile("/target", nil, 0o666))
			_, err := unix.Open("/target", unix.O_WRONLY, 0)
			check(err)
		}, items: []item{file("target")}, seen: func(g *ground) []string {
			now, err := os.Stat(g.root() + "/target")
			check(err)
			held, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", g.Pid))
			check(err)
			for _, fd := range held {
				if is, err := os.Stat(fd); err == nil && os.SameFile(is, now) {
					return []string{"the tenant can write to the restored file"}
				}
			}
			return nil
		}},
		{name: "capability of the file that was there", plant: func(*ground) {
			check(os.WriteFile("/target", nil, 0o755))
			check(unix.Setxattr("/target", "user.left", []byte("x"), 0))
		}, items: []item{file("target")}, seen: hasAttribute("user.left")},
		{name: "access list handed down by the directory", plant: func(*ground) {
			check(unix.Setxattr("/a", "system.posix_acl_default", accessList, 0))
		}, items: []item{file("a/target")}, seen: func(g *ground) []string {
			if _, err := unix.Lgetxattr(g.root()+"/a/target", "system.posix_acl_access", nil); err == nil {
				return []string{"the restored file has the directory's access list"}
			}
			return nil
		}},
	}
}

// device is a block device whose content is a file outside.
func device() *attack {
	var dev *os.File
	return &attack{name: "block device in place of the file", prepare: func(g *ground) func() {
		number := 0
		dev, number = loop(g.flag())
		check(unix.Mknod(g.root()+"/target", unix.S_IFBLK|0o666, int(unix.Mkdev(7, uint32(number)))))
		return func() { dev.Close() }
	}, items: []item{file("target")}, seen: func(g *ground) []string {
		check(dev.Sync())
		if b, err := os.ReadFile(g.flag()); err != nil || !strings.HasPrefix(string(b), "untouched") {
			return []string{fmt.Sprintf("the device has %.20q, %v", b, err)}
		}
		return nil
	}}
}

// accessList: version 2; user::rwx user:7:rw- group::r-x mask::rwx other::r--.
var accessList = []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 6, 0, 7, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
	0x10, 0, 7, 0, 255, 255, 255, 255, 0x20, 0, 4, 0, 255, 255, 255, 255}

func hasAttribute(name string) func(g *ground) []string {
	return func(g *ground) []string {
		if _, err := unix.Lgetxattr(g.root()+"/target", name, nil); err == nil {
			return []string{"the restored file has the attribute " + name}
		}
		return nil
	}
}

// denials are to keep the rest of a restore from being done.
func denials() []*attack {
	list := []*attack{
		{name: "link to itself", plant: links("/loop", "/loop"), items: []item{file("loop/x")}},
		{name: "links in a ring", plant: func(*ground) {
			plantLink("/ring2", "/ring1")
			plantLink("ring1", "/ring2")
		}, items: []item{file("ring1/x/y")}},
		{name: "a thousand links in a row", plant: func(*ground) {
			for n := range 1000 {
				plantLink("l"+strconv.Itoa(n+1), "/l"+strconv.Itoa(n))
			}
		}, items: []item{file("l0/x")}},
		{name: "file in place of a directory", plant: func(*ground) {
			check(os.WriteFile("/dir", nil, 0o644))
		}, items: []item{file("dir/x")}},
		{name: "full directory in place of a file", plant: func(*ground) {
			check(os.MkdirAll("/target/x/y", 0o755))
		}, items: []item{file("target")}},
		{name: "socket in place of the file", plant: node("/target", unix.S_IFSOCK, 0), items: []item{file("target")}},
		{name: "whiteout in place of the file", plant: node("/target", unix.S_IFCHR, 0), items: []item{file("target")}},
		{name: "immutable file", plant: flagged("/target", unix.S_IFREG, immutable), prepare: free("target"), items: []item{file("target")}},
		{name: "immutable directory", plant: flagged("/dir", unix.S_IFDIR, immutable), prepare: free("dir"), items: []item{file("dir/x")}},
		{name: "directory to append to", plant: func(g *ground) {
			check(os.MkdirAll("/dir", 0o755))
			check(os.WriteFile("/dir/x", nil, 0o644))
			check(os.WriteFile("/dir/y", nil, 0o644))
			check(setFlags("/dir", appendOnly))
		}, prepare: free("dir"), items: []item{link("dir/x", "y"), link("dir/y", "x")}},
		{name: "fifo in place of a directory", plant: node("/dir", unix.S_IFIFO, 0), items: []item{file("dir/x")}},
		// The kernel lets nobody wait for an automounter in another process namespace
		// (fs/autofs/waitq.c, autofs_wait): it is an error.
		{name: "automounter that never mounts", plant: func(*ground) { silentAutofs("/mnt", "indirect") }, items: []item{file("mnt/sub/x")}},
		{name: "place that is never mounted", plant: func(*ground) { silentAutofs("/mnt", "direct") }, items: []item{file("mnt/x")}},
		{name: "link over a place that is never mounted", plant: func(*ground) {
			silentAutofs("/mnt", "direct")
			plantLink("mnt/sub", "/a")
		}, items: []item{file("a/x")}},
		{name: "paths longer than the kernel takes", items: []item{file(strings.Repeat(strings.Repeat("n", 250)+"/", 20) + "x")}},
		{name: "name longer than a file may have", items: []item{file(strings.Repeat("n", 256))}},
	}
	for _, a := range list {
		a.denies = true
		a.items = append(a.items, after())
	}
	return list
}

const (
	immutable  = 0x10 // FS_IMMUTABLE_FL of linux/fs.h
	appendOnly = 0x20 // FS_APPEND_FL
)

func flagged(path string, mode uint32, flags int) func(*ground) {
	return func(*ground) {
		if mode == unix.S_IFDIR {
			check(os.Mkdir(path, 0o755))
		} else {
			check(os.WriteFile(path, []byte("kept"), 0o644))
		}
		check(setFlags(path, flags))
	}
}

// free lets the ground be removed afterwards.
func free(name string) func(g *ground) func() {
	return func(g *ground) func() { return func() { _ = setFlags(g.root()+"/"+name, 0) } }
}

// mounted are things that the tenant has mounted.
func mounted() []*attack {
	kernel := func(plant func(g *ground), path string) *attack {
		it := file(path)
		it.Mode, it.xattrs, it.UID, it.GID = unix.S_IFREG|0o644, nil, 0, 0
		return &attack{plant: plant, items: []item{it}}
	}
	list := []*attack{
		kernel(links("/proc/sys/kernel", "/etc"), "etc/hostname"),
		kernel(func(*ground) {
			mount("proc", "/proc", "proc", 0, "")
			mount("/proc/sys/kernel", "/etc", "", unix.MS_BIND, "")
		}, "etc/hostname"),
		kernel(func(*ground) { mount("proc", "/proc", "proc", 0, "") }, "proc/sys/kernel/hostname"),
		kernel(func(*ground) {
			mount("proc", "/proc", "proc", 0, "")
			check(os.WriteFile("/target", nil, 0o644))
			mount("/proc/sys/kernel/hostname", "/target", "", unix.MS_BIND, "")
		}, "target"),
	}
	for n, name := range []string{"link to the kernel's settings", "the kernel's settings mounted over a directory", "name in a mounted proc",
		"one of the kernel's settings mounted over the file"} {
		list[n].name = name
	}
	sys := dir("sys/kernel/slab")
	sys.Mode, sys.UID, sys.GID, sys.xattrs = unix.S_IFDIR|0o755, 0, 0, nil
	device := file("dev/vz7ct-attack")
	return append(list,
		&attack{name: "the kernel's objects mounted", plant: func(*ground) { mount("sysfs", "/sys", "sysfs", 0, "") }, items: []item{sys},
			seen: func(*ground) []string {
				st, err := os.Stat("/sys/kernel/slab")
				if err != nil || st.ModTime().Unix() != 1e9 {
					return nil
				}
				check(os.Chtimes("/sys/kernel/slab", time.Now(), time.Now()))
				return []string{"the time of a directory of sysfs was set"}
			}},
		&attack{name: "the node's devices mounted", plant: func(*ground) { mount("devtmpfs", "/dev", "devtmpfs", 0, "") }, items: []item{device},
			seen: func(*ground) []string {
				if os.Remove("/dev/vz7ct-attack") == nil {
					return []string{"a file was made among the node's devices"}
				}
				return nil
			}},
		&attack{name: "file system mounted over the directory", naive: byNode, denies: true,
			plant: func(*ground) { mount("tmpfs", "/mnt", "tmpfs", 0, "") }, items: []item{file("mnt/x"), after()},
			seen: func(g *ground) []string {
				if _, err := os.Stat(g.inside() + "/mnt/x"); err != nil {
					return []string{"the container does not see the restored file"}
				}
				return nil
			}},
		inMemory(),
	)
}

// inMemory is a restore of more than there should be room for.
func inMemory() *attack {
	a := &attack{name: "file system in the node's memory", plant: func(*ground) { mount("tmpfs", "/mnt", "tmpfs", 0, "size=1t") },
		seen: func(g *ground) []string {
			var st unix.Statfs_t
			check(unix.Statfs(g.inside()+"/mnt", &st))
			if used := int64(st.Blocks-st.Bfree) * st.Bsize; used > memory {
				return []string{fmt.Sprintf("%d bytes of a tmpfs are filled", used)}
			}
			return nil
		}}
	for n := range 8 {
		it := file(fmt.Sprintf("mnt/%d", n))
		it.content = strings.Repeat("x", memory/4)
		it.Size = memory / 4
		a.items = append(a.items, it)
	}
	return a
}

// hanging are to let the restore wait for ever.
func hanging() []*attack {
	list := []*attack{
		{name: "fifo in place of the file", plant: node("/target", unix.S_IFIFO, 0), items: []item{file("target")}},
		{name: "fifo behind a link", plant: func(g *ground) {
			check(unix.Mkfifo("/fifo", 0o666))
			plantLink("fifo", "/target")
		}, items: []item{file("target")}},
		{name: "lease on the file", plant: func(*ground) {
			check(os.WriteFile("/target", nil, 0o644))
			fd, err := unix.Open("/target", unix.O_RDONLY, 0)
			check(err)
			_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
			check(err)
		}, items: []item{file("target")}},
		{name: "file system that never answers", plant: func(*ground) { silentFuse("/mnt", "40000") }, items: []item{file("mnt/x")}},
		{name: "link into a file system that never answers", plant: func(*ground) {
			silentFuse("/mnt", "40000")
			plantLink("mnt/sub", "/a")
		}, items: []item{file("a/x")}},
		{name: "first name of a hard link where nobody answers", plant: func(*ground) { silentFuse("/mnt", "40000") }, items: []item{hard("second", "mnt/x")}},
		{name: "file that never answers", plant: func(*ground) {
			check(os.WriteFile("/target", nil, 0o644))
			silentFuse("/target", "100000")
		}, items: []item{file("target")}},
		{name: "directory that never answers, at its end", plant: func(*ground) { silentFuse("/mnt", "40000") }, items: []item{dir("mnt")}},
	}
	for _, a := range list {
		a.hangs = true
		a.items = append(a.items, after())
	}
	return list
}
