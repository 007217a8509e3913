// SPDX-License-Identifier: AGPL-3.0-only

package run

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestHelperDaemon is the daemon of TestChangeOutlivesTheDaemon.
func TestHelperDaemon(t *testing.T) {
	dir := os.Getenv("VZ7CT_HELPER_DAEMON")
	if dir == "" {
		t.Skip("is run by TestChangeOutlivesTheDaemon")
	}
	c := sh("echo > " + dir + "/runs; cat " + dir + "/go; echo out; echo err >&2; echo x > " + dir + "/done; echo > " + dir + "/runs")
	c.Changes = true
	_, _ = Runner{}.Run(context.Background(), c)
}

// A command that changes a disk goes on when the daemon is killed, with all of
// its process group, and is not ended by what it prints after that.
func TestChangeOutlivesTheDaemon(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"runs", "go"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	daemon := exec.Command(os.Args[0], "-test.run=^TestHelperDaemon$")
	daemon.Env = append(os.Environ(), "VZ7CT_HELPER_DAEMON="+dir)
	daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = os.ReadFile(filepath.Join(dir, "runs"))
	if err := syscall.Kill(-daemon.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0); err != nil {
		t.Fatal(err)
	}
	_, _ = os.ReadFile(filepath.Join(dir, "runs"))
	if _, err := os.Stat(filepath.Join(dir, "done")); err != nil {
		t.Errorf("the command was ended with the daemon: %v", err)
	}
}

func TestSpooledOutput(t *testing.T) {
	var told []string
	spool := t.TempDir()
	t.Setenv("TMPDIR", spool)
	r := Runner{Stderr: func(_, l string) { told = append(told, l) }}
	c := sh("echo out; echo one >&2; printf two >&2; exit 3")
	c.Changes = true
	res, err := r.Run(context.Background(), c)
	if ExitStatus(err) != 3 || res.Stdout != "out\n" || strings.Join(told, " ") != "one two" || !strings.Contains(err.Error(), "two") {
		t.Errorf("Run = %q, %v, told %q", res.Stdout, err, told)
	}
	if left, _ := os.ReadDir(spool); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	// Where no file can be had it goes on with pipes.
	t.Setenv("TMPDIR", filepath.Join(spool, "missing"))
	told = nil
	if res, err := r.Run(context.Background(), c); ExitStatus(err) != 3 || res.Stdout != "out\n" || strings.Join(told, " ") != "one two" {
		t.Errorf("Run without a spool = %q, %v, told %q", res.Stdout, err, told)
	}
}

func TestScope(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "systemd-run")
	script := "#!/bin/sh\n[ \"$1 $2 $3\" = '--scope --quiet --' ] || exit 7\nshift 3\nexec env SCOPED=1 \"$@\"\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if got := scope(ctx, Runner{}, filepath.Join(dir, "none"), program); got != nil {
		t.Errorf("scope without systemd = %q", got)
	}
	words := scope(ctx, Runner{}, dir, program)
	if len(words) != 4 {
		t.Fatalf("scope = %q, want the program and three words", words)
	}
	r := Runner{Scope: func() []string { return words }}
	c := sh("echo $SCOPED; exit 5")
	if res, err := r.Run(ctx, c); ExitStatus(err) != 5 || res.Stdout != "\n" {
		t.Errorf("a query = %q, %v, want it outside a scope", res.Stdout, err)
	}
	c.Changes = true
	if res, err := r.Run(ctx, c); ExitStatus(err) != 5 || res.Stdout != "1\n" || strings.Contains(err.Error(), "scope") {
		t.Errorf("a change = %q, %v, want it in a scope with its own exit status and name", res.Stdout, err)
	}
	// One that does not answer is not used.
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := scope(ctx, Runner{}, dir, program); got != nil {
		t.Errorf("scope with a systemd that refuses = %q", got)
	}
}
