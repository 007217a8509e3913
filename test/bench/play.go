// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// contestant is one that takes its turn in each round of a case.
type contestant struct {
	name string
	// every leaves rounds out: what no target is about need not take its time in each.
	every int
	play  func() (Run, error)
}

// all plays the chosen cases and tells of them.
func (w *world) all() error {
	if err := w.controls(); err != nil {
		return fmt.Errorf("controls: %w", err)
	}
	res := w.newResult()
	for _, c := range w.chosen() {
		row, err := w.play(c)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		res.Cases = append(res.Cases, row)
		w.say("%s", row.line())
		if c.slow {
			w.say("%s", row.reads(w.cfg.Delay))
		}
	}
	return w.tell(res)
}

// play plays one case.
func (w *world) play(c benchCase) (Row, error) {
	row := Row{Case: c.name, Contestants: map[string]*Runs{}}
	who := w.contestants(c)
	if c.kind == "backup" {
		for _, whose := range []string{"ours-", "native-"} {
			if err := w.base(whose + c.container + c.job); c.level != "Full" && err != nil {
				return row, err
			}
		}
	}
	for round := range w.cfg.Rounds {
		for n := range who {
			// Nobody is always the first.
			who := who[(n+round)%len(who)]
			if err := w.ctx.Err(); err != nil {
				return row, err
			}
			if round%who.every != 0 {
				continue
			}
			r, err := who.play()
			if err != nil {
				return row, fmt.Errorf("round %d, %s: %w", round+1, who.name, err)
			}
			if row.Contestants[who.name] == nil {
				row.Contestants[who.name] = &Runs{}
			}
			row.Contestants[who.name].Runs = append(row.Contestants[who.name].Runs, r)
		}
	}
	row.sum()
	return row, nil
}

// contestants are those of a case. What each has done is judged at once.
func (w *world) contestants(c benchCase) []contestant {
	switch c.kind {
	case "walk":
		return []contestant{
			{"ours", 1, func() (Run, error) { return w.walk(c, "ours") }},
			{"native", 1, func() (Run, error) { return w.walk(c, "find") }},
			{"parallel", 1, func() (Run, error) { return w.walk(c, "parallel") }},
		}
	case "restore":
		return []contestant{
			{"ours", 1, func() (Run, error) { return w.restore(c, "ours") }},
			{"native", 1, func() (Run, error) { return w.restore(c, "native") }},
		}
	}
	who := []contestant{
		{"ours", 1, func() (Run, error) {
			r, err := w.ours(c, nil)
			if err == nil {
				err = w.judge(c, r, true)
			}
			w.full["ours-"+c.container+c.job] = true
			return c.withUpload(r), err
		}},
		{"native", 1, func() (Run, error) {
			r, err := w.native(c, "native-", nil)
			if err == nil {
				err = w.judge(c, r, false)
			}
			w.full["native-"+c.container+c.job] = true
			return c.withUpload(r), err
		}},
	}
	if c.reference {
		who = append(who, contestant{"reference", 2, func() (Run, error) { return w.walk(c, "reference-data") }})
	}
	if c.python && w.python != "" {
		who = append(who, contestant{"python", 2, func() (Run, error) { return w.playPython(c) }})
	}
	return who
}

// withUpload adds to the wall time what the daemon did before its list, where that is part of the work.
func (c benchCase) withUpload(r Run) Run {
	if c.upload {
		r.Wall += r.Before
	}
	return r
}

// maxSurplus is how many entries of its own the plugin may save beside a tree, and how many it may leave out.
const maxSurplus = 16

// judge judges that a job has saved what it had to: everything, or at Incremental nothing that has not changed.
func (w *world) judge(c benchCase, r Run, ours bool) error {
	ct := w.cts[c.container]
	if err := plausible(r, !ours && c.level == "Full"); err != nil {
		return err
	}
	if c.level != "Full" {
		most := 0
		if ours {
			most = maxSurplus // what a restore must know is in every backup
		}
		if r.Files > most {
			return fmt.Errorf("%d files were saved, though nothing has changed", r.Files)
		}
		return nil
	}
	want := ct.Entries
	if ours {
		want += w.surplus
		if !w.known && r.Files > ct.Entries-maxSurplus && r.Files < ct.Entries+maxSurplus {
			w.surplus, w.known = r.Files-ct.Entries, true
			want = r.Files
		}
	}
	if r.Files != want {
		return fmt.Errorf("%d files were saved, %d are to be", r.Files, want)
	}
	if r.Bytes < ct.Bytes || float64(r.Bytes) > 1.1*float64(ct.Bytes)+16<<20 {
		return fmt.Errorf("%d bytes were saved of %d", r.Bytes, ct.Bytes)
	}
	return nil
}

