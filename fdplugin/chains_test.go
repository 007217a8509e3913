// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A chain is a Director with the jobs of one container, and a daemon that decides by the
// times that files have, to the nanosecond.
type chain struct {
	t        *testing.T
	n        *fakeNode
	r        *rand.Rand
	daemon   Daemon
	accurate bool
	jobs     []chainJob // of a restore of now, the full one first
	count    int
	log      []string
}

type chainJob struct {
	name  string
	since int64
	files map[string]chainFile
}

// chainFile is the version of a name in a job; gone says that it was recorded as deleted.
type chainFile struct {
	saved
	job   int
	first string // the name of the job's that it is a link to
	gone  bool
}

// now is the time that files get.
func (c *chain) now() int64 {
	path := c.n.path("clock")
	must(c.t, os.WriteFile(path, nil, 0o600))
	st, err := os.Stat(path)
	must(c.t, err)
	return st.ModTime().UnixNano()
}

// tick waits until that time is a later one.
func (c *chain) tick() int64 {
	begin := c.now()
	for now := begin; ; time.Sleep(100 * time.Microsecond) {
		if now = c.now(); now > begin {
			return now
		}
	}
}

// catalogue is what the Director knows of the container by the chain's jobs.
func (c *chain) catalogue() map[string]chainFile {
	all := map[string]chainFile{}
	for _, j := range c.jobs {
		for name, f := range j.files {
			if all[name] = f; f.gone {
				delete(all, name)
			}
		}
	}
	return all
}

// job runs a backup; one that is cancelled does not count.
func (c *chain) job(level byte, cancel bool) {
	t := c.t
	t.Helper()
	j, log := c.n.job(t, c.daemon)
	c.count++
	j.Name = fmt.Sprintf("web.2026-11-22_21.05.00_%04d", c.count)
	j.SetLevel(level)
	switch level {
	case 'F':
		c.jobs = nil
	case 'D':
		c.jobs = c.jobs[:1]
	}
	now := chainJob{name: j.Name, since: c.tick(), files: map[string]chainFile{}}
	seen, before := map[string]bool{}, c.catalogue()
	h := j.Host.(*counter)
	h.accurate = c.accurate
	if level != 'F' {
		last := c.jobs[len(c.jobs)-1]
		h.previous, h.since = last.name, last.since/1e9
		h.changed = func(e *Entry) bool {
			if !c.accurate {
				return e.Stat.Mtim.Nano() >= last.since || e.Stat.Ctim.Nano() >= last.since
			}
			was, ok := before[e.Name]
			seen[e.Name] = true
			return !ok || was.Stat.Mtim != e.Stat.Mtim || was.Stat.Ctim != e.Stat.Ctim || was.Stat.Size != e.Stat.Size
		}
	}
	must(t, j.StartBackup(cmd))
	if cancel {
		j.FileDone()
		j.Cancel()
		j.FileDone()
		j.Close()
		return
	}
	list, err := save(j)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.all())
	}
	firsts := map[[2]uint64]string{}
	for _, s := range list {
		seen[s.Name] = true
		f := chainFile{saved: s, job: len(c.jobs), first: s.Link}
		if key := [2]uint64{s.Stat.Dev, s.Stat.Ino}; c.daemon.OwnLinks && s.Stat.Nlink > 1 && s.Kind != Directory && s.Kind != Object && s.Kind != Symlink {
			if f.first = firsts[key]; f.first == "" {
				firsts[key] = s.Name
			} else {
				f.Kind = HardLink
			}
		}
		if s.Kind != Object {
			now.files[s.Name] = f
		}
	}
	for name := range before {
		if c.accurate && level != 'F' && !seen[name] && !j.Keeps(name) {
			now.files[name] = chainFile{gone: true}
		}
	}
	c.jobs = append(c.jobs, now)
	c.judge(level)
}

