// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// bootTime is how long after its boot a node may still be starting containers.
// The start of one waits for a merge of its disk, which has the lock of
// DiskDescriptor.xml, for 60 s, then it fails, and nobody tries again (the units
// that vz-generator of prl-disp-service makes have no Restart=).
const bootTime = 15 * time.Minute

// takeBack takes back what one dead job has left, but for what is left for later.
func (c Cleaner) takeBack(ctx context.Context, dead *undo.Journal, dry bool) error {
	match, why, err := c.now(dead, dry)
	now, later := split(dead.Pending(), match)
	if len(now) > 0 {
		what := "taking back what it left behind"
		if dry {
			what = "this would be taken back"
		}
		c.Log.Warnf("job %s of %s (container %s) has not ended properly: %s", text.Name(dead.Head.Job), text.Name(dead.Head.Started), text.Name(dead.Head.Container), what)
	}
	for _, s := range now {
		c.Log.Infof("left behind: %s", DescribeStep(s))
	}
	for _, s := range later {
		c.Log.Infof("left for later: %s of job %s (container %s): %s", DescribeStep(s), text.Name(dead.Head.Job), text.Name(dead.Head.Container), why)
	}
	if dry {
		return nil
	}
	c.Node.keep(dead.Lock())
	defer c.Node.keep(nil)
	take := func(s undo.Step) error { return c.undo(ctx, s) }
	if err == nil {
		err = errors.Join(dead.UndoOnly(match, take), c.complete(later))
	} else { // what stands still is on this node, wherever the container may be registered
		err = errors.Join(err, dead.UndoOnly(isFrozen, take))
	}
	if err == nil {
		return nil
	}
	left, _ := split(dead.Pending(), match)
	if len(left) == 0 {
		c.Log.Warnf("what job %s has left is taken back, but not recorded: %v", dead.Head.Job, err)
		return nil
	}
	return fmt.Errorf("%w; it stays in %s and is tried again by the next job of this plugin, when the daemon starts, and by vz7ct recover; %s",
		err, dead.Path(), advice(err, left))
}

// complete completes snapshots that were cut off, before their containers start:
// what one has written last may be in an image that its descriptor does not name
// yet. It asks no tool.
func (c Cleaner) complete(steps []undo.Step) error {
	var errs []error
	for _, s := range steps {
		if s.Do != undo.MadeSnapshot {
			continue
		}
		ours, owner, err := c.Node.Containers.Owns(filepath.Dir(filepath.Dir(s.Descriptor)))
		if err == nil && (ours || owner == s.Owner) {
			err = c.Node.Snapshots.Settle(s.Descriptor, s.Snapshot)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func split(steps []undo.Step, match func(undo.Step) bool) (matching, others []undo.Step) {
	for _, s := range steps {
		if match(s) {
			matching = append(matching, s)
		} else {
			others = append(others, s)
		}
	}
	return matching, others
}

// now says which steps of a dead job are to be taken back now, and why the others
// are left for later. With an error none may be.
func (c Cleaner) now(dead *undo.Journal, dry bool) (match func(undo.Step) bool, why string, err error) {
	all := func(undo.Step) bool { return true }
	if c.Boot {
		return beforeStart, "it can wait until containers have been started", nil
	}
	if dry {
		return all, "", nil
	}
	if err := c.mayTouch(dead); err != nil {
		return all, "", err
	}
	why, err = c.aboutToStart(dead.Pending())
	if why != "" {
		return beforeStart, why, nil
	}
	return all, "", err
}

// turnWait is how long a sweep waits for another one, 0 without limit.
func (c Cleaner) turnWait() time.Duration {
	if c.Boot {
		return 30 * time.Second // all containers wait for this one
	}
	return 0
}

// beforeStart matches what must be gone before containers start: it may be in
// their way, and is quickly done without prlctl. A merge may take hours, and a
// private area is removed only after prlctl was asked whose it is.
func beforeStart(s undo.Step) bool {
	switch s.Do {
	case undo.Mounted, undo.MadeDir, undo.MadeLink, undo.LockedContainer, undo.Frozen:
		return true
	default:
		return false
	}
}

// aboutToStart reports why the snapshots among some steps must not be merged yet, ""
// if they may be. Which containers are started at boot says ONBOOT in ve.conf: yes
// means always, auto if it ran before, no and nothing at all never (env_config.c
// of libvzctl, vz-generator of prl-disp-service).
func (c Cleaner) aboutToStart(steps []undo.Step) (string, error) {
	if !c.LetStart {
		return "", nil
	}
	up, err := uptime(c.Node.Uptime)
	if err != nil || up >= bootTime {
		return "", err
	}
	ctx := context.Background()
	for _, s := range steps {
		if s.Do != undo.MadeSnapshot || s.Container == "" {
			continue
		}
		k, err := c.container(ctx, s.Container)
		if err != nil {
			return "", err
		}
		// Where the disk is in use, the merge is online and in nobody's way.
		if k.UUID == "" || k.State == "running" || k.State == "mounted" || c.own != nil && c.own(k) {
			continue
		}
		place, err := c.Node.Containers.Describe(ctx, s.Container)
		if err != nil {
			return "", fmt.Errorf("is container %s started at boot? %w", s.Container, err)
		}
		if onboot := place.Config.Get("ONBOOT"); onboot == "yes" || onboot == "auto" {
			return fmt.Sprintf("the container is %s, and the node, up for %s, may be about to start it (ONBOOT=%s); it is merged by vz7ct recover, or by a job that begins %d min after boot or later",
				k.State, text.Duration(up), onboot, int(bootTime.Minutes())), nil
		}
	}
	return "", nil
}

// uptime reads how long ago the node has booted, from /proc/uptime (proc(5)).
func uptime(path string) (time.Duration, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("how long ago has the node booted? %w", err)
	}
	first, _, _ := strings.Cut(string(b), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("how long ago has the node booted? %s: %q is not understood", path, b)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
