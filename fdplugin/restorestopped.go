// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/prlctl"
	"github.com/bareos-contrib/vz7ct/restore"
)

// Files go into a stopped container over mounts of the plugin's own, of each disk by
// itself, as into a container that is made anew: `prlctl mount` would take Virtuozzo's
// lock, which the job has, and mount one disk in another one over what the tenant has
// made of the path. Virtuozzo's lock keeps starts away meanwhile; where it is lost with
// the daemon, a start ends with "already used by device" until the mounts are taken back.

// The states that prlctl calls so.
const (
	stateRunning   = "running"
	stateStopped   = "stopped"
	stateSuspended = "suspended"
	stateMounted   = "mounted"
)

// canBeWritten refuses a container whose disks must not be changed in its state.
func canBeWritten(c prlctl.Container) error {
	var why string
	switch c.State {
	case stateRunning, stateStopped:
		return nil
	case stateSuspended:
		why = "what its programs remember of its disks would be wrong: prlctl resume or stop it first"
	case stateMounted:
		why = "somebody has mounted its disks (prlctl mount, pcompact): prlctl umount or start it first"
	default:
		why = "it must be running or stopped"
	}
	return fmt.Errorf("container %s (%s) is in state %q, %s", c.Title(), c.UUID, c.State, why)
}

// restedDisk is one disk of a container at rest. It is mounted with its first file.
type restedDisk struct {
	// mount is the mount point without slashes at its ends, "" for the root disk.
	mount, descriptor string
	dir               string
	tree              *restore.Tree
}

// openStopped makes the disks of a stopped container ready. The job's own lock is had.
func (j *Job) openStopped(o Options, c prlctl.Container, place prlctl.Place) (*existingContainer, error) {
	if err := j.lockAtRest(o, c.UUID, place.Lock); err != nil {
		return nil, err
	}
	// While the lock was waited for everything may have changed.
	now, err := j.cleaner().container(j.ctx, c.UUID)
	if err != nil {
		return nil, err
	}
	if now.State != stateStopped {
		return nil, fmt.Errorf("it was stopped, and is %q since the job has its lock: run the restore again", now.State)
	}
	if place, err = j.Node.Containers.Describe(j.ctx, c.UUID); err != nil {
		return nil, err
	}
	switch ours, owner, err := j.Node.Containers.Owns(place.Private); {
	case err != nil:
		return nil, fmt.Errorf("whose is it? %w", err)
	case !ours:
		return nil, fmt.Errorf("it belongs to node %q by its file .owner, so its disks are not touched here", owner)
	}
	t := &existingContainer{job: j, container: now, below: o.Directory}
	if err := t.findDisks(place); err != nil {
		return nil, err
	}
	j.Log.Infof("restoring files into stopped container %s (%s), which cannot be started meanwhile", c.Title(), c.UUID)
	return t, nil
}

// findDisks lists the disks as the container would have them.
func (t *existingContainer) findDisks(place prlctl.Place) error {
	disks, err := place.Config.Disks(place.Private)
	if err != nil {
		return err
	}
	taken := map[string]string{}
	for _, d := range disks {
		m := strings.Trim(filepath.Clean("/"+d.Mount), "/")
		root := d.UUID == prlctl.RootDisk
		switch {
		case !root && d.Mount == "":
			continue // it has no place in the container
		case root && d.External != "":
			return fmt.Errorf("its root disk is %s, no ploop image", d.External)
		case d.External != "":
			t.hide(m, "which is "+d.External+" and no ploop image: start the container, then its files can be restored")
			continue
		case !d.Enabled && !root:
			t.hide(m, "which is disabled in ve.conf")
			continue
		case root:
			m = ""
		case m == "":
			return fmt.Errorf("disk {%s} has the mount point of the root disk", d.UUID)
		}
		if other := taken[m]; other != "" {
			return fmt.Errorf("disks {%s} and {%s} have the same mount point %q", other, d.UUID, d.Mount)
		}
		taken[m] = d.UUID
		t.disks = append(t.disks, &restedDisk{mount: m, descriptor: filepath.Join(d.Dir, "DiskDescriptor.xml")})
	}
	sort.SliceStable(t.disks, func(i, k int) bool { return len(t.disks[i].mount) > len(t.disks[k].mount) })
	return nil
}

// onDisk returns the tree of the disk that a path is on, and the path there.
func (t *existingContainer) onDisk(path string) (*restore.Tree, string, error) {
	for _, d := range t.disks {
		rest, ok := below(path, d.mount)
		if !ok {
			continue
		}
		if d.tree == nil {
			if err := t.mount(d); err != nil {
				return nil, "", fmt.Errorf("restore=file: disk /%s of container %s: %w", d.mount, t.container.Title(), err)
			}
		}
		return d.tree, rest, nil
	}
	return nil, "", errors.New("restore=file: the container has no root disk")
}

// below returns what of a path is left below the directory dir, "" being the root.
func below(path, dir string) (rest string, ok bool) {
	if dir == "" {
		return path, true
	}
	rest, ok = strings.CutPrefix(path, dir)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

// mount mounts one disk, and closes the places in it at which others belong.
func (t *existingContainer) mount(d *restedDisk) error {
	j := t.job
	begin := time.Now()
	if err := j.stuck[d.descriptor]; err != nil {
		return fmt.Errorf("an earlier job has left something on it: %w", err)
	}
	// Even a device without a mount: it could not be told from what a mount of ours that
	// was lost has left.
	users, err := j.Node.Images.Openers(j.ctx, d.descriptor)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fmt.Errorf("it is in use, although the container is stopped: %s; wait until that has ended, or see ploop list -a", strings.Join(users, ", "))
	}
	if d.dir, d.tree, err = j.mountToRestore(t.container.UUID, d.descriptor); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	for m := range t.hidden {
		if rest, ok := below(m, d.mount); ok {
			err = errors.Join(err, d.tree.Cover(rest))
		}
	}
	for _, other := range t.disks {
		if rest, ok := below(other.mount, d.mount); ok && other != d {
			err = errors.Join(err, d.tree.Cover(rest))
		}
	}
	if err == nil {
		j.Log.Infof("disk /%s mounted in %s", text.Name(d.mount), text.Duration(time.Since(begin)))
	}
	return err
}

// finishDisks writes the disks that were mounted, and unmounts them.
func (t *existingContainer) finishDisks() error {
	dirs := map[string]bool{}
	for _, d := range t.disks {
		if d.tree == nil {
			continue
		}
		dirs[d.dir] = true
		tree := d.tree
		d.tree = nil
		if err := tree.Sync(); err != nil {
			tree.Abandon()
			return fmt.Errorf("restore=file: write to disk /%s of container %s: %w", d.mount, t.container.Title(), err)
		}
		t.job.restore.closeTree(tree, "/"+d.mount)
	}
	if err := t.job.unmountRestored(dirs); err != nil {
		return fmt.Errorf("restore=file: container %s: its files are restored, but %w", t.container.Title(), err)
	}
	t.job.Log.Infof("container %s is stopped, as it was", t.container.Title())
	return nil
}
