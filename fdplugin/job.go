// SPDX-License-Identifier: AGPL-3.0-only

// Package fdplugin is what the plugin does, in words of Go: it judges options,
// backs up containers and restores them. One Job lives as long as one job of the
// daemon.
//
// It holds no C, starts no program itself and knows no number of a daemon's
// interface: package cgo translates. What goes wrong with one file is decided
// here and nowhere else.
package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/internal/walk"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// Containers is what a job asks of the node's containers; prlctl.Client is one.
type Containers interface {
	List(context.Context) ([]prlctl.Container, error)
	Describe(ctx context.Context, uuid string) (prlctl.Place, error)
	Owns(private string) (ours bool, owner string, err error)
	Areas() (pattern string, err error)
}

// Registry makes restored containers known; prlctl.Client is one.
type Registry interface {
	PrivateFor(ctid string) (string, error)
	RootFor(ctid string) (string, error)
	HasTemplate(name string) (bool, error)
	Register(ctx context.Context, private string) error
	Start(ctx context.Context, uuid string) error
	Stop(ctx context.Context, uuid string) error
	Unregister(ctx context.Context, uuid string) error
}

// Snapshots makes disks readable as they were; ploop.Client is one.
type Snapshots interface {
	Snapshot(ctx context.Context, descriptor, uuid string) error
	Mount(ctx context.Context, descriptor, uuid, dir string) error
	Unmount(ctx context.Context, descriptor, uuid, dir string) error
	Merge(ctx context.Context, descriptor, uuid string) error
	Users(ctx context.Context, descriptor string) ([]string, error)
	Repair(ctx context.Context, descriptor, uuid string) error
	Settle(descriptor, uuid string) error
}

// Images makes new disks, and mounts disks to be written to; ploop.Client is one.
type Images interface {
	Init(context.Context, ploop.New) error
	MountWritable(ctx context.Context, descriptor, dir string) error
	UnmountWritable(ctx context.Context, descriptor, dir string) error
	// Openers names who has a disk open.
	Openers(ctx context.Context, descriptor string) ([]string, error)
}

// Freezer lets all processes of a container stand still; freezer.Client is one.
type Freezer interface {
	// Find returns the control group of a container, by the pid of its init, if it
	// can be frozen and let go safely.
	Find(pid int, ctid string) (group string, err error)
	// Freeze returns when all of them stand still; if it fails, none does. They go on
	// with thaw, which tells for how long they stood still, and by themselves when
	// this process dies or after a minute.
	Freeze(ctx context.Context, group string) (thaw func() (time.Duration, error), err error)
	// Frozen reports whether all of them stand still now.
	Frozen(group string) (bool, error)
	// Thaw lets them go on, if they do not.
	Thaw(group string) error
}

// Node is where a job works: the tools and the fixed places of a machine.
type Node struct {
	Containers Containers
	Registry   Registry
	Snapshots  Snapshots
	Images     Images
	Freezer    Freezer
	// State is the plugin's own directory, Mounts that of its mount points,
	// Scripts that of the containers' action scripts, Compact pcompact's pid file,
	// Uptime the kernel's word on how long it runs.
	State, Mounts, Scripts, Compact, Uptime string
	// Keep is told which file the tools that change the node keep open until they
	// end: what is locked by it stays locked. Finish starts a process that takes
	// back what is left of this job, once its tools have ended. Both may be nil.
	Keep   func(*os.File)
	Finish func() error
	// Pause is how long a wait for a tool is between two looks; 0 means a second.
	Pause time.Duration
	// Free, if set, is asked instead of the kernel how many bytes are free in the file
	// system of a directory.
	Free func(dir string) (uint64, error)
}

func (n Node) pause() time.Duration {
	if n.Pause == 0 {
		return time.Second
	}
	return n.Pause
}

func (n Node) keep(f *os.File) {
	if n.Keep != nil {
		n.Keep(f)
	}
}

// The places of a real node.
const (
	StateDir    = "/var/lib/vz7ct"
	MountDir    = "/mnt/bareos"
	ScriptDir   = "/etc/vz/conf"
	CompactFile = "/var/run/pcompact.pid"
	UptimeFile  = "/proc/uptime"
)

