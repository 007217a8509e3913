// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// putBack brings a replacement to an end, wherever it has stopped: to its own, if the new
// container is registered, which it is only when it is complete, else to where it began.
// It may be called any number of times, and stop anywhere itself.
//
//	the old one is called gone            it is removed; the new one is registered again if it is not
//	the old one is aside
//	  the new one is registered at home,
//	  and runs if the old one did         it stays, and the old one is removed
//	  else, or that was cut off           the new one leaves home, the old one comes back
//	the old one is at home                it is registered again if it is not
//
// Nothing is renamed or removed that has neither the restore's mark nor a name made of it.
// What prlctl changes is not on disk until it was synced, and a power cut may leave half of
// it, or none. So it is synced before the next rename, before the mark goes and before this
// step is forgotten, also where it is found done: who did it may have died before the sync.
func (c Cleaner) putBack(ctx context.Context, s undo.Step) error {
	at := swapOf(s.Dir, s.Mark)
	for _, dir := range []string{at.aside, at.home} {
		if !exists(dir) {
			continue
		}
		switch ours, owner, err := c.Node.Containers.Owns(dir); {
		case err != nil:
			return fmt.Errorf("whose is container %s? %w", s.Container, err)
		case !ours && owner != "": // an empty one is what a power cut has left of it
			return fmt.Errorf("container %s belongs to node %q by the file .owner in %s, so nothing is touched: %w", s.Container, owner, dir, errElsewhere)
		}
	}
	newHome, err := marked(at.home, s.Mark)
	if err != nil {
		return err
	}
	if exists(at.gone) && !newHome {
		return removeTree(at.gone)
	}
	k, err := c.container(ctx, s.Container)
	if err != nil {
		return err
	}
	switch {
	case exists(at.gone):
		if err := c.keepNew(ctx, s, at, k); err != nil {
			return err
		}
		return removeTree(at.gone)
	case exists(at.aside) && k.UUID != "" && newHome:
		stays, err := c.canStay(ctx, s, k, at.home)
		if err != nil {
			return err
		}
		if stays {
			return c.stays(s, at)
		}
		if err := c.retire(ctx, s.Container); err != nil {
			return fmt.Errorf("take back the registration of container %s: %w", s.Container, err)
		}
		c.Node.syncRegistered(c.Log.Warnf, at.home)
		k = prlctl.Container{}
		if err := c.comeBack(at, true); err != nil {
			return err
		}
	case exists(at.aside):
		err = c.comeBack(at, newHome)
	case newHome:
		return fmt.Errorf("the old container %s is not there any more: neither as %s nor as %s", s.Container, at.aside, at.gone)
	case k.UUID == "" && !exists(at.home):
		c.Log.Infof("container %s has gone since: there is nothing to put back", s.Container)
		return c.removeMade(at, s.Mark)
	}
	if err != nil {
		return err
	}
	again, err := c.registerAgain(ctx, k, s.Container, at.home)
	if err != nil {
		return err
	}
	if again {
		c.Log.Infof("the old container %s is back in its place, and registered", s.Container)
	}
	if err := c.startAgain(ctx, s); err != nil {
		return err
	}
	return c.removeMade(at, s.Mark)
}

// marked reports whether the area at dir bears the mark of a restore.
func marked(dir, mark string) (bool, error) {
	got, err := regular.ReadFile(filepath.Join(dir, markName), 4096)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the mark of %s: %w", dir, err)
	}
	return string(got) == mark, nil
}

// keepNew makes sure that the new container is what the node has, whose old one is given
// up: a power cut may have undone what prlctl register had written.
func (c Cleaner) keepNew(ctx context.Context, s undo.Step, at swap, k prlctl.Container) error {
	again, err := c.registerAgain(ctx, k, s.Container, at.home)
	if err != nil {
		return err
	}
	if again {
		if err := c.startAgain(ctx, s); err != nil {
			return err
		}
	}
	return unmark(at.home)
}

// canStay reports whether the new container, which is registered, is whole, and starts it
// if the old one ran.
func (c Cleaner) canStay(ctx context.Context, s undo.Step, k prlctl.Container, home string) (bool, error) {
	whole, err := c.whole(ctx, k, home)
	if err != nil || !whole {
		return false, err
	}
	if s.State != stateRunning || !canBeStarted(k) {
		return true, nil
	}
	err = c.start(ctx, k)
	switch {
	case err == nil:
		c.Log.Infof("container %s started again", k.UUID)
		return true, nil
	case stillRuns(err), errors.Is(err, prlctl.ErrLocked): // as a start does that was cut off here, and goes on
		return false, fmt.Errorf("start container %s: %w", k.UUID, err)
	}
	c.Log.Warnf("container %s was restored and registered, and does not start: %v: the old one is put back", k.UUID, err)
	return false, nil
}

