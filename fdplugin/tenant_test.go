// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// A rule file counts for its directory and below, and a deeper one comes later.
func TestRuleFiles(t *testing.T) {
	files := map[string]string{
		".bareosignore": "*.log\n/only-top\nbuild/\n!never.log\n", "a.log": "1", "only-top": "2", "b/only-top": "3", "b/a.log": "4", "b/never.log": "5", "b/build/x": "6",
		"c/.bareosignore": "!*.log\nsecret\n/here\nd/there\n", "c/here": "17", "c/d/here": "18", "c/d/there": "19", "there": "20", "c/a.log": "7", "c/secret": "8", "c/d/secret": "9", "c/d/a.log": "10",
		"c/e/.bareosignore": "*.log\n", "c/e/a.log": "11", "c/e/secret": "12", "c/f/a.log": "13",
		"ca/secret": "14", "ca/a.log": "15", "d/secret": "16", "build": "a file",
	}
	got, left, log := chosenBy(t, ":tenant_excludes=yes", files, func(n *fakeNode, _ *Job) {
		put(t, n.path("tree-data/x.log"), "another disk has rules of its own")
		put(t, n.path("tree-data/.bareosignore"), "file\n")
	})
	judgeNames(t, got, map[string]bool{
		"a.log": false, "only-top": false, "b/only-top": true, "b/a.log": false, "b/never.log": true, "b/build/": false, "b/build/x": false, "build": true,
		"c/a.log": true, "c/here": false, "c/d/here": true, "c/d/there": false, "there": true, "c/secret": false, "c/d/secret": false, "c/d/a.log": true, "c/e/a.log": false, "c/e/secret": false, "c/f/a.log": true,
		"ca/secret": true, "ca/a.log": false, "d/secret": true, ".bareosignore": true, "data/x.log": true, "data/file": false,
	})
	if l := left.by[byTenant]; l.files != 11 || l.dirs != 1 || !strings.Contains(log.all("info"), "tenant_excludes=yes left out 11 files") {
		t.Errorf("left out: %+v\n%s", l, log.all())
	}
	got, left, _ = chosen(t, "", files)
	if len(got) == 0 || left.by[byTenant].line() != "" {
		t.Errorf("without tenant_excludes: %s", left.by[byTenant].line())
	}
	judgeNames(t, got, map[string]bool{"a.log": true, "c/secret": true})
}

// A file with several names of which a rule of the container leaves one out comes with
// the others, since the rule may not have been there in the job before. A rule that has left
// nothing out makes no difference.
func TestRulesTearGroups(t *testing.T) {
	for _, tt := range []struct {
		options string
		rule    func(dir string)
		want    []string
	}{
		{":tenant_excludes=yes", func(dir string) { put(t, dir+"/l/sub/.bareosignore", "b\n") }, []string{"l/a"}},
		{":tenant_excludes=yes", func(dir string) { put(t, dir+"/l/sub/.nobackup", "") }, []string{"l/a"}},
		{":exclude_caches=yes", func(dir string) { put(t, dir+"/l/sub/CACHEDIR.TAG", cacheMark) }, []string{"l/a"}},
		{":honor_nodump=yes", func(dir string) { setNoDump(t, dir+"/l/sub") }, []string{"l/a"}},
		{":exclude_larger_than=1M", func(dir string) { put(t, dir+"/l/large", strings.Repeat("x", 1<<20+1)) }, nil}, // all names are there
		{":exclude=b", func(string) {}, nil}, // the options tell
		{":tenant_excludes=yes", func(string) {}, nil},
	} {
		n := webNode(t)
		dir := n.path("tree-root")
		put(t, dir+"/l/a", "one file")
		must(t, os.Mkdir(dir+"/l/sub", 0o755))
		must(t, os.Link(dir+"/l/a", dir+"/l/sub/b"))
		full, _ := n.job(t, bareos)
		must(t, full.StartBackup(cmd+tt.options))
		_, err := save(full)
		must(t, err)
		tt.rule(dir)
		j, _ := n.job(t, bareos)
		j.SetLevel('I')
		j.Host.(*counter).previous = j.Name
		j.Host.(*counter).accurate = true // else all of a directory with another rule is saved
		j.Host.(*counter).changed = func(*Entry) bool { return false }
		must(t, j.StartBackup(cmd+tt.options))
		list, err := save(j)
		must(t, err)
		if got := treeNames(list); !slices.Equal(got, tt.want) {
			t.Errorf("%s: saved %q, want %q", tt.options, got, tt.want)
		}
	}
}

