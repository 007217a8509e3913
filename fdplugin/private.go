// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/ploop"
)

// markName is a file by which a private area is known to be made by a restore
// that is not complete. It is taken away as soon as the container is registered.
// ownerName is what prlctl register makes: from then on another node may have it.
// ownPrefix is what names of files begin with that are the plugin's own.
const (
	ownPrefix = ".vz7ct-"
	markName  = ownPrefix + "restore"
	ownerName = ".owner"
)

// removePrivate removes the private area that a restore has made, unless it is,
// or may have become, that of a container.
func (c Cleaner) removePrivate(ctx context.Context, s undo.Step) error {
	known, err := c.registered(ctx, s.Container)
	if err != nil {
		return err
	}
	if known && !strings.HasSuffix(s.Dir, newSuffix+s.Mark) && !c.elsewhere(ctx, s) { // in the first, none is registered
		c.tellStayed(s)
		return c.handOver(s)
	}
	mark, err := regular.ReadFile(filepath.Join(s.Dir, markName), 4096)
	switch {
	case err == nil && s.Mark != "" && string(mark) == s.Mark && !exists(filepath.Join(s.Dir, ownerName)):
		return removeTree(s.Dir)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("look at the mark of %s: %w", s.Dir, err)
	case removeDir(s.Dir) == nil, !exists(s.Dir):
		return nil // nothing was in it yet
	}
	c.tellStayed(s)
	c.Log.Warnf("%s was made by a restore that has not ended properly, and does not bear its mark any more, or has an owner: it stays; remove it if no node uses it, then the restore can be run again", s.Dir)
	return nil
}

func (c Cleaner) tellStayed(s undo.Step) {
	if c.stayed != nil {
		c.stayed(s.Container)
	}
}

// elsewhere reports whether the container of a step, which is registered, has a private
// area that is not the step's: it has come to the node by another way.
func (c Cleaner) elsewhere(ctx context.Context, s undo.Step) bool {
	place, err := c.Node.Containers.Describe(ctx, s.Container)
	if err != nil {
		return false
	}
	has, err1 := os.Stat(place.Private)
	made, err2 := os.Stat(s.Dir)
	return err1 == nil && err2 == nil && !os.SameFile(has, made)
}

// handOver takes the mark away from the private area of a container that was
// registered just before its restore came to a bad end.
func (c Cleaner) handOver(s undo.Step) error {
	c.Log.Infof("container %s is registered: its private area %s stays", s.Container, s.Dir)
	if scripts := filepath.Join(s.Dir, scriptFolder); exists(scripts) {
		c.Log.Warnf("action scripts of container %s were not put in place when its restore came to a bad end: look at %s, move them to %s and remove %s",
			s.Container, scripts, c.Node.Scripts, filepath.Join(s.Dir, ownFolder))
	}
	path := filepath.Join(s.Dir, markName)
	mark, err := regular.ReadFile(path, 4096)
	switch {
	case errors.Is(err, os.ErrNotExist) || err == nil && (s.Mark == "" || string(mark) != s.Mark):
		return nil
	case err != nil:
		return fmt.Errorf("look at the mark of %s: %w", s.Dir, err)
	}
	// Who has registered it may have died before that was on disk.
	c.Node.syncRegistered(c.Log.Warnf, s.Dir)
	return errors.Join(os.Remove(path), syncDir(s.Dir))
}

// unmark makes the private area of a restored container, which is registered and has its
// action scripts, one like any other.
func unmark(dir string) error {
	return errors.Join(os.RemoveAll(filepath.Join(dir, ownFolder)), os.Remove(filepath.Join(dir, markName)), syncDir(dir))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// removeTree removes a private area with all its content, the mark last: what is
// left if that is interrupted is still known as ours. It refuses when something is
// mounted in it or a ploop works on one of its disks.
func removeTree(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	if at := mountedBelow(string(mounts), dir); at != "" {
		return fmt.Errorf("remove %s: %s is mounted there", dir, at)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		d := filepath.Join(dir, e.Name(), "DiskDescriptor.xml")
		// A restored tree may have anything of that name.
		if st, err := os.Lstat(d + ".lck"); err != nil || !st.Mode().IsRegular() {
			continue
		}
		switch busy, err := ploop.Busy(d); {
		case err != nil:
			return fmt.Errorf("remove %s: %w", dir, err)
		case busy:
			return fmt.Errorf("remove %s: a ploop command works on %s", dir, d)
		}
	}
	for _, e := range entries {
		if e.Name() != markName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return syncDir(filepath.Dir(dir)) // the journal is about to forget it
}
