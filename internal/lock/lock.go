// SPDX-License-Identifier: AGPL-3.0-only

// Package lock holds files locked for the time of a job: an flock that vanishes
// with the process; beside an operator's lock file the "<path>.lock" that
// Python's lockfile module makes, so that scripts and the Python plugin see it;
// and the file by which Virtuozzo's tools lock a container.
//
// No file is ever truncated or written over, nor reached over a link that somebody
// else than root could have planted: lock files lie in /tmp. A lock is opened, made
// and removed in one open directory. Nothing here waits inside the kernel, since a
// wait must end when the job is cancelled.
package lock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// HeldError tells that somebody else holds the lock.
type HeldError struct {
	Path string
	// By names the holder as well as it can be found out.
	By string
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is held by %s", text.Name(e.Path), e.By)
}

// Held is a lock that this process has.
type Held struct {
	at     *place
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
		errs = append(errs, h.at.remove())
	}
	errs = append(errs, h.file.Close())
	h.at.close()
	h.file = nil
	return errors.Join(errs...)
}

// File returns the file that is locked. Whoever has a copy of it open holds the lock,
// too. It stays Held's.
func (h *Held) File() *os.File { return h.file }

// Exclusive locks path for this holder alone, and removes the file at the end
// if remove is set. It returns a *HeldError if somebody else has it.
func Exclusive(path string, remove bool) (*Held, error) {
	h, err := take(path, unix.LOCK_EX, nil)
	if err != nil {
		return nil, err
	}
	h.remove = remove
	return h, nil
}

// Shared locks path together with others that lock it shared, against one that
// wants it alone.
func Shared(path string) (*Held, error) { return take(path, unix.LOCK_SH, nil) }

// take opens path, which it creates if need be, and locks it without waiting. judge,
// if set, is asked whether it may.
func take(path string, how int, judge func(*place) error) (*Held, error) {
	at, err := openPlace(path)
	if err != nil {
		return nil, err
	}
	if judge != nil {
		err = judge(at)
	}
	var f *os.File
	if err == nil {
		f, err = at.flock(how)
	}
	if err != nil {
		at.close()
		return nil, err
	}
	return &Held{at: at, file: f}, nil
}

func (p *place) flock(how int) (*os.File, error) {
	for {
		f, err := p.open()
		if err != nil {
			return nil, err
		}
		err = retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
		if err == nil && p.same(f) {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			by := holders(f)
			f.Close()
			return nil, &HeldError{p.path, by}
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", text.Name(p.path), err)
		}
		// The file was removed by the holder before: what path names now is new.
	}
}

// open opens or creates a regular file. An existing file is opened without
// O_CREAT: in a sticky directory the kernel denies that for files of others even
// to root (fs.protected_regular).
func (p *place) open() (*os.File, error) {
	for n := 0; ; n++ {
		f, err := p.existing()
		if errors.Is(err, os.ErrNotExist) {
			f, err = p.create(unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0o600)
		}
		// Holders make and remove it all the time: it may have come between the
		// two calls, or gone again.
		if !errors.Is(err, os.ErrExist) || n == 100 {
			return f, err
		}
	}
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

// process names a process by its number and command, if pid is a number: it may
// come out of a file that anybody could have written.
func process(pid string) string {
	if n, err := strconv.ParseUint(pid, 10, 31); err != nil || strconv.FormatUint(n, 10) != pid {
		return "a process that does not tell its number"
	}
	comm, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	if err != nil {
		return "process " + pid
	}
	return fmt.Sprintf("process %s (%s)", pid, text.Name(strings.TrimSpace(string(comm))))
}

func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
