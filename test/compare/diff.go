// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"fmt"
	"sort"

	"golang.org/x/sys/unix"
)

// Difference is one attribute of one path that is not the same.
type Difference struct {
	Path, What string
	Want, Got  string
}

func (d Difference) String() string {
	return fmt.Sprintf("%q: %s: want %s, got %s", short(d.Path), d.What, short(d.Want), short(d.Got))
}

// short keeps a message readable in which a path or a value is very long.
func short(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s... (%d bytes)", s[:most], len(s))
}

// Attributes are the names that Difference.What can have.
const (
	Missing  = "missing"
	Extra    = "extra"
	Type     = "type"
	Mode     = "mode"
	Owner    = "owner"
	Group    = "group"
	Size     = "size"
	Mtime    = "mtime"
	Nanos    = "nanoseconds"
	Link     = "link target"
	Device   = "device number"
	Content  = "content"
	Holes    = "holes"
	HardLink = "hard links"
	Flags    = "inode flags"
	Project  = "project id"
	Xattr    = "xattr"
)

// Diff returns what is not the same in got, less what ignore covers. The order
// is that of the paths.
func Diff(want, got Tree, ignore func(Difference) bool) []Difference {
	var out []Difference
	add := func(path, what string, w, g any) {
		if w == g {
			return
		}
		d := Difference{path, what, fmt.Sprint(w), fmt.Sprint(g)}
		if ignore == nil || !ignore(d) {
			out = append(out, d)
		}
	}
	for path, w := range want {
		g, ok := got[path]
		if !ok {
			add(path, Missing, kind(w.Mode), "nothing")
			continue
		}
		diffEntry(w, g, add)
	}
	for path, g := range got {
		if _, ok := want[path]; !ok {
			add(path, Extra, "nothing", kind(g.Mode))
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Path != out[j].Path {
			return out[i].Path < out[j].Path
		}
		return out[i].What < out[j].What
	})
	return out
}

// kind names the type of a file.
func kind(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "link"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return socket
	case unix.S_IFCHR:
		return "character device"
	case unix.S_IFBLK:
		return "block device"
	}
	return fmt.Sprintf("type %o", mode&unix.S_IFMT)
}

const socket = "socket"

// octal and hex32 are numbers as people know them.
type octal uint32

func (n octal) String() string { return fmt.Sprintf("%04o", uint32(n)) }

type hex32 uint32

func (n hex32) String() string { return fmt.Sprintf("%#x", uint32(n)) }

// value is that of an attribute, which may be there and empty.
type value struct {
	there bool
	bytes string
}

func (v value) String() string {
	if !v.there {
		return "none"
	}
	return fmt.Sprintf("%q", v.bytes)
}

func diffEntry(w, g *Entry, add func(path, what string, w, g any)) {
	p := w.Path
	if kind(w.Mode) != kind(g.Mode) {
		add(p, Type, kind(w.Mode), kind(g.Mode))
		return
	}
	add(p, Mode, octal(w.Mode&0o7777), octal(g.Mode&0o7777))
	add(p, Owner, w.UID, g.UID)
	add(p, Group, w.GID, g.GID)
	add(p, Size, w.Size, g.Size)
	add(p, Mtime, w.Mtime, g.Mtime)
	add(p, Nanos, w.Nanos, g.Nanos)
	add(p, Link, w.Link, g.Link)
	add(p, Device, w.Rdev, g.Rdev)
	add(p, HardLink, w.Group, g.Group)
	add(p, Flags, hex32(w.Flags), hex32(g.Flags))
	add(p, Project, w.Project, g.Project)
	add(p, Holes, w.Data, g.Data)
	add(p, Content, w.Digest, g.Digest)
	for n, v := range w.Xattrs {
		other, ok := g.Xattrs[n]
		add(p, Xattr+" "+n, value{true, v}, value{ok, other})
	}
	for n, v := range g.Xattrs {
		if _, ok := w.Xattrs[n]; !ok {
			add(p, Xattr+" "+n, value{}, value{true, v})
		}
	}
}
