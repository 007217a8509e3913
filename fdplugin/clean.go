// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
		j.Log.Errorf("not all could be taken back: %v; it is in %s and is tried again by the next job of this plugin, when the daemon starts, and by vz7ct recover; by hand: %s",
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
	stuck, err := j.cleaner().Sweep(j.ctx, false)
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
func (j *Job) undo(s undo.Step) error { return j.cleaner().undo(s) }

func (j *Job) cleaner() Cleaner {
	c := Cleaner{Node: j.Node, Log: j.Log}
	if j.backup != nil {
		c.merged = func(d time.Duration) { j.backup.merge += d }
	}
	return c
}
