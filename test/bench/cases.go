// SPDX-License-Identifier: AGPL-3.0-only

package bench

import "slices"

// benchCase is one line of the table.
type benchCase struct {
	name, container string
	// kind is what is played: a backup, the walk alone, a restore.
	kind  string
	level string
	// warm reads all in before each run, but for a cold one the page cache is dropped.
	warm bool
	// job is what the names of the jobs end with.
	job string
	// upload adds what the daemon does before its list, for both: with Accurate it is sent the list of the job before.
	upload bool
	slow   bool
	// reference plays the way that gathers all paths first.
	reference bool
	// python plays Bareos' own plugin.
	python bool
	// target is the least ratio of native time to our time, 0 if there is none; cpu is the most that our CPU time may be of
	// native's.
	target, cpu float64
}

// cases are all, in the order in which they are played.
var cases = []benchCase{
	{name: "full-cold", container: "tree", kind: "backup", level: "Full", reference: true, target: 1.3},
	{name: "full-warm", container: "tree", kind: "backup", level: "Full", warm: true, reference: true, python: true, target: 0.65, cpu: 1.6},
	{name: "incremental-cold", container: "tree", kind: "backup", level: "Incremental", target: 6},
	{name: "incremental-warm", container: "tree", kind: "backup", level: "Incremental", warm: true, target: 3},
	{name: "accurate-cold", container: "tree", kind: "backup", level: "Incremental", job: "-accurate", upload: true, target: 1.5},
	{name: "walk-cold", container: "tree", kind: "walk"},
	{name: "walk-warm", container: "tree", kind: "walk", warm: true},
	{name: "large", container: "large", kind: "backup", level: "Full", warm: true, target: 1, cpu: 1},
	{name: "slow-full", container: "slow", kind: "backup", level: "Full", slow: true, target: 3},
	{name: "slow-incremental", container: "slow", kind: "backup", level: "Incremental", slow: true, target: 15},
	{name: "restore", container: "slow", kind: "restore", job: "-kept"},
}

func caseNames() []string {
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
	}
	return names
}

// chosen are those that are to be played.
func (w *world) chosen() []benchCase {
	if len(w.cfg.Cases) == 0 {
		return cases
	}
	return slices.DeleteFunc(slices.Clone(cases), func(c benchCase) bool { return !slices.Contains(w.cfg.Cases, c.name) })
}
