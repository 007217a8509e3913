// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// With replace_ct=yes the new container is made beside the old one, which stays as it
// is, and runs, until everything was restored. Only then is it stopped, unregistered and
// set aside, by renames in the directory that both are in, and the new one takes its
// place. All that is one step of the journal: how far it has come is read from the names
// and from what is registered (putback.go), and the old one is given up by one rename, when
// the new one is registered, and runs if the old one did.

// The names of the two areas beside the place that both want, with the restore's mark.
const (
	newSuffix   = ".vz7ct-new-"
	asideSuffix = ".vz7ct-aside-"
	goneSuffix  = ".vz7ct-gone-"
)

// swap are the places of one replacement.
type swap struct {
	// home is the container's private area. made is where the new one is until it is
	// complete, aside where the old one is meanwhile, gone where it is when it is not
	// needed any more.
	home, made, aside, gone string
}

func swapOf(home, mark string) swap {
	return swap{home, home + newSuffix + mark, home + asideSuffix + mark, home + goneSuffix + mark}
}

// oldContainer is the one that a restore replaces.
type oldContainer struct {
	prlctl.Container
	swap
	lock        string            // Virtuozzo's, "" if it cannot be had
	descriptors map[string]string // of its disks, by their UUIDs
}

// replaces judges the container that is in the way and is to be replaced, and chooses
// where the new one is made. Nothing is touched.
func (c *newContainer) replaces(other prlctl.Container) error {
	j := c.job
	refuse := func(format string, a ...any) error {
		return fmt.Errorf("replace_ct=yes: container %s (%s) %w: nothing was touched", other.Title(), other.UUID, fmt.Errorf(format, a...))
	}
	if err := canBeReplaced(other); err != nil {
		return refuse("%w", err)
	}
	place, err := j.Node.Containers.Describe(j.ctx, other.UUID)
	if err != nil {
		return refuse("cannot be looked at: %w", err)
	}
	switch ours, owner, err := j.Node.Containers.Owns(place.Private); {
	case err != nil:
		return refuse("has an owner that cannot be read: %w", err)
	case !ours:
		return refuse("belongs to node %q by its file .owner", owner)
	case place.CTID != c.id.ctid || filepath.Base(place.Private) != c.id.ctid:
		return refuse("has its private area in %s and the id %s, where the saved one had the id %s: it can be destroyed by hand, and then restored", place.Private, place.CTID, c.id.ctid)
	}
	if dir := c.opts.Anywhere.Dir; dir != "" && dir != place.Private && dir != filepath.Dir(place.Private) {
		return refuse("has its private area in %s, where the new one takes its place, and restore_private=%s asks for another directory: leave one of both out", place.Private, text.Name(dir))
	}
	if err := plainDirectory(place.Private); err != nil {
		return refuse("%w", err)
	}
	if c.mark, err = newUUID(); err != nil {
		return err
	}
	c.old = &oldContainer{Container: other, swap: swapOf(place.Private, c.mark), lock: place.Lock, descriptors: map[string]string{}}
	disks, err := c.savedDisks(place)
	if err != nil {
		return refuse("%w", err)
	}
	for _, d := range disks {
		if err := c.old.add(j, d); err != nil {
			return refuse("%w", err)
		}
	}
	if hasSnapshots(place.Private) {
		j.Log.Warnf("replace_ct=yes: the snapshots of container %s (prlctl snapshot-list %s) are lost when it is replaced", other.Title(), other.UUID)
	}
	c.private = c.old.made
	j.Log.Infof("container %s (%s) is %s, and stays so until everything was restored; then it is replaced, and what it has written since the backup is lost", other.Title(), other.UUID, other.State)
	return nil
}

// replace puts the new container, which is complete, in the place of the old one. When
// it fails the old one is put back by the journal.
func (c *newContainer) replace(scripts map[string]script) error {
	j, old := c.job, c.old
	j.phase("replacing the container")
	begin := time.Now()
	if c.incomplete {
		return errors.New("not all of it was restored, see above: the old one is not replaced; leave out replace_ct and restore it beside the old one, or into files")
	}
	if err := c.othersDone(); err != nil {
		return err
	}
	now, err := c.lookAgain()
	if err != nil {
		return err
	}
	if err := c.movable(); err != nil {
		return err
	}
	if err := c.leaveThere(scripts); err != nil {
		return err
	}
	if err := syncFileSystem(old.made); err != nil {
		return err
	}
	if err := j.journal.Intend(undo.Step{Do: undo.Replaced, Dir: old.home, Container: c.id.uuid, Mark: c.mark, State: now.State}); err != nil {
		return err
	}
	if now.State == stateRunning {
		if err := j.call(func(ctx context.Context) error { return j.Node.Registry.Stop(ctx, c.id.uuid) }, old.home); err != nil {
			return fmt.Errorf("stop the old container: %w", err)
		}
	}
	if err := j.call(func(ctx context.Context) error { return j.Node.Registry.Unregister(ctx, c.id.uuid) }, old.home); err != nil {
		return fmt.Errorf("unregister the old container: %w", err)
	}
	j.Node.syncRegistered(j.Log.Warnf, old.home)
	if err := c.unused(); err != nil {
		return err
	}
	if err := move(old.home, old.aside); err != nil {
		return err
	}
	if err := move(old.made, old.home); err != nil {
		return err
	}
	c.private = old.home
	if err := j.call(func(ctx context.Context) error { return j.Node.Registry.Register(ctx, old.home) }, old.home); err != nil {
		return err
	}
	j.Node.syncRegistered(j.Log.Warnf, old.home)
	c.install(scripts)
	if now.State == stateRunning || c.opts.Start {
		if err := c.tryStart(); err != nil {
			return err
		}
	}
	// From here on the old one is not needed any more.
	if err := move(old.aside, old.gone); err != nil {
		return err
	}
	j.Log.Infof("container %s replaced in %s", c.title(), text.Duration(time.Since(begin)))
	return nil
}

