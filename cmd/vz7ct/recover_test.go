// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/lock"
)

func TestRecoverTakesBack(t *testing.T) {
	n := webNode(t)
	must(t, n.journal(t, "backup.1", 1, n.backupSteps(t)...).Close())
	mount := n.path("mnt/" + webID + ".11111111.0")

	before := n.files(t)
	status, out, log := n.run("recover", "--dry-run")
	if status != failed || out != "" || len(n.calls) > 0 || n.files(t) != before {
		t.Errorf("recover --dry-run = %d, %q, calls %q, want 1 and nothing changed", status, out, n.calls)
	}
	has(t, "recover --dry-run", log, "job backup.1", "this would be taken back", "snapshot {"+shotID+"}", "nothing was changed")

	status, out, log = n.run("recover")
	if want := []string{"unmount " + mount, "merge " + shotID}; status != done || out != "" || !reflect.DeepEqual(n.calls, want) {
		t.Errorf("recover = %d, %q, calls %q, want %q\n%s", status, out, n.calls, want, log)
	}
	has(t, "recover", log, "warning: job backup.1", "nothing of a dead job is left")
	for _, gone := range []string{mount, n.path("state/journal/backup.1.journal")} {
		if _, err := os.Lstat(gone); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	if status, _, log := n.run("recover", "-dry-run"); status != done || strings.Contains(log, "warning") {
		t.Errorf("recover with nothing left = %d, %s", status, log)
	}
}

func TestRecoverNamesWhatStays(t *testing.T) {
	n := webNode(t)
	must(t, n.journal(t, "backup.1", 1, n.backupSteps(t)...).Close())
	n.fail["merge"] = errors.New("ploop snapshot-delete: exit status 17")
	for range 2 {
		status, _, log := n.run("recover")
		if status != failed {
			t.Errorf("recover that cannot merge = %d, want 1", status)
		}
		has(t, "recover", log, "error: merge snapshot: ploop snapshot-delete: exit status 17", "by hand: ploop snapshot-delete -u {"+shotID+"} ",
			"left of job backup.1", n.path("state/journal/backup.1.journal"))
	}
	delete(n.fail, "merge")
	if status, _, log := n.run("recover"); status != done {
		t.Errorf("recover after that = %d, %s", status, log)
	}
}

func TestRecoverLeavesOthersAlone(t *testing.T) {
	n := webNode(t)
	j := n.journal(t, "backup.1", os.Getpid(), n.backupSteps(t)...)
	locked, err := lock.Exclusive(n.path("held"), false)
	must(t, err)
	must(t, os.Mkdir(n.path("state/locks"), 0o700))
	must(t, os.Rename(n.path("held"), n.path("state/locks/"+webID)))
	put(t, n.path("state/locks/"+oldID), "")
	status, _, log := n.run("recover")
	if status != done || len(n.calls) > 0 {
		t.Errorf("recover beside a running job = %d, calls %q, want 0 and none", status, n.calls)
	}
	has(t, "recover", log, "job backup.1", "is running: what it has made is left alone")
	for path, there := range map[string]bool{j.Path(): true, n.path("state/locks/" + webID): true, n.path("state/locks/" + oldID): false} {
		if _, err := os.Lstat(path); (err == nil) != there {
			t.Errorf("%s: %v, want it there: %v", path, err, there)
		}
	}
	must(t, locked.Release())

	// Another node has the container by now.
	must(t, j.Close())
	n.owner = "node2"
	status, _, log = n.run("recover")
	if status != failed || len(n.calls) > 0 {
		t.Errorf("recover of another node's container = %d, calls %q, want 1 and none", status, n.calls)
	}
	has(t, "recover", log, `belongs to node "node2"`)
}

func TestRecoverOfBadJournals(t *testing.T) {
	n := webNode(t)
	put(t, n.path("state/journal/x.journal"), "{\n")
	must(t, n.journal(t, "backup.1", 1, n.backupSteps(t)...).Close())
	status, _, log := n.run("recover")
	if status != failed || len(n.calls) != 2 {
		t.Errorf("recover = %d, calls %q, want 1, and the good journal taken back", status, n.calls)
	}
	has(t, "recover", log, "x.journal: line 1", "cannot be read: look into it")

	none := &fakeNode{dir: t.TempDir()}
	status, _, log = none.run("recover")
	if made, err := os.ReadDir(none.dir); status != done || err != nil || len(made) > 0 {
		t.Errorf("recover on a node without state = %d, %s, made %v", status, log, made)
	}
}

// Only the record beside the images tells of the snapshot: the journals were lost.
func TestRecoverWithoutAJournal(t *testing.T) {
	n := webNode(t)
	must(t, n.write(n.descriptor("root.hdd"), true))
	put(t, filepath.Dir(n.descriptor("root.hdd"))+"/.vz7ct-snapshot-"+shotID,
		`{"vz7ct_snapshot":1,"snapshot":"`+shotID+`","container":"`+webID+`","journal":"lost","node":"n1","job":"backup.1","started":"then"}`)
	for _, boot := range []string{"--boot", "--dry-run"} {
		status, _, log := n.run("recover", boot)
		if want := map[string]int{"--boot": done, "--dry-run": failed}[boot]; status != want || len(n.calls) > 0 {
			t.Errorf("recover %s = %d, calls %q, want %d and none\n%s", boot, status, n.calls, want, log)
		}
	}
	n.fail["merge"] = errors.New("exit status 17")
	n.paused = func() { delete(n.fail, "merge") }
	status, _, log := n.run("recover", "--wait")
	if want := []string{"merge " + shotID, "merge " + shotID}; status != done || !reflect.DeepEqual(n.calls, want) {
		t.Errorf("recover --wait = %d, calls %q, want %q\n%s", status, n.calls, want, log)
	}
}
