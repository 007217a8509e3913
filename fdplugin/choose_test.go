// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// chosen runs a job with the options given on webNode with further files, and returns
// what of the disks is saved, what the job has left out, and its log.
func chosen(t *testing.T, options string, files map[string]string) ([]string, *leavings, *jobLog) {
	t.Helper()
	return chosenBy(t, options, files, nil)
}

func chosenBy(t *testing.T, options string, files map[string]string, prepare func(*fakeNode, *Job)) ([]string, *leavings, *jobLog) {
	t.Helper()
	n := webNode(t)
	for name, content := range files {
		put(t, filepath.Join(n.path("tree-root"), name), content)
	}
	j, log := n.job(t, bareos)
	if prepare != nil {
		prepare(n, j)
	}
	must(t, j.StartBackup(cmd+options))
	b := j.backup
	list, err := save(j)
	must(t, err)
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	return treeNames(list), &b.left, log
}

// judgeNames compares what is saved with what should be.
func judgeNames(t *testing.T, got []string, want map[string]bool) {
	t.Helper()
	for name, yes := range want {
		if slices.Contains(got, name) != yes {
			t.Errorf("%s is saved: %v, want %v", name, !yes, yes)
		}
	}
}

// setNoDump sets the flag of chattr +d, where the file system has it.
func setNoDump(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, chattr.NoDump); err != nil {
		t.Skipf("the file system of %s has no flags: %v", path, err)
	}
}

// The order of the table in README.md: what two rules leave out is counted by the first
// of them, and not by the second.
func TestWhichReasonCounts(t *testing.T) {
	const victim = "tmp/v"
	type rule struct {
		why     reason
		options string
		files   map[string]string
		prepare func(*fakeNode, *Job)
	}
	rules := []rule{
		{byPaths, ":excluded_backup_paths=/tmp/v", nil, nil},
		{byPatterns, ":exclude=v", nil, nil},
		{byStd, ":std_excludes=yes", nil, nil},
		{byTenant, ":tenant_excludes=yes", map[string]string{".bareosignore": "/tmp/v\n"}, nil},
		{byCache, ":exclude_caches=yes", map[string]string{"tmp/CACHEDIR.TAG": cacheMark}, nil},
		{byNoDump, ":honor_nodump=yes", nil, func(n *fakeNode, _ *Job) { setNoDump(t, n.path("tree-root/"+victim)) }},
		{bySize, ":exclude_larger_than=1M", nil, nil},
		{byFileSet, "", nil, func(_ *fakeNode, j *Job) {
			j.Host.(*counter).accepts = func(e *Entry) bool { return !strings.HasSuffix(e.Name, "/"+victim) }
		}},
		{notLeft, "", nil, func(n *fakeNode, j *Job) { // the level
			n.at = nil
			fullJob(t, n, bareos)
			j.SetLevel('I')
			j.Host.(*counter).previous, j.Host.(*counter).accurate = j.Name, true
			j.Host.(*counter).changed = func(e *Entry) bool { return !strings.HasSuffix(e.Name, "/"+victim) }
		}},
	}
	run := func(rules ...rule) ([]string, *leavings, int64) {
		files, options := map[string]string{victim: strings.Repeat("x", 1<<20+1)}, ""
		for _, r := range rules {
			options += r.options
			for name, content := range r.files {
				files[name] = content
			}
		}
		var b *backup
		got, left, _ := chosenBy(t, options, files, func(n *fakeNode, j *Job) {
			for _, r := range rules {
				if r.prepare != nil {
					r.prepare(n, j)
				}
			}
			n.at = func(int) { b = j.backup }
		})
		return got, left, b.count.unchanged
	}
	counts := func(l *leavings, why reason) int64 {
		return l.by[why].files + l.by[why].dirs + l.by[why].contents
	}
	if got, _, _ := run(); !slices.Contains(got, victim) {
		t.Fatalf("without any rule %s is not saved: %q", victim, got)
	}
	pairs := 0
	for i, first := range rules {
		for _, second := range rules[i+1:] {
			got, left, unchanged := run(second, first)
			if slices.Contains(got, victim) || counts(left, first.why) != 1 || second.why != notLeft && counts(left, second.why) != 0 || unchanged != 0 {
				t.Errorf("%q before %q: saved %v, counted %d and %d times, %d unchanged", first.options, second.options,
					slices.Contains(got, victim), counts(left, first.why), counts(left, second.why), unchanged)
			}
			pairs++
		}
	}
	if pairs != 36 {
		t.Errorf("%d pairs were tried", pairs)
	}
}

// What is the file system's own, or hidden in the container, is left out without a word
// of any option that would leave it out too.
func TestTheSystemsOwnComesFirst(t *testing.T) {
	_, left, log := chosenBy(t, ":exclude=lost+found,aquota.*,socket,hidden:disks=root", map[string]string{"lost+found/x": "found"},
		func(n *fakeNode, _ *Job) { put(t, n.path("tree-root/data/more"), "hidden too") })
	if line := left.by[byPatterns].line(); line != "" || left.sockets != 1 {
		t.Errorf("exclude left out %q, and there are %d sockets", line, left.sockets)
	}
	if line := left.by[byDisks].line(); !strings.HasPrefix(line, "1 disk: /data (a disk, ") {
		t.Errorf("disks left out %q", line)
	}
	if !strings.Contains(log.all("warning"), "put into lost+found of disk / (such as x)") {
		t.Errorf("the job log does not tell of lost+found:\n%s", log.all("warning"))
	}
	if !strings.Contains(log.all("warning"), "below the mount points of disks, and is hidden by them: /data (such as ") {
		t.Errorf("the job log:\n%s", log.all())
	}
}

