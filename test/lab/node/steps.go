// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/mounts"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// Step carries out one of the hidden commands: the lab's own processes, and the steps of Down that may hang.
func Step(arg []string) error {
	if len(arg) < 2 {
		return fmt.Errorf("%v: too few arguments", arg)
	}
	l := Lab{Dir: arg[1]}
	switch arg[0] {
	case "_server":
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
		defer stop()
		var bad error
		err := server.Run(ctx, l.Dir, func() { bad = Ready() })
		return errors.Join(err, bad)
	case "_medium":
		return l.serveMedium()
	case "_watch":
		if len(arg) < 3 {
			return l.Exec([]string{l.Self(), "_watch", l.Dir, "inside"})
		}
		return l.serveWatch()
	case "_free":
		return l.Free()
	case "_hold":
		return l.Hold(Ready)
	case "_ping":
		return server.Client{Dir: l.Dir}.Alive()
	case "_thaw-all", "_umount-all":
		if len(arg) != 4 {
			return fmt.Errorf("%v: want a process", arg)
		}
		pid, err := strconv.Atoi(arg[2])
		if err != nil {
			return err
		}
		start, err := strconv.ParseUint(arg[3], 10, 64)
		if err != nil {
			return err
		}
		if err := enterNamespaceOf(Process{PID: pid, Start: start}); err != nil {
			return err
		}
		if arg[0] == "_thaw-all" {
			return l.thawAll()
		}
		return l.umountAll()
	case "_detach":
		n, err := strconv.Atoi(arg[2])
		if err != nil {
			return err
		}
		return loopdev.Detach(n)
	}
	return fmt.Errorf("no command %q", arg[0])
}

// ownMounts lists the mounts of the lab's disks in this namespace, last first.
func (l Lab) ownMounts() ([]mounts.Mount, error) {
	loops, err := l.Loops()
	if err != nil {
		return nil, err
	}
	// The calling thread's own view: the process may have entered the namespace with this thread only.
	list, err := mounts.OfThread()
	if err != nil {
		return nil, err
	}
	var own []mounts.Mount
	for _, m := range list {
		if _, ok := loops[int(m.Minor)]; ok && m.Major == loopdev.Major {
			own = append(own, m)
		}
	}
	slices.Reverse(own)
	return own, nil
}

// thawAll thaws every disk. A file system that is not frozen answers EINVAL.
func (l Lab) thawAll() error {
	list, err := l.ownMounts()
	if err != nil {
		return err
	}
	var all error
	for _, m := range list {
		if err := Thaw(m.Point); err != nil && !errors.Is(err, unix.EINVAL) {
			all = errors.Join(all, fmt.Errorf("thaw %s: %w", m.Point, err))
		}
	}
	return all
}

// Thaw thaws the file system at a mount point.
func Thaw(point string) error {
	fd, err := unix.Open(point, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // only a handle
	return unix.IoctlSetInt(fd, fithaw, 0)
}

// FIFREEZE and FITHAW of linux/fs.h, which the unix package lacks.
const (
	Fifreeze = 0xC0045877
	fithaw   = 0xC0045878
)

// ThawFD thaws the file system of an open folder.
func ThawFD(f *os.File) error { return unix.IoctlSetInt(int(f.Fd()), fithaw, 0) }

// umountAll unmounts every disk of the lab.
func (l Lab) umountAll() error {
	list, err := l.ownMounts()
	if err != nil {
		return err
	}
	var all error
	for _, m := range list {
		if err := unix.Unmount(m.Point, 0); err != nil {
			all = errors.Join(all, fmt.Errorf("unmount %s: %w", m.Point, err))
		}
	}
	return all
}
