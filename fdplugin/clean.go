// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/lock"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/ploop"
)

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("random number: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
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

// sweep takes back what dead jobs have left on the node.
func (j *Job) sweep() {
	err := undo.Sweep(filepath.Join(j.Node.State, "journal"), func(dead *undo.Journal) error {
		j.Log.Warnf("job %s of %s (container %s) has not ended properly: taking back what it left behind",
			dead.Head.Job, dead.Head.Started, dead.Head.Container)
		if err := dead.Undo(j.undo); err != nil {
			return fmt.Errorf("%w; it stays in %s; by hand: %s", err, dead.Path(), byHand(dead.Pending()))
		}
		return nil
	})
	if err != nil {
		j.Log.Errorf("leftovers of an earlier job: %v", err)
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
		if errors.Is(err, ploop.ErrNoSnapshot) {
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
		err = j.Node.Images.UnmountWritable(ctx, s.Dir)
	} else {
		err = j.Node.Snapshots.Unmount(ctx, s.Snapshot, s.Dir)
	}
	if err != nil && !errors.Is(err, ploop.ErrNotMounted) {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// removePrivate removes the private area that a restore has made, unless it has
// become that of a container: a crash may come right after the registration.
func (j *Job) removePrivate(ctx context.Context, s undo.Step) error {
	list, err := j.Node.Containers.List(ctx)
	if err != nil {
		return fmt.Errorf("is container %s registered? %w", s.Container, err)
	}
	for _, c := range list {
		if c.UUID == s.Container {
			j.Log.Infof("container %s is registered: its private area %s stays", s.Container, s.Dir)
			return nil
		}
	}
	return removeTree(s.Dir)
}

// removeTree removes a directory with all its content, unless something is
// mounted in it.
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
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// byHand names the commands that take steps back, for the job log.
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
			cmds = append(cmds, "rm -rf "+s.Dir)
		case undo.MadeLink:
			cmds = append(cmds, "rm "+s.Dir)
		}
	}
	return strings.Join(cmds, " && ")
}
