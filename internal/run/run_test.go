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

// A command that changes a disk survives the cancel of its job and is awaited.
func TestChangeIsNeverKilled(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "done")
	ready := filepath.Join(t.TempDir(), "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = os.ReadFile(ready) // the command runs
		cancel()
		// Lets the command go on only after the cancel.
		_ = os.WriteFile(ready, nil, 0)
	}()
	c := sh("echo > " + ready + "; cat " + ready + "; echo x > " + mark)
	c.Changes = true
	if _, err := (Runner{}).Run(ctx, c); err != nil {
		t.Fatalf("Run = %v, want the command's good end", err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the command was killed: %v", err)
	}
	if _, err := (Runner{}).Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("Run after cancel = %v, want context.Canceled and no start", err)
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