// Job is one job of the daemon. All methods but Cancel are called on the job's
// own thread, one at a time.
type Job struct {
	// Version is the plugin's, Name the daemon's name of the job.
	Version, Name string
	Log           *logrus.Entry
	Host          Host
	Daemon        Daemon
	Node          Node

	ctx    context.Context
	cancel context.CancelFunc
	layers layers
	level  byte
	// toolWait is how long a tool is awaited; busy is what tools work on that were
	// not awaited to their end.
	toolWait time.Duration
	busy     []string
	progress Progress
	// objects are the manifests that came as restore objects, by UUID.
	objects map[string]*manifest
	// unread is what a backup could not read.
	unread unread
	// named is how many files with which something went wrong are named, if that is more
	// than maxWarnings.
	named int64
	// polite is what the job's thread leaves to others.
	polite politeness
	// stayed are containers of which something stays although their restore has failed.
	stayed map[string]bool

	// oneByOne: of a tree that is walked nothing is looked at before its turn, for tests in
	// which it changes.
	oneByOne bool

	// mu guards what follows against the watch over the free space.
	mu      sync.Mutex
	journal *undo.Journal
	locks   []held
	backup  *backup
	restore *restoration
	failed  error
	// stuck are disks with something that an earlier job has left and that could
	// not be taken back, by descriptor.
	stuck map[string]error
}

// Open makes the job ready. It does nothing that could be noticed: it is called
// in every job of the node.
func (j *Job) Open() {
	j.ctx, j.cancel = context.WithCancel(context.Background())
	j.objects = map[string]*manifest{}
}

// Cancel ends the job at its next step. It may be called on any thread.
func (j *Job) Cancel() { j.cancel() }

// AddOptions takes an option string, whoever it is for; what is ours is judged
// at our own command.
func (j *Job) AddOptions(s string) { j.layers.add(s) }

// SetLevel takes the daemon's letter of the job's level.
func (j *Job) SetLevel(level byte) { j.level = level }

// maxObjects is how many containers one restore can be of.
const maxObjects = 1024

// AddObject takes a restore object that the job with the number given has made.
// Objects of other plugins are ignored.
func (j *Job) AddObject(name string, jobID int, data []byte) {
	if len(name) < len(objectName) || name[:len(objectName)] != objectName {
		return
	}
	m, err := decodeObject(data)
	if err != nil {
		// Seen with Bacula 9.6.7 on an SQLite catalogue, which delivers zeros. The
		// manifest among the files serves as well.
		j.Log.Infof("restore object %s is not used: %v; the manifest among the files takes its place", text.Name(name), err)
		return
	}
	if j.objects[m.UUID] == nil && len(j.objects) == maxObjects {
		j.Log.Infof("restore object %s is not used: there are more than %d containers", text.Name(name), maxObjects)
		return
	}
	m.jobID = jobID
	j.objects[m.UUID] = newest(j.objects[m.UUID], m)
}

// ErrStop is returned when there is nothing to be done any more, for a reason
// that the daemon knows or has been told of.
var ErrStop = errors.New("stop")

// fatal ends the job with a message and returns ErrStop.
func (j *Job) fatal(err error) error {
	if j.failed == nil {
		j.failed = err
		if !errors.Is(err, context.Canceled) {
			j.Log.Log(logrus.FatalLevel, err)
		}
	}
	return ErrStop
}

// maxWarnings is how many files of one job are named that could not be saved, or not
// restored: a tenant can make any number of them, and the job log is a database's.
const maxWarnings = 1000

// warnFile warns of the n-th file with which something went wrong.
func (j *Job) warnFile(n int64, format string, args ...any) {
	switch {
	case n <= max(maxWarnings, j.named):
		j.Log.Warnf(format, args...)
	case n == max(maxWarnings, j.named)+1:
		j.Log.Warnf("more than %s files: further ones are counted, and not named", text.Count(n-1))
	}
}

// StartBackup begins a backup by the command of the FileSet.
func (j *Job) StartBackup(cmd string) error { return j.start(cmd, false) }

// StartEstimate begins an estimate: the same, but no content will be asked for.
func (j *Job) StartEstimate(cmd string) error { return j.start(cmd, true) }

func (j *Job) start(cmd string, estimate bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.endBackup()
	j.failed = nil
	opts, line, err := j.layers.effective(cmd, backupPhase)
	if err == nil {
		err = opts.Choice.readLists()
	}
	if err == nil && opts.Name == "" && opts.UUID == "" {
		err = errors.New("neither name nor uuid is given: which container is to be saved?")
		if estimate {
			err = errors.New("neither name nor uuid is given: for an estimate they must be in the FileSet, since the daemon does not tell plugins the options of the Job then")
		}
	}
	if err != nil {
		return j.fatal(err)
	}
	j.announce(line)
	j.toolWait, j.named = opts.ToolWait, 0
	if opts.MaxErrors != nil {
		j.named = *opts.MaxErrors // up to them the job goes on
	}
	b := &backup{job: j, opts: opts, estimate: estimate}
	j.polite.want = opts.Polite
	if opts.ReadRate > 0 {
		b.pace = newPace(opts.ReadRate)
	}
	j.backup = b
	if err := b.begin(); err != nil {
		j.fatal(err)
		j.endBackup()
		return ErrStop
	}
	j.standBack()
	return nil
}

