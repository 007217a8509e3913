// SPDX-License-Identifier: AGPL-3.0-only

package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func sh(script string) Command { return Command{Path: "/bin/sh", Args: []string{"-c", script}} }

func TestOutputAndStderrLines(t *testing.T) {
	var got []string
	r := Runner{Stderr: func(p, l string) { got = append(got, p+": "+l) }}
	res, err := r.Run(context.Background(), sh("echo out; echo one >&2; printf two >&2"))
	if err != nil {
		t.Fatal(err)
	}
	if res.Stdout != "out\n" {
		t.Errorf("Run stdout = %q, want %q", res.Stdout, "out\n")
	}
	if want := "sh: one|sh: two"; strings.Join(got, "|") != want {
		t.Errorf("Run reported %q, want %q", got, want)
	}
}

func TestExitStatus(t *testing.T) {
	_, err := Runner{}.Run(context.Background(), sh("echo gone wrong >&2; exit 43"))
	if got := ExitStatus(err); got != 43 {
		t.Errorf("ExitStatus(%v) = %d, want 43", err, got)
	}
	if !strings.Contains(err.Error(), "exit status 43: gone wrong") {
		t.Errorf("error = %q, want the status and the last line", err)
	}
	if got := ExitStatus(errors.New("x")); got != -1 {
		t.Errorf("ExitStatus(plain error) = %d, want -1", got)
	}
}

func TestNoSuchProgram(t *testing.T) {
	_, err := Runner{}.Run(context.Background(), Command{Path: "/nonexistent/ploop"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run(/nonexistent/ploop) = %v, want ErrNotExist", err)
	}
}

func TestQueryIsEndedAtItsLimit(t *testing.T) {
	c := sh("sleep 60 & sleep 60")
	c.Limit = 50 * time.Millisecond
	begin := time.Now()
	_, err := Runner{}.Run(context.Background(), c)
	if !errors.Is(err, ErrLimit) {
		t.Errorf("Run = %v, want ErrLimit", err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("Run took %v, want an end soon after the limit", d)
	}
}

// A command that changes a disk is not awaited for ever, and never killed.
func TestChangeIsNeverKilled(t *testing.T) {
	dir := t.TempDir()
	ready, done := filepath.Join(dir, "ready"), filepath.Join(dir, "done")
	for _, name := range []string{ready, done} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = os.ReadFile(ready) // the command runs
		cancel()
	}()
	c := sh("echo > " + ready + "; cat " + ready + "; echo x > " + done)
	c.Changes = true
	_, err := (Runner{}).Run(ctx, c)
	var e *Error
	if !errors.Is(err, ErrLeft) || !errors.As(err, &e) || !e.StillRuns() {
		t.Fatalf("Run of a command that does not end = %v, want ErrLeft", err)
	}
	_ = os.WriteFile(ready, nil, 0) // lets it go on
	if got, _ := os.ReadFile(done); string(got) != "x\n" {
		t.Errorf("the command was killed: %q", got)
	}
	if _, err := (Runner{}).Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("Run after cancel = %v, want context.Canceled and no start", err)
	}
}

// What the job has locked stays locked while a command of it runs.
func TestCommandKeepsTheLock(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "lock")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := func() bool {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = os.ReadFile(ready)
		cancel()
	}()
	c := sh("echo > " + ready + "; cat " + ready + " >&2; cat")
	c.Changes = true
	if _, err := (Runner{Keep: func() *os.File { return f }}).Run(ctx, c); !errors.Is(err, ErrLeft) {
		t.Fatalf("Run = %v, want ErrLeft", err)
	}
	f.Close() // the daemon has died
	if !locked() {
		t.Error("the lock is free although the command still runs")
	}
	_ = os.WriteFile(ready, nil, 0) // lets it end
	for end := time.Now().Add(10 * time.Second); locked(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the lock is not free although the command has ended")
		}
	}
}

// Neither the daemon's descriptors nor its environment reach a child.
func TestChildInheritsNothing(t *testing.T) {
	fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0) // no O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	t.Setenv("VZ7CT_SECRET", "x")
	res, err := Runner{}.Run(context.Background(), Command{Path: "/bin/sh", Args: []string{"-c", "echo $VZ7CT_SECRET; for f in /proc/self/fd/*; do echo ${f##*/}; done"}})
	if err != nil {
		t.Fatal(err)
	}
	// 3 may be the shell's own descriptor of the directory it reads.
	if got := strings.Fields(res.Stdout); len(got) > 4 || got[0] != "0" {
		t.Errorf("the child sees %q, want 0 1 2 and one of its own", got)
	}
}

// What outlives the command with its pipes open is not waited for.
func TestOrphanWithPipesIsNotAwaited(t *testing.T) {
	for _, changes := range []bool{false, true} {
		begin := time.Now()
		c := sh("sleep 30 & echo started")
		c.Changes = changes
		res, err := Runner{}.Run(context.Background(), c)
		if err != nil || res.Stdout != "started\n" {
			t.Errorf("Run(changes %v) = %q, %v, want started, nil", changes, res.Stdout, err)
		}
		if d := time.Since(begin); d > 15*time.Second {
			t.Errorf("Run(changes %v) took %v", changes, d)
		}
	}
}

func TestCommandAsTyped(t *testing.T) {
	c := Command{Path: "/usr/sbin/ploop", Args: []string{"mount", "-c", "it's", "/a b"}}
	if got, want := c.String(), `ploop mount -c 'it'\''s' '/a b'`; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

// A query that was killed and does not end, since it waits in the kernel, keeps
// nobody waiting for ever.
func TestKilledQueryThatDoesNotEnd(t *testing.T) {
	for name, want := range map[string]error{"limit": ErrLimit, "cancel": context.Canceled} {
		c := sh("sleep 60")
		cmd := Runner{}.command(c)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if name == "cancel" {
				cancel()
			}
			never := make(chan error)
			if err := (Runner{}).wait(ctx, c, cmd, &piped{lines: newLines()}, never); !errors.Is(err, want) {
				t.Errorf("wait = %v, want %v", err, want)
			}
		})
		_ = cmd.Wait() // it was killed, in truth
	}
}
