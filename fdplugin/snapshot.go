// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/ploop"
)

// findGroup finds the control group by which the container will be frozen, if it
// will be, and sees that it can be: before anything is touched. An estimate saves
// nothing, so nothing is frozen for it.
func (b *backup) findGroup() error {
	if !b.opts.Freeze || b.estimate || len(b.volumes) < 2 || b.container.State != "running" {
		return nil
	}
	root, pid := rootOf(b.place)
	if root == nil {
		return b.notOfOneMoment(errors.New("the pid of its init is not known, or not that of a process in its root"))
	}
	root.Close()
	group, err := b.job.Node.Freezer.Find(pid, b.place.CTID)
	if err != nil {
		return b.notOfOneMoment(err)
	}
	b.group = group
	return nil
}

// notOfOneMoment is the error of a job that was to save several disks as they were
// at one moment, and does not do with less.
func (b *backup) notOfOneMoment(why error) error {
	return fmt.Errorf("multi_disk=freeze: container %s: %w; with multi_disk=skew the disks are saved one after another", b.container.Title(), why)
}

// snapshot freezes every disk: one after another, or with all processes of the
// container standing still around them.
func (b *backup) snapshot() error {
	j := b.job
	id, err := newUUID()
	if err != nil {
		return err
	}
	// All are written down before the first is taken: between them, nothing is waited
	// for that need not be.
	for n, v := range b.volumes {
		v.snapshot = id
		v.dir = filepath.Join(j.Node.Mounts, fmt.Sprintf("%s.%s.%d", b.container.UUID, id[:8], n))
		if err := j.journal.Intend(undo.Step{Do: undo.MadeSnapshot, Descriptor: v.disk.Descriptor, Snapshot: id, Container: b.container.UUID, Owner: b.owner}); err != nil {
			return err
		}
		if err := b.record(v, id); err != nil {
			return err
		}
		if err := j.Node.keepDescriptor(v.disk.Descriptor, b.container.UUID, "snapshot"); err != nil {
			return err
		}
	}
	begin := time.Now()
	var skew time.Duration
	err = b.standStill(func() (err error) {
		skew, err = b.takeSnapshots()
		return err
	})
	if err != nil {
		return err
	}
	j.Log.Infof("snapshot {%s} of %d disk(s) of %s container taken in %s", id, len(b.volumes), b.container.State, text.Duration(time.Since(begin)))
	if len(b.volumes) > 1 && b.group == "" {
		j.Log.Infof("the disks were frozen one after another, %s between the first and the last", text.Duration(skew))
	}
	return nil
}

// takeSnapshots takes the snapshot of each disk, and returns how long after the
// first the last was taken. What it reads beforehand, ploop reads too: it waits for
// nothing but ploop.
func (b *backup) takeSnapshots() (skew time.Duration, err error) {
	j := b.job
	var first, last time.Time
	for _, v := range b.volumes {
		if err := ploop.Safe(v.disk.Descriptor); err != nil {
			return 0, err // it was a moment ago, see safe
		}
		if err := b.stillFrozen(); err != nil {
			return 0, err
		}
		if err := j.call(func(ctx context.Context) error {
			return j.Node.Snapshots.Snapshot(ctx, v.disk.Descriptor, v.snapshot)
		}, v.disk.Descriptor); err != nil {
			return 0, fmt.Errorf("take snapshot of disk %s: %w", v.mountName(), err)
		}
		last = time.Now()
		if first.IsZero() {
			first = last
		}
	}
	// What stands still now has done so all the time: nobody freezes it twice.
	return last.Sub(first), b.stillFrozen()
}

// standStill does work while all processes of the container stand still, if they
// are to. Whatever becomes of work, a panic included, they go on after it.
func (b *backup) standStill(work func() error) (err error) {
	if b.group == "" {
		return work()
	}
	j := b.job
	// The last step, so that it is the first to be undone.
	if err := j.journal.Intend(undo.Step{Do: undo.Frozen, Dir: b.group, Container: b.container.UUID}); err != nil {
		return err
	}
	begin := time.Now()
	thaw, err := j.Node.Freezer.Freeze(j.ctx, b.group)
	if err != nil {
		return b.notOfOneMoment(err)
	}
	until := time.Since(begin)
	defer func() {
		took, failed := thaw()
		if failed != nil {
			err = errors.Join(err, failed) // the step stays in the journal
			return
		}
		if errors.Is(err, errThawed) {
			return // nobody knows for how long
		}
		j.Log.Infof("multi_disk=freeze: all processes of the container stood still for %d ms, after %d ms in which they came to a stop", took.Milliseconds(), until.Milliseconds())
		err = errors.Join(err, j.journal.Forget(isFrozen))
	}()
	return work()
}

var errThawed = errors.New("it does not stand still any more, so its disks are not of one moment and are not saved: the snapshots have taken longer than a minute, after which it is let go whatever happens, or somebody else has let it go")

// stillFrozen fails if the container was to stand still and does not any more.
func (b *backup) stillFrozen() error {
	if b.group == "" {
		return nil
	}
	still, err := b.job.Node.Freezer.Frozen(b.group)
	if err == nil && !still {
		err = errThawed
	}
	if err != nil {
		return b.notOfOneMoment(err)
	}
	return nil
}

func isFrozen(s undo.Step) bool { return s.Do == undo.Frozen }

// letGo lets containers go on that dead jobs have left standing still, before any
// wait: for another sweep, for a tool of the dead job that still runs. What fails
// here is in the journal, and is reported when its turn comes.
func (c Cleaner) letGo(ctx context.Context, journals string) {
	list, _ := undo.List(journals)
	for _, e := range list {
		for _, s := range e.Pending {
			if e.Ended && isFrozen(s) {
				_ = c.undo(ctx, s)
			}
		}
	}
}
