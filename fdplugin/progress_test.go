// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// A job writes down what it is at, and takes that away before its journal.
func TestProgress(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	of := func() *Progress {
		t.Helper()
		list, err := undo.List(n.path("state/journal"))
		must(t, err)
		if len(list) != 1 {
			t.Fatalf("journals: %v", list)
		}
		return ProgressOf(n.path("state"), list[0].Path)
	}
	phases := map[string]bool{}
	n.at = func(int) {
		if j.journal != nil {
			if p := of(); p != nil {
				phases[p.Phase] = true
			}
		}
	}
	must(t, j.StartBackup(cmd))
	if p := of(); p == nil || p.Phase != "saving files" || p.Files != 0 || p.Since.IsZero() {
		t.Errorf("progress at the first file = %+v", p)
	}
	for n := range 3 {
		j.progress.Updated = time.Time{} // some time has passed
		_, err := j.NextFile(Flags{})
		must(t, err)
		// The first is the restore object, which is no file.
		if p := of(); p == nil || p.Files != int64(n) || n > 0 && p.Bytes == 0 {
			t.Errorf("progress after file %d = %+v", n+1, p)
		}
		j.FileDone()
	}
	_, err := save(j)
	must(t, err)
	for _, want := range []string{"waiting for locks", "making snapshots", "taking back what was made"} {
		if !phases[want] {
			t.Errorf("phases %v, want %q", phases, want)
		}
	}
	if left, err := os.ReadDir(n.path("state/progress")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	// Of a job that has died it goes with its journal.
	put(t, n.path("state/progress/dead.json"), "{}")
	put(t, n.path("state/progress/alive.json"), "{")
	put(t, n.path("state/journal/alive.journal"), "")
	n.node().dropProgress()
	if left, err := os.ReadDir(n.path("state/progress")); err != nil || len(left) != 1 || left[0].Name() != "alive.json" {
		t.Errorf("left: %v, %v", left, err)
	}
	if p := ProgressOf(n.path("state"), n.path("state/journal/alive.journal")); p != nil {
		t.Errorf("progress of a broken file = %+v", p)
	}
}