// judge restores the chain in mind and compares it with the root disk.
func (c *chain) judge(level byte) {
	t := c.t
	t.Helper()
	all := c.catalogue()
	top := treeRoot + webID + "/"
	wrong := func(name, format string, args ...any) {
		t.Errorf("job %d, level %c, %s: %s\n%s", c.count, level, name, fmt.Sprintf(format, args...), strings.Join(c.log, "\n"))
	}
	there := map[string]bool{}
	inodes, owners := map[uint64]string{}, map[string]uint64{}
	root := c.n.path("tree-root")
	must(t, filepath.WalkDir(filepath.Join(root, "srv"), func(p string, d fs.DirEntry, err error) error {
		must(t, err)
		rel, _ := filepath.Rel(root, p)
		name := top + rel
		if d.IsDir() {
			name += "/"
		}
		there[name] = true
		var st unix.Stat_t
		must(t, unix.Lstat(p, &st))
		f, ok := all[name]
		of := name
		if ok && f.Kind == HardLink {
			of = f.first
			if to, ok := all[of]; !ok || to.job != f.job || to.Kind == HardLink {
				wrong(name, "is a link to %s of another job", of)
			}
			f = all[of]
		}
		switch {
		case !ok:
			wrong(name, "is missing")
		case f.Stat.Mode != st.Mode:
			wrong(name, "has mode %o, want %o", f.Stat.Mode, st.Mode)
		case f.Kind == Regular || f.Kind == Empty:
			data, err := os.ReadFile(p)
			must(t, err)
			if f.content != string(data) {
				wrong(name, "has %q, want %q", f.content, data)
			}
		case f.Kind == Symlink:
			if to, _ := os.Readlink(p); to != f.Link {
				wrong(name, "leads to %q, want %q", f.Link, to)
			}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			if first, ok := inodes[st.Ino]; ok && first != of {
				wrong(name, "is one with %s, want %s", of, first)
			}
			if other, ok := owners[of]; ok && other != st.Ino {
				wrong(name, "is one with a file that is another")
			}
			inodes[st.Ino], owners[of] = of, st.Ino
		}
		return nil
	}))
	for name := range all {
		if c.accurate && strings.HasPrefix(name, top+"srv/") && !there[name] {
			wrong(name, "was deleted, and comes back")
		}
	}
}

// change does something to the tree.
func (c *chain) change() {
	root := filepath.Join(c.n.path("tree-root"), "srv")
	var files, dirs []string
	must(c.t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if d.IsDir() {
			dirs = append(dirs, p)
		} else {
			files = append(files, p)
		}
		return err
	}))
	pick := func(list []string) string { return list[c.r.IntN(len(list))] }
	fresh := filepath.Join(pick(dirs), fmt.Sprintf("n%d", c.r.IntN(12)))
	file, dir := root+"/none", pick(dirs)
	if len(files) > 0 {
		file = pick(files)
	}
	what, err := "", error(nil)
	switch c.r.IntN(13) {
	case 0, 1:
		what, err = "create "+fresh, os.WriteFile(fresh, []byte(fmt.Sprint(c.r.IntN(100))), 0o644)
	case 2:
		what, err = "rewrite "+file, os.WriteFile(file, []byte(fmt.Sprint(c.r.IntN(100))), 0o644)
	case 3:
		what, err = "chmod "+file, unix.Fchmodat(unix.AT_FDCWD, file, 0o600+uint32(c.r.IntN(8)), 0)
	case 4:
		what, err = "mkdir "+fresh, os.MkdirAll(filepath.Join(fresh, "sub"), 0o755)
	case 5, 6:
		what, err = "move "+file+" "+fresh, os.Rename(file, fresh)
	case 7, 8:
		what, err = "move "+dir+" "+fresh, os.Rename(dir, fresh)
	case 9:
		what, err = "link "+file+" "+fresh, os.Link(file, fresh)
	case 10:
		what, err = "remove "+file, os.Remove(file)
	case 11:
		if dir != root {
			what, err = "remove "+dir, os.RemoveAll(dir)
		}
	case 12:
		what, err = "symlink "+fresh, os.Symlink(fmt.Sprint(c.r.IntN(10)), fresh)
	}
	if err == nil {
		c.log = append(c.log, strings.ReplaceAll(what, root, "srv"))
	}
}

// Chains of jobs of all levels over random changes: what a restore makes of each is the
// container; without Accurate, but for what was deleted.
func TestRandomChains(t *testing.T) {
	for seed := range 24 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			n := webNode(t)
			for i := range 6 {
				put(t, filepath.Join(n.path("tree-root"), fmt.Sprintf("srv/d%d/e/n%d", i%3, i)), fmt.Sprint(i))
			}
			c := &chain{t: t, n: n, r: rand.New(rand.NewPCG(uint64(seed), 5)), daemon: bareos, accurate: seed%2 == 1}
			if seed%4 > 1 {
				c.daemon = bacula
			}
			c.job('F', false)
			for range 12 {
				for range 1 + c.r.IntN(5) {
					c.change()
				}
				level := slices.Concat([]byte("IIIIIDDF"))[c.r.IntN(8)]
				c.log = append(c.log, fmt.Sprintf("job %d, level %c", c.count+1, level))
				if c.r.IntN(5) == 0 {
					c.count++
					c.log = append(c.log, "cancelled")
					before := c.jobs
					c.job('I', true)
					c.jobs = before
					continue
				}
				if c.job(level, false); t.Failed() {
					return
				}
			}
		})
	}
}
