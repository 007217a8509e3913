// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/ploop"
)

// cutOff puts the root disk into the state of a merge that was cut off: its snapshot
// is marked temporary.
func cutOff(t *testing.T, n *fakeNode) {
	t.Helper()
	must(t, n.write(rootDisk(n), "11111111-1111-4111-8111-111111111111"))
	b, err := os.ReadFile(rootDisk(n))
	must(t, err)
	text := strings.Replace(string(b), "</ParentGUID>", "</ParentGUID><Temporary/>", 1)
	must(t, os.WriteFile(rootDisk(n), []byte(text), 0o600))
	if err := ploop.Safe(rootDisk(n)); err == nil {
		t.Fatal("the disk is safe")
	}
}

// While another backup has the disk open the job waits; what it leaves is then fine.
func TestWaitForAnotherBackup(t *testing.T) {
	n := webNode(t)
	cutOff(t, n)
	looks := 0
	n.users = func() []string {
		looks++
		if looks == 2 {
			// He deletes it, for which he needs Virtuozzo's lock.
			if exists(n.place.Lock) {
				t.Error("the job waits for another one's snapshot, and keeps him from deleting it")
			}
			must(t, n.write(rootDisk(n), "")) // it has ended properly
		}
		return []string{"device ploop1 of ~prl_backup"}
	}
	n.at = func(int) {
		if n.calls[len(n.calls)-1] == "snapshot" && !exists(n.place.Lock) {
			t.Error("the snapshot is made without Virtuozzo's lock")
		}
	}
	_, log, err := run(t, n, cmd)
	if err != nil || !strings.Contains(log.all("info"), "waiting until disk / is safe to snapshot, since 0.0 s: ") ||
		!strings.Contains(log.all("info"), "device ploop1 of ~prl_backup") || slices.Contains(n.calls, "repair") {
		t.Errorf("job = %v\n%s", err, log.all())
	}
	// The wait has the limit of all waits.
	n = webNode(t)
	cutOff(t, n)
	n.users = func() []string { return []string{"device ploop1 of ~prl_backup"} }
	if _, log, err := run(t, n, cmd+":lock_wait=1"); err == nil || !strings.Contains(log.all("fatal"), "still after 1s") || slices.Contains(n.calls, "snapshot") {
		t.Errorf("job with a limit = %v\n%s", err, log.all("fatal"))
	}
}

// He who was waited for has died in the midst of his merge: it is completed with
// Virtuozzo's lock, which was given up for the wait.
func TestRepairAfterTheWait(t *testing.T) {
	n := webNode(t)
	cutOff(t, n)
	looks := 0
	n.users = func() []string {
		if looks++; looks == 1 {
			return []string{"device ploop1 of ~prl_backup"}
		}
		return nil
	}
	n.repair = func(descriptor string) error {
		if !exists(n.place.Lock) {
			t.Error("the disk is repaired without Virtuozzo's lock")
		}
		return n.write(descriptor, "")
	}
	if _, log, err := run(t, n, cmd); err != nil || !slices.Contains(n.calls, "repair") {
		t.Errorf("job = %v\n%s", err, log.all())
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestCutOffMergeIsRepaired(t *testing.T) {
	n := webNode(t)
	cutOff(t, n)
	n.repair = func(descriptor string) error { return n.write(descriptor, "") }
	_, log, err := run(t, n, cmd)
	if err != nil || !strings.Contains(log.all("warning"), "the merge was completed") || !slices.Contains(n.calls, "snapshot") {
		t.Errorf("job = %v\n%s", err, log.all())
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	// Not known to lose nothing, or tried in vain: the commands are named.
	for name, repair := range map[string]func(string) error{"refused": nil, "in vain": func(string) error { return nil }} {
		n := webNode(t)
		cutOff(t, n)
		n.repair = repair
		_, log, err := run(t, n, cmd)
		if err == nil || !strings.Contains(log.all("fatal"), "ploop check -d "+rootDisk(n)) || slices.Contains(n.calls, "snapshot") {
			t.Errorf("%s: job = %v\n%s", name, err, log.all("fatal"))
		}
	}
}
