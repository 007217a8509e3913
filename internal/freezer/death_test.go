// SPDX-License-Identifier: AGPL-3.0-only

package freezer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHelperDaemon is a daemon that dies while a container stands still.
func TestHelperDaemon(t *testing.T) {
	dir := os.Getenv("VZ7CT_HELPER_FREEZER")
	if dir == "" {
		t.Skip("is run by tests of a daemon's death")
	}
	if _, err := client().Freeze(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	fifo := os.Getenv("VZ7CT_HELPER_FIFO")
	if err := os.WriteFile(fifo, []byte("frozen"), 0); err != nil {
		t.Fatal(err)
	}
	_, _ = os.ReadFile(fifo) // for ever
}

// frozenBy starts a daemon that has frozen the group, and returns its process.
func frozenBy(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(os.Args[0], "-test.run=^TestHelperDaemon$")
	daemon.Env = append(os.Environ(), "VZ7CT_HELPER_FREEZER="+dir, "VZ7CT_HELPER_FIFO="+fifo)
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	daemon.Stdout, daemon.Stderr = os.Stdout, os.Stderr
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(fifo); err != nil || string(b) != "frozen" {
		t.Fatalf("the daemon says %q, %v", b, err)
	}
	return daemon
}

// die kills a daemon with all of its process group.
func die(t *testing.T, daemon *exec.Cmd) {
	t.Helper()
	if err := syscall.Kill(-daemon.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
}

// guardOf finds the guard of a group.
func guardOf(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.HasSuffix(string(b), "\x00"+GuardCommand+"\x00"+dir+"\x00") {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			return pid
		}
	}
	t.Fatal("no guard is at work")
	return 0
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 20 s: " + what)
		}
	}
}

func TestGuardThawsWhenTheDaemonDies(t *testing.T) {
	dir := fake(t)
	daemon := frozenBy(t, dir)
	is(t, filepath.Join(dir, stateFile), "FROZEN")
	guard := guardOf(t, dir)
	begin := time.Now()
	die(t, daemon)
	eventually(t, "the guard thaws", func() bool {
		still, err := Client{}.Frozen(dir)
		return !still && err == nil
	})
	t.Logf("thawed %s after the daemon's death", time.Since(begin))
	eventually(t, "the guard ends", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", guard)) // that of a zombie is empty
		return len(b) == 0
	})
}

// The control: without a guard nobody thaws, and Thaw, as a sweeper calls it, does.
func TestNobodyThawsWithoutAGuard(t *testing.T) {
	dir := fake(t)
	daemon := frozenBy(t, dir)
	if err := syscall.Kill(guardOf(t, dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	die(t, daemon)
	is(t, filepath.Join(dir, stateFile), "FROZEN")
	if err := (Client{}).Thaw(dir); err != nil {
		t.Error(err)
	}
	is(t, filepath.Join(dir, stateFile), "THAWED")
}
