// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// chain is a full backup and those after it.
type chain struct {
	*levels
	job      string
	accurate bool
	// base is what the full backup has, private those names of it that are sent always.
	base, private names
	// ids are the jobs from which the newest state is restored, has what each has saved.
	ids []int
	has []names
	// last is what was judged last, listing what the last estimate has said.
	last    struct{ got, want expected }
	listing string
}

func (l *levels) chain(job string, accurate bool) *chain {
	return &chain{levels: l, job: job, accurate: accurate, private: names{}}
}

// onlyInFull is a name of the private area that no other job has, or records as deleted.
const onlyInFull = ".vz7ct/manifest-full.json"

// full is the full backup: everything that is there.
func (c *chain) full() {
	c.Helper()
	r := c.world.backup(c.job, "level=Full")
	got := c.files(r)
	c.base = maps.Clone(got.saved)
	for n := range got.saved {
		if strings.HasPrefix(n, privateNames) {
			c.private[n] = true
		}
	}
	for _, n := range []string{"", "ve.conf", ".vz7ct/manifest.json", onlyInFull} {
		if !c.private[privateNames+n] {
			c.Errorf("%s: the full backup has no %s%s", c.job, privateNames, n)
		}
	}
	want := c.inTree()
	maps.Copy(want, c.private)
	delete(c.private, privateNames+onlyInFull)
	c.judge("Full", got, expected{saved: want})
	c.ids, c.has = []int{r.ID}, []names{got.saved}
}

// after is what an incremental backup must have when the moments given have passed
// since the job before it.
func (c *chain) after(moments ...int) expected {
	e := c.sum(moments)
	for _, row := range c.all() {
		for _, m := range moments {
			e.saved.add(row, row.steps()[m].back)
		}
	}
	return e
}

// since is what a differential backup must have after the first two moments: of all
// that was saved what is there now, and of what has gone what the full backup has.
func (c *chain) since() expected {
	c.Helper()
	e, there := c.sum([]int{1, 2}), c.inTree()
	if !c.accurate {
		e = c.after(1, 2)
	}
	maps.Copy(there, c.private)
	maps.DeleteFunc(e.saved, func(n string, _ bool) bool { return !there[n] })
	maps.DeleteFunc(e.gone, func(n string, _ bool) bool { return there[n] || !c.base[n] })
	return e
}

// sum is all that was saved and has gone at some moments.
func (c *chain) sum(moments []int) expected {
	e := expected{names{}, names{}}
	for _, row := range c.all() {
		for _, m := range moments {
			s := row.steps()[m]
			e.saved.add(row, s.saved, s.moved)
			e.gone.add(row, s.gone)
		}
		if !c.accurate {
			e.saved.add(row, row.always)
		}
	}
	for n := range e.saved {
		if strings.HasPrefix(n, privateNames) {
			c.private[n] = true
		}
	}
	for n := range e.gone {
		delete(c.private, n)
	}
	maps.Copy(e.saved, c.private)
	if !c.accurate {
		clear(e.gone)
	}
	return e
}

// judge counts the faults of a job.
func (c *chain) judge(what string, got, want expected) {
	c.Helper()
	list := differ(got, want)
	c.wrong += len(list)
	for n, f := range list {
		if n == 20 {
			c.Errorf("%s, %s: and %d more", c.job, what, len(list)-n)
			break
		}
		c.Errorf("%s, %s: %s", c.job, what, f)
	}
	c.last.got, c.last.want = got, want
	fmt.Printf("levels: %s, %s: saved=%d deleted=%d wrong=%d\n", c.job, what, len(got.saved), len(got.gone), len(list))
}

// backup is a further job of the chain.
func (c *chain) backup(level string, want expected) {
	c.Helper()
	r := c.world.backup(c.job, "level="+level)
	c.nothingLeft()
	got := c.files(r)
	c.judge(level, got, want)
	if level == "Differential" {
		c.ids, c.has = c.ids[:1], c.has[:1]
	}
	c.ids, c.has = append(c.ids, r.ID), append(c.has, got.saved)
}

// estimated asks what a job would save, and has it saved then.
func (c *chain) estimated(level string, want expected) {
	c.Helper()
	listing, err := c.sys.Console(fmt.Sprintf("estimate job=%s level=%s accurate=%s listing", c.job, level, map[bool]string{true: "yes", false: "no"}[c.accurate]))
	c.must(err)
	c.nothingLeft()
	c.listing = listing
	c.judge("estimate of "+level, expected{saved: listed(listing)}, expected{saved: firstLines(want.saved)})
	c.backup(level, want)
}

// listingLine begins that of a file in the listing of an estimate.
var listingLine = regexp.MustCompile(`^[-dlfcbs][-rwxsStT]{9} `)

// listed are the names in the listing of an estimate, as far as they are in one line.
func listed(listing string) names {
	all := names{}
	for line := range strings.Lines(listing) {
		at := max(strings.Index(line, treeNames), strings.Index(line, privateNames))
		if at < 0 || !listingLine.MatchString(line) {
			continue
		}
		name := strings.TrimSuffix(line[at:], "\n")
		if line[0] == 'l' {
			name, _, _ = strings.Cut(name, " -> ")
		}
		if all[name] {
			name += " (twice)"
		}
		all[name] = true
	}
	return all
}

func firstLines(all names) names {
	first := names{}
	for n := range all {
		n, _, _ = strings.Cut(n, "\n")
		first[n] = true
	}
	return first
}
