// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/restore"
)

// How a control works that is not to enter by /proc/PID/root: hard links lead to no
// other mount, and what the tenant has mounted is not seen from the node.
const byNode = "by the node's path"

// naiveOnce restores all items by their paths and ends at the first error, as simple
// programs do. It is the control of every attack.
func (g *ground) naiveOnce(a *attack, r *result) error {
	root := g.inside()
	switch {
	case a.naive == byNode:
		root = g.root() // which does not see what the tenant has mounted
	case a.naive == "by going there":
		return naiveByGoing(g.root())
	case a.naive == "by a kept descriptor":
		return g.naiveByDescriptor(a.items)
	case a.blocker != "":
		return naiveBlocker(root, a.blocker, r)
	}
	items := a.items
	for _, s := range a.stream {
		items = append(items, s.naively(g))
	}
	type when struct {
		path string
		time int64
	}
	var times []when
	for _, it := range items {
		if it.first != nil {
			it.first(g)
		}
		if err := naive(root, it, a.naive); err != nil {
			return err
		}
		if it.Mode&unix.S_IFMT == unix.S_IFDIR {
			times = append(times, when{root + "/" + it.Path, it.Mtime})
		}
	}
	for _, w := range times { // as late as everybody sets those of directories
		if err := os.Chtimes(w.path, time.Unix(w.time, 0), time.Unix(w.time, 0)); err != nil {
			return err
		}
	}
	return nil
}

// naive restores one item. Names end at a NUL, as they do in C.
func naive(root string, it item, how string) error {
	name, _, _ := strings.Cut(it.Path, "\x00")
	path := root + "/" + name
	if err := os.MkdirAll(path[:strings.LastIndexByte(path, '/')], 0o755); err != nil {
		return err
	}
	if st, err := os.Stat(path); err == nil && it.Replace != restore.Always && (it.Replace != restore.IfNewer || st.ModTime().Unix() >= it.Mtime) {
		return nil
	}
	kind := it.Mode & unix.S_IFMT
	switch {
	case it.First != "":
		_ = os.Remove(path)
		if err := os.Link(root+"/"+it.First, path); err != nil {
			return err
		}
	case kind == unix.S_IFREG:
		if err := naiveFile(path, it, how); err != nil {
			return err
		}
	case kind == unix.S_IFDIR:
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
	case kind == unix.S_IFLNK:
		_ = os.Remove(path)
		if err := os.Symlink(it.Link, path); err != nil {
			return err
		}
	default:
		_ = os.Remove(path)
		if err := unix.Mknod(path, kind|0o600, int(it.Rdev)); err != nil {
			return err
		}
	}
	return naiveAttributes(path, it, kind == unix.S_IFLNK && how == "links as links")
}

func naiveFile(path string, it item, how string) error {
	to := path
	if how == "by a known temporary name" {
		to += ".tmp"
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(it.content)
	if err := errors.Join(err, f.Close()); err != nil || to == path {
		return err
	}
	return os.Rename(to, path)
}

func naiveAttributes(path string, it item, asLink bool) error {
	chown, setxattr := os.Chown, unix.Setxattr
	flags := 0
	if asLink {
		chown, setxattr, flags = os.Lchown, unix.Lsetxattr, unix.AT_SYMLINK_NOFOLLOW
	}
	err := chown(path, int(it.UID), int(it.GID))
	if !asLink {
		err = errors.Join(err, unix.Chmod(path, it.Mode&0o7777))
	}
	for name, value := range it.xattrs {
		err = errors.Join(err, setxattr(path, name, []byte(value), 0))
	}
	ts := []unix.Timespec{{Sec: it.Atime}, {Sec: it.Mtime}}
	if err := errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, flags)); err != nil {
		return fmt.Errorf("attributes of %s: %w", path, err)
	}
	return nil
}

// naiveByDescriptor keeps the directory of its first item open for all of them.
func (g *ground) naiveByDescriptor(items []item) error {
	dir, err := unix.Open(g.root()+"/a/b", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.first != nil {
			it.first(g)
		}
		fd, err := unix.Openat(dir, it.Path[strings.LastIndexByte(it.Path, '/')+1:], unix.O_CREAT|unix.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}

// naiveByGoing changes into a directory to restore in it, and goes back by "..".
func naiveByGoing(root string) error {
	if err := os.Chdir(root + "/a/b"); err != nil {
		return err
	}
	for range 100 { // files in a/b take a while
		if err := os.WriteFile("x", nil, 0o600); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Chdir(".."), os.Chdir("..")); err != nil {
		return err
	}
	return os.WriteFile("flag", []byte("changed"), 0o600)
}
