// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// levelJob plays a job of the name given, in which nothing has changed since the job before by
// the daemon's rule. prepare may change what the daemon says.
func levelJob(t *testing.T, n *fakeNode, level byte, name, previous string, prepare func(*Job, *counter)) ([]string, *jobLog, error) {
	t.Helper()
	j, log := n.job(t, bacula)
	j.Name = name
	j.SetLevel(level)
	c := j.Host.(*counter)
	c.changed = func(*Entry) bool { return level == 'F' }
	c.previous = previous
	if prepare != nil {
		prepare(j, c)
	}
	if err := j.StartBackup(cmd); err != nil {
		return nil, log, err
	}
	list, err := save(j)
	return treeNames(list), log, err
}

// A job that the Director has made of others, which no node has run, is told by its time.
func TestJobMadeOfOthers(t *testing.T) {
	const (
		full, inc, virtual = "web.2026-11-22_21.05.00_01", "web.2026-11-22_21.06.00_02", "web.2026-11-22_21.07.00_03"
	)
	n := webNode(t)
	tree := n.path("tree-root")
	for _, d := range []string{"srv/early", "srv/late", "srv/never"} {
		put(t, filepath.Join(tree, d, "x"), "")
	}
	_, _, err := levelJob(t, n, 'F', full, "", nil)
	must(t, err)
	must(t, os.Rename(filepath.Join(tree, "srv/early"), filepath.Join(tree, "srv/early2")))
	_, _, err = levelJob(t, n, 'I', inc, full, nil)
	must(t, err)
	past, err := n.node().readHistory(webID, "web")
	must(t, err)
	last := past.Runs[len(past.Runs)-1]
	if last.Name != inc {
		t.Fatalf("the last run is %s", last.Name)
	}
	// The incremental was the newest job in it, and ran long after the full one.
	past.Runs[0].Made = past.Runs[0].Made.Add(-time.Hour)
	must(t, past.add(last))
	past.Runs = past.Runs[:2]
	made := last.Made.Unix()

	for name, c := range map[string]struct {
		previous string
		since    int64
	}{
		"another Job":                 {"db.2026-11-22_21.07.00_03", made},
		"begun before the newest run": {"web.2026-11-22_21.05.30_03", made},
		"a run of another node":       {virtual, made + 60},
		"without a time":              {virtual, 0},
		"without a name":              {"", made},
		"with a name of no job":       {"web", made},
	} {
		if _, log, err := levelJob(t, n, 'D', "web.2026-11-22_21.09.00_09", c.previous, func(_ *Job, h *counter) { h.since = c.since }); err == nil || !strings.Contains(log.all("fatal"), "A new full level backup") {
			t.Errorf("%s: %v\n%s", name, err, log.all())
		}
	}
	must(t, os.Rename(filepath.Join(tree, "srv/late"), filepath.Join(tree, "srv/late2")))
	got, log, err := levelJob(t, n, 'D', "web.2026-11-22_21.08.00_04", virtual, func(_ *Job, h *counter) { h.since = made })
	if err != nil {
		t.Fatalf("%v\n%s", err, log.all())
	}
	slices.Sort(got)
	// What was moved before the newest job in it may come again, never be missed.
	for _, want := range []string{"srv/late2/", "srv/late2/x"} {
		if !slices.Contains(got, want) {
			t.Errorf("saved is %q, without %s", got, want)
		}
	}
	for _, name := range got {
		if strings.Contains(name, "never") {
			t.Errorf("saved: %s", name)
		}
	}
	if !strings.Contains(log.all("info"), "was made of "+inc) {
		t.Errorf("job log:\n%s", log.all("info"))
	}
}

// An estimate has the console's name, and lists what the job would save.
func TestEstimateKnowsTheJobsBefore(t *testing.T) {
	const full = "web.2026-11-22_21.05.00_01"
	n := webNode(t)
	tree := n.path("tree-root")
	put(t, filepath.Join(tree, "srv/app/x"), "")
	_, _, err := levelJob(t, n, 'F', full, "", nil)
	must(t, err)
	must(t, os.Rename(filepath.Join(tree, "srv/app"), filepath.Join(tree, "srv/app2")))
	j, _ := n.job(t, bacula)
	j.Name = "-Console-.2026-11-22_21.06.00_02"
	j.SetLevel('I')
	c := j.Host.(*counter)
	c.previous, c.changed, c.since = full, func(*Entry) bool { return false }, time.Now().Unix()+3600
	must(t, j.StartEstimate(cmd))
	list, err := save(j)
	must(t, err)
	if got, want := treeNames(list), []string{"srv/app2/x", "srv/app2/"}; !slices.Equal(got, want) {
		t.Errorf("the estimate lists %q, want %q", got, want)
	}
}
