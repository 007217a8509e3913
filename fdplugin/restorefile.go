// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/prlctl"
	"github.com/bareos-contrib/vz7ct/restore"
)

// placeFlags open a directory as a place.
const placeFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// maxMemory is how much of a restore goes to tmpfs of a running container: enough for what
// programs keep in /run.
const maxMemory = 256 << 20

// existingContainer is the target of restore=file: the root of a container that runs, or
// the disks of one that is stopped.
type existingContainer struct {
	job       *Job
	container prlctl.Container
	// tree is the root of a container that runs, disks are those of one that does not,
	// the longest mount point first.
	tree  *restore.Tree
	disks []*restedDisk
	// source is the container that the first file came from; all must.
	source string
	// below is the directory of restore_dir in the container, "" if where counts.
	below string
	// hidden are mount points of further disks that are not visible from the
	// root we have, or are not mounted, with the reason.
	hidden map[string]string
}

// intoExisting opens the container with the first file, and checks that
// every file is one of it.
func (r *restoration) intoExisting(f *Restored) (target, error) {
	p, err := fileName(f.Name, f.Where, r.opts.Directory)
	if err != nil {
		return nil, err
	}
	if r.files == nil {
		o := r.opts
		if o.Name == "" && o.UUID == "" || o.Recorded && p.area == inTree {
			// What the FileSet says is the container that was saved. Its name may be
			// another one by now, or another container's.
			o.Name, o.UUID = "", p.uuid
		}
		if r.files, err = r.job.openExisting(o); err != nil {
			return nil, err
		}
	}
	return r.files, nil
}

// openExisting finds the container and opens its root, or makes its disks ready.
func (j *Job) openExisting(o Options) (*existingContainer, error) {
	c, err := j.containerOf(o)
	if err != nil {
		return nil, fmt.Errorf("restore=file: %w", err)
	}
	if err := canBeWritten(c); err != nil {
		return nil, fmt.Errorf("restore=file: %w", err)
	}
	place, err := j.Node.Containers.Describe(j.ctx, c.UUID)
	if err != nil {
		return nil, fmt.Errorf("restore=file: container %s (%s): %w", c.Title(), c.UUID, err)
	}
	if err := j.openJournal(c.Name, c.UUID); err != nil {
		return nil, err
	}
	if err := j.lock(o, c.UUID, false); err != nil {
		return nil, err
	}
	if c.State == stateStopped {
		t, err := j.openStopped(o, c, place)
		if err != nil {
			return nil, fmt.Errorf("restore=file: container %s (%s): %w", c.Title(), c.UUID, err)
		}
		return t, nil
	}
	if err := j.lockContainer(o, c.UUID, place.Lock); err != nil {
		return nil, err
	}
	t := &existingContainer{job: j, container: c, below: o.Directory}
	root, pid, err := t.open(place)
	if err != nil {
		return nil, fmt.Errorf("restore=file: container %s (%s): %w", c.Title(), c.UUID, err)
	}
	if t.tree, err = restore.Open(root, j.Node.State); err != nil {
		root.Close()
		return nil, err
	}
	t.tree.Shared, t.tree.Memory = true, maxMemory
	if pid != 0 {
		t.tree.Mountinfo = fmt.Sprintf("/proc/%d/mountinfo", pid)
	}
	j.Log.Infof("restoring files into running container %s (%s)", c.Title(), c.UUID)
	return t, nil
}

// open opens the root as the container's init sees it, so that further disks
// and a tmpfs are where the container has them. Without a usable record of the
// init's pid it is the root disk as the node sees it.
func (t *existingContainer) open(place prlctl.Place) (root *os.File, pid int, err error) {
	if own, pid := rootOf(place); own != nil {
		return own, pid, nil
	}
	node, err := os.OpenFile(place.Root, placeFlags, 0)
	if err != nil {
		return nil, 0, err
	}
	above, err := os.OpenFile(filepath.Dir(place.Root), placeFlags, 0)
	if err != nil {
		node.Close()
		return nil, 0, err
	}
	defer above.Close()
	if device1, device2 := deviceOf(node), deviceOf(above); device1 == device2 {
		node.Close()
		return nil, 0, fmt.Errorf("nothing is mounted at %s", place.Root)
	}
	disks, err := place.Config.Disks(place.Private)
	if err != nil {
		node.Close()
		return nil, 0, err
	}
	for _, d := range disks {
		if m := strings.Trim(filepath.Clean("/"+d.Mount), "/"); m != "" {
			t.hide(m, "which cannot be reached from the node: the pid of the container's init is not known")
		}
	}
	return node, 0, nil
}