// lookAgain judges the old container as it is now.
func (c *newContainer) lookAgain() (prlctl.Container, error) {
	j := c.job
	now, err := j.cleaner().container(j.ctx, c.id.uuid)
	if err != nil {
		return now, err
	}
	if now.UUID == "" {
		return now, errors.New("the old one is not on this node any more: it was destroyed, or has gone to another node, while this restore ran")
	}
	if err := canBeReplaced(now); err != nil {
		return now, fmt.Errorf("the old one %w", err)
	}
	// One that was moved would be unregistered, and nothing would bring it back.
	place, err := j.Node.Containers.Describe(j.ctx, c.id.uuid)
	if err != nil {
		return now, fmt.Errorf("look at the old one: %w", err)
	}
	if place.Private != c.old.home {
		return now, fmt.Errorf("the old one has its private area in %s by now, it was in %s: it was moved while this restore ran; run the restore again", place.Private, c.old.home)
	}
	if err := plainDirectory(place.Private); err != nil {
		return now, fmt.Errorf("the old one %w", err)
	}
	if _, err := c.savedDisks(place); err != nil {
		return now, fmt.Errorf("the old one %w", err)
	}
	ours, owner, err := j.Node.Containers.Owns(c.old.home)
	if err == nil && !ours {
		err = fmt.Errorf("the old one belongs to node %q by its file .owner by now", owner)
	}
	return now, err
}

// movable checks that the new disks can be renamed: a descriptor names its images
// relative to itself (ploop 9.0.30, run).
func (c *newContainer) movable() error {
	for _, d := range c.disks {
		path := filepath.Join(filepath.Dir(filepath.Join(c.private, d.image)), "DiskDescriptor.xml")
		b, err := regular.ReadFile(path, 1<<20)
		if err != nil {
			return fmt.Errorf("descriptor of the new disk %s: %w", d.Mount, err)
		}
		if bytes.Contains(b, []byte(c.private)) {
			return fmt.Errorf("%s names its images by their whole path: this ploop's disks cannot be renamed; destroy the old container by hand, then restore without replace_ct", path)
		}
	}
	return nil
}

// othersDone waits for whoever works on the old container. The lock is given up at once:
// prlctl takes it itself.
func (c *newContainer) othersDone() error {
	j := c.job
	if err := j.lockContainer(c.opts, c.id.uuid, c.old.lock); err != nil {
		return err
	}
	err := j.journal.UndoOnly(func(s undo.Step) bool { return s.Do == undo.LockedContainer }, j.undo)
	j.locks = slices.DeleteFunc(j.locks, func(h held) bool {
		if !strings.HasPrefix(h.what, containerLock) {
			return false
		}
		_ = h.Release() // its file has gone
		return true
	})
	return err
}

// unused checks that nobody has a disk of the old container open, who would write to it
// under its new name.
func (c *newContainer) unused() error {
	for _, d := range c.old.descriptors {
		users, err := c.job.Node.Images.Openers(c.job.ctx, d)
		if errors.Is(err, os.ErrNotExist) {
			continue // a container without this disk cannot have it in use
		}
		if err != nil {
			return fmt.Errorf("is the disk %s of the old container in use? %w", d, err)
		}
		if len(users) > 0 {
			return fmt.Errorf("the disk %s of the old container is in use, although that is stopped: %s", d, strings.Join(users, ", "))
		}
	}
	return nil
}

// tryStart starts the new container. One that does not start makes room for the old one.
func (c *newContainer) tryStart() error {
	j := c.job
	start := func(ctx context.Context) error { return j.Node.Registry.Start(ctx, c.id.uuid) }
	err := j.call(start, c.private)
	if err == nil {
		j.Log.Infof("container %s started", c.title())
		return nil
	}
	if stillRuns(err) {
		return fmt.Errorf("start: %w", err)
	}
	ctx, done := patient(j.ctx, j.toolWait)
	defer done()
	retired := j.cleaner().retire(ctx, c.id.uuid)
	if stillRuns(retired) {
		j.busy = append(j.busy, c.private)
	}
	return errors.Join(fmt.Errorf("start: %w", err), retired)
}

// settleReplacement gives up the old container's area, whose place is taken.
func (c *newContainer) settleReplacement() {
	begin := time.Now()
	if err := c.job.journal.UndoOnly(func(s undo.Step) bool { return s.Do == undo.Replaced }, c.job.undo); err != nil {
		c.job.Log.Warnf("container %s is restored, but not all of the old one could be removed: %v", c.title(), err)
		return // it is tried again at the end of the job
	}
	c.job.Log.Infof("the old container %s was removed in %s", c.title(), text.Duration(time.Since(begin)))
}

// move renames a private area, never over another one, and lasts a power cut.
func move(from, to string) error {
	if exists(to) {
		return fmt.Errorf("rename %s: %s is there already", from, to)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("rename private area: %w", err)
	}
	return syncDir(filepath.Dir(to))
}
