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
	"github.com/bareos-contrib/vz7ct/internal/regular"
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
	// toolWait is how long a tool is awaited, 0 as long as without the option.
	toolWait time.Duration
}

// Sweep takes back what dead jobs have left on the node, or only tells of it if
// dry is set. It returns the disks on which something is left, with the reason,
// by descriptor, and all reasons together; no map if it could not even look. One
// sweep is at work at a time, others wait: a disk that is just being taken care of
// is not yet safe.
func (c Cleaner) Sweep(ctx context.Context, dry bool) (stuck map[string]error, err error) {
	if c.nothing() {
		return map[string]error{}, nil
	}
	journals := filepath.Join(c.Node.State, "journal")
	if !dry {
		c.letGo(ctx, journals)
	}
	turn, err := lock.Wait(ctx, c.turnWait(), func(_ *lock.HeldError, waited time.Duration) {
		c.Log.Infof("waiting for another one that takes back what a dead job has left, since %s", text.Duration(waited))
	}, func() (*lock.Held, error) {
		if _, err := c.Node.stateDir("."); err != nil {
			return nil, err
		}
		return lock.Exclusive(filepath.Join(c.Node.State, "sweep"), true)
	})
	if err != nil {
		return nil, fmt.Errorf("leftovers of earlier jobs: %w", err)
	}
	defer turn.Release()
	stuck = map[string]error{}
	busy := c.settle(ctx, journals, dry || c.Boot || c.SkipBusy)
	err = undo.Sweep(journals, func(dead *undo.Journal) error {
		err := ctx.Err()
		if err == nil {
			err = c.takeBack(ctx, dead, dry)
		}
		switch {
		case err != nil:
			return block(stuck, dead.Pending(), err)
		case dry:
			_ = block(stuck, dead.Pending(), errDry)
		}
		return nil
	})
	for _, e := range busy {
		if c.SkipBusy {
			c.Log.Infof("left for later: what job %s (container %s) has left, on which a tool that it has started still works%s", e.Head.Job, e.Head.Container, processes(e.Commands()))
			continue
		}
		err = errors.Join(err, block(stuck, e.Pending, fmt.Errorf("job %s (container %s) has ended, but a tool that it has started still runs%s: it is not ended by force, and nothing of the job is taken back before; journal %s",
			e.Head.Job, e.Head.Container, processes(e.Commands()), e.Path)))
	}
	if c.Boot {
		// A record beside the images is for later: prlctl says whose it is.
	} else if areas, unknown := c.Node.Containers.Areas(); unknown != nil {
		err = errors.Join(err, unknown)
	} else {
		err = errors.Join(err, c.strangers(ctx, dry, stuck, filepath.Join(areas, "*")))
	}
	if !dry {
		c.Node.dropProgress()
		removeDeadLocks(filepath.Join(c.Node.State, "locks"))
	}
	return stuck, err
}

// nothing reports whether there is nothing that a job may have left.
func (c Cleaner) nothing() bool {
	c.Node.dropProgress()
	journals, err := os.ReadDir(filepath.Join(c.Node.State, "journal"))
	if len(journals) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		return false
	}
	areas, err := c.Node.Containers.Areas()
	if err != nil {
		return errors.Is(err, os.ErrNotExist) // this is no node of containers
	}
	records, err := filepath.Glob(filepath.Join(areas, "*", recordPrefix+"*"))
	return err == nil && len(records) == 0
}

// errDry is why something is left after a sweep that only tells.
var errDry = errors.New("nothing is taken back in a dry run")

// settleTries is how often a sweep looks whether the tools of a dead job have ended.
const settleTries = 120

// settle waits for tools that dead jobs have started and that still run. It returns
// the journals of those that do not come to an end soon.
func (c Cleaner) settle(ctx context.Context, journals string, once bool) []undo.Entry {
	for n := 0; ; n++ {
		list, _ := undo.List(journals) // what cannot be read, undo.Sweep reports
		list = slices.DeleteFunc(list, func(e undo.Entry) bool { return !e.Live || !e.Ended })
		if len(list) == 0 || once || n == settleTries {
			return list
		}
		if n == 0 {
			c.Log.Infof("waiting for a tool that a dead job has started%s", processes(list[0].Commands()))
		}
		select {
		case <-ctx.Done():
			return list
		case <-time.After(c.Node.pause()):
		}
	}
}

// processes names processes for messages.
func processes(pids []int) string {
	var words []string
	for _, pid := range pids {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		words = append(words, fmt.Sprintf("process %d (%s)", pid, text.Name(strings.TrimSpace(string(name)))))
	}
	if len(words) == 0 {
		return ""
	}
	return ", " + strings.Join(words, ", ")
}

// block remembers why nothing may be done to the disks of some steps.
func block(stuck map[string]error, steps []undo.Step, why error) error {
	for _, s := range steps {
		if s.Descriptor != "" {
			stuck[s.Descriptor] = why
		}
	}
	return why
}

// mayTouch refuses to touch the disks of a container that another node has by
// now: on shared storage it may have failed over, and be live there.
func (c Cleaner) mayTouch(dead *undo.Journal) error {
	for _, s := range dead.Pending() {
		if s.Do != undo.MadeSnapshot || s.Container == "" {
			continue
		}
		known, err := c.registered(context.Background(), s.Container)
		if err != nil {
			return err
		}
		private := filepath.Dir(filepath.Dir(s.Descriptor))
		if !exists(private) {
			continue // destroyed: nothing can be done wrong
		}
		if !known {
			return fmt.Errorf("container %s is not registered on this node any more, but its disk %s is there: it may run on another node, so nothing is touched: %w",
				s.Container, s.Descriptor, errElsewhere)
		}
		switch ours, owner, err := c.Node.Containers.Owns(private); {
		case err != nil:
			return fmt.Errorf("whose is container %s? %w", s.Container, err)
		case !ours:
			return fmt.Errorf("container %s belongs to node %q by its file .owner, so nothing is touched: %w", s.Container, owner, errElsewhere)
		}
	}
	return nil
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

// removeDeadLocks removes the files of locks that nobody holds.
func removeDeadLocks(dir string) {
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if h, err := lock.Exclusive(filepath.Join(dir, f.Name()), true); err == nil {
			_ = h.Release()
		}
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
	if known {
		c.Log.Infof("container %s is registered: its private area %s stays", s.Container, s.Dir)
		return nil
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
	c.Log.Warnf("%s was made by a restore that has not ended properly, and does not bear its mark any more, or has an owner: it stays; remove it if no node uses it", s.Dir)
	return nil
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
	return nil
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
