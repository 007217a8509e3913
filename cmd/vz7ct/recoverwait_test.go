// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// At boot, prlctl does not answer yet: what is mounted goes, the rest can wait.
func TestRecoverAtBoot(t *testing.T) {
	n := webNode(t)
	must(t, n.journal(t, "backup.1", 1, n.backupSteps(t)...).Close())
	n.fail["list"] = errors.New("prl-disp is not running")
	mount := n.path("mnt/" + webID + ".11111111.0")
	status, out, log := n.run("recover", "--boot")
	if want := []string{"unmount " + mount}; status != done || out != "" || !reflect.DeepEqual(n.calls, want) {
		t.Errorf("recover --boot = %d, %q, calls %q, want 0, %q\n%s", status, out, n.calls, want, log)
	}
	has(t, "recover --boot", log, "left behind: mount of ", "left for later: snapshot {"+shotID+"}", "of job backup.1", "it can wait until containers have been started")
	if strings.Contains(log, "error") || strings.Contains(log, "warning: left of") {
		t.Errorf("recover --boot complains:\n%s", log)
	}
	if _, err := os.Lstat(mount); err == nil {
		t.Errorf("%s is there", mount)
	}
	n.calls = nil
	if status, _, log := n.run("recover", "--boot"); status != done || len(n.calls) > 0 {
		t.Errorf("recover --boot once more = %d, calls %q\n%s", status, n.calls, log)
	}
	delete(n.fail, "list")
	status, _, log = n.run("recover")
	if status != done || !reflect.DeepEqual(n.calls, []string{"merge " + shotID}) {
		t.Errorf("recover after it = %d, calls %q\n%s", status, n.calls, log)
	}
	status, _, log = n.run("recover", "--boot")
	if status != done {
		t.Errorf("recover --boot with nothing left = %d\n%s", status, log)
	}
	has(t, "recover --boot", log, "nothing of a dead job is left")
}

func TestRecoverAtBootThatFails(t *testing.T) {
	n := webNode(t)
	must(t, n.journal(t, "backup.1", 1, n.backupSteps(t)...).Close())
	n.fail["unmount"] = errors.New("ploop umount: exit status 46")
	status, _, log := n.run("recover", "--boot")
	if status != failed {
		t.Errorf("recover --boot that cannot unmount = %d, want 1", status)
	}
	has(t, "recover --boot", log, "error: unmount: ploop umount: exit status 46", "by hand: ploop umount -m ")

	bad := webNode(t)
	put(t, bad.path("state/journal/x.journal"), "{\n")
	if status, _, log := bad.run("recover", "--boot"); status != failed {
		t.Errorf("recover --boot with a broken journal = %d\n%s", status, log)
	}
}

// What a cancelled job has left is taken back as soon as its tool has ended.
func TestRecoverWaits(t *testing.T) {
	n := webNode(t)
	j := n.journal(t, "backup.1", os.Getpid(), n.backupSteps(t)...)
	tool, err := unix.Dup(int(j.Lock().Fd())) // as its standard input
	must(t, err)
	must(t, j.Close())
	live := n.journal(t, "backup.2", os.Getpid(), undo.Step{Do: undo.MadeDir, Dir: n.path("mnt/live")})
	begin, pauses := n.clock, 0
	n.paused = func() {
		if pauses++; pauses < 45 && len(n.calls) > 0 {
			t.Errorf("beside a tool at work, after %s: calls %q", n.clock.Sub(begin), n.calls)
		}
		switch pauses {
		case 45:
			must(t, unix.Close(tool))
			n.fail["merge"] = errors.New("exit status 17")
		case 46:
			if len(n.calls) == 0 || n.calls[len(n.calls)-1] != "merge "+shotID {
				t.Errorf("a second after the tool has ended: calls %q", n.calls)
			}
			delete(n.fail, "merge")
		}
	}
	status, _, log := n.run("recover", "--wait")
	if took := n.clock.Sub(begin); status != done || took != 45*time.Second+waitPause {
		t.Errorf("recover --wait = %d after %s, want 0 after 75 s\n%s", status, took, log)
	}
	has(t, "recover --wait", log, "left for later: what job backup.1", "tried again every 30.0 s", "exit status 17", "job backup.2", "nothing of a dead job is left")
	lines := strings.Split(log, "\n")
	for i, line := range lines {
		for _, other := range lines[:i] {
			if line == other {
				t.Errorf("it says twice: %s", line)
			}
		}
	}
	if _, err := os.Lstat(live.Path()); err != nil {
		t.Errorf("the journal of a running job: %v", err)
	}
	must(t, live.Close())
}

func TestRecoverDoesNotWaitForEver(t *testing.T) {
	n := webNode(t)
	must(t, n.journal(t, "backup.1", 1, n.backupSteps(t)...).Close())
	n.owner = "node2"
	begin := n.clock
	n.paused = func() { n.clock = n.clock.Add(10 * time.Minute) } // 5 h from sweep to sweep
	status, _, log := n.run("recover", "--wait")
	if took := n.clock.Sub(begin); status != failed || took < 24*time.Hour || took > 30*time.Hour || len(n.calls) > 0 {
		t.Errorf("recover --wait for what never ends = %d after %s, calls %q", status, took, n.calls)
	}
	has(t, "recover --wait", log, `belongs to node "node2"`, "1 job(s) have left something that could not be taken back within 24 h")
	if lines := strings.Count(log, "\n"); lines > 20 {
		t.Errorf("it has written %d lines", lines)
	}
}

// Waiting does not help where a journal cannot be read, and nobody waits for jobs
// that run.
func TestRecoverWaitsForNothingElse(t *testing.T) {
	n := webNode(t)
	n.paused = func() { t.Error("it waits") }
	live := n.journal(t, "backup.2", os.Getpid(), n.backupSteps(t)...)
	if status, _, log := n.run("recover", "--wait"); status != done {
		t.Errorf("recover --wait beside a running job = %d\n%s", status, log)
	}
	put(t, n.path("state/journal/x.journal"), "{\n")
	status, _, log := n.run("recover", "--wait")
	if status != failed || len(n.calls) > 0 {
		t.Errorf("recover --wait with a broken journal = %d, calls %q", status, n.calls)
	}
	has(t, "recover --wait", log, "cannot be read: look into it")
	must(t, live.Close())
	if found, _ := filepath.Glob(n.path("state/journal/*")); len(found) != 2 {
		t.Errorf("journals: %q", found)
	}
}
