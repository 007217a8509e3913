// SPDX-License-Identifier: AGPL-3.0-only

package run

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// held is a program that is held: it says that it is ready, reads to the end of
// its input, and then does what the script says.
func held(script string) Command {
	c := sh("echo ready; cat >/dev/null; " + script)
	c.Limit, c.Changes = 30*time.Second, true
	return c
}

func TestHoldAndRelease(t *testing.T) {
	dir := t.TempDir()
	h, err := Runner{}.Hold(context.Background(), held("ls /proc/self/fd > "+dir+"/fds; ps -o sid= -p $$ > "+dir+"/sid; echo $$ > "+dir+"/pid"))
	if err != nil {
		t.Fatal(err)
	}
	if !h.Running() {
		t.Error("Running = false while it is held")
	}
	if _, err := os.Stat(filepath.Join(dir, "pid")); err == nil {
		t.Error("it has gone on while it is held")
	}
	if err := h.Release(30 * time.Second); err != nil {
		t.Errorf("Release = %v", err)
	}
	if h.Running() {
		t.Error("Running = true after its end")
	}
	// ls has one of its own for the directory.
	if fds, _ := os.ReadFile(filepath.Join(dir, "fds")); strings.Join(strings.Fields(string(fds)), " ") != "0 1 2 3" {
		t.Errorf("the program has the descriptors %q, want 0, 1, 2", fds)
	}
	sid, _ := os.ReadFile(filepath.Join(dir, "sid"))
	pid, _ := os.ReadFile(filepath.Join(dir, "pid"))
	if strings.TrimSpace(string(sid)) != strings.TrimSpace(string(pid)) {
		t.Errorf("its session is %q, want its own (%q)", sid, pid)
	}
}

// Nothing of it stays open in the daemon, well or ill.
func TestHoldLeavesNoDescriptors(t *testing.T) {
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := 0
	for n := range 4 {
		h, err := Runner{}.Hold(context.Background(), held("exit 1"))
		if err != nil {
			t.Fatal(err)
		}
		_ = h.Release(30 * time.Second)
		_, _ = Runner{}.Hold(context.Background(), limited("exit 2"))
		_, _ = Runner{}.Hold(context.Background(), Command{Path: "/nonexistent/vz7ct"})
		if n == 0 {
			before = open() // the runtime has opened what it keeps
		} else if after := open(); after > before {
			t.Errorf("%d descriptors are open, before it were %d", after, before)
		}
	}
}

// Programs that do not become ready are not left behind.
func TestHoldFails(t *testing.T) {
	slow := sh("sleep 60")
	slow.Limit = 50 * time.Millisecond
	for _, tt := range []struct {
		name, want string
		c          Command
		exit       int
	}{
		{"old release", "exit status 2: unknown command", sh("echo unknown command >&2; exit 2"), 2},
		{"silent end", "it has not said that it is ready", sh("exit 0"), -1},
		{"other words", "it has not said that it is ready", sh("echo hello; cat"), -1},
		{"no end of line", "it has not said that it is ready", sh("head -c 5000 /dev/zero; cat"), -1},
		{"too slow", "it has not said that it is ready within 50ms", slow, -1},
		{"no program", "no such file", Command{Path: "/nonexistent/vz7ct"}, -1},
	} {
		if tt.c.Limit == 0 {
			tt.c.Limit = 30 * time.Second
		}
		h, err := Runner{}.Hold(context.Background(), tt.c)
		if err == nil || !strings.Contains(err.Error(), tt.want) || ExitStatus(err) != tt.exit {
			t.Errorf("%s: Hold = %v, %v (exit status %d), want %q and %d", tt.name, h, err, ExitStatus(err), tt.want, tt.exit)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	slow.Limit = time.Minute
	r := Runner{Started: func(string) { time.AfterFunc(20*time.Millisecond, cancel) }}
	if _, err := r.Hold(ctx, slow); !errors.Is(err, context.Canceled) {
		t.Errorf("Hold that is cancelled = %v", err)
	}
	if _, err := r.Hold(ctx, slow); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not started") {
		t.Errorf("Hold after a cancel = %v", err)
	}
}

func TestReleaseTellsOfABadEnd(t *testing.T) {
	h, err := Runner{}.Hold(context.Background(), held("echo cannot thaw >&2; exit 1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Release(30 * time.Second); ExitStatus(err) != 1 || !strings.Contains(err.Error(), "cannot thaw") {
		t.Errorf("Release = %v", err)
	}
	stubborn, err := Runner{}.Hold(context.Background(), limited("echo ready; exec sleep 60"))
	if err != nil {
		t.Fatal(err)
	}
	defer stubborn.cmd.Process.Kill()
	if err := stubborn.Release(20 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "has not ended within 20ms") {
		t.Errorf("Release of one that does not end = %v", err)
	}
}

func limited(script string) Command {
	c := sh(script)
	c.Limit = 30 * time.Second
	return c
}

// Where no file can be had for its messages, it is held without them.
func TestHoldWithoutASpool(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	h, err := Runner{}.Hold(context.Background(), held("echo lost >&2; exit 4"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Release(30 * time.Second); ExitStatus(err) != 4 {
		t.Errorf("Release = %v", err)
	}
}

// TestHelperHolder is the daemon of TestHeldProgramLearnsOfADeath. It also has a
// ploop at work, which must not keep the guard's pipe open.
func TestHelperHolder(t *testing.T) {
	dir := os.Getenv("VZ7CT_HELPER_HOLDER")
	if dir == "" {
		t.Skip("is run by TestHeldProgramLearnsOfADeath")
	}
	if _, err := (Runner{}).Hold(context.Background(), held("echo > "+dir+"/learned")); err != nil {
		t.Fatal(err)
	}
	ploop := sh("echo > " + dir + "/runs; cat " + dir + "/go; echo > " + dir + "/runs")
	ploop.Changes = true
	_, _ = Runner{}.Run(context.Background(), ploop)
}

// A program that is held goes on by itself when the daemon is killed with all of
// its process group, although another program of the daemon lives on.
func TestHeldProgramLearnsOfADeath(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"runs", "go", "learned"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	daemon := exec.Command(os.Args[0], "-test.run=^TestHelperHolder$")
	daemon.Env = append(os.Environ(), "VZ7CT_HELPER_HOLDER="+dir)
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = os.ReadFile(filepath.Join(dir, "runs"))
	if err := syscall.Kill(-daemon.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
	if _, err := os.ReadFile(filepath.Join(dir, "learned")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0); err != nil {
		t.Fatal(err)
	}
	_, _ = os.ReadFile(filepath.Join(dir, "runs"))
}

// It has a scope of its own, with its standard input.
func TestHoldInAScope(t *testing.T) {
	dir := t.TempDir()
	wrap := filepath.Join(dir, "systemd-run")
	if err := os.WriteFile(wrap, []byte("#!/bin/sh\nexec env SCOPED=yes \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := Runner{Scope: func() []string { return []string{wrap} }}.Hold(context.Background(), held("echo $SCOPED > "+dir+"/scoped"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Release(30 * time.Second); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "scoped")); string(b) != "yes\n" {
		t.Errorf("SCOPED = %q", b)
	}
}
