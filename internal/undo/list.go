// SPDX-License-Identifier: AGPL-3.0-only

package undo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Entry is a journal as List has found it.
type Entry struct {
	Path string
	Head Head
	// Pending are the steps that were not undone, the oldest first.
	Pending []Step
	// Live: its job, or one who takes back what a dead job has left, holds it.
	Live bool
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
		if !strings.HasSuffix(n.Name(), suffix) {
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
	data, err := io.ReadAll(f)
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
	return Entry{Path: path, Head: j.Head, Pending: j.pending, Live: live}, nil
}
