// SPDX-License-Identifier: AGPL-3.0-only

// Package lock holds files locked for the time of a job: an flock that vanishes
// with the process; beside an operator's lock file the "<path>.lock" that
// Python's lockfile module makes, so that scripts and the Python plugin see it;
// and the file by which Virtuozzo's tools lock a container.
//
// No file is ever truncated, written over or reached through a link in its last
// component: lock files lie in /tmp. Nothing here waits inside the kernel, since
// a wait must end when the job is cancelled.
package lock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// HeldError tells that somebody else holds the lock.
type HeldError struct {
	Path string
	// By names the holder as well as it can be found out.
	By string
}

func (e *HeldError) Error() string { return fmt.Sprintf("%s is held by %s", e.Path, e.By) }

// Held is a lock that this process has.
type Held struct {
	file   *os.File
	remove bool
	link   *link
	// vz is set for Virtuozzo's lock of a container, and nothing else then.
	vz *virtuozzo
}

// Release gives the lock up. It may be called on nil and twice.
func (h *Held) Release() error {
	if h != nil && h.vz != nil {
		return h.vz.release()
	}
	if h == nil || h.file == nil {
		return nil
	}
	var errs []error
	if h.link != nil {
		errs = append(errs, h.link.release())
	}
	if h.remove {
		errs = append(errs, os.Remove(h.file.Name()))
	}
	errs = append(errs, h.file.Close())
	h.file = nil
	return errors.Join(errs...)
}

// File returns the file that is locked. Whoever has a copy of it open holds the lock,
// too. It stays Held's.
func (h *Held) File() *os.File { return h.file }

// Exclusive locks path for this holder alone, and removes the file at the end
// if remove is set. It returns a *HeldError if somebody else has it.
func Exclusive(path string, remove bool) (*Held, error) {
	f, err := flock(path, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	return &Held{file: f, remove: remove}, nil
}

// Shared locks path together with others that lock it shared, against one that
// wants it alone.
func Shared(path string) (*Held, error) {
	f, err := flock(path, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	return &Held{file: f}, nil
}

// flock opens path, which it creates if need be, and locks it without waiting.
func flock(path string, how int) (*os.File, error) {
	for {
		f, err := openPlain(path)
		if err != nil {
			return nil, fmt.Errorf("lock file: %w", err)
		}
		err = retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
		if err == nil && same(f, path) {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			by := holders(f)
			f.Close()
			return nil, &HeldError{path, by}
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The file was removed by the holder before: what path names now is new.
	}
}

const openFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY

// openPlain opens or creates a regular file. An existing file is opened without
// O_CREAT: in a sticky directory the kernel denies that for files of others even
// to root (fs.protected_regular).
func openPlain(path string) (*os.File, error) {
	for n := 0; ; n++ {
		f, err := openExisting(path)
		if errors.Is(err, os.ErrNotExist) {
			f, err = os.OpenFile(path, openFlags|os.O_CREATE|os.O_EXCL, 0o600)
		}
		// Holders make and remove it all the time: it may have come between the
		// two calls, or gone again.
		if !errors.Is(err, os.ErrExist) || n == 100 {
			return f, err
		}
	}
}

// openExisting opens a regular file and follows no link.
func openExisting(path string) (*os.File, error) {
	f, err := os.OpenFile(path, openFlags, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link: a lock file must be a regular file", path)
	}
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	return f, nil
}

// same reports whether path still names the open file.
func same(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// Wait calls try until it has the lock, fails otherwise than with a HeldError,
// limit has passed (0 is no limit) or ctx is done. It calls say at once when it
// has to wait, and every 10 minutes after that.
func Wait(ctx context.Context, limit time.Duration, say func(*HeldError, time.Duration), try func() (*Held, error)) (*Held, error) {
	begin, next := time.Now(), time.Duration(0)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		h, err := try()
		var held *HeldError
		if !errors.As(err, &held) {
			return h, err
		}
		waited := time.Since(begin)
		if limit > 0 && waited >= limit {
			return nil, fmt.Errorf("%w, still after %s", err, limit)
		}
		if waited >= next {
			say(held, waited)
			next += 10 * time.Minute
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for lock: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// holders names the processes that have an flock on f, from /proc/locks.
func holders(f *os.File) string {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "another process"
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return "another process"
	}
	defer locks.Close()
	where := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	var names []string
	for s := bufio.NewScanner(locks); s.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 4711 fd:01:131078 0 EOF
		w := strings.Fields(s.Text())
		if len(w) >= 6 && w[1] == "FLOCK" && w[5] == where {
			names = append(names, process(w[4]))
		}
	}
	if len(names) == 0 {
		return "another process"
	}
	return strings.Join(names, ", ")
}

// process names a process by its number and command.
func process(pid string) string {
	comm, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	if err != nil {
		return "process " + pid
	}
	return fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(string(comm)))
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
