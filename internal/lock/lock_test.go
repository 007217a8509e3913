// SPDX-License-Identifier: AGPL-3.0-only

package lock

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func nothing(string) error { return nil }

func mustHold(t *testing.T, h *Held, err error) *Held {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func wantHeld(t *testing.T, err error, by string) {
	t.Helper()
	var held *HeldError
	if !errors.As(err, &held) || !strings.Contains(held.By, by) {
		t.Errorf("error = %v, want a HeldError that names %q", err, by)
	}
}

func TestExclusiveNamesItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	h, err := Exclusive(path, true)
	mustHold(t, h, err)
	_, err = Exclusive(path, true)
	wantHeld(t, err, strconv.Itoa(os.Getpid()))
	_, err = Shared(path)
	wantHeld(t, err, "process")
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left behind: %v", err)
	}
	if err := h.Release(); err != nil {
		t.Errorf("second Release = %v", err)
	}
}

// pcompact asks for an exclusive flock without waiting; several jobs, of several
// daemons, hold it shared.
func TestSharedKeepsTheExclusiveOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pcompact.pid")
	if err := os.WriteFile(path, []byte("17\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := Shared(path)
	mustHold(t, a, err)
	b, err := Shared(path)
	mustHold(t, b, err)
	for _, h := range []*Held{a, b} {
		if err := exec.Command("flock", "-n", "-x", path, "true").Run(); err == nil {
			t.Error("flock -n -x succeeded while the lock was held")
		}
		if err := h.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if err := exec.Command("flock", "-n", "-x", path, "true").Run(); err != nil {
		t.Errorf("flock -n -x after release = %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "17\n" {
		t.Errorf("content = %q, want it untouched", got)
	}
}

func TestNoLinkFifoOrDirectoryIsTaken(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func(string) error{
		"link":      func(p string) error { return os.Symlink(victim, p) },
		"dangling":  func(p string) error { return os.Symlink(filepath.Join(dir, "new"), p) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
	} {
		p := filepath.Join(dir, name)
		if err := plant(p); err != nil {
			t.Fatal(err)
		}
		if h, err := WithLink(p, nothing); err == nil {
			t.Errorf("WithLink on a %s = %v, want an error", name, h)
		}
		// The same behind ".lock": never followed, never removed.
		q := filepath.Join(dir, "ok-"+name)
		if err := plant(q + ".lock"); err != nil {
			t.Fatal(err)
		}
		if h, err := WithLink(q, nothing); err == nil {
			t.Errorf("WithLink with a %s as .lock = %v, want an error", name, h)
		}
		if _, err := os.Lstat(q + ".lock"); err != nil {
			t.Errorf("%s as .lock was removed", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a file was created behind a dangling link")
	}
	if b, _ := os.ReadFile(victim); string(b) != "precious" {
		t.Errorf("victim = %q", b)
	}
}

// What the Python module sees and does, in its own terms.
func TestPythonSeesOurLockAndWeSeeIts(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "backup")
	h, err := WithLink(path, nothing)
	mustHold(t, h, err)
	unique := filepath.Join(dir, "node-1a2b.4711-99")
	if err := os.WriteFile(unique, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(unique, path+".lock"); !errors.Is(err, os.ErrExist) {
		t.Errorf("the module's link = %v, want ErrExist while we hold the lock", err)
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(unique, path+".lock"); err != nil {
		t.Fatalf("the module's link after release = %v", err)
	}
	_, err = WithLink(path, nothing)
	wantHeld(t, err, unique)
	if _, err := os.Lstat(path + ".lock"); err != nil {
		t.Error("the module's link was removed")
	}
	if _, err := Exclusive(path, false); err != nil {
		t.Errorf("the flock was kept after a failed try: %v", err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 3 {
		t.Errorf("%d files in %v, want the lock file and the module's two", len(entries), entries)
	}
}

func TestDeadLinkOfOursIsRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "backup")
	h, err := WithLink(path, nothing)
	mustHold(t, h, err)
	h.link.file.Close() // as at the death of the process
	h.file.Close()
	h, err = WithLink(path, nothing)
	mustHold(t, h, err)
	if removed, err := RemoveDead(path + ".lock"); removed || err != nil {
		t.Errorf("RemoveDead of a live link = %v, %v, want false", removed, err)
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	if removed, err := RemoveDead(path + ".lock"); !removed || err != nil {
		t.Errorf("RemoveDead of nothing = %v, %v, want true", removed, err)
	}
}

func TestLinkIsRecordedBeforeItIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	full := errors.New("journal full")
	_, err := WithLink(path, func(p string) error {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s exists before it is recorded", p)
		}
		return full
	})
	if !errors.Is(err, full) {
		t.Errorf("WithLink = %v, want %v", err, full)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left = %v, want the lock file only", left)
	}
}

func TestWait(t *testing.T) {
	said, tries := 0, 0
	h, err := Wait(context.Background(), 0, func(*HeldError, time.Duration) { said++ }, func() (*Held, error) {
		if tries++; tries < 3 {
			return nil, &HeldError{"p", "x"}
		}
		return &Held{}, nil
	})
	if h == nil || err != nil || said != 1 {
		t.Errorf("Wait = %v, %v, said %d times, want the lock and one line", h, err, said)
	}
	always := func() (*Held, error) { return nil, &HeldError{"p", "x"} }
	if _, err := Wait(context.Background(), time.Millisecond, func(*HeldError, time.Duration) {}, always); err == nil || !strings.Contains(err.Error(), "still after 1ms") {
		t.Errorf("Wait with limit = %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Wait(ctx, 0, func(*HeldError, time.Duration) {}, always); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait after cancel = %v", err)
	}
}

// Holders that come and go take turns; none finds the file missing.
func TestFileThatComesAndGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	errs := make(chan error)
	for range 8 {
		go func() {
			var bad error
			for range 2000 {
				h, err := Exclusive(path, true)
				var held *HeldError
				switch {
				case err == nil:
					bad = errors.Join(bad, h.Release())
				case !errors.As(err, &held):
					bad = errors.Join(bad, err)
				}
			}
			errs <- bad
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Errorf("Exclusive = %.300v", err)
		}
	}
}