// whole reports whether a registration at home has come to its end: a power cut may have
// left the configuration or the owner without content. One that was started since has.
func (c Cleaner) whole(ctx context.Context, k prlctl.Container, home string) (bool, error) {
	place, err := c.Node.Containers.Describe(ctx, k.UUID)
	if err != nil {
		c.Log.Warnf("container %s is registered, and cannot be looked at: %v", k.UUID, err)
		return false, nil
	}
	if place.Private != home {
		return false, fmt.Errorf("container %s is registered in %s, not in %s: nothing is touched", k.UUID, place.Private, home)
	}
	if !isAtRest(k) {
		return true, nil
	}
	conf, err := prlctl.ReadConfig(filepath.Join(home, "ve.conf"))
	return err == nil && conf.Get("VEID") != "" && hasOwner(home), nil
}

// isAtRest reports whether a container is in a state in which it can be unregistered.
func isAtRest(k prlctl.Container) bool {
	return k.State == stateStopped || k.State == stateSuspended
}

// canBeStarted reports whether a container does not run. One whose start or stop was cut off
// in its midst is mounted.
func canBeStarted(k prlctl.Container) bool { return isAtRest(k) || k.State == stateMounted }

// start starts a container that does not run. One that is mounted may be so by half: prlctl
// would start it without the disks that are missing, and its programs write below their
// mount points.
func (c Cleaner) start(ctx context.Context, k prlctl.Container) error {
	if k.State == stateMounted {
		if err := c.Node.Registry.Stop(ctx, k.UUID); err != nil {
			return fmt.Errorf("unmount it first: %w", err)
		}
	}
	return c.Node.Registry.Start(ctx, k.UUID)
}

// retire unregisters a new container. A start that has failed in its midst may have left
// it mounted.
func (c Cleaner) retire(ctx context.Context, uuid string) error {
	k, err := c.container(ctx, uuid)
	if err != nil || k.UUID == "" {
		return err
	}
	if !isAtRest(k) {
		if err := c.Node.Registry.Stop(ctx, uuid); err != nil {
			return fmt.Errorf("stop: %w", err)
		}
	}
	return c.Node.Registry.Unregister(ctx, uuid)
}

// hasOwner reports whether prlctl register has written the file .owner.
func hasOwner(private string) bool {
	st, err := os.Lstat(filepath.Join(private, ownerName))
	return err == nil && st.Size() > 0
}

// registerAgain registers the container at home and reports that it did, if it is not
// registered, or only half of it when the power went. k is what the node knows of it.
func (c Cleaner) registerAgain(ctx context.Context, k prlctl.Container, uuid, home string) (bool, error) {
	if k.UUID != "" && (hasOwner(home) || !isAtRest(k)) {
		c.Node.syncRegistered(c.Log.Warnf, home)
		return false, nil
	}
	if k.UUID != "" {
		if err := c.Node.Registry.Unregister(ctx, uuid); err != nil {
			return false, fmt.Errorf("unregister container %s, to register it again: %w", uuid, err)
		}
	}
	if err := c.Node.Registry.Register(ctx, home); err != nil {
		return false, fmt.Errorf("register container %s again: %w", uuid, err)
	}
	c.Node.syncRegistered(c.Log.Warnf, home)
	return true, nil
}

// stays completes a replacement whose new container is registered.
func (c Cleaner) stays(s undo.Step, at swap) error {
	c.Log.Warnf("container %s had been restored and registered when its restore came to a bad end: it stays, and the old one, which it has replaced, is removed", s.Container)
	c.tellStayed(s)
	if err := move(at.aside, at.gone); err != nil {
		return err
	}
	if err := c.handOver(undo.Step{Do: undo.MadeTree, Dir: at.home, Container: s.Container, Mark: s.Mark}); err != nil {
		return err
	}
	return removeTree(at.gone)
}

// comeBack gives the old container its place again.
func (c Cleaner) comeBack(at swap, newHome bool) error {
	if newHome {
		if err := c.uninstall(filepath.Base(at.home), at.home); err != nil {
			return err
		}
		if err := move(at.home, at.made); err != nil {
			return err
		}
	}
	return move(at.aside, at.home)
}

// removeMade removes the new container, which is in nobody's way any more.
func (c Cleaner) removeMade(at swap, mark string) error {
	if is, err := marked(at.made, mark); !is || err != nil {
		return err // none, or none yet: the step that made it tells
	}
	return removeTree(at.made)
}

// startAgain starts a container that ran before. That it does not start is no reason to
// try for ever, but that somebody else is at it.
func (c Cleaner) startAgain(ctx context.Context, s undo.Step) error {
	if s.State != stateRunning {
		return nil
	}
	k, err := c.container(ctx, s.Container)
	if err == nil && !canBeStarted(k) {
		return nil // it runs
	}
	if err == nil {
		err = c.start(ctx, k)
	}
	switch {
	case errors.Is(err, prlctl.ErrLocked):
		return fmt.Errorf("start container %s again: %w", s.Container, err)
	case err != nil:
		c.Log.Errorf("container %s ran before it was to be replaced, and is not started again: %v; see why, then prlctl start %s", s.Container, err, text.Shell(s.Container))
	default:
		c.Log.Infof("container %s started again", s.Container)
	}
	return nil
}