// announce writes the first line of a job of ours.
func (j *Job) announce(line string) {
	j.Log.Infof("%s %s on %s: %s", PluginName, j.Version, j.Daemon.Name, line)
	for _, s := range j.layers.ignored {
		j.Log.Debugf("option string %q is not for %s and was ignored", s, PluginName)
	}
}

// NextFile returns the entry that is to be saved now. It returns ErrStop at the
// end and after a failure, which has been reported.
func (j *Job) NextFile(flags Flags) (*Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.halted() {
		return nil, j.stopped()
	}
	return j.backup.current(flags)
}

// halted reports whether the backup has ended, failed or was cancelled.
func (j *Job) halted() bool {
	return j.backup == nil || j.failed != nil || j.backup.starved != nil || j.ctx.Err() != nil
}

// stopped reports once why the watch has ended the job, if it has.
func (j *Job) stopped() error {
	if b := j.backup; b != nil && b.starved != nil {
		return j.fatal(b.starved)
	}
	return ErrStop
}

// FileDone tells that the daemon is done with the entry, and returns whether
// there is another one.
func (j *Job) FileDone() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.halted() {
		_ = j.stopped()
		return false
	}
	if j.backup.advance() {
		return true
	}
	j.endBackup()
	return false
}

// OpenFile opens the content of the current entry for reading. The descriptor
// stays the Job's: CloseFile closes it.
func (j *Job) OpenFile() (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.halted() {
		return -1, ErrStop
	}
	return j.backup.open()
}

// CloseFile closes what OpenFile has opened. It may be called without need.
func (j *Job) CloseFile() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.halted() {
		j.backup.readOut()
	}
	if j.backup != nil {
		j.backup.close()
	}
}

// Xattrs reads the extended attributes of the current entry.
func (j *Job) Xattrs() []walk.Xattr {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.halted() {
		return nil
	}
	return j.backup.xattrs()
}

// EndBackup takes back whatever a backup has done to the node. It may be called
// at any time, and more than once.
func (j *Job) EndBackup() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.endBackup()
}

func (j *Job) endBackup() {
	j.standUp()
	if j.backup == nil {
		return
	}
	_ = j.stopped()
	j.backup.end()
	j.backup = nil
}

// Close ends the job. Nothing of it is left after that but what is in the
// journal because it could not be taken back.
func (j *Job) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.endBackup()
	j.endRestore()
	j.cancel()
}

// mean reports whether the options mean this container.
func (o Options) mean(c prlctl.Container) bool {
	return (o.UUID == "" || c.Is(o.UUID)) && (o.Name == "" || c.Name == o.Name)
}

// Abandon lets go of all that the job holds and takes nothing back: the last resort
// after faults in Close. What it has done is in its journal, and that can be locked by
// whoever looks for what dead jobs have left.
func (j *Job) Abandon() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cancel()
	for _, let := range []func(){
		j.standUp,
		func() { j.backup.watch.stop() }, func() { j.backup.close() }, func() { j.backup.release() }, func() { j.backup.links.close() },
		func() { j.restore.manifest.Close() }, func() { j.restore.file.Abort() },
		func() {
			for _, t := range j.restore.targets() {
				t.abandon()
			}
		},
		func() { j.Node.keep(nil) }, func() { j.journal.Abandon() }, j.unlock,
	} {
		func() {
			defer func() { _ = recover() }() // it was not there, or cannot be helped
			let()
		}()
	}
	j.backup, j.restore, j.journal = nil, nil, nil
}

// containerOf finds the container that the options mean.
func (j *Job) containerOf(o Options) (prlctl.Container, error) {
	list, err := j.Node.Containers.List(j.ctx)
	if err != nil {
		return prlctl.Container{}, fmt.Errorf("list containers: %w", err)
	}
	var found []prlctl.Container
	for _, c := range list {
		if o.mean(c) {
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return prlctl.Container{}, fmt.Errorf("%d containers are called %q: give uuid as well", len(found), o.Name)
	}
	for _, c := range list {
		if c.Is(o.UUID) || (o.Name != "" && c.Name == o.Name) {
			return prlctl.Container{}, fmt.Errorf("name=%s and uuid=%s do not belong together: this node has container %q with uuid %s",
				text.Name(o.Name), o.UUID, text.Name(c.Name), c.UUID)
		}
	}
	return prlctl.Container{}, fmt.Errorf("name=%q uuid=%q: %w; see prlctl list -a", o.Name, o.UUID, prlctl.ErrNotFound)
}
