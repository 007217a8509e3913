// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// reason is what leaves something out. Whatever leaves out wins over all that would keep:
// the order only says by which reason it is counted, the first one.
type reason int

const (
	notLeft reason = iota
	bySystem
	byDisks
	byPaths
	byPatterns
	byStd
	byTenant
	byCache
	byNoDump
	bySize
	byFileSet
	reasons
)

// chooser decides what of one disk is left out. Next to nothing is known by name alone,
// so it is asked twice: skip, before anything is read of an entry, and want, when a
// directory is open. The FileSet is asked last; about files, when they are handed out.
type chooser struct {
	b    *backup
	v    *volume
	name string // of the disk's root in the catalogue
	dev  uint64
	// own are the files of the file system itself, hidden the mount points of other disks
	// that are saved, bare those of disks that are not.
	own, hidden, bare map[string]bool
	ruling            []ruledDir
}

func (b *backup) newChooser(v *volume, name string, dev uint64) *chooser {
	c := &chooser{b: b, v: v, name: name, dev: dev, hidden: map[string]bool{}, bare: map[string]bool{}}
	// The balloon file's name is fixed by libploop (BALLOON_FNAME); the quota
	// files are the kernel's own, their content is sent as text.
	c.own = map[string]bool{
		"lost+found": true, ".balloon-c3a5ae3d-ce7f-43c4-a1ea-c61e2b4504e8": true,
		"aquota.user": true, "aquota.group": true,
	}
	for _, o := range b.volumes {
		if o != v && o.catalogue != "" {
			c.hidden[o.catalogue] = true
		}
	}
	for _, o := range b.leftDisks {
		if o.conf.Mount != "" && o.catalogue != "" {
			c.bare[o.catalogue] = true
		}
	}
	return c
}

// full is a path of the disk as a path of the container.
func (c *chooser) full(path string) string {
	if c.v.catalogue == "" {
		return path
	}
	return c.v.catalogue + "/" + path
}

// skip decides by the name of an entry, and by what stat tells of it.
func (c *chooser) skip(e *walk.Entry) bool {
	c.climb(e.Path)
	full, dir := c.full(e.Path), e.Stat.Mode&unix.S_IFMT == unix.S_IFDIR
	above, _ := cutPath(full)
	switch {
	case c.own[e.Path] || c.hidden[full]:
		return true
	case e.Stat.Mode&unix.S_IFMT == unix.S_IFSOCK:
		c.b.left.sockets++
	case c.bare[above]:
		// It is hidden in the container: see hiddenBelowMounts.
	case c.b.excluded(full):
		c.leave(byPaths, full, e)
	case c.b.patterned(full, dir):
		c.leave(byPatterns, full, e)
	case c.b.opts.Choice.Std && standard[above]:
		c.b.leaveContent(byStd, above)
	case c.ruled(e.Path, dir):
		c.leave(byTenant, full, e)
	case c.closed(e.Path, noBackupName, func(p ruledDir) bool { return p.noBackup }):
		c.b.leaveContent(byTenant, above)
	case c.closed(e.Path, cacheTag, func(p ruledDir) bool { return p.cache }):
		c.b.leaveContent(byCache, above)
	case c.closed(e.Path, "", func(p ruledDir) bool { return p.noDump }):
		c.b.leaveContent(byNoDump, above)
	default:
		return false
	}
	return true
}

// want decides by what an entry is, and asks the FileSet about directories.
func (c *chooser) want(e *walk.Entry) bool {
	full, kind := c.full(e.Path), e.Stat.Mode&unix.S_IFMT
	choice := &c.b.opts.Choice
	switch {
	case choice.NoDump && noDump(e):
		c.leave(byNoDump, full, e)
	case choice.Larger > 0 && kind == unix.S_IFREG && uint64(e.Stat.Size) > choice.Larger:
		c.leave(bySize, full, e)
	case kind == unix.S_IFDIR && !c.b.accepts(fileItem(e, c.name, c.dev)):
		c.leave(byFileSet, full, e)
	default:
		if kind == unix.S_IFDIR && !e.Crossing {
			c.enter(e)
		}
		return true
	}
	return false
}

// leave counts what is left out, but for the mount point of a disk that was counted.
func (c *chooser) leave(why reason, full string, e *walk.Entry) {
	if !c.bare[full] {
		c.b.leave(why, full, &e.Stat)
	}
}

// noDump reports whether an entry has the flag. One of which it cannot be read is saved.
func noDump(e *walk.Entry) bool {
	yes, err := e.NoDump()
	return yes && err == nil
}

// admits asks about the disk's root, and about what is above it in the container: a
// FileSet that leaves out /srv does not let the disk at /srv/data pass.
func (c *chooser) admits(root *walk.Entry) bool {
	at := strings.TrimSuffix(treeRoot, "/")
	for part := range strings.SplitSeq(path.Join(c.b.container.UUID, c.v.catalogue), "/") {
		at += "/" + part
		if !c.b.accepts(fileItem(root, at, c.dev)) {
			c.b.leaveDisk(byFileSet, c.v)
			return false
		}
	}
	return true
}

// standard are the directories that hold what need not outlive a restart of the container.
var standard = map[string]bool{"tmp": true, "var/tmp": true, "run": true}

// patterned reports whether exclude or exclude_file leaves the path out.
func (b *backup) patterned(path string, dir bool) bool {
	_, yes := b.opts.Choice.List.Match(path, dir)
	return yes
}

// withoutDisk says why a disk is not saved: it is none that is wanted, or its mount point
// or what is above that is left out. excluded_backup_paths names mount points only.
func (b *backup) withoutDisk(v *volume) reason {
	if !b.opts.Choice.Disks.has(v.conf) {
		return byDisks
	}
	if v.catalogue == "" {
		return notLeft
	}
	if b.excluded(v.catalogue) {
		return byPaths
	}
	if v.conf.Mount == "" {
		return notLeft // it has a name of ours, and is nowhere in the container
	}
	for p := v.catalogue; p != "."; p = path.Dir(p) {
		above, _ := cutPath(p)
		switch {
		case b.patterned(p, true):
			return byPatterns
		case b.opts.Choice.Std && standard[above]:
			return byStd
		}
	}
	return notLeft
}

// cutPath cuts a path before its last component.
func cutPath(p string) (above, name string) {
	i := strings.LastIndexByte(p, '/')
	return p[:max(i, 0)], p[i+1:]
}
