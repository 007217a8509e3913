// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain is the program itself for tests that need it as a process.
func TestMain(m *testing.M) {
	if os.Getenv("VZ7CT_TEST_MAIN") != "" {
		a := newApp(os.Stdout, os.Stderr)
		a.uid = 0
		os.Exit(a.run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// controlGroup is a directory that looks like a control group.
func controlGroup(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), webID)
	put(t, filepath.Join(dir, "freezer.state"), "THAWED\n")
	return dir
}

// The guard says that it is at work, then waits for the end of its input, or for a
// signal that ends other programs, and thaws.
func TestThawGuard(t *testing.T) {
	for _, sig := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		dir := controlGroup(t)
		cmd := exec.Command(os.Args[0], "thaw-guard", dir)
		cmd.Env = append(os.Environ(), "VZ7CT_TEST_MAIN=1")
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			t.Fatalf("it says %q, %v", line, err)
		}
		state := filepath.Join(dir, "freezer.state")
		put(t, state, "FROZEN\n")
		if sig == 0 {
			must(t, in.Close())
		} else {
			must(t, cmd.Process.Signal(sig))
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		if b, _ := os.ReadFile(state); strings.TrimSpace(string(b)) != "THAWED" {
			t.Errorf("%v: the group is %q", sig, b)
		}
	}
}

func TestThawGuardOfNoGroup(t *testing.T) {
	n := webNode(t)
	if status, out, log := n.run("thaw-guard", "/nonexistent"); status != failed || out != "" || !strings.Contains(log, "no such file") || !strings.Contains(log, "by hand: echo THAWED >") {
		t.Errorf("thaw-guard = %d, %q, %q", status, out, log)
	}
	if strings.Contains(help, "thaw-guard") {
		t.Error("the help offers it to people")
	}
}