// base sees that a job has had a full backup.
func (w *world) base(job string) error {
	if w.full[job] {
		return nil
	}
	name := job[len("ours-"):]
	if ct, ok := w.nativeOf(job); ok {
		if err := w.mountNative(ct); err != nil {
			return err
		}
		defer func() { _ = w.umountNative(ct) }()
	}
	r, err := w.sys.Backup(job)
	if err != nil {
		return err
	}
	if !r.OK() {
		return fmt.Errorf("full backup %s has ended with %q:\n%s", name, r.Termination, r.Log)
	}
	w.full[job] = true
	w.fullID[job] = r.ID
	return nil
}

// walk plays a list without a daemon on a snapshot that was just mounted.
func (w *world) walk(c benchCase, who string) (_ Run, err error) {
	ct := w.cts[c.container]
	if err := w.mountNative(ct); err != nil {
		return Run{}, err
	}
	defer func() { err = errors.Join(err, w.umountNative(ct)) }()
	if err := w.prepare(c, ct.mount()); err != nil {
		return Run{}, err
	}
	var r Walked
	if err := w.self(&r, "_walk", who, ct.mount()); err != nil {
		return Run{}, err
	}
	served, err := w.unslow(c)
	if err != nil {
		return Run{}, err
	}
	r.Random, r.AtOnce = served.Random, served.AtOnce
	if r.Entries != ct.Entries {
		return Run{}, fmt.Errorf("list %s has %d entries, the tree has %d", who, r.Entries, ct.Entries)
	}
	return r.Run, nil
}

// restore restores a whole container's tree into an empty folder of the node. Its wall time is that from the Director's
// connection to the File Daemon to the end of the job: there is no list that could end before.
func (w *world) restore(c benchCase, who string) (_ Run, err error) {
	job, ct := who+"-"+c.container+c.job, w.cts[c.container]
	if err := w.base(job); err != nil {
		return Run{}, err
	}
	target := "/vz/bench-" + who
	if _, err := w.node.Must("mkdir", "-m", "0700", target); err != nil {
		return Run{}, err
	}
	defer func() {
		_, e := w.node.Must("rm", "-rf", target)
		err = errors.Join(err, e)
	}()
	if err := dropCaches(); err != nil {
		return Run{}, err
	}
	m, err := w.restartFD()
	if err != nil {
		return Run{}, err
	}
	how := rig.Restore{JobIDs: []int{w.fullID[job]}, Where: target}
	if who == "ours" {
		how.Where, how.Options = "", "restore=dir:restore_dir="+target
	}
	log, err := w.followLog()
	if err != nil {
		return Run{}, err
	}
	defer log.Close() //nolint:errcheck // only read
	id, err := w.sys.BeginRestore(how)
	if err != nil {
		return Run{}, err
	}
	ctx, cancel := context.WithTimeout(w.ctx, runLimit)
	defer cancel()
	// The measure of the job begins with the connection: the console has built its tree of files before.
	r, err := w.finish(ctx, id, log, m, time.Now())
	if err != nil {
		return r, err
	}
	r.Wall = m.ended.Sub(m.connected).Seconds()
	r.Job = r.Wall
	var got Count
	if err := w.self(&got, "_count", target); err != nil {
		return r, err
	}
	if got.Files < ct.Files || got.Bytes < ct.Bytes {
		return r, fmt.Errorf("%d files with %d bytes were restored of %d with %d", got.Files, got.Bytes, ct.Files, ct.Bytes)
	}
	return r, nil
}

// nativeOf returns the container of one of the native contestant's jobs.
func (w *world) nativeOf(job string) (*container, bool) {
	for _, c := range w.cts {
		if job == "native-"+c.name || job == "native-"+c.name+"-accurate" || job == "native-"+c.name+"-kept" {
			return c, true
		}
	}
	return nil, false
}

// writeFile writes a file whose folder may not be there yet.
func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
