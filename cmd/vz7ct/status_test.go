// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// nobody is more than any system gives to a process (PID_MAX_LIMIT of Linux).
const nobody = 1<<22 + 1

func TestStatus(t *testing.T) {
	n := webNode(t)
	if status, out, log := n.run("status"); status != done || log != "" || !strings.HasPrefix(out, "no job") {
		t.Errorf("status of nothing = %d, %q, %q", status, out, log)
	}
	if _, out, _ := n.run("status", "--json"); out != "[]\n" {
		t.Errorf("status --json of nothing = %q, want []", out)
	}
	steps := n.backupSteps(t)
	must(t, n.journal(t, "dead.1", nobody, steps...).Close())
	defer n.journal(t, "live.2", os.Getpid(), steps[0]).Close()
	defer n.journal(t, "taken.3", nobody, undo.Step{Do: undo.MadeDir, Dir: "/two\nlines"}).Close()
	put(t, n.path("state/journal/new.journal"), "")
	before := n.files(t)
	status, out, log := n.run("status")
	if status != done || log != "" || n.files(t) != before {
		t.Errorf("status = %d, %q, want 0 and nothing changed", status, log)
	}
	has(t, "status", out, "dead: job dead.1, container web "+webID+", process 4194305, since 2026-01-02T03:04:05Z\n    snapshot {"+shotID+"} of ",
		"    mount of ", "    take it back with: vz7ct recover", "running: job live.2, ", "being taken back: job taken.3, ", `    directory /two\nlines`)
	if strings.Count(out, "vz7ct recover") != 1 {
		t.Errorf("status says\n%swant `vz7ct recover` for the dead job alone", out)
	}

	_, out, _ = n.run("status", "--json")
	var got []struct {
		Job, Container, State, Since, Journal string
		PID                                   int
		Pending                               []struct{ Words, Do, Descriptor, Snapshot string }
	}
	must(t, json.Unmarshal([]byte(out), &got))
	if len(got) != 3 || got[0].State != dead || got[1].State != running || got[2].State != takeback || len(got[0].Pending) != 3 ||
		got[0].Pending[0].Do != "snapshot" || got[0].Pending[0].Snapshot != shotID || got[1].PID != os.Getpid() {
		t.Errorf("status --json = %s", out)
	}
}

func TestStatusOfBadJournals(t *testing.T) {
	n := webNode(t)
	put(t, n.path("state/journal/x.journal"), `{"head":{"vz7ct_journal":99}}`+"\n")
	must(t, n.journal(t, "dead.1", nobody, n.backupSteps(t)...).Close())
	status, out, log := n.run("status")
	if status != failed {
		t.Errorf("status = %d, want 1", status)
	}
	has(t, "status", out, "dead: job dead.1")
	has(t, "status", log, "error: journal x.journal: line 1: format 99")
}
