// SPDX-License-Identifier: AGPL-3.0-only

package undo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep opens the journal of every dead job in dir and hands it to recover,
// which undoes what is pending. Journals of jobs that live, here or in another
// daemon, are left alone. It returns the errors of all; one bad journal does
// not keep the others from being recovered. A missing dir is no error.
func Sweep(dir string, recover func(*Journal) error) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read journals: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), Suffix) {
			continue
		}
		j, err := adopt(filepath.Join(dir, e.Name()))
		if err != nil {
			errs = append(errs, fmt.Errorf("journal %s: %w", e.Name(), err))
			continue
		}
		if j == nil {
			continue
		}
		if len(j.pending) > 0 {
			if err := recover(j); err != nil {
				errs = append(errs, err)
			}
		}
		if err := j.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// adopt opens and locks a dead job's journal. It returns nil without an error
// if the job lives or its journal has just gone.
func adopt(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f}
	err = j.hold(alone)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		j.shut()
		return nil, nil
	}
	if err == nil {
		err = j.read()
	}
	if err != nil {
		j.shut()
		return nil, err
	}
	return j, nil
}

// alone locks a journal unless its job lives: then the job holds it alone. List
// holds it shared for a moment, which must not pass for a job.
func alone(f *os.File) error {
	for n := 0; ; n++ {
		err := lock(f, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || n == 100 || lock(f, unix.LOCK_SH|unix.LOCK_NB) != nil {
			return err
		}
		if err := lock(f, unix.LOCK_UN); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func lock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// gone reports whether the open file has no name any more.
func gone(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
