// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExclude(t *testing.T) {
	files := map[string]string{"srv/a.tmp": "1", "srv/deep/b.tmp": "2", "srv/build/x": "3", "opt/build": "4", "srv/keep": "5", "tmp": "6"}
	got, left, log := chosen(t, ":exclude='*.tmp',build/:exclude=/tmp", files)
	judgeNames(t, got, map[string]bool{"srv/a.tmp": false, "srv/deep/b.tmp": false, "srv/deep/": true, "srv/build/": false, "srv/build/x": false,
		"opt/build": true, "srv/keep": true, "tmp": false})
	if l := left.by[byPatterns]; l.files != 3 || l.dirs != 1 || l.bytes != 3 {
		t.Errorf("left out: %+v", l)
	}
	if want := "exclude left out 3 files of 3 B and 1 directory with all it holds: /"; !strings.Contains(log.all("info"), want) {
		t.Errorf("the job log lacks %q:\n%s", want, log.all())
	}
	// A directory that is left out takes the disk with it that is mounted below.
	got, left, _ = chosen(t, ":exclude=data", nil)
	judgeNames(t, got, map[string]bool{"data/": false, "data/file": false, "etc/hostname": true})
	if l := left.by[byPatterns]; l.disks != 1 || l.dirs != 0 {
		t.Errorf("left out: %+v", l)
	}
}

// So does one above the mount point.
func TestExcludeAboveADisk(t *testing.T) {
	for options, want := range map[string]bool{":exclude=/srv": false, ":exclude=deep/": false, ":exclude=/srv/deep/data": false, ":exclude=/srv/deep/data/x": true,
		":excluded_backup_paths=/srv/deep/data": false, ":excluded_backup_paths=/srv/other": true} {
		got, _, _ := chosenBy(t, options, nil, func(n *fakeNode, _ *Job) {
			put(t, n.path("private/"+webID+"/ve.conf"), `DISK="uuid={`+dataID+`},image=data.hdd,mnt=/srv/deep/data"`)
			n.place.Config = readConfig(t, n)
		})
		if slices.Contains(got, "srv/deep/data/file") != want || !slices.Contains(got, "etc/hostname") {
			t.Errorf("%s: saved %q", options, got)
		}
	}
}

// Of a list on the node nothing is told to whoever named it, nor is it read for a restore.
func TestExcludeFile(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list")
	put(t, list, "# what is cheap to get again\n*.iso\n/srv/mirror/\n")
	got, left, log := chosen(t, ":exclude_file="+list+":exclude=*.log", map[string]string{"a.iso": "1", "b.log": "22", "srv/mirror/x": "3", "c": "4"})
	judgeNames(t, got, map[string]bool{"a.iso": false, "b.log": false, "srv/mirror/": false, "c": true})
	if l := left.by[byPatterns]; l.files != 2 || l.dirs != 1 || !strings.Contains(log.all("info"), "exclude and exclude_file left out 2 files of 3 B and 1 directory") {
		t.Errorf("left out: %+v\n%s", l, log.all())
	}
	for name, mode := range map[string]os.FileMode{"secret[\n": 0o600, "fine\n": 0o666} {
		put(t, list, name)
		must(t, os.Chmod(list, mode))
		n := webNode(t)
		j, log := n.job(t, bareos)
		if err := j.StartBackup(cmd + ":exclude_file=" + list); err == nil || len(n.calls) > 0 {
			t.Errorf("%q, mode %o: %v after %q, want it refused before anything is done", name, mode, err, n.calls)
		}
		said := log.all("fatal")
		if !strings.Contains(said, "exclude_file "+list+": ") || strings.Contains(said, "secret") || mode == 0o666 && !strings.Contains(said, "writable by others") {
			t.Errorf("%q, mode %o: %s", name, mode, said)
		}
	}
	must(t, os.Remove(list))
	if _, _, err := new(layers).effective("vz7ct:exclude_file="+list, restorePhase); err != nil {
		t.Errorf("a restore of what was saved with a list that is gone: %v", err)
	}
}