func TestNoBackup(t *testing.T) {
	got, left, _ := chosenBy(t, ":tenant_excludes=yes", map[string]string{
		"a/.nobackup": "whatever\n", "a/x": "1", "a/deep/y": "2", "a/.bareosignore": "!x\n", "ab": "3", "c/.nobackup/x": "4", "d/x": "5",
	}, func(n *fakeNode, _ *Job) { must(t, os.Symlink("/etc/hostname", n.path("tree-root/d/.nobackup"))) })
	judgeNames(t, got, map[string]bool{"a/": true, "a/.nobackup": true, "a/x": false, "a/deep/": false, "a/.bareosignore": false, "ab": true,
		"c/.nobackup/x": true, "d/x": true})
	if l := left.by[byTenant]; l.contents != 1 || l.files != 0 || left.refused != 2 {
		t.Errorf("left out: %+v, %d refused", l, left.refused)
	}
}

// What is no rule file, or too much of one, leaves nothing out, and is named.
func TestRuleFilesThatAreRefused(t *testing.T) {
	deep := strings.Repeat("deep/", maxRuleFiles)
	files := map[string]string{"link/x": "1", "fifo/x": "1", "dir/.bareosignore/x": "1", "dir/y": "1", "long/x": "1", "lines/x": "1", "rules": "*\n",
		"long/.bareosignore": strings.Repeat("#", maxRules) + "\nx\n", "lines/.bareosignore": strings.Repeat("x\n", 5000), deep + "more/z": "1", deep + "z": "1"}
	for n := range maxRuleFiles + 1 {
		files[strings.Repeat("deep/", n+1)+".bareosignore"] = "q\n"
	}
	files[deep+".bareosignore"] = "z\n"
	files[deep+"more/.bareosignore"] = "!z\n"
	delete(files, deep+"deep/.bareosignore")
	got, left, log := chosenBy(t, ":tenant_excludes=yes", files, func(n *fakeNode, _ *Job) {
		must(t, os.Symlink("../rules", n.path("tree-root/link/.bareosignore")))
		must(t, unix.Mkfifo(n.path("tree-root/fifo/.bareosignore"), 0o600))
	})
	judgeNames(t, got, map[string]bool{"link/x": true, "fifo/x": true, "dir/y": true, "dir/.bareosignore/x": true, "long/x": true, "lines/x": true,
		deep + "z": false, deep + "more/z": false})
	for name, why := range map[string]string{"/link/.bareosignore": "is no regular file", "/fifo/.bareosignore": "is no regular file", "/dir/.bareosignore": "is no regular file",
		"/long/.bareosignore": "KiB", "/lines/.bareosignore": "lines", "/" + deep + "more/.bareosignore": "too many rule files"} {
		found := false
		for _, line := range strings.Split(log.all("warning"), "\n") {
			found = found || strings.Contains(line, "tenant_excludes=yes: "+name+" leaves nothing out: ") && strings.Contains(line, why)
		}
		if !found {
			t.Errorf("%s is not named with %q:\n%s", name, why, log.all("warning"))
		}
	}
	if left.refused != 6 {
		t.Errorf("%d refused, want 6", left.refused)
	}
}

// What is kept of the rules goes by how deep the walk is, and not by how many files or
// directories there are.
func TestRulesAreForgotten(t *testing.T) {
	dir := t.TempDir()
	for n := range 300 {
		put(t, fmt.Sprintf("%s/d/%03d/.bareosignore", dir, n), "x\n")
		put(t, fmt.Sprintf("%s/d/%03d/sub/x", dir, n), "")
	}
	j, _ := emptyNode(t).job(t, bareos)
	b := &backup{job: j, places: &places{}, opts: Options{Choice: Choice{Tenants: true}}}
	choose := b.newChooser(&volume{}, "", 0)
	c, err := walk.Open(dir)
	must(t, err)
	defer c.Close()
	met, most := 0, 0
	c.Skip = choose.skip
	c.Want = func(e *walk.Entry) bool {
		met, most = met+1, max(most, len(choose.ruling))
		return choose.want(e)
	}
	choose.enter(c.Root())
	for err = nil; err == nil; _, err = c.Next() {
	}
	if n := b.left.by[byTenant].files; err != io.EOF || n != 300 || met != 901 || most != 1 {
		t.Errorf("%v: %d left out, %d entries met, at most %d rules kept", err, n, met, most)
	}
}
