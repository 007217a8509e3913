// SPDX-License-Identifier: AGPL-3.0-only

package undo

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Entry is a journal as List has found it.
type Entry struct {
	Path string
	Head Head
	// Pending are the steps that were not undone, the oldest first.
	Pending []Step
	// Live: its job, one who takes back what a dead job has left, or a command that
	// either has started, holds it.
	Live bool
	// Ended: the job has ended, or died. If Live is set, too, and nobody is taking
	// back just now, a command of it still runs.
	Ended bool
}

// Commands returns the processes that have the journal as their standard input:
// what its job has started and still runs. None can mean that it cannot be seen.
func (e Entry) Commands() []int {
	path, err := filepath.EvalSymlinks(e.Path)
	if err != nil {
		return nil
	}
	var pids []int
	inputs, _ := filepath.Glob("/proc/[0-9]*/fd/0")
	for _, in := range inputs {
		if to, err := os.Readlink(in); err != nil || to != path {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(in, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// died reports whether the process of a job is not there any more. Its number may be
// that of another one by now.
func died(h Head) bool {
	if h.PID <= 0 {
		return false
	}
	if errors.Is(unix.Kill(h.PID, 0), unix.ESRCH) {
		return true
	}
	now := born(h.PID)
	return h.Born != 0 && now != 0 && now != h.Born
}

// born returns when a process was started, in ticks since the machine was (field 22 of
// /proc/PID/stat, proc(5)), 0 if that cannot be told.
func born(pid int) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is a name in brackets, in which anything may be.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	ticks, _ := strconv.ParseUint(fields[19], 10, 64)
	return ticks
}

// List reads all journals in dir, those of live jobs too, and changes nothing.
// What it returns may be outdated when it is read. It returns the errors of all
// journals that cannot be read, beside those that can. A missing dir is no error.
func List(dir string) ([]Entry, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journals: %w", err)
	}
	var list []Entry
	var errs []error
	for _, n := range names {
		if !strings.HasSuffix(n.Name(), Suffix) {
			continue
		}
		e, err := look(filepath.Join(dir, n.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("journal %s: %w", n.Name(), err))
			continue
		}
		list = append(list, e)
	}
	return list, errors.Join(errs...)
}

// look reads one journal. It returns os.ErrNotExist if the journal has gone.
func look(path string) (Entry, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Entry{}, err
	}
	defer f.Close()
	// Shared, for the moment: see alone.
	err = lock(f, unix.LOCK_SH|unix.LOCK_NB)
	live := errors.Is(err, unix.EWOULDBLOCK)
	if err == nil {
		err = lock(f, unix.LOCK_UN)
	}
	if err != nil && !live {
		return Entry{}, err
	}
	data, err := contentOf(f)
	if err != nil {
		return Entry{}, err
	}
	if gone(f) {
		return Entry{}, os.ErrNotExist
	}
	j := &Journal{}
	// A line without its end was cut short, or is being written.
	if err := j.parse(data[:bytes.LastIndexByte(data, '\n')+1]); err != nil {
		return Entry{}, err
	}
	return Entry{Path: path, Head: j.Head, Pending: j.pending, Live: live, Ended: !live || j.ended || died(j.Head)}, nil
}
