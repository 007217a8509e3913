// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/freezer"
	"github.com/bareos-contrib/vz7ct/internal/lock"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// Cleaner takes back what jobs have done to a node: those of its own job, and
// those that dead jobs have left.
type Cleaner struct {
	Node Node
	Log  *logrus.Entry
	// Boot takes back only what must be gone before containers start. It asks
	// prlctl nothing.
	Boot bool
	// LetStart leaves the snapshots of a container alone that the node, just
	// booted, is about to start.
	LetStart bool
	// SkipBusy does not wait for tools that dead jobs have started: what they work on
	// is left for later.
	SkipBusy bool
	// own, if set, tells the job's own container, which LetStart does not mean.
	own func(prlctl.Container) bool
	// alone: a job is about to make a snapshot, and nobody else may have one. It is an
	// error if one is found.
	alone bool
	// merged, if set, is told how long a merge has taken.
	merged func(time.Duration)
	// stayed, if set, is told of a container of which something stays although its restore
	// has failed; the job log says what.
	stayed func(uuid string)
	// toolWait is how long a tool is awaited, 0 as long as without the option.
	toolWait time.Duration
}

// DescribeStep says in words what a step of a job has made on the node.
func DescribeStep(s undo.Step) string {
	switch s.Do {
	case undo.MadeDir:
		return "directory " + s.Dir
	case undo.MadeSnapshot:
		return "snapshot {" + s.Snapshot + "} of " + s.Descriptor
	case undo.Mounted:
		return "mount of " + s.Descriptor + " at " + s.Dir
	case undo.MadeTree:
		return "private area " + s.Dir + " of an incomplete restore"
	case undo.Replaced:
		return "replacement of container " + s.Container + " in " + s.Dir
	case undo.MadeLink:
		return "lock file " + s.Dir
	case undo.LockedContainer:
		return "Virtuozzo's lock " + s.Dir
	case undo.Frozen:
		return "processes that stand still, in control group " + s.Dir
	default:
		return "step " + string(s.Do) + ", which this release does not know"
	}
}

// undo takes one step back. It may have been taken back already, or never have
// been taken. It is begun after a cancel of the job, too.
func (c Cleaner) undo(ctx context.Context, s undo.Step) error {
	if err := c.known(s); err != nil {
		return fmt.Errorf("step %q in the journal: %w", s.Do, err)
	}
	ctx, done := patient(ctx, c.toolWait)
	defer done()
	switch s.Do {
	case undo.MadeDir:
		if err := removeDir(s.Dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove mount directory: %w", err)
		}
		return nil
	case undo.Mounted:
		return c.unmount(ctx, s)
	case undo.MadeSnapshot:
		return c.merge(ctx, s)
	case undo.MadeTree:
		return c.removePrivate(ctx, s)
	case undo.Replaced:
		return c.putBack(ctx, s)
	case undo.MadeLink:
		if _, err := lock.RemoveDead(s.Dir); err != nil {
			return err
		}
		return nil
	case undo.LockedContainer:
		return lock.RemoveVirtuozzo(s.Dir, s.Mark)
	case undo.Frozen:
		if err := c.Node.Freezer.Thaw(s.Dir); err != nil {
			return fmt.Errorf("let container %s go on: %w", s.Container, err)
		}
		return nil
	default:
		return fmt.Errorf("step %q in the journal is not known to this release", s.Do)
	}
}

func (c Cleaner) merge(ctx context.Context, s undo.Step) error {
	begin := time.Now()
	if err := c.Node.keepDescriptor(s.Descriptor, s.Container, "merge"); err != nil && !errors.Is(err, os.ErrNotExist) {
		c.Log.Warnf("%v", err) // a disk that is full must not keep the snapshot from being merged
	}
	if err := c.Node.Snapshots.Settle(s.Descriptor, s.Snapshot); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("merge snapshot: %w", err)
	}
	err := c.Node.Snapshots.Merge(ctx, s.Descriptor, s.Snapshot)
	if errors.Is(err, os.ErrNotExist) && c.destroyed(ctx, s) {
		return nil
	}
	if errors.Is(err, ploop.ErrNoSnapshot) {
		return unrecord(s.Descriptor, s.Snapshot)
	}
	if err != nil {
		return fmt.Errorf("merge snapshot: %w", err)
	}
	c.Log.Infof("snapshot of %s merged in %s", s.Descriptor, text.Duration(time.Since(begin)))
	if c.merged != nil {
		c.merged(time.Since(begin))
	}
	return unrecord(s.Descriptor, s.Snapshot)
}

