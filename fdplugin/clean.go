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

	"github.com/bareos-contrib/vz7ct/internal/lock"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// newUUID returns a random UUID made by the kernel. Package crypto/rand would
// keep /dev/urandom open in the daemon where the kernel has no getrandom (3.10).
func newUUID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		return "", fmt.Errorf("random UUID: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// stateDir makes a directory of the plugin's own and returns its path.
func (n Node) stateDir(name string) (string, error) {
	dir := filepath.Join(n.State, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	return dir, nil
}

// openJournal makes the job's journal if it has none yet.
func (j *Job) openJournal(container string) error {
	if j.journal != nil {
		return nil
	}
	dir, err := j.Node.stateDir("journal")
	if err != nil {
		return err
	}
	id, err := newUUID()
	if err != nil {
		return err
	}
	j.journal, err = undo.Create(dir, id, undo.Head{
		Job: j.Name, Container: container, PID: os.Getpid(), Started: time.Now().Format(time.RFC3339),
	})
	return err
}

// takeBack undoes all that the job has done to the node, and reports what could
// not be undone with the commands that do it.
func (j *Job) takeBack() {
	if j.journal == nil {
		return
	}
	path := j.journal.Path()
	if err := j.journal.Undo(j.undo); err != nil {
		j.Log.Errorf("not all could be taken back: %v; it is in %s and is tried again by the next job of this plugin; by hand: %s",
			err, path, byHand(j.journal.Pending()))
	}
	if err := j.journal.Close(); err != nil {
		j.Log.Errorf("close journal %s: %v", path, err)
	}
	j.journal = nil
}

// sweep takes back what dead jobs have left on the node. What cannot be taken
// back is remembered by disk: no other snapshot may be made there (stuck). It
// fails when it could not even look.
func (j *Job) sweep() error {
	j.stuck = map[string]error{}
	// One at a time: a disk that another job is taking care of is not yet safe.
	turn, err := lock.Wait(j.ctx, 0, func(_ *lock.HeldError, waited time.Duration) {
		j.Log.Infof("waiting for another job that takes back what a dead one has left, since %s", text.Duration(waited))
	}, func() (*lock.Held, error) {
		if _, err := j.Node.stateDir("."); err != nil {
			return nil, err
		}
		return lock.Exclusive(filepath.Join(j.Node.State, "sweep"), true)
	})
	if err != nil {
		return fmt.Errorf("leftovers of earlier jobs: %w", err)
	}
	defer turn.Release()
	err = undo.Sweep(filepath.Join(j.Node.State, "journal"), func(dead *undo.Journal) error {
		j.Log.Warnf("job %s of %s (container %s) has not ended properly: taking back what it left behind",
			dead.Head.Job, dead.Head.Started, dead.Head.Container)
		err := dead.Undo(j.undo)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("%w; it stays in %s and is tried again by the next job of this plugin; by hand: %s",
			err, dead.Path(), byHand(dead.Pending()))
		for _, s := range dead.Pending() {
			if s.Descriptor != "" {
				j.stuck[s.Descriptor] = err
			}
		}
		return err
	})
	if err != nil {
		// A warning: what another container has left does not spoil this job.
		j.Log.Warnf("leftovers of an earlier job: %v", err)
	}
	removeDeadLocks(filepath.Join(j.Node.State, "locks"))
	return nil
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
// been taken. Nothing here is ended by a cancel of the job.
func (j *Job) undo(s undo.Step) error {
	ctx := context.Background()
	begin := time.Now()
	switch s.Do {
	case undo.MadeDir:
		if err := os.Remove(s.Dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove mount directory: %w", err)
		}
		return nil
	case undo.Mounted:
		return j.unmount(ctx, s)
	case undo.MadeSnapshot:
		err := j.Node.Snapshots.Merge(ctx, s.Descriptor, s.Snapshot)
		if errors.Is(err, ploop.ErrNoSnapshot) || errors.Is(err, os.ErrNotExist) && j.destroyed(ctx, s) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("merge snapshot: %w", err)
		}
		j.Log.Infof("snapshot of %s merged in %s", s.Descriptor, text.Duration(time.Since(begin)))
		if j.backup != nil {
			j.backup.merge += time.Since(begin)
		}
		return nil
	case undo.MadeTree:
		return j.removePrivate(ctx, s)
	case undo.MadeLink:
		if _, err := lock.RemoveDead(s.Dir); err != nil {
			return err
		}
		return nil
	default:
		return fmt.Errorf("step %q in the journal is not known to this release", s.Do)
	}
}

func (j *Job) unmount(ctx context.Context, s undo.Step) error {
	var err error
	if s.Snapshot == "" {
		err = j.Node.Images.UnmountWritable(ctx, s.Descriptor, s.Dir)
	} else {
		err = j.Node.Snapshots.Unmount(ctx, s.Descriptor, s.Snapshot, s.Dir)
	}
	if err != nil && !errors.Is(err, ploop.ErrNotMounted) {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// destroyed reports whether the container of a step is not on this node any
// more, its private area neither: its snapshot went with it.
func (j *Job) destroyed(ctx context.Context, s undo.Step) bool {
	known, err := j.registered(ctx, s.Container)
	if err != nil || known || s.Container == "" {
		return false
	}
	_, err = os.Lstat(filepath.Dir(filepath.Dir(s.Descriptor)))
	return errors.Is(err, os.ErrNotExist)
}

func (j *Job) registered(ctx context.Context, uuid string) (bool, error) {
	list, err := j.Node.Containers.List(ctx)
	if err != nil {
		return false, fmt.Errorf("is container %s registered? %w", uuid, err)
	}
	return slices.ContainsFunc(list, func(c prlctl.Container) bool { return c.UUID == uuid }), nil
}

// markName is a file by which a private area is known to be made by a restore
// that is not complete. It is taken away before the container is registered:
// from then on another node may own the area.
const markName = ".vz7ct-restore"

// removePrivate removes the private area that a restore has made, unless it is,
// or may have become, that of a container.
func (j *Job) removePrivate(ctx context.Context, s undo.Step) error {
	known, err := j.registered(ctx, s.Container)
	if err != nil {
		return err
	}
	if known {
		j.Log.Infof("container %s is registered: its private area %s stays", s.Container, s.Dir)
		return nil
	}
	mark, err := os.ReadFile(filepath.Join(s.Dir, markName))
	switch {
	case err == nil && s.Mark != "" && string(mark) == s.Mark:
		return removeTree(s.Dir)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("look at the mark of %s: %w", s.Dir, err)
	case os.Remove(s.Dir) == nil, !exists(s.Dir):
		return nil // nothing was in it yet
	}
	j.Log.Warnf("%s was made by a restore that has not ended properly, and does not bear its mark any more: it stays; remove it if no node uses it", s.Dir)
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
	for line := range strings.SplitSeq(string(mounts), "\n") {
		if f := strings.Fields(line); len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			return fmt.Errorf("remove %s: %s is mounted there", dir, f[4])
		}
	}
	locks, _ := filepath.Glob(filepath.Join(dir, "*", "DiskDescriptor.xml.lck"))
	for _, l := range locks {
		switch busy, err := ploop.Busy(strings.TrimSuffix(l, ".lck")); {
		case err != nil:
			return fmt.Errorf("remove %s: %w", dir, err)
		case busy:
			return fmt.Errorf("remove %s: a ploop command works on %s", dir, l)
		}
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
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
			cmds = append(cmds, "rmdir "+s.Dir)
		case undo.Mounted:
			cmds = append(cmds, "ploop umount -m "+s.Dir)
		case undo.MadeSnapshot:
			cmds = append(cmds, "ploop snapshot-delete -u {"+s.Snapshot+"} "+s.Descriptor)
		case undo.MadeTree:
			cmds = append(cmds, fmt.Sprintf("rm -rf %s (only if %[1]s/%s is there and no node has container %s)", s.Dir, markName, s.Container))
		case undo.MadeLink:
			cmds = append(cmds, "rm "+s.Dir)
		}
	}
	return strings.Join(cmds, "; ")
}
