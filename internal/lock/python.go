// SPDX-License-Identifier: AGPL-3.0-only

package lock

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The lockfile module (lockfile.linklockfile) takes a lock on PATH by a hard
// link PATH.lock to a file of its own, and waits for as long as that name
// exists. Our link has content, and is flocked by its holder: that tells a live
// holder from a dead one, whose link we may remove.

// mark is what our link's content begins with.
const mark = "vz7ct "

type link struct {
	path string
	file *os.File
}

// WithLink locks path as Exclusive does, and makes path.lock. It calls made
// with the link's path before it makes it: that is the last moment to record it.
func WithLink(path string, made func(link string) error) (*Held, error) {
	h, err := Exclusive(path, false)
	if err != nil {
		return nil, err
	}
	if h.link, err = takeLink(path+".lock", made); err != nil {
		h.file.Close()
		return nil, err
	}
	return h, nil
}

func takeLink(path string, made func(string) error) (*link, error) {
	// Looked at first, so that a wait does not write a journal entry every time.
	if err := held(path); err != nil {
		return nil, err
	}
	own := filepath.Join(filepath.Dir(path), fmt.Sprintf("vz7ct-%016x", rand.Uint64()))
	f, err := os.OpenFile(own, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	defer os.Remove(own)
	l := &link{path, f}
	if err := l.fill(made); err != nil {
		f.Close()
		return nil, err
	}
	err = os.Link(own, path)
	if errors.Is(err, os.ErrExist) {
		f.Close()
		if err := held(path); err != nil {
			return nil, err
		}
		return nil, &HeldError{path, "somebody who has just taken it"}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock file: %w", err)
	}
	return l, nil
}

func (l *link) fill(made func(string) error) error {
	if err := retry(func() error { return unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return fmt.Errorf("lock %s: %w", l.file.Name(), err)
	}
	if _, err := fmt.Fprintf(l.file, "%s%d\n", mark, os.Getpid()); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return made(l.path)
}

func (l *link) release() error {
	defer l.file.Close()
	if !same(l.file, l.path) {
		return fmt.Errorf("lock file %s was taken away by somebody else", l.path)
	}
	return os.Remove(l.path)
}

// held returns a *HeldError if path exists and its holder may be alive. A link
// of ours whose holder is dead is removed.
func held(path string) error {
	removed, err := RemoveDead(path)
	if err != nil {
		return err
	}
	if removed {
		return nil
	}
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return &HeldError{path, linker(path)}
}

// RemoveDead removes a link that a dead process of ours has left, and reports
// whether there is none (any more). It leaves every other file alone.
func RemoveDead(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if errors.Is(err, unix.ELOOP) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return false, nil
	}
	if own, ok := st.Sys().(*syscall.Stat_t); !ok || own.Uid != uint32(os.Geteuid()) {
		return false, nil
	}
	head := make([]byte, len(mark))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != mark {
		return false, nil
	}
	if retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }) != nil || !same(f, path) {
		return false, nil
	}
	if err := os.Remove(path); err != nil {
		return false, fmt.Errorf("remove dead lock: %w", err)
	}
	return true, nil
}

// linker names the holder of a link: the module's own file, another name of the
// same inode, is called after host, thread and process.
func linker(path string) string {
	st, err := os.Lstat(path)
	if err != nil {
		return "somebody who has just released it"
	}
	if !st.Mode().IsRegular() {
		return "nobody: it is no regular file, remove it"
	}
	dir, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return "another program"
	}
	for _, e := range dir {
		if e.Name() == filepath.Base(path) {
			continue
		}
		if other, err := e.Info(); err == nil && os.SameFile(st, other) {
			return "the owner of " + filepath.Join(filepath.Dir(path), e.Name())
		}
	}
	if f, err := openExisting(path); err == nil {
		defer f.Close()
		b, _ := io.ReadAll(io.LimitReader(f, 64))
		if pid, ours := strings.CutPrefix(string(b), mark); ours {
			return process(strings.TrimSpace(pid))
		}
	}
	return "another program, or left behind by one: nobody but the file itself tells"
}
