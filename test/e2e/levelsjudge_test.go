// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// levels is the score of TestLevels.
type levels struct {
	*world
	wrong, planted, reported int
}

// names is a set of names in the catalogue.
type names map[string]bool

// expected is what a job has to have in the catalogue.
type expected struct{ saved, gone names }

// table are the changes that the jobs of every level are judged by.
func (l *levels) table() []change { return slices.Concat(fileChanges, linkChanges, otherChanges) }

// all are those, and the ones that are for later.
func (l *levels) all() []change { return slices.Concat(l.table(), optionChanges, controlChanges()) }

const (
	treeNames    = "/mnt/bareos/" + webUUID + "/"
	privateNames = "/vz/private/" + webUUID + "/"
)

// folder is the change's own directory, from the container's root.
func (c change) folder() string {
	dir := "/levels/" + strings.ReplaceAll(c.name, " ", "-")
	if c.data {
		return "/data" + dir
	}
	return dir
}

// add adds names of a change as the catalogue has them.
func (n names) add(c change, words ...string) {
	for _, word := range strings.Fields(strings.Join(words, " ")) {
		name, err := url.PathUnescape(word)
		if err != nil {
			panic(err) // the table is wrong
		}
		switch {
		case name == ".":
			name = treeNames[:len(treeNames)-1] + c.folder() + "/"
		case name[0] == '/':
			name = treeNames + name[1:]
		case name[0] == '@':
			name = privateNames + name[1:]
		default:
			name = treeNames[:len(treeNames)-1] + c.folder() + "/" + name
		}
		n[name] = true
	}
}

// steps are what happens at once, by the number of the moment.
func (c change) steps() map[int]step {
	return map[int]step{0: {do: c.base}, max(c.moment, 1): {do: c.do, saved: c.saved, moved: c.moved, gone: c.gone}, 2: c.then, 3: c.last}
}

// changes lets everything of one moment happen.
func (l *levels) changes(moment int) {
	l.Helper()
	var script strings.Builder
	fmt.Fprintf(&script, "set -eu; TOP=/vz/root/%s PRIVATE=/vz/private/%[1]s\n", webUUID)
	script.WriteString("trap 's=$?; [ $s = 0 ] || echo \"in: $what\"; exit $s' EXIT\n")
	for _, c := range l.all() {
		do := c.steps()[moment].do
		if do == "" && moment > 0 {
			continue
		}
		data := strings.Replace("/data"+c.folder(), "/data/data/", "/data/", 1)
		fmt.Fprintf(&script, "what='%s' DATA=$TOP%s; mkdir -p $TOP%s; cd $TOP%[3]s\n%s\n", c.name, data, c.folder(), do)
	}
	if moment == 0 {
		// All is old, but for what is to be in the future.
		script.WriteString("what=times; cd $TOP; find levels data/levels -depth ! -newermt 2030-01-01 -print0 | xargs -0 touch -h -d '2010-01-01 00:00:00.5'\n")
	}
	path := filepath.Join(l.dir, fmt.Sprintf("changes-%d.sh", moment))
	l.must(os.WriteFile(path, []byte(script.String()), 0o600))
	l.run("sh", path)
	tick()
}

// tick waits until the second is over in which something has happened: what happens in
// the second in which a job starts is saved by the next one too, and of two jobs that
// start in one second the Director does not know which came first.
func tick() {
	for now := time.Now().Unix(); time.Now().Unix() == now; {
		time.Sleep(10 * time.Millisecond)
	}
}

// inTree lists what the container has now, as the catalogue should have it: not the
// plugin's word, but that of find.
func (l *levels) inTree() names {
	l.Helper()
	all := names{}
	for _, disk := range []string{"", "data/"} {
		out := l.run("find", "/vz/root/"+webUUID+"/"+disk, "-xdev", "(", "-name", "workload", "-o", "-path", "*/lost+found", "-o", "-name", "aquota.*", "-o", "-name", ".balloon-*", ")", "-prune", "-o", "-printf", `%y %P\0`)
		for entry := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
			kind, name, _ := strings.Cut(entry, " ")
			switch {
			case kind == "s":
				continue // the daemons leave sockets out
			case kind == "d" && name != "":
				name += "/"
			}
			all[treeNames+disk+name] = true
		}
	}
	return all
}

// files reads what the catalogue has of a job. A name that is there twice is named with
// a mark that no other one has.
func (l *levels) files(r rig.Result) expected {
	l.Helper()
	saved, gone, err := l.sys.Files(r.ID)
	l.must(err)
	got := expected{saved: names{}, gone: names{}}
	for _, s := range []struct {
		of   names
		list []string
	}{{got.saved, saved}, {got.gone, gone}} {
		for _, n := range s.list {
			if s.of[n] {
				n += " (twice)"
			}
			s.of[n] = true
		}
	}
	return got
}

// differ returns the names in which two sets differ.
func differ(got, want expected) (list []string) {
	for n := range want.saved {
		if !got.saved[n] {
			list = append(list, fmt.Sprintf("%q was not saved", n))
		}
	}
	for n := range got.saved {
		if !want.saved[n] {
			list = append(list, fmt.Sprintf("%q was saved in vain", n))
		}
	}
	for n := range want.gone {
		if !got.gone[n] {
			list = append(list, fmt.Sprintf("%q was not recorded as deleted", n))
		}
	}
	for n := range got.gone {
		if !want.gone[n] {
			list = append(list, fmt.Sprintf("%q was recorded as deleted in vain", n))
		}
	}
	slices.Sort(list)
	return list
}
