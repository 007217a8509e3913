// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/restore"
)

func (c *newContainer) item(f *Restored) (*restore.Tree, *restore.Item, error) {
	p, err := containerName(f.Name, f.Where)
	if err != nil {
		return nil, nil, err
	}
	tree, path := c.place(p)
	if tree == nil {
		return nil, nil, nil
	}
	if tree == c.area && f.Kind != Directory && f.Kind != Regular && f.Kind != Empty && (path == "ve.conf" || strings.HasPrefix(path, ownFolder)) {
		return nil, nil, fmt.Errorf("restore=ct: %s is no regular file", text.Name(f.Name))
	}
	if tree == c.area {
		if why := c.wary(f, path); why != "" {
			c.odd++
			c.job.warnFile(c.odd, "not restored: %s %s; restore_trust_config=yes restores it", text.Name(f.Name), why)
			return nil, nil, nil
		}
		path = c.hold(path)
	}
	it := f.item(path)
	if tree == c.area {
		c.tame(f, it)
	}
	it.Replace = restore.Always // everything in it is new, or of an older level
	// The node acts upon what these say.
	it.Indivisible = tree == c.area && f.Kind == Regular && (path == "ve.conf" || strings.HasPrefix(path, ownFolder))
	if f.Kind == HardLink {
		q, err := containerName(f.Link, f.Where)
		if err != nil {
			return nil, nil, err
		}
		other, first := c.place(q)
		if other != tree {
			return nil, nil, fmt.Errorf("restore=ct: %s is a hard link to %s, which is on another disk", text.Name(f.Name), text.Name(f.Link))
		}
		if it.First = first; tree == c.area {
			it.First = c.hold(first)
		}
		return tree, it, nil
	}
	for _, d := range c.disks {
		if d.tree == tree {
			d.came++
		}
	}
	return tree, it, nil
}

// place returns the tree and the path in it for a name of the backup; no tree
// for what is never put back.
func (c *newContainer) place(p place) (*restore.Tree, string) {
	if p.area == inPrivate {
		if c.neverPutBack(p.path) {
			return nil, ""
		}
		return c.area, p.path
	}
	for _, d := range c.disks {
		switch {
		case p.path == d.Catalogue:
			d.top = true
			return d.tree, ""
		case d.Catalogue == "":
			return d.tree, p.path
		case strings.HasPrefix(p.path, d.Catalogue+"/"):
			return d.tree, strings.TrimPrefix(p.path, d.Catalogue+"/")
		}
	}
	return nil, ""
}

// around returns the disk that the mount point of d is on, and its path there.
func (c *newContainer) around(d *newDisk) (*restore.Tree, string) {
	for _, o := range c.disks {
		if o != d && o.Catalogue != "" && strings.HasPrefix(d.Catalogue, o.Catalogue+"/") {
			return o.tree, strings.TrimPrefix(d.Catalogue, o.Catalogue+"/")
		}
	}
	return c.disks[len(c.disks)-1].tree, d.Catalogue
}

// nodesOwn reports whether a path begins with a name of the private area that means
// something to the node, or to the end of a restore.
func nodesOwn(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	switch first {
	case "ve.conf", ".ve.layout", "templates", areaScripts, "dump", "Snapshots.xml", ownerName, ".cluster_service_name", ".lck", ownFolder:
		return true
	}
	return strings.HasPrefix(first, ownPrefix)
}

// neverPutBack are files of the private area that are evidence, belong to the
// node that the backup came from, or would overwrite what was made here.
func (c *newContainer) neverPutBack(path string) bool {
	first, rest, _ := strings.Cut(path, "/")
	// A descriptor names files of the node, as far as it likes; ours are ploop's.
	if base := filepath.Base(path); strings.HasPrefix(first, ownPrefix) || strings.HasPrefix(base, ownPrefix) || strings.HasPrefix(base, "DiskDescriptor.xml") {
		return true
	}
	switch first {
	case "dump", "Snapshots.xml", ".owner", ".cluster_service_name", ".lck":
		return true
	case ownFolder:
		// Action scripts are put aside there until the container is registered.
		return rest != "" && rest != filepath.Base(scriptFolder) && !strings.HasPrefix(rest, filepath.Base(scriptFolder)+"/")
	}
	for _, d := range c.disks {
		dir := filepath.Dir(d.image)
		if name, ok := strings.CutPrefix(path, dir+"/"); ok &&
			(strings.Contains(name, ".hds") || strings.HasPrefix(name, "DiskDescriptor.xml") || name == ".statfs" || name == filepath.Base(d.image)) {
			return true
		}
	}
	return false
}
