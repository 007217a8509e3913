// SPDX-License-Identifier: AGPL-3.0-only

// Package freezer lets all processes of a container stand still for a moment, by
// the freezer of control groups, version 1 (Virtuozzo 7) or 2. A guard, the
// companion command in a session of its own, lets them go on when the daemon dies
// and after Bound at the latest: see Guard.
//
// It knows nothing of disks and snapshots, and keeps no journal.
//
// A snapshot of a disk cannot wait for a process that stands still. A process is
// frozen where it takes signals, on its way back from the kernel (freeze_task wakes
// it by a fake signal, get_signal calls try_to_freeze: kernel/freezer.c,
// kernel/signal.c and kernel/cgroup_freezer.c of Linux 3.10 and of OpenVZ's vzkernel;
// cgroup v2: do_freezer_trap of kernel/signal.c), or in a sleep that is entered
// without locks (freezable_schedule, include/linux/freezer.h: futexes, poll, sleep).
// One in the midst of a system call goes on to its end and keeps the group FREEZING
// until then. So none that is frozen holds a transaction or a lock of its file
// system, and what freeze_bdev needs (write back, the journal's thread) is done by
// threads of the kernel, which are in no container's group. Two exceptions are
// known, both of a network file system in the container. NFS and CIFS of 3.10
// sleep with locks in freezable_schedule_unsafe: a write to a disk from memory that
// is mapped from such a file may stand still in its midst, and the snapshot then
// waits until the guard lets go. And a process that waits for a FUSE server in the
// same container, which is frozen before it has answered, keeps the group FREEZING.
package freezer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/run"
	"github.com/bareos-contrib/vz7ct/internal/text"
)

const (
	// GuardCommand is the companion command's word for a guard.
	GuardCommand = "thaw-guard"
	// Bound is how long processes stand still at most, from the guard's start.
	Bound = 60 * time.Second
	// Patience is how long they have until they stand still.
	Patience = 10 * time.Second
)

// Client freezes and thaws.
type Client struct {
	Runner run.Runner
	// Program is the guard's; "" looks where the companion command is installed. Proc
	// is where processes are described; "" is /proc. Patience, if not 0, takes the
	// place of the constant.
	Program, Proc string
	Patience      time.Duration
}

func (c Client) program() (string, error) {
	var path string
	var err error
	if c.Program != "" {
		path, err = run.Find(c.Program)
	} else {
		path, err = run.Companion("")
	}
	if err != nil {
		return "", fmt.Errorf("the command vz7ct, which lets the container go on if this daemon dies, is not installed: put it to /usr/bin: %w", err)
	}
	return path, nil
}

// Find returns the directory of the control group that all processes of a container
// are in: ctid is the container's, pid that of its init. It fails where they could
// not be frozen and let go safely, or do not run freely now.
func (c Client) Find(pid int, ctid string) (string, error) {
	if _, err := c.program(); err != nil {
		return "", err
	}
	g, err := c.groupOf(pid, ctid)
	if err != nil {
		return "", err
	}
	s, err := g.state()
	if err != nil {
		return "", err
	}
	if s != thawed {
		return "", fmt.Errorf("its control group %s is %s already: somebody else has frozen it (prlctl pause or suspend, criu), or is about to", g.dir, s)
	}
	return g.dir, nil
}

// Freeze returns when all processes of a group stand still. If it fails, none does.
// They go on with thaw, which returns for how long they stood still; and when this
// process dies, and after Bound, whatever happens.
func (c Client) Freeze(ctx context.Context, dir string) (thaw func() (time.Duration, error), err error) {
	g, err := open(dir)
	if err != nil {
		return nil, err
	}
	program, err := c.program()
	if err != nil {
		return nil, err
	}
	guard, err := c.Runner.Hold(ctx, run.Command{
		Path: program, Args: []string{GuardCommand, dir}, Changes: true, Limit: 10 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("guard that lets the container go on if this daemon dies: %w; is %s of the plugin's release?", err, program)
	}
	// How it ends does not count: who thaws has looked whether it has come to pass.
	release := func() { _ = guard.Release(5 * time.Second) }
	patience := c.Patience
	if patience == 0 {
		patience = Patience
	}
	err = g.freeze(ctx, patience)
	began := time.Now()
	if err == nil && !guard.Running() {
		err = errors.New("the guard that lets the container go on has ended before its time")
	}
	if err != nil {
		err = errors.Join(err, g.thaw())
		release()
		return nil, err
	}
	return func() (time.Duration, error) {
		err := g.thaw()
		took := time.Since(began)
		release()
		return took, err
	}, nil
}

// Frozen reports whether all processes of a group stand still now.
func (Client) Frozen(dir string) (bool, error) {
	g, err := open(dir)
	if err != nil {
		return false, err
	}
	s, err := g.state()
	return s == frozen, err
}

// Thaw lets the processes of a group go on. It is no error if they do already, or
// if there is no such group any more.
func (Client) Thaw(dir string) error {
	g, err := open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return g.thaw()
}

// ByHand is the command that lets the processes of a group go on.
func ByHand(dir string) string {
	g, err := open(dir)
	if err != nil {
		g = group{dir: dir}
	}
	file, word := g.control(thawed)
	return "echo " + word + " > " + text.Shell(file)
}
