// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The job before dies, or ends without awaiting a tool, while this one waits for its
// lock: it is over with its own sweep by then. What was left is taken back before a
// snapshot is made, and none is made while the tool runs.
func TestJobBeforeEndsBadlyDuringTheWait(t *testing.T) {
	whole := webNode(t)
	if _, _, err := run(t, whole, cmd); err != nil {
		t.Fatal(err)
	}
	for at, step := range whole.calls {
		if !slices.Contains([]string{"snapshot", "mount", "unmount", "merge"}, step) {
			continue
		}
		// The first call of a job comes after its sweep.
		n := webNode(t)
		n.at = func(int) { crashAt(t, n, len(n.calls)+at) }
		_, log, err := run(t, n, cmd+":lock_wait=1")
		if err != nil || strings.Count(log.all("warning"), "has not ended properly") != 1 {
			t.Errorf("step %d (%s): the one before has died: %v\n%s", at+1, step, err, log.all())
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("step %d (%s): left behind: %q", at+1, step, left)
		}
		for _, ended := range []bool{true, false} {
			n := webNode(t)
			calls := 0
			n.at = func(int) {
				n.at = nil
				n.hang = len(n.calls) + at + 1
				before, _ := n.job(t, bareos)
				if before.StartBackup(cmd) == nil {
					_, _ = save(before)
				}
				before.Close()
				if !ended {
					livelyPID(t, n)
				}
				n.hang, calls = 0, len(n.calls)
			}
			_, log, err := run(t, n, cmd+":lock_wait=1")
			if err == nil || !strings.Contains(log.all("fatal"), "no further snapshot is made") {
				t.Errorf("step %d (%s): the tool still runs: %v\n%s", at+1, step, err, log.all())
			}
			for _, c := range n.calls[calls:] {
				if !slices.Contains([]string{"list", "describe", "owns"}, c) {
					t.Errorf("step %d (%s): %s was called while the tool runs", at+1, step, c)
				}
			}
			must(t, n.wake())
		}
	}
}

// livelyPID makes the journals on the node those of a job whose daemon was killed,
// and whose number another process has by now: nothing in them says that it ended.
func livelyPID(t *testing.T, n *fakeNode) {
	t.Helper()
	list, err := os.ReadDir(n.path("state/journal"))
	must(t, err)
	for _, e := range list {
		path := n.path("state/journal/" + e.Name())
		b, err := os.ReadFile(path)
		must(t, err)
		cut, found := strings.CutSuffix(string(b), "{\"ended\":true}\n")
		cut = strings.Replace(cut, fmt.Sprintf(`"pid":%d`, os.Getpid()), fmt.Sprintf(`"pid":%d`, os.Getppid()), 1)
		if found {
			must(t, os.WriteFile(path, []byte(cut), 0o600)) // in place: a tool has it locked
		}
	}
}
