// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bareos-contrib/vz7ct/test/compare"
)

// moments of what comes after the chains.
const (
	optionsMoment = 4
	controlMoment = 10
)

// optionChanges are those on which the FileSet's options have a say: of "Accurate = ms"
// and of "MtimeOnly = yes", in this order.
var optionChanges = []change{{
	name: "what the FileSet looks at", moment: optionsMoment,
	base: "for f in mode back touched a old; do echo x >$f; done",
	do:   "chmod 600 mode; echo y >back; touch -d '2010-01-01 00:00:00.5' back; touch touched; ln a b; mv old new",
}}

// options lets jobs go by other letters than the usual ones. Of a file with several
// names that is told by one name alone: the others are saved with it.
func (l *levels) options() {
	l.Helper()
	letters, mtime := l.chain("letters", true), l.chain("mtimeonly", false)
	letters.full()
	mtime.full()
	l.changes(optionsMoment)
	for _, j := range []struct {
		*chain
		saved, gone string
	}{{letters, ". touched a b new", "old"}, {mtime, ". touched", ""}} {
		want := j.after(optionsMoment)
		want.saved.add(optionChanges[0], j.saved)
		want.gone.add(optionChanges[0], j.gone)
		j.backup("Incremental", want)
	}
}

// tampered are the ways in which the tests' build of the plugin can go wrong, with a
// fault of which the judge must say so then: see cgo/inject.go.
var tampered = []struct{ way, fault string }{
	{"seen", `"` + treeNames + `levels/control-seen/f" was not saved`},
	{"changed", `"` + treeNames + `levels/nothing/f1" was saved in vain`},
	{"slash", `"` + treeNames + `levels/nothing/d/" was saved in vain`},
	{"groups", `"` + treeNames + `levels/control-groups/k" was not saved`},
}

// controlChanges happen before a job of a plugin that goes wrong, and before one that
// could and does not.
func controlChanges() (list []change) {
	for n, way := range []string{"none", tampered[0].way, tampered[1].way, tampered[2].way, tampered[3].way} {
		list = append(list, change{
			name: "control " + way, moment: controlMoment + n, base: "mkdir d; echo x >d/a; ln d/a k; echo x >f",
			do: "mv d e; echo y >f", saved: ". e/ f", moved: "e/a k", gone: "d/ d/a",
		})
	}
	return list
}

// plant counts a control, which is reported if one of the faults begins as given.
func (l *levels) plant(what string, list []string, fault string) {
	l.Helper()
	l.planted++
	if slices.ContainsFunc(list, func(f string) bool { return strings.HasPrefix(f, fault) }) {
		l.reported++
		return
	}
	l.Errorf("control, %s: the judge does not say %q, but: %q", what, fault, list)
}

// forced lets a plugin at work that does not do what the daemon says.
func (l *levels) forced(plain, accurate *chain) {
	l.Helper()
	l.sys.StopDaemon("fd", syscall.SIGTERM)
	l.must(l.sys.PluginFrom("inject/vz7ct-fd.so"))
	l.must(l.sys.StartDaemon("fd"))
	both := []*chain{plain, accurate}
	l.changes(controlMoment)
	for _, c := range both {
		moments := []int{optionsMoment, controlMoment}
		want := c.after(moments...)
		want.saved.add(optionChanges[0], ". mode back touched a b new")
		if c.accurate {
			want.gone.add(optionChanges[0], "old")
		}
		c.backup("Incremental", want)
	}
	path, err := l.node.Outside("/run/vz7ct-tamper")
	l.must(err)
	path = strings.TrimSuffix(path, "/")
	defer os.Remove(path)
	for n, t := range tampered {
		l.changes(controlMoment + 1 + n)
		l.must(os.WriteFile(path, []byte(t.way), 0o600))
		for _, c := range both {
			if !c.accurate && n > 1 {
				continue // names matter to the catalogue alone
			}
			got := c.files(c.world.backup(c.job, "level=Incremental"))
			list := differ(got, c.after(controlMoment+1+n))
			l.plant(c.job+", "+t.way, list, t.fault)
			fmt.Printf("levels: control: %s, %s: wrong=%d\n", c.job, t.way, len(list))
		}
	}
	l.nothingLeft()
}

// judgeInput alters what was judged last: the judge must report it.
func (l *levels) judgeInput(c *chain) {
	l.Helper()
	got, want := c.last.got, c.last.want
	some := func(all names) string { return slices.Min(slices.Collect(maps.Keys(all))) }
	with := func(all names, name string, there bool) names {
		other := maps.Clone(all)
		if delete(other, name); there {
			other[name] = true
		}
		return other
	}
	name, deleted, foreign := some(got.saved), some(got.gone), treeNames+"etc/hostname"
	l.plant("a name is missing", differ(expected{saved: with(got.saved, name, false), gone: got.gone}, want), fmt.Sprintf("%q was not saved", name))
	l.plant("a name too much", differ(expected{saved: with(got.saved, foreign, true), gone: got.gone}, want), fmt.Sprintf("%q was saved in vain", foreign))
	l.plant("a name twice", differ(expected{saved: with(got.saved, name+" (twice)", true), gone: got.gone}, want), fmt.Sprintf("%q was saved in vain", name+" (twice)"))
	l.plant("a deletion is missing", differ(expected{saved: got.saved, gone: with(got.gone, deleted, false)}, want), fmt.Sprintf("%q was not recorded as deleted", deleted))
	l.plant("a deletion too much", differ(expected{saved: got.saved, gone: with(got.gone, foreign, true)}, want), fmt.Sprintf("%q was recorded as deleted in vain", foreign))

	short := slices.Collect(strings.Lines(c.listing))
	at := slices.IndexFunc(short, func(line string) bool { return strings.HasSuffix(line, treeNames+"levels/append/f\n") })
	if at < 0 {
		l.Fatalf("the estimate has no line of append/f:\n%s", c.listing)
	}
	all := listed(c.listing)
	missing := differ(expected{saved: listed(strings.Join(slices.Delete(short, at, at+1), ""))}, expected{saved: all})
	l.plant("a line of an estimate is missing", missing, fmt.Sprintf("%q was not saved", treeNames+"levels/append/f"))
}

// judgeRestored alters what the chain has restored.
func (l *levels) judgeRestored(want, got compare.Tree, c *chain) {
	l.Helper()
	stale := c.stale(want)
	root := filepath.Join(c.restoredTo(), "root/levels")
	l.run("sh", "-c", `cd "$1" && printf z | dd of=append/f conv=notrunc status=none && touch -d '2010-01-01 00:00:00.5' append/f && rm touch/f && : >read/new && rm hard-link-added/b && cp -p hard-link-added/a hard-link-added/b`, "sh", root)
	list := misrestored(want, l.tree(filepath.Join(c.restoredTo(), "root")), stale)
	for _, fault := range []string{
		`file "levels/append/f": content`, `file "levels/touch/f": missing`, `file "levels/read/new": extra`, `file "levels/hard-link-added/a": hard links`,
	} {
		l.plant(c.job+", altered after the restore", list, fault)
	}
	if c.accurate {
		return
	}
	// A name that should have come back although it is gone.
	other := maps.Clone(got)
	delete(other, "levels/delete-file/f")
	l.plant("a stale name is missing", misrestored(want, other, stale), `"levels/delete-file/f" was not restored`)
}
