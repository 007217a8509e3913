// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// rootWatch sees when a process opens and closes the top directory of a tree: a daemon opens it when it begins with its list,
// and closes it when it has come back from all that is below. Nobody else opens it meanwhile.
type rootWatch struct {
	file *os.File

	mu            sync.Mutex
	opened, ended time.Time
	done          chan struct{}
}

// watchRoot begins to watch a directory. A process reaches that of a node by /proc/PID/root.
func watchRoot(dir string) (*rootWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	w := &rootWatch{file: os.NewFile(uintptr(fd), "inotify"), done: make(chan struct{})}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN|unix.IN_CLOSE_NOWRITE|unix.IN_ONLYDIR); err != nil {
		_ = w.file.Close()
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	go w.follow()
	return w, nil
}

func (w *rootWatch) follow() {
	defer close(w.done)
	hurry()
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		w.mu.Lock()
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			mask, size := binary.NativeEndian.Uint32(buf[at+4:]), binary.NativeEndian.Uint32(buf[at+12:])
			if size == 0 { // of the directory itself, not of what is in it
				if mask&unix.IN_OPEN != 0 && w.opened.IsZero() {
					w.opened = now
				}
				if mask&unix.IN_CLOSE_NOWRITE != 0 {
					w.ended = now
				}
			}
			at += unix.SizeofInotifyEvent + int(size)
		}
		w.mu.Unlock()
	}
}

// wait waits until the directory was opened.
func (w *rootWatch) wait(ctx context.Context) error {
	for {
		w.mu.Lock()
		opened := !w.opened.IsZero()
		w.mu.Unlock()
		if opened {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// closed reports whether it was closed again.
func (w *rootWatch) closed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.ended.IsZero()
}

// stop ends the watch and returns the first opening and the last close.
func (w *rootWatch) stop() (opened, ended time.Time, err error) {
	_ = w.file.Close()
	<-w.done
	if w.opened.IsZero() || w.ended.Before(w.opened) {
		return w.opened, w.ended, errors.New("the daemon has not opened and closed the tree's top directory")
	}
	return w.opened, w.ended, nil
}

// hurry lets the goroutine, which does not get back its thread, run before the daemons when something happens: with all
// processors at work a moment is a scheduler's turn late otherwise.
func hurry() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -20) // without it the measure is less exact, no more
}

// mountsOf returns where below prefix something is mounted in a process's mount namespace.
func mountsOf(pid int, prefix string) ([]string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], prefix) {
			found = append(found, f[4])
		}
	}
	return found, nil
}

// unmounted waits until nothing is mounted below prefix any more, and returns when that was. The kernel wakes whoever polls
// a mountinfo at each change.
func unmounted(ctx context.Context, pid int, prefix string) (at time.Time, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		hurry()
		at, err = pollMounts(ctx, pid, prefix)
	}()
	<-done
	return at, err
}

func pollMounts(ctx context.Context, pid int, prefix string) (time.Time, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	for {
		now := time.Now()
		mounts, err := mountsOf(pid, prefix)
		if err != nil || len(mounts) == 0 {
			return now, err
		}
		if err := ctx.Err(); err != nil {
			return now, fmt.Errorf("%s is still mounted: %w", mounts[0], err)
		}
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return now, err
		}
	}
}

// pause waits a moment, in a loop that waits for something.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * time.Millisecond):
		return nil
	}
}

// held waits until ploop has stopped behind its mount.
func (w *world) held(ctx context.Context) error {
	for {
		if _, err := os.Stat(w.pausedFile()); err == nil {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("no snapshot was mounted: %w", err)
		}
	}
}

// pausedFile is there while a tool of the node stands still.
func (w *world) pausedFile() string { return filepath.Join(w.node.Dir, "paused") }
