// SPDX-License-Identifier: AGPL-3.0-only

package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config is what the daemons are told.
type Config struct {
	Jobs []Job
	// FD are further lines of the File Daemon's own resource.
	FD string
	// RestoreOptions are the restore job's own, without the plugin's name (Bareos).
	RestoreOptions string
	// Wrap are words put before the File Daemon's command.
	Wrap []string
	// Env are assignments for the File Daemon.
	Env []string
	// MorePlugins are names of further plugins that the File Daemon loads, if they are in its folder (Bareos).
	MorePlugins []string
}

// Job is a backup job with its FileSet.
type Job struct {
	Name string
	// Plugin are the FileSet's Plugin lines, without the plugin's name.
	Plugin []string
	// Options are the job's own options, without the plugin's name. Bacula 9.6
	// has none: there they are added to each Plugin line.
	Options string
	// Raw are Plugin lines of other plugins, as they are.
	Raw []string
	// Files are plain File lines.
	Files []string
	// Block is added to the FileSet's Options.
	Block string
	// Plain leaves out what a FileSet for containers should have: HardLinks and
	// XattrSupport.
	Plain    bool
	Accurate bool
	// Always makes it an Always Incremental job (Bareos).
	Always bool
	// Slow sends the data to a storage whose only volume, V0, is soon full: the
	// job stops in the midst of its data until Label makes another.
	Slow bool
	// Sink sends the data to /dev/null: Names keeps the names in the catalogue,
	// Nothing keeps nothing at all.
	Sink Sink
}

// Sink is a pool whose data goes nowhere, so that no storage can be what a job waits for.
type Sink string

// The sinks.
const (
	Names   Sink = "Names"
	Nothing Sink = "Nothing"
)

// storage names the job's storage and pool.
func (j Job) storage() string {
	if j.Sink != "" {
		return "Storage = Null; Spool Attributes = yes; Pool = " + string(j.Sink)
	}
	if j.Slow {
		return "Storage = Slow; Pool = Slow"
	}
	return "Storage = S; Pool = P"
}

// System is a Director, a Storage Daemon and a File Daemon.
type System struct {
	Node *Node
	// Dir holds all files of the daemons.
	Dir string
	cfg Config
	// family is what differs between Bacula and Bareos.
	family family
	ports  struct{ dir, fd, sd int }
	procs  map[string]*exec.Cmd
	ended  map[string]chan struct{}
	// queuedAt is how long the job log was when a job was queued.
	queuedAt map[int]int64
}

// family drives one family of daemons.
type family interface {
	// configure writes all configuration files.
	configure(*System) error
	// commands returns how Storage Daemon, File Daemon and Director are started.
	commands(*System) map[string][]string
	// console returns the console's command.
	console(*System) []string
	// prepare makes the catalogue, release takes down what it has started.
	prepare(*System) error
	release(*System)
	// jobOptions and restoreOptions say how options reach the plugin.
	pluginLine(s *System, j Job, line string) string
	restore(s *System, r Restore) (string, error)
	// files prints of each file of a job whether it was saved, 1 or 0, and its name as hex digits.
	files(s *System, job int) (string, error)
}

// IsBareos reports whether the scenarios run on Bareos.
func IsBareos() bool { return os.Getenv("E2E_BAREOS") != "" }

