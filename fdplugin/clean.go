// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/undo"
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
	for _, d := range []string{n.State, dir} {
		if err := ownDir(d, 0o700); err != nil {
			return "", fmt.Errorf("state directory: %w", err)
		}
	}
	return dir, nil
}

// mountDir makes the directory of the mount points. Whoever could rename what is in
// it would choose where a disk is mounted.
func (n Node) mountDir() error {
	if err := ownDir(n.Mounts, 0o755); err != nil {
		return fmt.Errorf("mount directory: %w", err)
	}
	return nil
}

// ownDir makes a directory if there is none, and refuses one that somebody else
// than root could change. What is above it is root's on every node.
func ownDir(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return fmt.Errorf("%s has no owner", dir)
	case sys.Uid != 0 && int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, must belong to root: chown root: %[1]s", dir, sys.Uid)
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s is writable by others (mode %04o): chmod go-w %[1]s", dir, st.Mode().Perm())
	}
	return nil
}

// openJournal makes the job's journal if it has none yet.
func (j *Job) openJournal(name, uuid string) error {
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
		Job: j.Name, Container: strings.TrimSpace(name + " " + uuid), PID: os.Getpid(), Started: time.Now().Format(time.RFC3339),
	})
	if err == nil {
		j.Node.keep(j.journal.Lock())
	}
	return err
}

// takeBack undoes all that the job has done to the node, and reports what could
// not be undone with the commands that do it. It returns whether that is all.
func (j *Job) takeBack() (all bool) {
	if j.journal == nil {
		return true
	}
	path := j.journal.Path()
	j.phase("taking back what was made")
	err := j.journal.UndoOnly(j.idle, j.undo)
	left := j.journal.Pending()
	j.forgetProgress()
	closed := j.journal.Close()
	j.Node.keep(nil)
	j.journal, j.busy = nil, nil
	switch {
	case closed == nil:
	case len(left) == 0:
		j.Log.Errorf("the journal of this job is not removed: %v; nothing is to be taken back, and %s goes %s", closed, path, j.finish())
	default:
		j.Log.Errorf("close journal %s: %v", path, closed)
	}
	if len(left) == 0 {
		return true
	}
	why := ""
	if err != nil {
		why = ": " + strings.ReplaceAll(err.Error(), "\n", "; ") // one line, of all disks
	}
	j.Log.Errorf("not all could be taken back%s; it is in %s and is tried again %s; %s", why, path, j.finish(), advice(err, left))
	return false
}

// finish starts the process that takes back the rest, and says who else does.
func (j *Job) finish() string {
	const others = "by the next job of this plugin, when the daemon starts, and by vz7ct recover"
	if j.Node.Finish == nil {
		return others
	}
	if err := j.Node.Finish(); err != nil {
		return fmt.Sprintf("%s (not in the background: %v)", others, err)
	}
	return "in the background by vz7ct recover --wait, which was started, " + others
}

// sweep takes back what dead jobs have left on the node. What cannot be taken
// back is remembered by disk: no other snapshot may be made there (stuck). It
// fails when it could not even look.
func (j *Job) sweep() error {
	c := j.cleaner()
	c.stayed = nil // what stays of other jobs' restores says nothing of this one's
	stuck, err := c.Sweep(j.ctx, false)
	if stuck == nil {
		return err
	}
	if err != nil {
		// A warning: what another container has left does not spoil this job.
		j.Log.Warnf("leftovers of an earlier job: %v", err)
	}
	j.stuck = stuck
	return nil
}

// undo takes one step of this job back.
func (j *Job) undo(s undo.Step) error {
	if b := j.backup; b != nil && s.Do == undo.MadeSnapshot {
		if err := j.cleaner().lost(context.WithoutCancel(j.ctx), s, b.owner); err != nil {
			return err
		}
	}
	err := j.cleaner().undo(j.ctx, s)
	if stillRuns(err) {
		j.busy = append(j.busy, s.Descriptor, s.Dir)
	}
	return err
}

func (j *Job) cleaner() Cleaner {
	c := Cleaner{Node: j.Node, Log: j.Log, LetStart: true, toolWait: j.toolWait}
	c.stayed = func(uuid string) {
		if j.stayed == nil {
			j.stayed = map[string]bool{}
		}
		j.stayed[uuid] = true
	}
	if j.backup != nil {
		c.own = j.backup.opts.mean
		c.merged = func(d time.Duration) { j.backup.merge += d }
	}
	return c
}
