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
)

// Sweep takes back what dead jobs have left on the node, or only tells of it if
// dry is set. It returns the disks on which something is left, with the reason,
// by descriptor, and all reasons together; no map if it could not even look. One
// sweep is at work at a time, others wait: a disk that is just being taken care of
// is not yet safe.
func (c Cleaner) Sweep(ctx context.Context, dry bool) (stuck map[string]error, err error) {
	if !dry {
		defer c.Node.tidy() // when the turn was given up
	}
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
	} else if areas, unknown := c.Node.Containers.Areas(); errors.Is(unknown, os.ErrNotExist) {
		// This is no node of containers: files are restored to a directory.
	} else if unknown != nil {
		err = errors.Join(err, unknown)
	} else {
		err = errors.Join(err, c.strangers(ctx, dry, stuck, filepath.Join(areas, "*")))
	}
	return stuck, err
}

// nothing reports whether there is nothing that a job may have left.
func (c Cleaner) nothing() bool {
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
		case !ours && owner != s.Owner: // else a name of this node's that is out of date: see lost
			return fmt.Errorf("container %s belongs to node %q by its file .owner, so nothing is touched: %w", s.Container, owner, errElsewhere)
		}
	}
	return nil
}

// tidy removes the files of jobs that have gone which only said what they were at:
// of their progress, and of locks that nobody holds.
func (n Node) tidy() {
	if !exists(n.State) || ownDir(n.State, 0o700) != nil {
		return // there is nothing, or others may have planted it
	}
	n.dropProgress()
	locks, _ := filepath.Glob(filepath.Join(n.State, "locks", "*"))
	if turn := filepath.Join(n.State, "sweep"); exists(turn) {
		locks = append(locks, turn)
	}
	for _, path := range locks {
		if h, err := lock.Exclusive(path, true); err == nil {
			_ = h.Release()
		}
	}
}
