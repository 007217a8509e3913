// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tick waits until files get the time of another second, and returns it: the kernel's
// time for files is some milliseconds late.
func tick(t *testing.T) int64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clock")
	for first := int64(0); ; time.Sleep(time.Millisecond) {
		must(t, os.WriteFile(path, nil, 0o600))
		st, err := os.Stat(path)
		must(t, err)
		now := st.ModTime().Unix()
		if first == 0 {
			first = now
		}
		if now > first {
			return now
		}
	}
}

// Where directories were is not known: what was moved is saved all the same.
func TestRenamedDirectoriesWithoutMemory(t *testing.T) {
	n := webNode(t)
	tree := n.path("tree-root")
	for _, d := range []string{"srv/app/lib", "opt/other"} {
		put(t, filepath.Join(tree, d, "x"), "")
	}
	list := fullJob(t, n, bareos)
	must(t, os.RemoveAll(n.path("state/levels")))
	const first, second, third = "web.2026-11-22_21.05.00_01", "web.2026-11-22_21.06.00_02", "web.2026-11-22_21.07.00_03"
	since := tick(t)
	must(t, os.Rename(filepath.Join(tree, "srv/app"), filepath.Join(tree, "srv/app2")))
	got, log, err := levelJob(t, n, 'I', second, first, func(j *Job, c *counter) {
		c.since = since
		j.AddObject(objectOf(t, list).Name, 1, objectOf(t, list).Data)
	})
	must(t, err)
	slices.Sort(got)
	if want := []string{"srv/", "srv/app2/", "srv/app2/lib/", "srv/app2/lib/x"}; !slices.Equal(got, want) {
		t.Errorf("saved is %q, want %q", got, want)
	}
	if !strings.Contains(log.all("warning"), "does not remember where directories were") {
		t.Errorf("job log:\n%s", log.all())
	}
	if got, log, err := levelJob(t, n, 'I', third, second, func(_ *Job, c *counter) { c.since = since }); err != nil || len(got) != 0 {
		t.Errorf("the next job saves %q, %v\n%s", got, err, log.all())
	}
}

// A table of directories that cannot be brought up to date is not gone by again.
func TestPlacesThatCannotBeWritten(t *testing.T) {
	n := webNode(t)
	_, _, err := levelJob(t, n, 'F', "job.1", "", nil)
	must(t, err)
	tables := func() []string { l, _ := filepath.Glob(n.path("state/levels/*.places")); return l }
	if len(tables()) != 1 {
		t.Fatalf("tables: %q", tables())
	}
	j, log := n.job(t, bacula)
	must(t, j.StartBackup(cmd))
	j.backup.places.lost = true
	_, err = save(j)
	must(t, err)
	if len(tables()) != 0 || !strings.Contains(log.all("warning"), "too many directories") {
		t.Errorf("tables: %q\n%s", tables(), log.all("warning"))
	}
}

// What is remembered can be read again, with the most disks that a container has.
func TestHistoryOfManyDisks(t *testing.T) {
	n := webNode(t)
	h, err := n.node().readHistory(webID, "web")
	must(t, err)
	r := pastRun{Level: "I", Made: time.Now()}
	for i := range maxDisks {
		r.Disks = append(r.Disks, runsDisk{dataID, []byte(fmt.Sprintf("mount/point/of/disk/%d", i))})
	}
	for i := range 100 {
		r.Number, r.Name = h.next(), fmt.Sprintf("web.%d", i)
		must(t, h.add(r))
	}
	h, err = n.node().readHistory(webID, "web")
	must(t, err)
	if _, ok := h.of("web.99"); !ok {
		t.Errorf("of the last run nothing is remembered; there are %d", len(h.Runs))
	}
}

// Of a file with several names the one that has the content may be left out by other
// options: then an accurate job sends the others, which would be links to nothing.
func TestNameWithTheContentIsLeftOut(t *testing.T) {
	const first, second = "web.2026-11-22_21.05.00_01", "web.2026-11-22_21.06.00_02"
	n := webNode(t)
	_, _, err := levelJob(t, n, 'F', first, "", nil)
	must(t, err)
	for options, want := range map[string][]string{"exclude=/home/a": {"home/b"}, "exclude=/home/holes": nil} {
		got, log, err := levelJob(t, n, 'I', second, first, func(j *Job, h *counter) {
			h.accurate = true
			j.AddOptions("vz7ct:" + options)
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: saved is %q, want %q; %v\n%s", options, got, want, err, log.all())
		}
	}
}
