// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The files in which calls of ploop and prlctl, and changes of the plugin's journal, are counted while a fault is set, a
// line each. A test removes them to count anew.
const (
	CallsName   = "calls"
	JournalName = "journal-steps"
	PointsName  = "points"
)

// fault is a setting "N:WHEN:WHAT": see README.md.
type fault struct {
	number     int
	when, what string
}

// parseFault takes a setting apart; ok is false for one that is not for this counter.
func parseFault(setting, prefix string) (f fault, ok bool) {
	rest, ok := strings.CutPrefix(setting, prefix)
	w := strings.Split(rest, ":")
	if !ok || len(w) != 3 {
		return f, false
	}
	n, err := strconv.Atoi(w[0])
	return fault{n, w[1], w[2]}, err == nil
}

// Call runs one call of ploop or prlctl, with the fault that was set for it. One that fails exits with the status given.
// run is given a function to be called at named points in its midst.
func (l Lab) Call(setting, name string, failed int, run func(at func(point string)) int) int {
	if setting == "" {
		return run(func(string) {})
	}
	n, err := l.count(CallsName, name)
	f, ok := parseFault(setting, "")
	if err != nil || !ok || n != f.number {
		return run(func(point string) { l.reached(n, point) })
	}
	switch f.when {
	case "before":
		if f.what == "fail" {
			fmt.Fprintln(os.Stderr, "lab: planted fault, nothing was done")
			return failed
		}
		l.strike(f)
		return run(func(string) {})
	case "after":
	default:
		return run(func(point string) {
			if point == f.when {
				l.strike(f)
			}
		})
	}
	exit := run(func(string) {})
	if f.what == "fail" {
		fmt.Fprintln(os.Stderr, "lab: planted fault, all was done")
		return failed
	}
	l.strike(f)
	return exit
}

// reached notes that a call has come to a point in its midst, for a test that wants to know which calls do.
func (l Lab) reached(n int, point string) {
	l.report(l.Append(PointsName, map[string]any{"call": n, "point": point}))
}

// strike lets a fault happen to the process that calls it.
func (l Lab) strike(f fault) {
	switch f.what {
	case "hold":
		l.PauseAt(fmt.Sprintf("%s call %d", f.when, f.number))
	case "die":
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	case "full-system":
		l.report(fill(l.Below("node")))
	case "full-vz":
		l.report(fill(l.Below("node", "vz")))
	}
}

// Journal makes one change of the plugin's journal, with the fault that was set for it. A change that is held before it is
// made is not made any more: whoever wanted it is dead by then.
func (l Lab) Journal(op string, do func() syscall.Errno) syscall.Errno {
	c, err := l.Config()
	if err != nil {
		return syscall.EIO
	}
	if c.Fault == "" {
		return do()
	}
	n, err := l.count(JournalName, op)
	f, ok := parseFault(c.Fault, "journal-")
	if err != nil || !ok || n != f.number {
		return do()
	}
	point := fmt.Sprintf("%s journal step %d, %s", f.when, f.number, op)
	switch {
	case f.what == "fail":
		return syscall.EIO
	case f.when == "before":
		l.PauseAt(point)
		return syscall.EIO
	}
	errno := do()
	l.PauseAt(point)
	return errno
}

// PauseAt says in DIR/paused where a tool stands, and waits for that file to go, a minute at most.
func (l Lab) PauseAt(point string) {
	file := l.Below("paused")
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d %s\n", os.Getpid(), point), 0o644); err != nil {
		l.report(err)
		return
	}
	for range 6000 {
		if _, err := os.Stat(file); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (l Lab) report(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
}

// fillName is the file that fills up a file system.
const fillName = ".lab-fill"

// fill leaves no room in a file system, down to the last block.
func fill(dir string) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, fillName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for size := int64(1) << 36; size >= 4096; {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		err = unix.Fallocate(int(f.Fd()), 0, st.Size(), size)
		switch {
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EFBIG):
			size /= 2
		case err != nil:
			return fmt.Errorf("fill %s: %w", dir, err)
		}
	}
	return nil
}

// Free takes away what has filled up the node's file systems. It runs in the node.
func (l Lab) Free() error {
	for _, dir := range []string{l.Below("node"), l.Below("node", "vz")} {
		if err := os.Remove(filepath.Join(dir, fillName)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// count notes a call or step under its name and returns its number.
func (l Lab) count(file, name string) (int, error) {
	f, err := os.OpenFile(l.Below(file), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // one line
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return 0, err
	}
	if _, err := f.WriteString(strings.ReplaceAll(name, "\n", " ") + "\n"); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return 0, err
	}
	return strings.Count(string(b), "\n"), nil
}
