// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a job could not read is in those that go by it, though nothing has changed.
func TestWhatWasNotReadIsSavedLater(t *testing.T) {
	n := webNode(t)
	tree := n.path("tree-root")
	put(t, filepath.Join(tree, "srv/a/file"), "content")
	number := 0
	// job plays one in which broken is not read; it goes by the job with the number given.
	job := func(level byte, base int, accurate bool, broken string) []string {
		t.Helper()
		number++
		j, log := n.job(t, bareos)
		j.Name = fmt.Sprintf("web.2026-11-22_21.05.00_%02d", number)
		j.SetLevel(level)
		c := j.Host.(*counter)
		c.accurate, c.previous = accurate, fmt.Sprintf("web.2026-11-22_21.05.00_%02d", base)
		c.changed = func(*Entry) bool { return level == 'F' }
		must(t, j.StartBackup(cmd))
		var list []saved
		for {
			e, err := j.NextFile(Flags{HardLinks: true, Xattrs: true})
			if err != nil {
				t.Fatalf("%v\n%s", err, log.all())
			}
			list = append(list, saved{Entry: *e})
			switch {
			case e.Kind != Regular:
			case broken != "" && strings.HasSuffix(e.Name, broken):
				// As a daemon that reads by itself, and fails at once.
				if _, err := j.OpenFile(); err != nil {
					t.Fatal(err)
				}
				j.CloseFile()
			default:
				_, err := content(j)
				must(t, err)
			}
			if !j.FileDone() {
				break
			}
		}
		return treeNames(list)
	}
	const lost = "srv/a/file"
	job('F', 0, false, lost) // 1
	for _, c := range []struct {
		level    byte
		base     int
		accurate bool
		broken   string
		want     []string
	}{
		{'I', 1, false, "", []string{lost}},   // 2
		{'I', 2, false, "", nil},              // 3
		{'D', 1, true, "", []string{lost}},    // 4: the full one lacks it still
		{'D', 1, false, lost, []string{lost}}, // 5
		{'I', 5, true, "", []string{lost}},    // 6
		{'I', 6, true, "", nil},               // 7
	} {
		got := job(c.level, c.base, c.accurate, c.broken)
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasSuffix(s, "/") && !slices.Contains(c.want, s) })
		if !slices.Equal(got, c.want) {
			t.Errorf("job %d (%c by %d) has %q, want %q", number, c.level, c.base, got, c.want)
		}
	}
	job('F', 0, false, "") // 8
	if got := job('I', 8, false, ""); len(got) != 0 {
		t.Errorf("by a full one that is whole %q is saved", got)
	}
}

func TestMissesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	p := places{run: 3}
	for i := range maxUnread {
		p.miss(missedEntry, "disk", fmt.Sprint(i))
	}
	must(t, p.write(path))
	var q places
	must(t, q.read(path))
	if !q.missed(missedEntry, "disk", "7", 3) || q.missed(missedEntry, "disk", "7", 4) || q.missed(missedTree, "disk", "7", 3) ||
		q.missed(missedEntry, "other", "7", 3) || q.missed(missedTree, "disk", "", 3) {
		t.Error("what is remembered is not what was missed")
	}
	p.miss(missedEntry, "disk", "one more")
	p.miss(missedEntry, "disk", "and another")
	if len(p.rows) != maxUnread+1 {
		t.Errorf("%d rows", len(p.rows))
	}
	must(t, p.write(path))
	q = places{run: 4}
	must(t, q.read(path))
	if !q.missed(missedTree, "disk", "", 3) {
		t.Error("more than is remembered is not the whole disk")
	}
	q.carry(4)
	if len(q.rows) != 0 {
		t.Errorf("%d rows of runs that nobody goes by are kept", len(q.rows))
	}
	q.carry(3)
	if len(q.rows) != maxUnread+1 {
		t.Errorf("%d rows are kept", len(q.rows))
	}
}
