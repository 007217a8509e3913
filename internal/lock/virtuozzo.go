// SPDX-License-Identifier: AGPL-3.0-only

package lock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Virtuozzo's tools keep one another from a container by a file
// LOCKDIR/<ctid>.lck, made by link(2), with the holder's pid and what it does in
// two lines. Who finds a holder alive gives up; the file of a dead one it removes
// (libvzctl vz7-u22, lib/lock.c, _lock_file). `prlctl backup` takes this file as
// we do (prl-disp-service vz7-u22, CDspVmBackupInfrastructure.cpp), with a status
// whose first word lets a start through from vz7-u17 on; a start that was let
// through removes the file when it ends (vzctl vz7-u22, src/vzctl.c): it is no
// error if it has gone.
//
// All of them read the pid and one word. So a third line is free for our mark, by
// which a sweeper knows the file of a dead job, whoever has its pid by now.

// backingUp is the status of prlctl backup. restoring lets nothing through: its first
// word is no other one's.
const (
	backingUp = "Backing up"
	restoring = "Restoring files"
)

// UnusableError tells that Virtuozzo's lock cannot be taken here at all.
type UnusableError struct{ Err error }

func (e *UnusableError) Error() string { return e.Err.Error() }
func (e *UnusableError) Unwrap() error { return e.Err }

// Virtuozzo takes Virtuozzo's lock of the container whose lock file is path,
// with a mark of the caller's that no other lock has. It calls made before
// anything is made: that is the last moment to record path and mark. It returns a
// *HeldError if somebody else has the lock, and an *UnusableError if nobody can
// have it. Two jobs of this process must not try for one container at once: a
// file with this process's own pid is taken for a dead job's.
func Virtuozzo(path, mark string, made func() error) (*Held, error) {
	return lockVirtuozzo(path, mark, backingUp, made)
}

// VirtuozzoAtRest is Virtuozzo for a container that must not be started meanwhile.
func VirtuozzoAtRest(path, mark string, made func() error) (*Held, error) {
	return lockVirtuozzo(path, mark, restoring, made)
}

func lockVirtuozzo(path, mark, status string, made func() error) (*Held, error) {
	if st, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, &UnusableError{fmt.Errorf("lock directory: %w", err)}
	} else if !st.IsDir() {
		return nil, &UnusableError{fmt.Errorf("%s is no directory", filepath.Dir(path))}
	}
	// Looked at first, so that a wait does not write a journal entry every time.
	if err := removeStale(path); err != nil {
		return nil, err
	}
	if err := made(); err != nil {
		return nil, err
	}
	h, err := takeVirtuozzo(path, mark, status)
	var link *os.LinkError
	if errors.As(err, &link) && errors.Is(err, os.ErrExist) {
		if err := removeStale(path); err != nil {
			return nil, err
		}
		return nil, &HeldError{path, "somebody who has just taken it"}
	}
	if err != nil {
		return nil, &UnusableError{fmt.Errorf("lock file: %w", err)}
	}
	return h, nil
}

func takeVirtuozzo(path, mark, status string) (*Held, error) {
	own := beside(path, mark)
	f, err := os.OpenFile(own, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(own)
	_, err = fmt.Fprintf(f, "%d\n%s\n%s%s\n", os.Getpid(), status, vzMark, mark)
	if err == nil {
		err = os.Link(own, path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Held{vz: &virtuozzo{path, mark, status, f}}, nil
}

// virtuozzo is a lock of Virtuozzo's that this process has. file is nil when it
// was given up.
type virtuozzo struct {
	path, mark, status string
	file               *os.File
}

// release removes the file unless it was taken away.
func (v *virtuozzo) release() error {
	if v.file == nil {
		return nil
	}
	defer func() { v.file.Close(); v.file = nil }()
	if !names(v.path, v.file) {
		return nil
	}
	return os.Remove(v.path)
}

// vzMark begins our line in Virtuozzo's lock file.
const vzMark = "vz7ct "

// beside is the name that the file has before it is linked. A node that starts
// removes LOCKDIR/*.lck alone.
func beside(path, mark string) string { return path + "." + mark }

// Retake takes Virtuozzo's lock again if it has been taken away from its holder,
// and reports whether it did. It does nothing to other locks. It returns a
// *HeldError if somebody else has it by now; any other error ends the trying.
func (h *Held) Retake() (bool, error) {
	if h.vz == nil || h.vz.file == nil || names(h.vz.path, h.vz.file) {
		return false, nil
	}
	again, err := lockVirtuozzo(h.vz.path, h.vz.mark, h.vz.status, func() error { return nil }) // it is recorded
	var held *HeldError
	if errors.As(err, &held) {
		return false, err
	}
	if err != nil {
		h.vz.file.Close()
		h.vz.file = nil
		return false, err
	}
	h.vz.file.Close()
	h.vz.file = again.vz.file
	return true, nil
}

// RemoveVirtuozzo removes what a dead job, or the caller's own, has made of
// Virtuozzo's lock with this mark. A file without the mark is somebody else's and
// stays.
func RemoveVirtuozzo(path, mark string) error {
	if mark == "" {
		return nil
	}
	err := unlinkIf(beside(path, mark), func(holder) bool { return true }) // it may be cut short
	err = errors.Join(err, unlinkIf(path, func(by holder) bool { return by.mark == mark }))
	if err != nil {
		return fmt.Errorf("remove lock of the container: %w", err)
	}
	return nil
}

// unlinkIf removes the lock file path if match says so. What is no regular file
// is no lock file and stays; nothing there is no error.
func unlinkIf(path string, match func(holder) bool) error {
	if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() {
		return nil
	}
	f, by, err := readVirtuozzo(path)
	if err == nil {
		defer f.Close()
		if !match(by) || !names(path, f) {
			return nil
		}
		err = os.Remove(path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// holder is what a lock file says.
type holder struct {
	pid          int // 0: there is none
	status, mark string
}

// removeStale returns a *HeldError if path exists and its holder may be alive. A
// file of a dead one, or of none, is removed, as every tool of Virtuozzo does.
func removeStale(path string) error {
	f, by, err := readVirtuozzo(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &UnusableError{fmt.Errorf("lock file: %w", err)}
	}
	defer f.Close()
	ours := by.pid == os.Getpid() && by.mark != ""
	if by.pid > 0 && !ours && !errors.Is(unix.Kill(by.pid, 0), unix.ESRCH) {
		return &HeldError{path, fmt.Sprintf("%s with status %q", process(strconv.Itoa(by.pid)), by.status)}
	}
	if !names(path, f) {
		return nil // it has just been given up
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return &UnusableError{fmt.Errorf("remove the lock of a dead process: %w", err)}
	}
	return nil
}

// readVirtuozzo opens and reads a lock file.
func readVirtuozzo(path string) (*os.File, holder, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, holder{}, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, holder{}, fmt.Errorf("%s is no regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		f.Close()
		return nil, holder{}, err
	}
	return f, parseHolder(string(b)), nil
}

// names reports whether path is a name of the open file.
func names(path string, f *os.File) bool {
	a, err1 := f.Stat()
	b, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

func parseHolder(content string) holder {
	lines := append(strings.SplitN(content, "\n", 4), "", "", "")
	by := holder{status: strings.TrimSpace(lines[1])}
	if _, err := fmt.Sscanf(lines[0], "%d", &by.pid); err != nil || by.pid < 0 {
		by.pid = 0
	}
	if mark, ok := strings.CutPrefix(lines[2], vzMark); ok {
		by.mark = mark
	}
	return by
}
