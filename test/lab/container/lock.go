// SPDX-License-Identifier: AGPL-3.0-only

package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another operation holds the container.
//
//lint:ignore ST1005 the real tool's words
var ErrLocked = errors.New("Cannot lock the Container")

// Lock takes the container's lock as libvzctl does: a file made by link(2) with the holder's number and what it does, and
// a flock in the private area.
func (c *Container) Lock(status string) (func(), error) {
	unlock, err := c.LockFile(status)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(c.Private(), ".lck"), os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, os.ErrNotExist) {
		return unlock, nil // no private area: nothing to guard there
	}
	if err == nil {
		err = flock(f)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return func() {
		_ = f.Close()
		unlock()
	}, nil
}

// LockFile takes the file alone, as prlctl backup does. A file whose holder is gone is removed by the next taker.
func (c *Container) LockFile(status string) (func(), error) {
	name := filepath.Join(LockDir, c.CTID+".lck")
	tmp := fmt.Sprintf("%s.%d", name, os.Getpid())
	defer os.Remove(tmp) //nolint:errcheck // the link is what counts
	if err := os.WriteFile(tmp, fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), status), 0o644); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		err := os.Link(tmp, name)
		if err == nil {
			return func() { _ = os.Remove(name) }, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		pid, word := holder(name)
		if pid > 0 && unix.Kill(pid, 0) == nil && (status != "starting" || word != "Backing") {
			return nil, ErrLocked
		}
		if word == "Backing" && pid > 0 && unix.Kill(pid, 0) == nil {
			// From vz7-u17 on a start is let through while a backup holds the lock. When it ends it removes the file, as if it
			// had made it: vzctl2_env_unlock at the end of vzctl.c.
			return func() { _ = os.Remove(name) }, nil
		}
		if try == 3 {
			return nil, ErrLocked
		}
		_ = os.Remove(name)
	}
}

func flock(f *os.File) error {
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return errors.Join(ErrLocked, f.Close())
		}
	}
}

// holder reads a lock file: number, and first word of what is done.
func holder(name string) (int, string) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, ""
	}
	first, rest, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return 0, ""
	}
	word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return pid, word
}
