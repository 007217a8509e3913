// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/lock"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// lock takes what keeps others away: jobs with the same lock file, another job
// on the same container, and pcompact if a snapshot is to be made. The journal
// is open.
func (j *Job) lock(o Options, uuid string, compact bool) error {
	if err := j.lockFile(o); err != nil {
		return err
	}
	dir, err := j.Node.stateDir("locks")
	if err != nil {
		return err
	}
	if err := j.hold(o, "another job on container "+uuid, func() (*lock.Held, error) {
		return lock.Exclusive(filepath.Join(dir, uuid), true)
	}); err != nil {
		return err
	}
	if !compact {
		return nil
	}
	// Shared: pcompact wants it alone, and jobs of several daemons may have it.
	return j.hold(o, "pcompact", func() (*lock.Held, error) { return lock.Shared(j.Node.Compact) })
}

// lockFile takes the file of the lockfile option.
func (j *Job) lockFile(o Options) error {
	path := o.Lockfile
	if path == "" {
		return nil
	}
	return j.hold(o, "lockfile="+text.Name(path), func() (*lock.Held, error) {
		return lock.WithLink(path, func(link string) error {
			return j.journal.Intend(undo.Step{Do: undo.MadeLink, Dir: link})
		})
	})
}

// lockContainer takes Virtuozzo's own lock of the container, as prlctl backup
// does: from then on prlctl and vzctl refuse to stop, change, snapshot, migrate
// or destroy it. The job's own lock of the container is held, so no other job of
// ours has this one. Where it cannot be taken at all the job goes on without it.
func (j *Job) lockContainer(o Options, uuid, path string) error {
	err := j.takeContainer(o, uuid, path, lock.Virtuozzo)
	var unusable *lock.UnusableError
	if errors.As(err, &unusable) {
		j.Log.Warnf("Virtuozzo's lock of container %s is not taken: %v; prlctl and vzctl may stop, change or destroy the container while this job runs. See LOCKDIR in /etc/vz/vz.conf",
			uuid, unusable)
		return nil
	}
	return err
}

// lockAtRest takes Virtuozzo's lock of a container that is at rest and must stay so: no
// start is let through, and without the lock nothing is done.
func (j *Job) lockAtRest(o Options, uuid, path string) error {
	err := j.takeContainer(o, uuid, path, lock.VirtuozzoAtRest)
	var unusable *lock.UnusableError
	if errors.As(err, &unusable) {
		return fmt.Errorf("no lock against prlctl and vzctl can be had, and without it somebody may start it meanwhile: %w; see LOCKDIR in /etc/vz/vz.conf", err)
	}
	return err
}

func (j *Job) takeContainer(o Options, uuid, path string, take func(path, mark string, made func() error) (*lock.Held, error)) error {
	mark, err := newUUID()
	if err != nil {
		return err
	}
	return j.hold(o, containerLock+uuid, func() (*lock.Held, error) {
		if path == "" {
			return nil, &lock.UnusableError{Err: errors.New("LOCKDIR in vz.conf is no absolute path")}
		}
		return take(path, mark, func() error {
			return j.journal.Intend(undo.Step{Do: undo.LockedContainer, Dir: path, Mark: mark, Container: uuid})
		})
	})
}

const containerLock = "Virtuozzo's lock of container "

// giveWay gives Virtuozzo's lock up while the job waits for somebody else's
// temporary snapshot: he needs the lock to delete it (vzctl tsnapshot-delete).
func (b *backup) giveWay() {
	j := b.job
	if err := j.journal.UndoOnly(func(s undo.Step) bool { return s.Do == undo.LockedContainer }, j.undo); err != nil {
		j.Log.Warnf("give up Virtuozzo's lock for the wait: %v", err)
	}
	j.locks = slices.DeleteFunc(j.locks, func(h held) bool {
		if !strings.HasPrefix(h.what, containerLock) {
			return false
		}
		_ = h.Release() // its file has gone
		return true
	})
	b.gaveWay = true
}

// afterGivingWay takes Virtuozzo's lock again, and looks again at all that may have
// changed meanwhile.
func (b *backup) afterGivingWay() error {
	for b.gaveWay {
		b.gaveWay = false
		if err := b.job.lockContainer(b.opts, b.container.UUID, b.place.Lock); err != nil {
			return err
		}
		if err := b.find(); err != nil {
			return err
		}
		if err := canBeSaved(b.container); err != nil {
			return err
		}
		if err := b.readOwner(); err != nil {
			return err
		}
		if err := b.readDisks(); err != nil {
			return err
		}
		if err := b.findGroup(); err != nil {
			return err
		}
		if err := b.room(); err != nil {
			return err
		}
		if err := b.safe(); err != nil {
			return err
		}
	}
	return nil
}

// relock takes Virtuozzo's lock again after a start of the container, which it
// lets through and which removes it in the end. It may be called on any thread: if
// the job is in a call, or somebody else has the lock just now, the next time does.
func (j *Job) relock() {
	if !j.mu.TryLock() {
		return
	}
	defer j.mu.Unlock()
	for _, h := range j.locks {
		again, err := h.Retake()
		var held *lock.HeldError
		switch {
		case again:
			j.Log.Infof("%s has been removed, by a start of the container that it has let through: it is taken again", h.what)
		case err != nil && !errors.As(err, &held):
			j.Log.Warnf("%s has been removed, by a start of the container that it has let through, and cannot be taken again: %v", h.what, err)
		}
	}
}

// held is one lock of the job.
type held struct {
	what string
	*lock.Held
}

// hold waits for one lock and keeps it until unlock. One that the job has for
// another container is enough.
func (j *Job) hold(o Options, what string, try func() (*lock.Held, error)) error {
	for _, h := range j.locks {
		if h.what == what {
			return nil
		}
	}
	h, err := lock.Wait(j.ctx, o.LockWait, func(held *lock.HeldError, waited time.Duration) {
		j.Log.Infof("waiting for %s, since %s: %v", what, text.Duration(waited), held)
	}, try)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	j.locks = append(j.locks, held{what, h})
	return nil
}

// unlock gives up all locks, the last one first.
func (j *Job) unlock() {
	for n := len(j.locks) - 1; n >= 0; n-- {
		if err := j.locks[n].Release(); err != nil {
			j.Log.Errorf("release lock: %v", err)
		}
	}
	j.locks = nil
}