func TestStdExcludes(t *testing.T) {
	got, left, log := chosen(t, ":std_excludes=yes", map[string]string{"tmp/a/b": "1", "var/tmp/c": "2", "run/d": "3", "srv/tmp/e": "4", "var/run/f": "5", "tmpx": "6"})
	judgeNames(t, got, map[string]bool{"tmp/": true, "tmp/a/": false, "tmp/a/b": false, "var/tmp/": true, "var/tmp/c": false, "run/": true, "run/d": false,
		"srv/tmp/e": true, "var/run/f": true, "tmpx": true})
	if left.by[byStd].contents != 3 || !strings.Contains(log.all("info"), "std_excludes=yes left out the content of 3 directories: ") {
		t.Errorf("left out: %+v\n%s", left.by[byStd], log.all())
	}
}

// A disk that is mounted at one of these directories is saved without what it holds, one
// that is mounted below is not saved.
func TestStdExcludesAndDisks(t *testing.T) {
	for mount, want := range map[string]bool{"/var/tmp": true, "/tmp/scratch": false, "/srv/tmp": true} {
		got, left, _ := chosenBy(t, ":std_excludes=yes", nil, func(n *fakeNode, _ *Job) {
			put(t, n.path("private/"+webID+"/ve.conf"), `DISK="uuid={`+dataID+`},image=data.hdd,mnt=`+mount+`"`)
			n.place.Config = readConfig(t, n)
		})
		at := mount[1:]
		judgeNames(t, got, map[string]bool{at + "/": want, at + "/file": mount == "/srv/tmp", "etc/hostname": true})
		if l := left.by[byStd]; (l.disks == 1) == want {
			t.Errorf("disk at %s: %+v", mount, l)
		}
	}
}

// A disk without a mount point has a name that no pattern means.
func TestExcludeAndDiskWithoutMountPoint(t *testing.T) {
	got, left, _ := chosenBy(t, ":exclude=.*,/file", map[string]string{".hidden": "1"}, func(n *fakeNode, _ *Job) {
		put(t, n.path("private/"+webID+"/ve.conf"), `DISK="uuid={`+dataID+`},image=data.hdd"`)
		n.place.Config = readConfig(t, n)
	})
	at := ownFolder + "-disk-" + dataID
	judgeNames(t, got, map[string]bool{at + "/": true, at + "/file": true, ".hidden": false})
	if l := left.by[byPatterns]; l.disks != 0 || l.files != 1 {
		t.Errorf("left out: %+v", l)
	}
}

func TestExcludeCaches(t *testing.T) {
	got, left, log := chosenBy(t, ":exclude_caches=yes", map[string]string{
		"a/CACHEDIR.TAG": cacheMark + "\n# made by a browser\n", "a/x": "1", "a/deep/y": "2", "a2": "after it",
		"b/CACHEDIR.TAG": cacheMark[:42], "b/x": "3", "c/CACHEDIR.TAG/x": cacheMark, "d/x": "4", "e/CACHEDIR.TAG": cacheMark,
	}, func(n *fakeNode, _ *Job) {
		must(t, os.Symlink("../a/CACHEDIR.TAG", n.path("tree-root/d/CACHEDIR.TAG")))
		put(t, n.path("tree-data/CACHEDIR.TAG"), cacheMark)
	})
	judgeNames(t, got, map[string]bool{"a/": true, "a/CACHEDIR.TAG": true, "a/x": false, "a/deep/": false, "a2": true,
		"b/x": true, "c/CACHEDIR.TAG/x": true, "d/x": true, "e/CACHEDIR.TAG": true, "e/": true, "data/": true, "data/CACHEDIR.TAG": true, "data/file": false})
	if left.by[byCache].contents != 2 || !strings.Contains(log.all("info"), "exclude_caches=yes left out the content of 2 directories: /data, /a") {
		t.Errorf("left out: %+v\n%s", left.by[byCache], log.all())
	}
}

func TestExcludeLargerThan(t *testing.T) {
	got, left, _ := chosen(t, ":exclude_larger_than=1K", map[string]string{"s/exact": strings.Repeat("x", 1024), "s/more": strings.Repeat("x", 1025), "s/small": "x"})
	judgeNames(t, got, map[string]bool{"s/exact": true, "s/more": false, "s/small": true, "home/holes": false, "s/": true})
	if l := left.by[bySize]; l.files != 2 || l.bytes != 1025+1<<20 {
		t.Errorf("left out: %+v", l)
	}
}

