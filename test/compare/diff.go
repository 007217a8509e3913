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
	// Type is what the path is in the tree that is wanted, such as "file"; in the other
	// one if it is there alone.
	Type string
}

func (d Difference) String() string {
	return fmt.Sprintf("%s %q: %s: want %s, got %s", d.Type, short(d.Path), d.What, short(d.Want), short(d.Got))
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
	add := func(e *Entry, what string, w, g any) {
		if w == g {
			return
		}
		d := Difference{e.Path, what, fmt.Sprint(w), fmt.Sprint(g), kind(e.Mode)}
		if ignore == nil || !ignore(d) {
			out = append(out, d)
		}
	}
	for path, w := range want {
		g, ok := got[path]
		if !ok {
			add(w, Missing, "there", "not there")
			continue
		}
		diffEntry(w, g, add)
	}
	for path, g := range got {
		if _, ok := want[path]; !ok {
			add(g, Extra, "not there", "there")
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
		return "socket"
	case unix.S_IFCHR:
		return "character device"
	case unix.S_IFBLK:
		return "block device"
	}
	return fmt.Sprintf("type %o", mode&unix.S_IFMT)
}

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

func diffEntry(w, g *Entry, add func(e *Entry, what string, w, g any)) {
	if kind(w.Mode) != kind(g.Mode) {
		add(w, Type, kind(w.Mode), kind(g.Mode))
		return
	}
	add(w, Mode, octal(w.Mode&0o7777), octal(g.Mode&0o7777))
	add(w, Owner, w.UID, g.UID)
	add(w, Group, w.GID, g.GID)
	add(w, Size, w.Size, g.Size)
	add(w, Mtime, w.Mtime, g.Mtime)
	add(w, Nanos, w.Nanos, g.Nanos)
	add(w, Link, w.Link, g.Link)
	add(w, Device, w.Rdev, g.Rdev)
	add(w, HardLink, w.Group, g.Group)
	add(w, Flags, hex32(w.Flags), hex32(g.Flags))
	add(w, Project, w.Project, g.Project)
	add(w, Holes, w.Data, g.Data)
	add(w, Content, w.Digest, g.Digest)
	for n, v := range w.Xattrs {
		other, ok := g.Xattrs[n]
		add(w, Xattr+" "+n, value{true, v}, value{ok, other})
	}
	for n, v := range g.Xattrs {
		if _, ok := w.Xattrs[n]; !ok {
			add(w, Xattr+" "+n, value{}, value{true, v})
		}
	}
}
