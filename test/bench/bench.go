// SPDX-License-Identifier: AGPL-3.0-only

// Package bench measures how fast the plugin is beside what else could save the same container: the daemon's own backup of
// the mounted tree, the way of a plugin that gathers all paths first, and for the walk alone find. All contestants take
// turns in one run on one stand-in node, each with a File Daemon that was just started and a snapshot that was just mounted.
//
// Nothing of it is a test of speed that could fail: a run fails if a job did not do its work, or if the measure does not see
// what is planted for it.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// Config says what to measure.
type Config struct {
	Out io.Writer
	// Dir is where the node's disks and the daemons' files are made; it must be on a file system with room.
	Dir string
	// Tree is a tar file or a folder with real files, which are multiplied.
	Tree string
	// Files is how many regular files the container has, SlowFiles the one on the slow disk, LargeMiB the size of the large
	// file.
	Files, SlowFiles, LargeMiB, Rounds int
	// Cases are those to be played; none means all.
	Cases []string
	// Python is the folder with Bareos' Python plugin, "" where the daemons have it.
	Python string
	// Delay is that of the slow disk.
	Delay time.Duration
	// Result is the folder for this run's results. Pages is the top of the source tree: docs/bench below it has the results
	// that were kept. Keep makes this run's the kept ones, and writes them into the pages that show them.
	Result, Pages string
	Keep          bool
	// Memory plays only the comparison of peak memory with so many files.
	Memory []int
}

// Measure plays all that cfg says.
func Measure(ctx context.Context, cfg Config) (err error) {
	for _, name := range cfg.Cases {
		if !slices.ContainsFunc(cases, func(c benchCase) bool { return c.name == name }) {
			return fmt.Errorf("there is no case %q: %s", name, strings.Join(caseNames(), ", "))
		}
	}
	w, err := newWorld(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.down()) }()
	if len(cfg.Memory) > 0 {
		return w.memory()
	}
	return w.all()
}

// world is a node with containers, and daemons.
type world struct {
	cfg   Config
	ctx   context.Context
	dir   string
	began time.Time
	node  *rig.Node
	sys   *rig.System
	cts   map[string]*container
	full  map[string]bool // jobs that have had a full backup
	// surplus is how many entries more than the tree has a full backup of ours saves: what it needs for a restore.
	surplus int
	known   bool
	fullID  map[string]int
	// python is that folder, "" if there is none for the reason given.
	python, noPython string
	daemon           string // the daemons' own name and release
}

// daemonsRoom bounds the tmpfs of the daemons' files.
const daemonsRoom = "12g"

// newWorld puts up the node with its containers, and the daemons on a tmpfs.
func newWorld(ctx context.Context, cfg Config) (_ *world, err error) {
	dir, err := os.MkdirTemp(cfg.Dir, "vz7ct-bench-")
	if err != nil {
		return nil, err
	}
	w := &world{cfg: cfg, ctx: ctx, dir: dir, began: time.Now(), cts: map[string]*container{}, full: map[string]bool{}, fullID: map[string]int{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.down())
		}
	}()
	daemons := filepath.Join(dir, "daemons")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(daemons, 0o755)); err != nil { // PostgreSQL runs as a user of its own
		return nil, err
	}
	// The mount namespace is this process's own: see Alone.
	if err := unix.Mount("vz7ct-bench", daemons, "tmpfs", 0, "mode=0755,size="+daemonsRoom); err != nil {
		return nil, fmt.Errorf("mount tmpfs for the daemons at %s: %w", daemons, err)
	}
	if w.node, err = rig.UpNode(filepath.Join(dir, "node")); err != nil {
		return nil, err
	}
	if err := w.makeContainers(); err != nil {
		return nil, err
	}
	more := rig.Config{}
	if w.python, w.noPython = findPython(cfg.Python); w.python != "" {
		more.MorePlugins, more.Env = []string{"python3"}, []string{"PYTHONPATH=" + w.python}
	}
	more.Jobs = w.jobs()
	w.sys, err = rig.Start(w.node, daemons, more)
	if err != nil {
		return nil, err
	}
	w.say("daemons: %s; their files, volumes and catalogue on a tmpfs, data of timed backups to /dev/null, attributes spooled%s",
		daemonName(), map[bool]string{true: ", PostgreSQL without fsync, TLS between the daemons", false: ", no TLS between the daemons"}[rig.IsBareos()])
	return w, nil
}

// daemonName names the daemons in the results.
func daemonName() string {
	if rig.IsBareos() {
		return "bareos"
	}
	return "bacula"
}

// jobs are those of all containers: ours and the daemon's own, with the same Options.
func (w *world) jobs() []rig.Job {
	var jobs []rig.Job
	for _, c := range w.cts {
		pair := func(suffix string, sink rig.Sink, accurate bool) {
			jobs = append(jobs,
				rig.Job{Name: "ours-" + c.name + suffix, Plugin: []string{""}, Options: "name=" + c.name, Sink: sink, Accurate: accurate},
				rig.Job{Name: "native-" + c.name + suffix, Files: []string{c.mount()}, Sink: sink, Accurate: accurate})
		}
		pair("", rig.Nothing, false)
		switch c.name {
		case "tree":
			if w.python != "" {
				jobs = append(jobs, w.pythonJob(c))
			}
			pair("-accurate", rig.Names, true)
		case "slow":
			pair("-kept", "", false)
		}
	}
	return jobs
}

// down takes all away.
func (w *world) down() error {
	var errs []error
	if w.sys != nil {
		w.sys.Stop()
	}
	if w.node != nil {
		errs = append(errs, w.node.Down())
	}
	if err := unix.Unmount(filepath.Join(w.dir, "daemons"), 0); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		errs = append(errs, fmt.Errorf("unmount %s/daemons: %w", w.dir, err))
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}

// say tells what happens, with the seconds since the beginning.
func (w *world) say(format string, args ...any) {
	_, _ = fmt.Fprintf(w.cfg.Out, "%7.1f s  %s\n", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}