func TestHonorNoDump(t *testing.T) {
	files := map[string]string{"n/file": "1", "n/other": "2", "n/dir/below": "3"}
	flag := func(paths ...string) func(*fakeNode, *Job) {
		return func(n *fakeNode, _ *Job) {
			for _, p := range paths {
				setNoDump(t, n.path(p))
			}
		}
	}
	got, left, _ := chosenBy(t, ":honor_nodump=yes", files, flag("tree-root/n/file", "tree-root/n/dir", "tree-data"))
	judgeNames(t, got, map[string]bool{"n/file": false, "n/other": true, "n/dir/": false, "n/dir/below": false, "data/": true, "data/file": false})
	if l := left.by[byNoDump]; l.files != 1 || l.dirs != 1 || l.contents != 1 {
		t.Errorf("left out: %+v", l)
	}
	got, _, _ = chosenBy(t, "", files, flag("tree-root/n/file"))
	judgeNames(t, got, map[string]bool{"n/file": true})
}

// Names are listed up to twenty for each reason, in words that cannot be anything else.
func TestLeftOutIsListed(t *testing.T) {
	files := map[string]string{"x/two\nlines.o": "1"}
	for n := range 24 {
		files[fmt.Sprintf("x/%02d.o", n)] = "12"
	}
	_, _, log := chosen(t, ":exclude=*.o", files)
	for _, line := range strings.Split(log.all("info"), "info: ") {
		if !strings.HasPrefix(line, "exclude left out ") {
			continue
		}
		if strings.Count(line, "/x/") != maxListed || !strings.Contains(line, "25 files of 49 B: /x/") || !strings.HasSuffix(strings.TrimSpace(line), ", and 5 more") || strings.Contains(strings.TrimSpace(line), "\n") {
			t.Errorf("left out is said as %q", line)
		}
		return
	}
	t.Errorf("the job log:\n%s", log.all())
}

// An estimate says the same lines as the backup.
func TestEstimateSaysWhatIsLeftOut(t *testing.T) {
	lines := func(estimate bool) (found []string) {
		n := webNode(t)
		put(t, n.path("tree-root/tmp/x"), "1")
		j, log := n.job(t, bareos)
		must(t, j.start(cmd+":exclude=home/a:std_excludes=yes:disks=root", estimate))
		_, err := save(j)
		must(t, err)
		for _, line := range strings.Split(log.all(), "\n") {
			if strings.Contains(line, " left out ") || strings.Contains(line, "not saved") {
				found = append(found, line)
			}
		}
		return found
	}
	if got, want := lines(true), lines(false); !slices.Equal(got, want) || len(want) != 6 {
		t.Errorf("an estimate says %q, the backup %q", got, want)
	}
}

// Two jobs have the same digest if the same rules count, wherever they were written.
func TestSelection(t *testing.T) {
	list := filepath.Join(t.TempDir(), "list")
	put(t, list, "*.iso\n")
	digest := func(options string) string {
		o, _, err := new(layers).effective("vz7ct:"+options, backupPhase)
		must(t, err)
		must(t, o.Choice.readLists())
		return o.selection()
	}
	seen := map[string]string{}
	for _, options := range []string{"", "exclude=a", "exclude=b", "exclude=a,b", "excluded_backup_paths=a", "exclude_file=" + list, "std_excludes=yes", "exclude_caches=yes",
		"honor_nodump=yes", "tenant_excludes=yes", "exclude_larger_than=1", "exclude_larger_than=2", "excluded_backup_paths=a:exclude=b", "exclude='a b'", "exclude='a,b'"} {
		d := digest(options)
		if other, twice := seen[d]; twice {
			t.Errorf("%q and %q have the digest %q", options, other, d)
		}
		seen[d] = options
	}
	if seen[""] != "" || digest("std_excludes=no:max_errors=3:disks=root:min_free=1") != "" {
		t.Error("options that leave nothing out of a disk have a digest")
	}
	if digest("exclude=a,b") != digest("exclude=b:exclude=a") {
		t.Error("the order matters")
	}
	before := digest("exclude_file=" + list)
	put(t, list, "*.img\n")
	if before == digest("exclude_file="+list) {
		t.Error("the content of a list does not matter")
	}
	n := webNode(t)
	j, _ := n.job(t, bareos)
	must(t, j.StartBackup(cmd+":exclude=a"))
	all, err := save(j)
	must(t, err)
	m, err := decodeObject(all[0].Data)
	if err != nil || m.Selection != digest("exclude=a") {
		t.Errorf("the manifest has the digest %q, %v", m.Selection, err)
	}
}
