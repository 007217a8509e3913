// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Where the tables of a file system cannot be read directly, the kernel is asked about
// each file, and each answer may be a wait for the disk. scouts ask before the walk does, so
// that the kernel knows the answers by then. They hand out nothing, and what they cannot
// do is left undone.
type scouts struct {
	jobs chan errand
	stop atomic.Bool
	done sync.WaitGroup
}

// errand is to stat some names of a directory, or all names of a directory in it.
type errand struct {
	in    *shared
	names []string
	list  string
}

// shared is a descriptor that is closed by the last one who needs it.
type shared struct {
	fd   int
	uses atomic.Int32
}

func (s *shared) drop() {
	if s.uses.Add(-1) == 0 {
		unix.Close(s.fd)
	}
}

// How many scouts there are, how many errands wait at most, and of how many names one is.
const (
	scoutCount  = 8
	scoutQueue  = 32 // each may have a descriptor
	scoutStride = 32
)

func newScouts() *scouts {
	s := &scouts{jobs: make(chan errand, scoutQueue)}
	for range scoutCount {
		s.done.Add(1)
		go func() {
			defer s.done.Done()
			defer func() { _ = recover() }() // the walk does without
			for e := range s.jobs {
				s.run(e)
			}
		}()
	}
	return s
}

// close ends them. Nothing of theirs is open then.
func (s *scouts) close() {
	if s != nil {
		s.stop.Store(true)
		close(s.jobs)
		s.done.Wait()
	}
}

// send lets the names of a directory be looked at, those that are directories with what
// they hold. It does not wait: what is too much is left out.
func (s *scouts) send(dir int, names []string, dirs []string) {
	fd, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return
	}
	in := &shared{fd: fd}
	in.uses.Store(1)
	defer in.drop()
	offer := func(e errand) bool {
		in.uses.Add(1)
		select {
		case s.jobs <- e:
			return true
		default:
			in.drop()
			return false
		}
	}
	for len(names) > 0 {
		n := min(len(names), scoutStride)
		if !offer(errand{in: in, names: names[:n]}) {
			return
		}
		names = names[n:]
	}
	for _, d := range dirs {
		if !offer(errand{in: in, list: d}) {
			return
		}
	}
}

func (s *scouts) run(e errand) {
	defer e.in.drop()
	if e.list == "" {
		s.stat(e.in.fd, e.names)
		return
	}
	if s.stop.Load() {
		return
	}
	fd, err := openDir(e.in.fd, e.list, unix.O_NOFOLLOW)
	if err != nil {
		return
	}
	f := frame{fd: fd}
	defer f.release()
	if _, err := f.next(); err != nil {
		return
	}
	names, _ := f.waiting()
	s.stat(fd, names)
}

func (s *scouts) stat(dir int, names []string) {
	var st unix.Stat_t
	for _, n := range names {
		if s.stop.Load() {
			return
		}
		_ = unix.Fstatat(dir, n, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
}
