// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"fmt"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// finish completes a container: its trees are closed and synced, its disks
// unmounted, its configuration put in order, then it is registered, and started
// if that is asked for.
func (c *newContainer) finish() error {
	j := c.job
	j.phase("completing the container")
	if err := c.closeTrees(); err != nil {
		return err
	}
	dirs := map[string]bool{}
	for _, d := range c.disks {
		dirs[d.dir] = true
	}
	if err := j.unmountRestored(dirs); err != nil {
		return fmt.Errorf("restored container %s: %w", c.title(), err)
	}
	if err := c.configure(); err != nil {
		return fmt.Errorf("configuration of restored container %s: %w", c.title(), err)
	}
	scripts, err := c.scripts()
	if err != nil {
		return fmt.Errorf("action scripts of restored container %s: %w", c.title(), err)
	}
	made := c.private
	if c.old != nil {
		if err := c.replace(scripts); err != nil {
			return fmt.Errorf("replace container %s: %w", c.title(), err)
		}
	} else if err := c.register(); err != nil {
		return fmt.Errorf("register restored container %s: %w", c.title(), err)
	}
	c.registered = true
	if c.old == nil {
		c.install(scripts)
	}
	// Last, so that the scripts are there still if this comes to a bad end, and on disk: a
	// power cut must not bring back what the journal has forgotten.
	if err := unmark(c.private); err != nil {
		j.Log.Warnf("private area of restored container %s: %v", c.title(), err)
	}
	if err := j.journal.Forget(func(s undo.Step) bool { return s.Do == undo.MadeTree && s.Dir == made }); err != nil {
		return err
	}
	j.Log.Infof("container %s (%s) restored and registered in %s", c.title(), c.id.uuid, text.Duration(time.Since(c.started)))
	if c.old != nil {
		c.settleReplacement()
		return nil // it runs already, if it is to
	}
	if !c.opts.Start {
		return nil
	}
	if c.incomplete {
		j.Log.Warnf("container %s is not started, since not all of it was restored: see above, then prlctl start %s", c.title(), c.id.uuid)
		return nil
	}
	if err := j.call(func(ctx context.Context) error { return j.Node.Registry.Start(ctx, c.id.uuid) }, c.private); err != nil {
		j.Log.Errorf("container %s is restored and registered, but does not start: %v; see why, then prlctl start %s", c.title(), err, c.id.uuid)
		return nil
	}
	j.Log.Infof("container %s started", c.title())
	return nil
}

// register hands the private area over to the node.
func (c *newContainer) register() error {
	if err := c.job.call(func(ctx context.Context) error { return c.job.Node.Registry.Register(ctx, c.private) }, c.private); err != nil {
		return err
	}
	// A power cut must not leave an area without its mark that is not registered.
	c.job.Node.syncRegistered(c.job.Log.Warnf, c.private)
	return nil
}

// judge looks for signs that not all of the backup has come: a daemon ends a
// restore without an error if its Storage Daemon has gone between two files.
func (c *newContainer) judge(failed int64) {
	for _, d := range c.disks {
		if !d.top {
			c.incomplete = true
			c.job.Log.Warnf("the directory that disk %s begins with has not come, which is the last of a disk in a backup: either it was not selected, or the restore has ended early; compare the number of files with that of the backup",
				text.Name("/"+d.Catalogue))
		}
	}
	c.incomplete = c.incomplete || failed > 0 || c.few() && c.old != nil
}

// few reports, and says, that far less has come than the saved disks held. Consoles send
// the directories above what was marked, too (set_extract in Bareos' and Bacula's
// dird/ua_tree.c), so a disk of which one directory was marked has its root, and passes for
// whole; what a container that is replaced has beyond it would be lost.
func (c *newContainer) few() bool {
	var came, used uint64
	for _, d := range c.disks {
		came += d.came
		used += min(d.UsedInodes, 1<<40)
	}
	if 2*came+100 > used { // a file system has some of its own
		return false
	}
	c.job.Log.Warnf("of container %s %s files, directories and links have come, and %s were on the saved disks: either not all was selected, or the backup leaves much out",
		c.title(), text.Count(int64(came)), text.Count(int64(used)))
	return true
}

// closeTrees gives directories their times and flags. What cannot be set is a
// warning, data that cannot be written an error.
func (c *newContainer) closeTrees() error {
	r := c.job.restore
	before := r.count.failed
	for _, d := range c.disks {
		tree := d.tree
		d.tree = nil
		if err := tree.Sync(); err != nil {
			tree.Abandon()
			return fmt.Errorf("write disk %s: %w", d.Mount, err)
		}
		r.closeTree(tree, treeRoot+c.m.UUID+"/"+d.Catalogue)
	}
	area := c.area
	c.area = nil
	if err := area.Sync(); err != nil {
		area.Abandon()
		return fmt.Errorf("write private area %s: %w", c.private, err)
	}
	r.closeTree(area, privateRoot+c.m.UUID)
	c.incomplete = c.incomplete || r.count.failed > before
	return nil
}