// known refuses a step that no job of this plugin takes, whatever its journal says:
// it is root who undoes it.
func (c Cleaner) known(s undo.Step) error {
	switch s.Do {
	case undo.MadeDir, undo.Mounted:
		if dir := filepath.Clean(c.Node.Mounts); filepath.Dir(s.Dir) != dir {
			return fmt.Errorf("%q is no directory in %s", s.Dir, dir)
		}
	case undo.MadeLink:
		if !strings.HasSuffix(s.Dir, ".lock") {
			return fmt.Errorf("%q is no lock file", s.Dir)
		}
	case undo.MadeTree:
		if s.Dir == "" {
			return errors.New("it names no private area")
		}
	case undo.Replaced:
		// Names beside the area are made of it.
		id, ok := prlctl.ParseUUID(s.Container)
		mark, marked := prlctl.ParseUUID(s.Mark)
		if !ok || id != s.Container || !marked || mark != s.Mark || !prlctl.ValidCTID(filepath.Base(s.Dir)) || canBeReplaced(prlctl.Container{State: s.State}) != nil {
			return fmt.Errorf("%q of container %q with mark %q in state %q is no replacement", s.Dir, s.Container, s.Mark, s.State)
		}
	case undo.LockedContainer:
		// What is beside the lock is called by both.
		if id, ok := prlctl.ParseUUID(s.Mark); !strings.HasSuffix(s.Dir, ".lck") || s.Mark != "" && (!ok || id != s.Mark) {
			return fmt.Errorf("%q with mark %q is no lock of a container", s.Dir, s.Mark)
		}
	case undo.Frozen:
		if !prlctl.ValidCTID(filepath.Base(s.Dir)) {
			return fmt.Errorf("%q is no control group of a container", s.Dir)
		}
	case undo.MadeSnapshot:
		// Files are called by it.
		if id, ok := prlctl.ParseUUID(s.Container); s.Container != "" && (!ok || id != s.Container) {
			return fmt.Errorf("%q is no container", s.Container)
		}
	}
	if id, ok := prlctl.ParseUUID(s.Snapshot); (s.Snapshot != "" || s.Do == undo.MadeSnapshot) && (!ok || id != s.Snapshot) {
		return fmt.Errorf("%q is no snapshot of ours", s.Snapshot)
	}
	if s.Descriptor == "" && (s.Do == undo.MadeSnapshot || s.Do == undo.Mounted) {
		return errors.New("it names no disk")
	}
	return nil
}

// removeDir removes an empty directory, and nothing else.
func removeDir(path string) error {
	if err := unix.Rmdir(path); err != nil {
		return &os.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}

func (c Cleaner) unmount(ctx context.Context, s undo.Step) error {
	var err error
	if s.Snapshot == "" {
		err = c.Node.Images.UnmountWritable(ctx, s.Descriptor, s.Dir)
	} else {
		err = c.Node.Snapshots.Unmount(ctx, s.Descriptor, s.Snapshot, s.Dir)
	}
	if err != nil && !errors.Is(err, ploop.ErrNotMounted) {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// destroyed reports whether the container of a step is not on this node any
// more, its private area neither: its snapshot went with it. That of a container
// which has its area elsewhere by now is its record's matter, which went there, too.
func (c Cleaner) destroyed(ctx context.Context, s undo.Step) bool {
	disk := filepath.Dir(s.Descriptor)
	known, err := c.registered(ctx, s.Container)
	if err != nil || s.Container == "" || exists(filepath.Dir(disk)) {
		return false
	}
	if !known {
		return true
	}
	place, err := c.Node.Containers.Describe(ctx, s.Container)
	return err == nil && Recorded(filepath.Join(place.Private, filepath.Base(disk), filepath.Base(s.Descriptor)), s.Snapshot)
}

func (c Cleaner) registered(ctx context.Context, uuid string) (bool, error) {
	k, err := c.container(ctx, uuid)
	return k.UUID != "", err
}

// container looks a container up. It returns none, without an error, if the node
// has none of this UUID.
func (c Cleaner) container(ctx context.Context, uuid string) (prlctl.Container, error) {
	list, err := c.Node.Containers.List(ctx)
	if err != nil {
		return prlctl.Container{}, fmt.Errorf("is container %s registered? %w", uuid, err)
	}
	if i := slices.IndexFunc(list, func(k prlctl.Container) bool { return k.UUID == uuid }); i >= 0 {
		return list[i], nil
	}
	return prlctl.Container{}, nil
}

// byHand names the commands that take steps back, for the job log. Each is worth
// trying even if the one before has found nothing to do.
func byHand(steps []undo.Step) string {
	var cmds []string
	for i := len(steps) - 1; i >= 0; i-- {
		switch s := steps[i]; s.Do {
		case undo.MadeDir:
			cmds = append(cmds, "rmdir "+text.Shell(s.Dir))
		case undo.Mounted:
			cmds = append(cmds, "ploop umount -m "+text.Shell(s.Dir))
		case undo.MadeSnapshot:
			cmds = append(cmds, "ploop snapshot-delete -u {"+text.Shell(s.Snapshot)+"} "+text.Shell(s.Descriptor))
		case undo.MadeTree:
			cmds = append(cmds, fmt.Sprintf("rm -rf %s (only if %[1]s/%s is there and no node has container %s)", text.Shell(s.Dir), markName, text.Name(s.Container)))
		case undo.Replaced:
			at := swapOf(s.Dir, s.Mark)
			cmds = append(cmds, fmt.Sprintf("mv %s %s (only if it is there and %[1]s/%[3]s too); mv %[4]s %[1]s (only if it is there); prlctl register %[1]s --preserve-uuid (only if prlctl list -a has no container %[5]s)",
				text.Shell(at.home), text.Shell(at.made), markName, text.Shell(at.aside), text.Name(s.Container)))
		case undo.MadeLink:
			cmds = append(cmds, "rm "+text.Shell(s.Dir))
		case undo.LockedContainer:
			cmds = append(cmds, fmt.Sprintf("rm %s (only if its last line has %s)", text.Shell(s.Dir), text.Name(s.Mark)))
		case undo.Frozen:
			cmds = append(cmds, freezer.ByHand(s.Dir))
		}
	}
	return strings.Join(cmds, "; ")
}
