// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// Run is what one contestant has needed once.
type Run struct {
	// Wall are the seconds from the mounted snapshot to the end of the list; Before those from the Director's connection to
	// what the list begins with, the snapshot for ours. Job are those of the whole job.
	Wall   float64 `json:"wall_s"`
	Before float64 `json:"before_s"`
	Job    float64 `json:"job_s"`
	CPU    float64 `json:"cpu_s"`
	// Peak is the largest resident size of the process, Base that after its start.
	Peak     float64 `json:"peak_mib"`
	Base     float64 `json:"base_mib"`
	Switches int     `json:"switches"`
	Files    int     `json:"files"`
	Bytes    int64   `json:"bytes"`
	// Elapsed are the whole seconds that the daemons' own report tells of the job.
	Elapsed int `json:"elapsed_s"`
	// Random are the reads that the slow disk has delayed, AtOnce the most of them at the same time.
	Random int `json:"random_reads,omitempty"`
	AtOnce int `json:"at_once,omitempty"`
}

// runLimit is how long one job may take.
const runLimit = 14 * time.Minute

// restartFD starts the File Daemon anew and begins to measure it.
func (w *world) restartFD() (*meter, error) {
	w.sys.StopDaemon("fd", syscall.SIGTERM)
	if err := w.sys.StartDaemon("fd"); err != nil {
		return nil, err
	}
	return newMeter(w.sys.Pid(), w.sys.Port())
}

// dropCaches empties the page cache of the machine. A sync before it would wait for all disks of the machine, some of which may
// stand still: what is to be read was synced when it was made.
func dropCaches() error {
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return fmt.Errorf("drop the page cache: %w", err)
	}
	return nil
}

// prepare makes the caches as a case wants them, with the snapshot mounted at dir on the node.
func (w *world) prepare(c benchCase, dir string) error {
	if c.warm {
		what := "data"
		if c.level == "Incremental" || c.kind == "walk" {
			what = "metadata"
		}
		if err := w.self(nil, "_read", what, dir); err != nil {
			return err
		}
	} else if err := dropCaches(); err != nil {
		return err
	}
	if c.slow {
		_, err := server.Client{Dir: w.node.Dir}.Slow(w.cfg.Delay)
		return err
	}
	return nil
}

// unslow ends a slow disk, and judges that it was one.
func (w *world) unslow(c benchCase) (s server.Served, err error) {
	if !c.slow {
		return s, nil
	}
	s, err = server.Client{Dir: w.node.Dir}.Slow(0)
	if err == nil && s.Random == 0 {
		err = errors.New("the slow disk has delayed nothing")
	}
	return s, err
}

// ours plays the plugin. Its snapshot is mounted by a ploop that stops then, until the caches are as they have to be. between
// is called when the time runs.
func (w *world) ours(c benchCase, between func() error) (_ Run, err error) {
	ctx, cancel := context.WithTimeout(w.ctx, runLimit)
	defer cancel()
	ct := w.cts[c.container]
	m, err := w.restartFD()
	if err != nil {
		return Run{}, err
	}
	if err := dropCaches(); err != nil {
		return Run{}, err
	}
	if _, err := w.node.Lab("set", w.node.Dir, "pause=mounted"); err != nil {
		return Run{}, err
	}
	defer func() {
		_, e := w.node.Lab("set", w.node.Dir, "pause=")
		_ = os.Remove(w.pausedFile())
		err = errors.Join(err, e)
	}()
	log, err := w.followLog()
	if err != nil {
		return Run{}, err
	}
	defer log.Close() //nolint:errcheck // only read
	began := time.Now()
	id, err := w.sys.Begin("ours-"+ct.name+c.job, "level="+c.level)
	if err != nil {
		return Run{}, err
	}
	waiting, stop := context.WithTimeout(ctx, time.Minute)
	err = w.held(waiting)
	stop()
	if err != nil {
		return Run{}, fmt.Errorf("%w:\n%s", err, w.sys.Log(id))
	}
	held := time.Now()
	prefix := "/mnt/bareos/" + ct.uuid
	mounts, err := mountsOf(w.sys.Pid(), prefix)
	if err == nil && len(mounts) != 1 {
		err = fmt.Errorf("mounted of container %s: %q", ct.name, mounts)
	}
	if err == nil {
		err = w.prepare(c, mounts[0])
	}
	if err != nil {
		return Run{}, err
	}
	mounted := time.Now()
	if err := os.Remove(w.pausedFile()); err != nil {
		return Run{}, fmt.Errorf("the snapshot was not waited for: %w", err)
	}
	if between != nil {
		if err := between(); err != nil {
			return Run{}, err
		}
	}
	end, err := unmounted(ctx, w.sys.Pid(), prefix)
	if err != nil {
		return Run{}, err
	}
	served, err := w.unslow(c)
	if err != nil {
		return Run{}, err
	}
	snapshots, err := w.firstTool(began)
	if err != nil {
		return Run{}, err
	}
	r, err := w.finish(ctx, id, log, m, began.Add(mounted.Sub(held)))
	r.Wall, r.Before = end.Sub(mounted).Seconds(), snapshots.Sub(m.connected).Seconds()
	r.Random, r.AtOnce = served.Random, served.AtOnce
	return r, err
}

