// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"path/filepath"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// predecessors looks again at what other jobs have left on the container, now that
// this one has its lock: the job that it waited for may have died, or ended without
// awaiting a tool that still works on the disks. Who has the lock is the only live
// job on the container, so every other journal that names a snapshot of it is that
// of an ended job, whatever process has its number by now.
func (b *backup) predecessors() error {
	if len(b.unfinished()) == 0 {
		return nil
	}
	if err := b.job.sweep(); err != nil {
		return err
	}
	for _, e := range b.unfinished() {
		_ = block(b.job.stuck, e.Pending, fmt.Errorf("job %s of %s has ended, but what it has made is not taken back, and a tool that it has started may still run%s: journal %s; see vz7ct status",
			text.Name(e.Head.Job), e.Head.Started, processes(e.Commands()), e.Path))
	}
	return nil
}

// unfinished are the journals of other jobs that name snapshots of the container
// of which the last sweep does not know.
func (b *backup) unfinished() (found []undo.Entry) {
	list, _ := undo.List(filepath.Dir(b.job.journal.Path())) // what cannot be read, the sweep has reported
	for _, e := range list {
		for _, s := range e.Pending {
			if s.Do == undo.MadeSnapshot && s.Container == b.container.UUID && e.Path != b.job.journal.Path() && b.job.stuck[s.Descriptor] == nil {
				found = append(found, e)
				break
			}
		}
	}
	return found
}
