// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"fmt"
	"sort"
)

// Difference is one attribute of one path that is not the same.
type Difference struct {
	Path, What string
	Want, Got  string
}

func (d Difference) String() string {
	return fmt.Sprintf("%q: %s: want %s, got %s", d.Path, d.What, d.Want, d.Got)
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
	Xattr    = "xattr"
)

// Diff returns what is not the same in got, less what ignore covers. The order
// is that of the paths.
func Diff(want, got Tree, ignore func(Difference) bool) []Difference {
	var out []Difference
	add := func(path, what string, w, g any) {
		d := Difference{path, what, fmt.Sprint(w), fmt.Sprint(g)}
		if d.Want != d.Got && (ignore == nil || !ignore(d)) {
			out = append(out, d)
		}
	}
	for path, w := range want {
		g, ok := got[path]
		if !ok {
			add(path, Missing, "there", "not there")
			continue
		}
		diffEntry(w, g, add)
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			add(path, Extra, "not there", "there")
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

func diffEntry(w, g *Entry, add func(path, what string, w, g any)) {
	p := w.Path
	const typeBits = 0o170000
	if w.Mode&typeBits != g.Mode&typeBits {
		add(p, Type, fmt.Sprintf("%o", w.Mode&typeBits), fmt.Sprintf("%o", g.Mode&typeBits))
		return
	}
	add(p, Mode, fmt.Sprintf("%04o", w.Mode&0o7777), fmt.Sprintf("%04o", g.Mode&0o7777))
	add(p, Owner, w.UID, g.UID)
	add(p, Group, w.GID, g.GID)
	add(p, Size, w.Size, g.Size)
	add(p, Mtime, w.Mtime, g.Mtime)
	add(p, Nanos, w.Nanos, g.Nanos)
	add(p, Link, fmt.Sprintf("%q", w.Link), fmt.Sprintf("%q", g.Link))
	add(p, Device, fmt.Sprintf("%x", w.Rdev), fmt.Sprintf("%x", g.Rdev))
	add(p, HardLink, fmt.Sprintf("%q", w.Group), fmt.Sprintf("%q", g.Group))
	add(p, Holes, w.Data, g.Data)
	add(p, Content, w.Digest, g.Digest)
	names := map[string]bool{}
	for n := range w.Xattrs {
		names[n] = true
	}
	for n := range g.Xattrs {
		names[n] = true
	}
	for n := range names {
		wv, wok := w.Xattrs[n]
		gv, gok := g.Xattrs[n]
		add(p, Xattr+" "+n, fmt.Sprintf("%v %q", wok, wv), fmt.Sprintf("%v %q", gok, gv))
	}
}

// WholeSeconds ignores the fractions of times: the record in which both daemons
// carry them has whole seconds.
func WholeSeconds(d Difference) bool { return d.What == Nanos }