// native plays the daemon's own backup of the mounted tree, or another contestant's.
func (w *world) native(c benchCase, who string, between func(*rootWatch) error) (_ Run, err error) {
	ctx, cancel := context.WithTimeout(w.ctx, runLimit)
	defer cancel()
	ct := w.cts[c.container]
	if err := w.mountNative(ct); err != nil {
		return Run{}, err
	}
	defer func() { err = errors.Join(err, w.umountNative(ct)) }()
	m, err := w.restartFD()
	if err != nil {
		return Run{}, err
	}
	if err := w.prepare(c, ct.mount()); err != nil {
		return Run{}, err
	}
	watch, err := watchRoot(fmt.Sprintf("/proc/%d/root%s", w.sys.Pid(), ct.mount()))
	if err != nil {
		return Run{}, err
	}
	defer watch.file.Close() //nolint:errcheck // stop has told of what matters
	log, err := w.followLog()
	if err != nil {
		return Run{}, err
	}
	defer log.Close() //nolint:errcheck // only read
	began := time.Now()
	id, err := w.sys.Begin(who+ct.name+c.job, "level="+c.level)
	if err != nil {
		return Run{}, err
	}
	if between != nil {
		if err := between(watch); err != nil {
			return Run{}, err
		}
	}
	r, err := w.finish(ctx, id, log, m, began)
	if err != nil {
		return r, err
	}
	served, err := w.unslow(c)
	if err != nil {
		return r, err
	}
	r.Random, r.AtOnce = served.Random, served.AtOnce
	opened, ended, err := watch.stop()
	if who == "python-" {
		ended = m.busy
	}
	r.Wall, r.Before = ended.Sub(opened).Seconds(), opened.Sub(m.connected).Seconds()
	return r, err
}

var (
	bytesWritten = regexp.MustCompile(`(?m)^\s+FD Bytes Written:\s+([\d,]+)`)
	release      = regexp.MustCompile(`(?m)^\s*(Bareos|Bacula) \S+ (\d+\.\d+\.\d+)`)
	elapsed      = regexp.MustCompile(`(?m)^\s+Elapsed time:\s+(?:(\d+) mins? ?)?(?:(\d+) secs?)?`)
)

// followLog opens the log of all jobs at its end.
func (w *world) followLog() (*os.File, error) {
	f, err := os.Open(filepath.Join(w.sys.Dir, "log/dir.log"))
	if err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	return f, err
}

// ended waits until the only job at work has ended. What is new in the log is read alone: the Python plugin writes a line
// for each file, and who reads them all again and again takes the daemons' processors.
func ended(ctx context.Context, log *os.File) error {
	var seen []byte
	for {
		more, err := io.ReadAll(log)
		if err != nil {
			return err
		}
		if seen = append(seen, more...); bytes.Contains(seen, []byte("  Termination:")) {
			return nil
		}
		seen = seen[max(0, len(seen)-100):]
		if err := pause(ctx); err != nil {
			return fmt.Errorf("a job has not ended: %w", err)
		}
	}
}

// finish waits for the end of a job and reads what it tells.
func (w *world) finish(ctx context.Context, id int, log *os.File, m *meter, began time.Time) (Run, error) {
	if err := ended(ctx, log); err != nil {
		return Run{}, err
	}
	res, err := w.sys.Wait(id)
	if err != nil {
		return Run{}, err
	}
	m.ended = time.Now()
	took := m.ended.Sub(began).Seconds()
	u, err := m.stop()
	if err != nil {
		return Run{}, err
	}
	if !res.OK() {
		return Run{}, fmt.Errorf("a job has ended with %q:\n%s", res.Termination, res.Log)
	}
	if f := release.FindStringSubmatch(res.Log); f != nil {
		w.daemon = f[1] + " " + f[2]
	}
	r := Run{Job: took, CPU: u.cpu, Peak: u.peak, Base: m.base.peak, Switches: u.switches, Files: res.Files}
	if f := bytesWritten.FindStringSubmatch(res.Log); f != nil {
		r.Bytes, _ = strconv.ParseInt(strings.ReplaceAll(f[1], ",", ""), 10, 64)
	}
	if f := elapsed.FindStringSubmatch(res.Log); f != nil {
		minutes, _ := strconv.Atoi(f[1])
		seconds, _ := strconv.Atoi(f[2])
		r.Elapsed = 60*minutes + seconds
	}
	return r, nil
}

// firstTool returns when the plugin called prlctl for the first time after a moment: what it did before is what every daemon
// does before its list.
func (w *world) firstTool(after time.Time) (time.Time, error) {
	b, err := os.ReadFile(filepath.Join(w.node.Dir, "log/prlctl.jsonl"))
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(b)) {
		var call struct{ Time time.Time }
		if err := json.Unmarshal([]byte(line), &call); err != nil {
			return time.Time{}, err
		}
		if call.Time.After(after) {
			return call.Time, nil
		}
	}
	return time.Time{}, errors.New("the plugin has not called prlctl")
}