// A socket is one, whatever else would leave it out.
func TestSocketsComeFirst(t *testing.T) {
	for options, files := range map[string]map[string]string{
		":excluded_backup_paths=/tmp/s": nil, ":exclude=s": nil, ":std_excludes=yes": nil, ":tenant_excludes=yes": {".bareosignore": "s\n"}, ":exclude_caches=yes": {"tmp/CACHEDIR.TAG": cacheMark},
	} {
		_, left, _ := chosenBy(t, options, files, func(n *fakeNode, _ *Job) {
			must(t, os.MkdirAll(n.path("tree-root/tmp"), 0o755))
			must(t, unix.Mknod(n.path("tree-root/tmp/s"), unix.S_IFSOCK|0o600, 0))
		})
		if left.sockets != 2 {
			t.Errorf("%s: %d sockets, want 2", options, left.sockets)
		}
		for why := range reasons {
			if line := left.by[why].line(); line != "" {
				t.Errorf("%s left out %s", options, line)
			}
		}
	}
}

// The same order for a whole disk.
func TestWhichReasonCountsForADisk(t *testing.T) {
	type rule struct {
		why     reason
		options string
	}
	rules := []rule{{byDisks, ":disks=!/tmp/d"}, {byPaths, ":excluded_backup_paths=/tmp/d"}, {byPatterns, ":exclude=/tmp/d"}, {byStd, ":std_excludes=yes"}, {byFileSet, ""}}
	for i, first := range rules {
		for _, second := range rules[i+1:] {
			_, left, _ := chosenBy(t, second.options+first.options, nil, func(n *fakeNode, j *Job) {
				put(t, n.path("private/"+webID+"/ve.conf"), `DISK="uuid={`+dataID+`},image=data.hdd,mnt=/tmp/d"`)
				n.place.Config = readConfig(t, n)
				if second.why == byFileSet {
					j.Host.(*counter).accepts = func(e *Entry) bool { return !strings.HasSuffix(e.Name, "/tmp/d") }
				}
			})
			if left.by[first.why].disks != 1 || left.by[second.why].disks != 0 {
				t.Errorf("%q before %q: counted %d and %d times", first.options, second.options, left.by[first.why].disks, left.by[second.why].disks)
			}
		}
	}
}

// What the FileSet leaves out above a disk's mount point, or as that, takes the disk
// with it, as it takes all below a directory.
func TestFileSetAndDisks(t *testing.T) {
	for _, denied := range []string{"/data", "/data/file", ""} {
		got, left, _ := chosenBy(t, "", nil, func(_ *fakeNode, j *Job) {
			j.Host.(*counter).accepts = func(e *Entry) bool { return denied == "" || e.Name != treeRoot+webID+denied }
		})
		judgeNames(t, got, map[string]bool{"data/": denied != "/data", "data/file": denied == "", "etc/hostname": true})
		if l := left.by[byFileSet]; (l.disks == 1) != (denied == "/data") || (l.files == 1) != (denied == "/data/file") {
			t.Errorf("without %q: %+v", denied, l)
		}
	}
}

// What the container writes decides about the container only.
func TestConfigurationIsAlwaysSaved(t *testing.T) {
	n := webNode(t)
	private := n.path("private/" + webID)
	for _, name := range []string{"scripts/.nobackup", ".bareosignore", "CACHEDIR.TAG"} {
		put(t, filepath.Join(private, name), map[string]string{".bareosignore": "*\n", "CACHEDIR.TAG": cacheMark}[name])
	}
	j, _ := n.job(t, bareos)
	must(t, j.StartBackup(cmd+":exclude=*.conf,start,scripts:exclude_caches=yes:tenant_excludes=yes:exclude_larger_than=1:std_excludes=yes:honor_nodump=yes"))
	list, err := save(j)
	must(t, err)
	for _, name := range []string{"ve.conf", "scripts/", "scripts/start", "scripts/.nobackup", ".bareosignore", ".vz7ct/manifest.json"} {
		if want := privateRoot + webID + "/" + name; !slices.Contains(names(list), want) {
			t.Errorf("%s is not saved", want)
		}
	}
}

// The FileSet is asked about each entry of a disk last of all, just before the daemon is
// told of it: the answer sets what it does with the file.
func TestFileSetIsAskedLast(t *testing.T) {
	n := webNode(t)
	for _, level := range []byte("FI") {
		j, _ := n.job(t, bareos)
		j.SetLevel(level)
		h := j.Host.(*counter)
		last, told := "", 0
		h.previous = j.Name
		h.accepts = func(e *Entry) bool { last = e.Name; return true }
		h.changed = func(e *Entry) bool { return strings.HasSuffix(e.Name, "/a") || e.Kind == Directory }
		must(t, j.StartBackup(cmd+":tenant_excludes=yes:exclude_caches=yes:honor_nodump=yes:exclude_larger_than=1G"))
		for more := true; more; more = j.FileDone() {
			e, err := j.NextFile(Flags{HardLinks: true})
			must(t, err)
			if strings.HasPrefix(e.Name, treeRoot) {
				if told++; last != strings.TrimSuffix(e.Name, "/") {
					t.Errorf("level %c: told of %s, and asked last about %s", level, e.Name, last)
				}
			}
		}
		if told < 5 {
			t.Errorf("level %c: told of %d entries", level, told)
		}
	}
}