func (t *existingContainer) item(f *Restored) (*restore.Tree, *restore.Item, error) {
	path, err := t.inside(f.Name, f.Where)
	if err != nil {
		return nil, nil, err
	}
	tree, at, err := t.place(path)
	if err != nil {
		return nil, nil, err
	}
	it := f.item(at)
	if f.Kind == HardLink {
		first, err := t.inside(f.Link, f.Where)
		if err != nil {
			return nil, nil, err
		}
		other, first, err := t.place(first)
		if err != nil {
			return nil, nil, err
		}
		if other != tree {
			return nil, nil, &leftOut{fmt.Errorf("it is a hard link to %s, which is on another disk by now", text.Name(f.Link))}
		}
		it.First = first
	}
	return tree, it, nil
}

// place returns the tree and the path in it for a path in the container.
func (t *existingContainer) place(path string) (*restore.Tree, string, error) {
	if t.disks == nil {
		return t.tree, path, nil
	}
	return t.onDisk(path)
}

// hide closes a mount point.
func (t *existingContainer) hide(mount, why string) {
	if t.hidden == nil {
		t.hidden = map[string]string{}
	}
	t.hidden[mount] = why
}

// inside returns the path in the container that a name of the stream means.
//
// A name below /mnt/bareos/<uuid>/ carries the UUID of the container that was
// saved: all must carry the same. A name below /vz/root/<uuid>/ was made by the
// operator's regexwhere and carries the UUID of the container it goes to.
func (t *existingContainer) inside(name, where string) (string, error) {
	p, err := fileName(name, where, t.below)
	if err != nil {
		return "", err
	}
	switch {
	case p.area == inLive && p.uuid != t.container.UUID:
		return "", fmt.Errorf("restore=file: %s names container %s, but name and uuid of the options mean %s (%s)",
			text.Name(name), p.uuid, t.container.Title(), t.container.UUID)
	case p.area == inTree && t.source != "" && t.source != p.uuid:
		return "", fmt.Errorf("restore=file: %s is of container %s, files before it were of %s: restore one container at a time",
			text.Name(name), p.uuid, t.source)
	case strings.HasPrefix(p.path, ownFolder+"-disk-"):
		return "", fmt.Errorf("restore=file: %s is on a disk that has no mount point in the container", text.Name(name))
	}
	if p.area == inTree {
		t.source = p.uuid
	}
	for m, why := range t.hidden {
		if p.path == m || strings.HasPrefix(p.path, m+"/") {
			return "", fmt.Errorf("restore=file: %s lies on the disk mounted at /%s, %s", text.Name(name), m, why)
		}
	}
	return p.path, nil
}

func (t *existingContainer) finish() error {
	if t.disks != nil {
		return t.finishDisks()
	}
	tree := t.tree
	t.tree = nil
	if err := tree.Sync(); err != nil {
		tree.Abandon()
		return fmt.Errorf("restore=file: write to container %s: %w", t.container.Title(), err)
	}
	t.job.restore.closeTree(tree, "/")
	if n := tree.Timeless; n > 0 {
		t.job.Log.Infof("%s symbolic links have the time of this restore: this kernel sets theirs by name only, and a name in a running container may be another file's by then", text.Count(n))
	}
	return nil
}

func (t *existingContainer) abandon() {
	for _, d := range t.disks {
		if d.tree != nil {
			d.tree.Abandon()
			d.tree = nil
		}
	}
	if t.tree != nil {
		t.tree.Abandon()
		t.tree = nil
	}
}

// item describes the file to package restore.
func (f *Restored) item(path string) *restore.Item {
	it := &restore.Item{
		Path: path, Mode: f.Stat.Mode, UID: f.Stat.Uid, GID: f.Stat.Gid, Rdev: f.Stat.Rdev, Size: f.Stat.Size,
		Atime: f.Stat.Atim.Sec, Mtime: f.Stat.Mtim.Sec, Nanoseconds: nanoseconds(&f.Stat), Link: f.Link, Replace: f.Replace,
		Linked: f.Kind != Directory && f.Stat.Nlink > 1,
	}
	// What the daemon says it is counts: the mode of a hard link is that of its
	// first name, and a restored directory must not become anything else.
	switch f.Kind {
	case Regular, Empty:
		it.Mode = unix.S_IFREG | it.Mode&0o7777
	case Directory:
		it.Mode = unix.S_IFDIR | it.Mode&0o7777
	case Symlink:
		it.Mode = unix.S_IFLNK | it.Mode&0o7777
	case HardLink, Special, Object:
	}
	return it
}

func sameFile(a, b *os.File) bool {
	x, err1 := a.Stat()
	y, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func deviceOf(f *os.File) uint64 {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	return st.Dev
}
