// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/restore"
)

// mountToRestore mounts a disk that no container uses at a directory of its own, to be
// written to. Both are in the journal.
func (j *Job) mountToRestore(uuid, descriptor string) (dir string, tree *restore.Tree, err error) {
	id, err := newUUID()
	if err != nil {
		return "", nil, err
	}
	if err := j.Node.mountDir(); err != nil {
		return "", nil, err
	}
	dir = filepath.Join(j.Node.Mounts, uuid+".restore."+id[:8])
	if err := j.makeMountDir(dir); err != nil {
		return "", nil, err
	}
	if err := j.journal.Intend(undo.Step{Do: undo.Mounted, Descriptor: descriptor, Dir: dir}); err != nil {
		return "", nil, err
	}
	if err := j.call(func(ctx context.Context) error {
		return j.Node.Images.MountWritable(ctx, descriptor, dir)
	}, descriptor, dir); err != nil {
		return "", nil, err
	}
	v := volume{dir: dir}
	if err := v.measure(j.Node.Mounts); err != nil {
		return "", nil, err
	}
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("open mounted disk: %w", err)
	}
	if tree, err = restore.Open(root, j.Node.State); err != nil {
		root.Close()
		return "", nil, err
	}
	return dir, tree, nil
}

// unmountRestored unmounts what mountToRestore has mounted at the directories given.
func (j *Job) unmountRestored(dirs map[string]bool) error {
	return j.journal.UndoOnly(func(s undo.Step) bool {
		return (s.Do == undo.Mounted || s.Do == undo.MadeDir) && dirs[s.Dir]
	}, j.undo)
}

// encrypt decides whether a disk is encrypted. One that was is not restored in clear
// unless somebody has said so. One that is rolled back keeps the key that it has.
func (c *newContainer) encrypt(d *newDisk) error {
	switch key := c.opts.Anywhere.Encryption; {
	case d.KeyID == "":
		if key != "" && key != inClear {
			c.job.Log.Warnf("disk %s was not encrypted, and is restored in clear: encryption=%s is for disks that were", text.Name(d.Mount), key)
		}
	case key == "" && c.old.hasKey(d):
		d.key = d.KeyID
	case key == "":
		return fmt.Errorf("disk %s was encrypted with key %s: say with encryption=<key id> by which key the new one is to be, or with encryption=none that it is to be in clear; nothing was touched",
			text.Name(d.Mount), text.Name(d.KeyID))
	case key == inClear:
		c.job.Log.Warnf("disk %s was encrypted with key %s; it is restored in clear, as encryption=none says", text.Name(d.Mount), text.Name(d.KeyID))
	default:
		d.key = key
	}
	return nil
}

// encrypted checks that a disk is as it was asked for, whatever ploop says.
func (d *newDisk) encrypted(descriptor string) error {
	if d.key == "" {
		return nil
	}
	now, err := ploop.Read(descriptor)
	if err == nil && now.KeyID != d.key {
		err = fmt.Errorf("its descriptor names key %q", now.KeyID)
	}
	if err != nil {
		return fmt.Errorf("new disk %s is not encrypted with key %s although ploop has made it: %w", text.Name(d.Mount), d.key, err)
	}
	return nil
}