// Start starts the daemons in a new directory.
func Start(n *Node, dir string, cfg Config) (*System, error) {
	s := &System{Node: n, Dir: dir, cfg: cfg, procs: map[string]*exec.Cmd{}, ended: map[string]chan struct{}{}, queuedAt: map[int]int64{}}
	if prefix := os.Getenv("E2E_BAREOS"); prefix != "" {
		s.family = bareos{prefix}
	} else {
		s.family = bacula{}
	}
	for _, d := range []string{"dir", "sd", "fd", "volumes", "slow", "plugins", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if err := s.Plugin(true); err != nil {
		return nil, err
	}
	if err := s.choosePorts(); err != nil {
		return nil, err
	}
	if err := s.family.prepare(s); err != nil {
		s.Stop()
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	if err := s.family.configure(s); err != nil {
		s.Stop()
		return nil, fmt.Errorf("configuration: %w", err)
	}
	for _, d := range []string{"sd", "fd", "dir"} {
		if err := s.StartDaemon(d); err != nil {
			s.Stop()
			return nil, err
		}
	}
	if slices.ContainsFunc(cfg.Jobs, func(j Job) bool { return j.Slow }) {
		if err := s.Label("V0", smallVolume); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// choosePorts takes three free ports on loopback.
func (s *System) choosePorts() error {
	for _, p := range []*int{&s.ports.dir, &s.ports.fd, &s.ports.sd} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		*p = l.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// StartDaemon starts one of dir, sd, fd and waits until it listens.
func (s *System) StartDaemon(which string) error {
	argv := s.family.commands(s)[which]
	if which == "fd" {
		argv = append(append([]string{Build("lab"), "exec", s.Node.Dir, "--"}, s.cfg.Wrap...), argv...)
	}
	log, err := os.OpenFile(filepath.Join(s.Dir, "log", which+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = filepath.Join(s.Dir, which)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if which == "fd" {
		cmd.Env = append(os.Environ(), s.cfg.Env...)
	}
	ended := make(chan struct{})
	started := make(chan error)
	go func() {
		// The signal comes when the thread dies that has started it (prctl(2)).
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", which, err)
	}
	s.procs[which], s.ended[which] = cmd, ended
	port := map[string]int{"dir": s.ports.dir, "fd": s.ports.fd, "sd": s.ports.sd}[which]
	if !listens(port, ended) {
		b, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s does not listen: %s", which, b)
	}
	return nil
}

// listens waits until somebody listens on a port, a minute at most, or until the
// daemon has ended. It does not connect: the daemons would take that for an attack.
func listens(port int, ended <-chan struct{}) bool {
	want := fmt.Sprintf(":%04X 00000000:0000 0A", port)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			return false
		default:
		}
		if b, err := os.ReadFile("/proc/net/tcp"); err == nil && strings.Contains(string(b), want) {
			return true
		}
	}
	return false
}

// Pid returns the File Daemon's process number.
func (s *System) Pid() int { return s.procs["fd"].Process.Pid }

// Port returns the port that the File Daemon listens on.
func (s *System) Port() int { return s.ports.fd }

// Running reports whether a daemon was started and not stopped.
func (s *System) Running(which string) bool { return s.procs[which] != nil }

// StopDaemon sends a signal to a daemon and waits for its end.
func (s *System) StopDaemon(which string, sig syscall.Signal) {
	cmd := s.procs[which]
	if cmd == nil {
		return
	}
	delete(s.procs, which)
	_ = cmd.Process.Signal(sig)
	select {
	case <-s.ended[which]:
	case <-time.After(5 * time.Second):
		// A Director waits for jobs that will never end.
		_ = cmd.Process.Kill()
		<-s.ended[which]
	}
}

// Plugin puts the plugin into its place, or takes it away: the File Daemon that is
// started next has it, or has it not.
func (s *System) Plugin(there bool) error {
	if !there {
		return os.Remove(filepath.Join(s.Dir, "plugins/vz7ct-fd.so"))
	}
	return s.PluginFrom("vz7ct-fd.so")
}

// PluginFrom puts another build of the plugin into its place.
func (s *System) PluginFrom(build string) error {
	// A link would be ignored by the daemons.
	if out, err := command(time.Minute, "cp", "--remove-destination", Build(build), filepath.Join(s.Dir, "plugins/")); err != nil {
		return fmt.Errorf("copy plugin: %w: %s", err, out)
	}
	return nil
}

// Stop ends all daemons.
func (s *System) Stop() {
	for _, d := range []string{"dir", "fd", "sd"} {
		s.StopDaemon(d, syscall.SIGTERM)
	}
	s.family.release(s)
}

// Console runs console commands and returns what was printed.
func (s *System) Console(lines ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	argv := s.family.console(s)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(strings.Join(append(lines, "quit"), "\n") + "\n")
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return string(out), errors.New("console: no end within 10 minutes")
	}
	if err != nil {
		return string(out), fmt.Errorf("console: %w: %s", err, out)
	}
	return string(out), nil
}

var queued = regexp.MustCompile(`Job queued\. JobId=(\d+)`)

// begin runs a console command that queues a job and returns its number.
func (s *System) begin(line string) (int, error) {
	var size int64
	if info, err := os.Stat(s.jobLog()); err == nil {
		size = info.Size()
	}
	out, err := s.Console(line)
	if err != nil {
		return 0, err
	}
	m := queued.FindStringSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("no job was queued: %s", out)
	}
	id, err := strconv.Atoi(m[1])
	s.queuedAt[id] = size
	return id, err
}

// Begin starts a backup job and returns its number.
func (s *System) Begin(job string, words ...string) (int, error) {
	line := "run job=" + job + " "
	if !strings.Contains(strings.Join(words, " "), "level=") {
		line += "level=Full "
	}
	return s.begin(line + strings.Join(words, " ") + " yes")
}

// Run runs a job that is no backup to its end.
func (s *System) Run(job string) (Result, error) {
	id, err := s.begin("run job=" + job + " yes")
	if err != nil {
		return Result{}, err
	}
	return s.Wait(id)
}

// Backup runs a backup job to its end.
func (s *System) Backup(job string, words ...string) (Result, error) {
	id, err := s.Begin(job, words...)
	if err != nil {
		return Result{}, err
	}
	return s.Wait(id)
}

// Restore is a restore command.
type Restore struct {
	// JobIDs are the jobs to restore from. Without them the Director chooses those of the
	// newest state of FileSet, which is called as its job.
	JobIDs  []int
	FileSet string
	// Options are for the plugin, without its name.
	Options string
	// Files are names to restore; none means all.
	Files []string
	// Where is put before names, Regex changes them; Where "" is none.
	Where, Regex string
	// Replace is the console's word; "" is always.
	Replace string
	// Raw puts the options into the command as they are, with the plugin's name
	// or without it (Bareos).
	Raw bool
}

// Restore runs a restore to its end.
func (s *System) Restore(r Restore) (Result, error) {
	id, err := s.BeginRestore(r)
	if err != nil {
		return Result{}, err
	}
	return s.Wait(id)
}

// BeginRestore starts a restore and returns its number.
func (s *System) BeginRestore(r Restore) (int, error) {
	line, err := s.family.restore(s, r)
	if err != nil {
		return 0, err
	}
	return s.begin(line)
}

// restoreLine puts together what both consoles understand.
func restoreLine(r Restore, client string) string {
	var ids []string
	for _, id := range r.JobIDs {
		ids = append(ids, strconv.Itoa(id))
	}
	words := []string{"restore", "client=" + client, "restorejob=restore"}
	if len(ids) > 0 {
		words = append(words, "jobid="+strings.Join(ids, ","))
	} else {
		words = append(words, "fileset="+r.FileSet, "current", "select")
	}
	for _, f := range r.Files {
		words = append(words, "file="+f)
	}
	switch {
	case r.Regex != "":
		words = append(words, "regexwhere="+r.Regex)
	case r.Where != "":
		words = append(words, "where="+r.Where)
	default:
		words = append(words, "where=/")
	}
	if r.Replace != "" {
		words = append(words, "replace="+r.Replace)
	}
	if len(r.Files) == 0 {
		words = append(words, "all")
	}
	return strings.Join(append(words, "done", "yes"), " ")
}

// smallVolume is the size of a volume that no job of the scenarios fits into.
const smallVolume = 1 << 20

// Label makes a volume for the slow storage, of so many bytes; 0 is no limit.
func (s *System) Label(name string, limit int) error {
	lines := []string{fmt.Sprintf("label storage=Slow pool=Slow volume=%s slot=0", name)}
	if limit > 0 {
		lines = append(lines, fmt.Sprintf("update volume=%s maxvolbytes=%d", name, limit))
	}
	out, err := s.Console(append(lines, "mount storage=Slow slot=0")...)
	if err != nil || !strings.Contains(out, "successfully created") {
		return fmt.Errorf("label: %w: %s", err, out)
	}
	return nil
}

// Cancel cancels a job.
func (s *System) Cancel(id int) error {
	_, err := s.Console(fmt.Sprintf("cancel jobid=%d yes", id))
	return err
}
