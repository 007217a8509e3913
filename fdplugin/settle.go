// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/lock"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/ploop"
)

// settled brings about that a snapshot of the disk loses nothing. While somebody
// else is at work on it, another backup say, it waits; what a merge that was cut off
// has left is completed where that is known to lose nothing; anything else is an
// error that names the commands.
func (b *backup) settled(v *volume) error {
	descriptor := v.disk.Descriptor
	var unsafe *ploop.UnsafeError
	_, err := lock.Wait(b.job.ctx, b.opts.LockWait, func(held *lock.HeldError, waited time.Duration) {
		b.job.Log.Infof("waiting until disk %s is safe to snapshot, since %s: %v (%s)", v.mountName(), text.Duration(waited), held, unsafe.What)
		b.giveWay()
	}, func() (*lock.Held, error) {
		err := ploop.Safe(descriptor)
		if !errors.As(err, &unsafe) || !unsafe.Passing {
			return nil, err
		}
		users, look := b.job.Node.Snapshots.Users(b.job.ctx, descriptor)
		if look != nil {
			return nil, errors.Join(err, look)
		}
		if len(users) > 0 {
			return nil, &lock.HeldError{Path: descriptor, By: strings.Join(users, ", ")}
		}
		return nil, err
	})
	if unsafe == nil || !unsafe.Passing || !errors.Is(err, unsafe) {
		return err
	}
	return b.repair(v, unsafe)
}

// repair completes a merge that was cut off.
func (b *backup) repair(v *volume, unsafe *ploop.UnsafeError) error {
	j := b.job
	descriptor := v.disk.Descriptor
	if b.gaveWay {
		// No start may come between; what else has changed, afterGivingWay looks at.
		if err := j.lockContainer(b.opts, b.container.UUID, b.place.Lock); err != nil {
			return err
		}
	}
	if err := j.Node.keepDescriptor(descriptor, b.container.UUID, "repair"); err != nil {
		return err
	}
	err := j.call(func(ctx context.Context) error { return j.Node.Snapshots.Repair(ctx, descriptor, "") }, descriptor)
	if errors.Is(err, ploop.ErrNoRepair) {
		return unsafe
	}
	if err == nil {
		err = ploop.Safe(descriptor)
	}
	if err != nil {
		return fmt.Errorf("disk %s: %s; it was tried to be repaired: %w", v.mountName(), unsafe.What, err)
	}
	j.Log.Warnf("disk %s was not safe to snapshot: %s; nobody had it open, and the merge was completed", v.mountName(), unsafe.What)
	return nil
}
