// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// live reads the container as it is, but for what its programs write meanwhile.
func (l *levels) live() compare.Tree {
	l.Helper()
	return l.tree("/vz/root/" + webUUID)
}

// tree reads both disks of a container below a root into one tree.
func (l *levels) tree(root string) compare.Tree {
	l.Helper()
	all := l.scanMounted(root)
	for path := range all {
		if path == "data" || strings.HasPrefix(path, "data/") {
			delete(all, path)
		}
	}
	for path, e := range l.scanMounted(root + "/data") {
		e.Path = strings.TrimSuffix("data/"+path, "/.")
		if e.Group != "" {
			e.Group = "data/" + e.Group
		}
		all[e.Path] = e
	}
	maps.DeleteFunc(all, func(path string, _ *compare.Entry) bool { return strings.Contains(path+"/", "/workload/") })
	return all
}

// path is that of a tree's entry with a name in the catalogue, "" for the private area.
func path(name string) string {
	p, ok := strings.CutPrefix(name, treeNames)
	switch {
	case !ok:
		return ""
	case p == "":
		return "."
	}
	return strings.TrimSuffix(p, "/")
}

// stale are names that the jobs have and the container has not any more: without
// Accurate nothing says that they are gone, so a restore of the chain has them.
func (c *chain) stale(live compare.Tree) names {
	s := names{}
	if c.accurate {
		return s
	}
	for _, job := range c.has {
		for n := range job {
			if p := path(n); p != "" && live[p] == nil {
				s[p] = true
			}
		}
	}
	for _, row := range c.all() {
		if row.clash {
			maps.DeleteFunc(s, func(p string, _ bool) bool { return strings.HasPrefix("/"+p, row.folder()+"/") })
		}
	}
	return s
}

// misrestored returns what is wrong with a restored tree, in which stale names must be.
func misrestored(want, got compare.Tree, stale names) (wrong []string) {
	extra := maps.Clone(stale)
	for _, d := range compare.Diff(want, got, compare.Documented) {
		switch {
		case d.What == compare.Holes: // which blocks a file has is the file system's matter
		case d.What == compare.Extra && extra[d.Path]:
			delete(extra, d.Path)
		default:
			wrong = append(wrong, d.String())
		}
	}
	for p := range extra {
		wrong = append(wrong, fmt.Sprintf("%q was not restored, although the jobs have it", p))
	}
	return wrong
}

// dangles is said of a name that is gone, and was a further name of a file that the jobs
// have in a newer state: no name of the old one is restored.
var dangles = regexp.MustCompile(`(?m)not restored exactly: ` + regexp.QuoteMeta(treeNames) + `(\S+): .*: it is a hard link to `)

// restoredTo is the container's folder in the directory that the chain is restored to.
func (c *chain) restoredTo() string { return filepath.Join(c.dir, "restored-"+c.job, webUUID) }

// restored restores the chain to a directory, and compares it with the container.
func (c *chain) restored(want compare.Tree) compare.Tree {
	c.Helper()
	from := rig.Restore{JobIDs: c.ids, Options: "restore=dir:restore_dir=" + filepath.Dir(c.restoredTo())}
	if c.accurate {
		from.JobIDs, from.FileSet = nil, c.job // as most restores are
	}
	r, err := c.sys.Restore(from)
	c.must(err)
	c.nothingLeft()
	got, stale := c.tree(filepath.Join(c.restoredTo(), "root")), c.stale(want)
	dangling := 0
	for _, m := range dangles.FindAllStringSubmatch(r.Log, -1) {
		if stale[m[1]] {
			delete(stale, m[1])
			dangling++
		}
	}
	c.says(r, fmt.Sprintf(" %d not restored exactly", dangling))
	wrong := misrestored(want, got, stale)
	if dangling == 0 && !r.OK() {
		wrong = append(wrong, r.String())
	}
	c.wrong += len(wrong)
	for _, w := range wrong[:min(len(wrong), 20)] {
		c.Errorf("%s, restored: %s", c.job, w)
	}
	fmt.Printf("levels: %s, restored: entries=%d stale=%d wrong=%d\n", c.job, len(want), len(stale), len(wrong))
	return got
}

// beside makes a container of the chain, beside the one that runs, and compares the two.
func (c *chain) beside(want compare.Tree) {
	c.Helper()
	res := c.restore(rig.Restore{FileSet: c.job, Options: "restore=ct:restore_uuid=" + oldUUID + ":restore_name=copy"})
	c.says(res, "restored and registered", "0 not restored exactly")
	c.run("prlctl", "mount", "copy")
	wrong := misrestored(want, c.tree("/vz/root/"+oldUUID), nil)
	c.run("prlctl", "umount", "copy")
	c.run("prlctl", "destroy", "copy")
	c.wrong += len(wrong)
	for _, w := range wrong[:min(len(wrong), 20)] {
		c.Errorf("%s, restored as a container: %s", c.job, w)
	}
	fmt.Printf("levels: %s, restored as a container: wrong=%d\n", c.job, len(wrong))
}
