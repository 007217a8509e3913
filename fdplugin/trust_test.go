// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/walk"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// objectOf is the restore object of a job's list.
func objectOf(t *testing.T, list []saved) saved {
	t.Helper()
	i := slices.IndexFunc(list, func(s saved) bool { return s.Kind == Object })
	if i < 0 {
		t.Fatal("the job has no restore object")
	}
	return list[i]
}

// config is a container's configuration of one line.
func config(t *testing.T, text string) prlctl.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ve.conf")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	c, err := prlctl.ReadConfig(path)
	must(t, err)
	return c
}

func TestPartialJobGoesByWhatIsKnown(t *testing.T) {
	n := webNode(t)
	full := fullJob(t, n, bareos)
	was := n.place.Config
	memory := n.path("state/levels")
	m, err := decodeObject(objectOf(t, full).Data)
	must(t, err)
	m.UUID = "11111111-2222-4333-8444-555555555555"
	other, err := m.encodeObject(0)
	must(t, err)
	for name, c := range map[string]struct {
		prepare func(j *Job)
		want    string // "" if the job is to go on
	}{
		"remembered": {func(j *Job) { j.Host.(*counter).previous = j.Name }, ""},
		"resized": {func(j *Job) {
			j.Host.(*counter).previous = j.Name
			d := filepath.Join(n.path("private/"+webID), "root.hdd/DiskDescriptor.xml")
			data, err := os.ReadFile(d)
			must(t, err)
			larger := regexp.MustCompile("<Disk_size>.*<").ReplaceAllString(string(data), "<Disk_size>41943040<")
			if larger == string(data) {
				t.Fatal("the descriptor has no size")
			}
			must(t, os.WriteFile(d, []byte(larger), 0o600))
		}, ""},
		"object": {func(j *Job) {
			must(t, os.RemoveAll(memory))
			j.AddObject(objectOf(t, full).Name, 1, objectOf(t, full).Data)
		}, ""},
		"nothing known":  {func(*Job) { must(t, os.RemoveAll(memory)) }, "neither a restore object"},
		"another run":    {func(j *Job) { j.Host.(*counter).previous = "web.2020-01-01_00.00.00_01" }, "neither a restore object"},
		"no name at all": {func(*Job) {}, "neither a restore object"},
		"another container's object": {func(j *Job) {
			must(t, os.RemoveAll(memory))
			j.AddObject(objectName+"11111111-2222-4333-8444-555555555555", 1, other)
		}, "neither a restore object"},
		"broken memory": {func(j *Job) {
			files, _ := filepath.Glob(filepath.Join(memory, "*.json"))
			must(t, os.WriteFile(files[0], []byte("{"), 0o600))
			j.Host.(*counter).previous = j.Name
		}, "neither a restore object"},
		"other options": {func(j *Job) {
			j.Host.(*counter).previous = j.Name
			j.AddOptions("vz7ct:exclude=*.tmp")
		}, "the options that choose what is saved were others then"},
		"other options, accurate": {func(j *Job) {
			*j.Host.(*counter) = counter{previous: j.Name, accurate: true}
			j.AddOptions("vz7ct:exclude=*.tmp")
		}, ""},
		"disk removed": {func(j *Job) {
			j.Host.(*counter).previous = j.Name
			n.place.Config = config(t, "")
		}, "disk {" + dataID + "} (/data) was saved then and is not now"},
		"disk elsewhere": {func(j *Job) {
			j.Host.(*counter).previous = j.Name
			n.place.Config = config(t, "DISK=\""+strings.ReplaceAll(was.Get("DISK"), "mnt=/data", "mnt=/srv")+"\"\n")
		}, "was at /data then and is at /srv now"},
		"disk added": {func(j *Job) {
			must(t, os.RemoveAll(memory))
			m, err := decodeObject(objectOf(t, full).Data)
			must(t, err)
			m.Disks = slices.DeleteFunc(m.Disks, func(d manifestDisk) bool { return d.UUID == dataID })
			data, err := m.encodeObject(0)
			must(t, err)
			j.AddObject(objectName+webID, 1, data)
		}, "disk {" + dataID + "} (/data) was not saved then"},
	} {
		t.Run(name, func(t *testing.T) {
			n.place.Config = was
			must(t, os.RemoveAll(memory))
			fullJob(t, n, bareos)
			j, log := n.job(t, bareos)
			j.SetLevel('I')
			c.prepare(j)
			err := j.StartBackup(cmd)
			fatal := log.all("fatal")
			switch {
			case c.want == "" && err != nil:
				t.Errorf("the job fails:\n%s", log.all())
			case c.want != "" && fatal != "fatal: A new full level backup of this job is required.":
				t.Errorf("the job ends with %q", fatal)
			case c.want != "" && !strings.Contains(log.all("warning"), c.want):
				t.Errorf("the job log does not say %q:\n%s", c.want, log.all())
			}
			j.EndBackup()
			if left := n.left(t); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// A job that has not come to its end is none to go by.
func TestOnlyWholeJobsAreRemembered(t *testing.T) {
	n := webNode(t)
	for _, end := range []func(*Job){
		func(j *Job) { j.EndBackup() },
		func(j *Job) { j.Cancel(); j.FileDone() },
	} {
		j, _ := n.job(t, bacula)
		must(t, j.StartBackup(cmd))
		end(j)
		j.Close()
	}
	j, _ := n.job(t, bacula)
	must(t, j.StartEstimate(cmd))
	for j.FileDone() {
	}
	j.Close()
	if files, _ := filepath.Glob(n.path("state/levels/*")); len(files) != 0 {
		t.Errorf("remembered: %q", files)
	}
}

// Without Accurate what lies below a renamed directory is saved, too.
func TestRenamedDirectories(t *testing.T) {
	n := webNode(t)
	tree := n.path("tree-root")
	for _, f := range []string{"srv/app/lib/deep/x", "srv/app/y", "srv/other/z", "opt/q"} {
		put(t, filepath.Join(tree, f), f)
	}
	fullJob(t, n, bareos)
	partialJob(t, n, bareos) // nothing
	must(t, os.Rename(filepath.Join(tree, "srv/app"), filepath.Join(tree, "opt/app2")))
	put(t, filepath.Join(tree, "srv/app/new"), "")
	got := treeNames(partialJob(t, n, bareos))
	slices.Sort(got)
	want := []string{"opt/app2/", "opt/app2/lib/", "opt/app2/lib/deep/", "opt/app2/lib/deep/x", "opt/app2/y", "srv/app/", "srv/app/new"}
	if !slices.Equal(got, want) {
		t.Errorf("saved is %q, want %q", got, want)
	}
	if got := treeNames(partialJob(t, n, bareos)); len(got) != 0 {
		t.Errorf("saved again is %q", got)
	}
}

func TestRenamedDirectoriesOfADifferential(t *testing.T) {
	n := webNode(t)
	tree := n.path("tree-root")
	put(t, filepath.Join(tree, "srv/app/y"), "")
	job := func(level byte, name, previous string) []string {
		j, log := n.job(t, bareos)
		j.Name = "web.2026-11-22_21.05.0" + name
		j.SetLevel(level)
		c := j.Host.(*counter)
		c.changed = func(*Entry) bool { return level == 'F' }
		c.previous = "web.2026-11-22_21.05.0" + previous
		must(t, j.StartBackup(cmd))
		list, err := save(j)
		if err != nil {
			t.Fatalf("%v\n%s", err, log.all())
		}
		if level != 'F' && strings.Contains(log.all("warning"), "does not remember") {
			t.Errorf("job %s: %s", name, log.all("warning"))
		}
		return treeNames(list)
	}
	job('F', "0_01", "")
	must(t, os.Rename(filepath.Join(tree, "srv/app"), filepath.Join(tree, "srv/app2")))
	both := []string{"srv/app2/y", "srv/app2/"}
	if got := job('I', "1_02", "0_01"); !slices.Equal(got, both) {
		t.Errorf("the incremental has %q", got)
	}
	if got := job('D', "2_03", "0_01"); !slices.Equal(got, both) {
		t.Errorf("the differential has %q", got)
	}
	if got := job('I', "3_04", "2_03"); len(got) != 0 {
		t.Errorf("the second incremental has %q", got)
	}
}

// What a rule of the container has left out may be old when it is let pass.
func TestRulesThatChange(t *testing.T) {
	n := webNode(t)
	tree := n.path("tree-root")
	for _, f := range []string{"srv/a/x", "srv/a/sub/y", "srv/a/.nobackup", "srv/b/one.iso", "srv/b/two", "srv/b/.bareosignore", "srv/c/CACHEDIR.TAG", "srv/c/z", "srv/d/q"} {
		put(t, filepath.Join(tree, f), map[string]string{".bareosignore": "*.iso\n", "CACHEDIR.TAG": cacheMark}[filepath.Base(f)])
	}
	job := func(level byte) []string {
		j, log := n.job(t, bareos)
		j.SetLevel(level)
		c := j.Host.(*counter)
		c.changed, c.previous = func(*Entry) bool { return level == 'F' }, j.Name
		must(t, j.StartBackup(cmd+":tenant_excludes=yes:exclude_caches=yes"))
		list, err := save(j)
		if err != nil {
			t.Fatalf("%v\n%s", err, log.all())
		}
		got := treeNames(list)
		slices.Sort(got)
		return got
	}
	job('F')
	for _, c := range []struct {
		change func() error
		want   []string
	}{
		{func() error { return nil }, nil},
		{func() error { return os.Remove(filepath.Join(tree, "srv/a/.nobackup")) }, []string{"srv/a/", "srv/a/sub/", "srv/a/sub/y", "srv/a/x"}},
		{func() error {
			return os.WriteFile(filepath.Join(tree, "srv/b/.bareosignore"), []byte("*.img\n"), 0o600)
		},
			[]string{"srv/b/", "srv/b/.bareosignore", "srv/b/one.iso", "srv/b/two"}},
		{func() error {
			return os.WriteFile(filepath.Join(tree, "srv/c/CACHEDIR.TAG"), []byte("no cache"), 0o600)
		},
			[]string{"srv/c/", "srv/c/CACHEDIR.TAG", "srv/c/z"}},
		{func() error { return nil }, nil},
	} {
		must(t, c.change())
		if got := job('I'); !slices.Equal(got, c.want) {
			t.Errorf("saved is %q, want %q", got, c.want)
		}
	}
	put(t, filepath.Join(tree, ".nobackup"), "")
	put(t, filepath.Join(tree, "srv/e"), "")
	job('I')
	must(t, os.Remove(filepath.Join(tree, ".nobackup")))
	if got := job('I'); !slices.Contains(got, "srv/e") || !slices.Contains(got, "etc/hostname") {
		t.Errorf("without the mark in the root saved is %q", got)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	n := webNode(t)
	h, err := n.node().readHistory(webID, "web")
	must(t, err)
	for i := range 2 * maxRuns {
		level := "I"
		if i%10 == 0 {
			level = "F"
		}
		must(t, h.add(pastRun{Number: h.next(), Name: fmt.Sprintf("web.%d", i), Level: level, Made: time.Now()}))
	}
	h, err = n.node().readHistory(webID, "web")
	must(t, err)
	if _, ok := h.of("web.0"); len(h.Runs) != maxRuns || !ok {
		t.Errorf("%d runs are remembered, the first full one: %v", len(h.Runs), ok)
	}
	if _, ok := h.of(fmt.Sprintf("web.%d", 2*maxRuns-1)); !ok {
		t.Error("the last run is not remembered")
	}
	if _, ok := h.of(""); ok {
		t.Error("there is a run without a name")
	}
	for name, want := range map[string]string{
		"web.2026-11-22_21.05.00_07": "web", "a.b.2026-11-22_21.05.00_123": "a.b", "odd": "odd", "web.2026": "web.2026",
	} {
		if got := resource(name); got != want {
			t.Errorf("resource(%q) = %q", name, got)
		}
	}
	old := time.Now().Add(-2 * historyAge)
	must(t, os.Chtimes(h.path, old, old))
	n.node().forgetHistories()
	if _, err := os.Stat(h.path); !os.IsNotExist(err) {
		t.Errorf("a history of long ago is still there: %v", err)
	}
}

// Too many directories end the memory of them, not the job.
func TestPlacesAreBounded(t *testing.T) {
	p := places{run: 1, rows: make([]placeRow, maxPlaces)}
	dir := t.TempDir()
	if err := p.write(filepath.Join(dir, "p")); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dir, "p"), &st))
	var q places
	must(t, q.read(filepath.Join(dir, "p")))
	p.note("disk", entryOf("a/b", 7, 8), 0)
	if err := p.write(filepath.Join(dir, "p")); err == nil {
		t.Error("more directories than can be remembered are written")
	}
	must(t, os.WriteFile(filepath.Join(dir, "p"), []byte("other"), 0o600))
	if err := q.read(filepath.Join(dir, "p")); err == nil {
		t.Error("a file of something else is read")
	}
}

func entryOf(path string, ino, parent uint64) *walk.Entry {
	e := &walk.Entry{Path: path, Parent: parent}
	e.Stat.Ino = ino
	return e
}
