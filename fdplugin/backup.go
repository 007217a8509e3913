// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/internal/walk"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// backup is one command of a FileSet at work: one container.
type backup struct {
	job      *Job
	opts     Options
	estimate bool

	container prlctl.Container
	place     prlctl.Place
	owner     string // what .owner said before the snapshot
	gaveWay   bool   // Virtuozzo's lock was given up for a wait
	volumes   []*volume
	leftDisks []*volume // that are not saved
	// group is the control group that is frozen around the snapshots, "" if none is.
	group string
	watch *watch
	// starved is set by the watch when it has ended the snapshot.
	starved error

	// since and accurate are the daemon's answers of that name.
	since    int64
	accurate bool

	stream  *stream
	next    *item // what the daemon is to be told of, nil at the end
	told    bool  // the daemon has been told of it
	lost    bool  // its content could not be opened
	bad     bool  // something of it could not be read
	file    int   // descriptor of its content, -1 if it is not open
	early   bool  // it is open, and the daemon has not asked for it yet
	pace    *pace // nil if it reads as fast as it can
	links   *links
	past    *history
	places  *places
	baseRun uint32 // number of the run that a partial job goes by, 0 if it is not known
	// reselected: that run has chosen by other options.
	reselected bool
	warned     bool // about the FileSet's options
	paths      paths
	count      counters
	left       leavings
	merge      time.Duration
	started    time.Time
}

// begin is a backup up to its first file, in one line. What it has done to the
// node when it fails is taken back by end.
func (b *backup) begin() error {
	b.file, b.started = -1, time.Now()
	if b.job.partial() {
		b.since, b.accurate = b.job.Host.Since(), b.job.Host.Accurate()
	}
	if err := b.job.sweep(); err != nil {
		return err
	}
	if err := b.find(); err != nil {
		return err
	}
	if err := b.job.openJournal(b.container.Name, b.container.UUID); err != nil {
		return err
	}
	b.job.phase("waiting for locks")
	if err := b.job.lock(b.opts, b.container.UUID, b.opts.BlockCompact); err != nil {
		return err
	}
	if err := b.predecessors(); err != nil {
		return err
	}
	if err := b.job.lockContainer(b.opts, b.container.UUID, b.place.Lock); err != nil {
		return err
	}
	// A wait for locks may have been long.
	if err := b.find(); err != nil {
		return err
	}
	if err := canBeSaved(b.container); err != nil {
		return err
	}
	if err := b.readOwner(); err != nil {
		return err
	}
	if err := b.readDisks(); err != nil {
		return err
	}
	if err := b.lookBack(); err != nil {
		return err
	}
	if err := b.findGroup(); err != nil {
		return err
	}
	if err := b.blockersInLiveRoot(); err != nil {
		return err
	}
	b.nameOtherMounts()
	if err := b.room(); err != nil {
		return err
	}
	if err := b.job.Node.mountDir(); err != nil {
		return err
	}
	b.job.phase("making snapshots")
	if err := b.safe(); err != nil {
		return err
	}
	if err := b.afterGivingWay(); err != nil {
		return err
	}
	if err := b.snapshot(); err != nil {
		return err
	}
	b.watch = watchRoom(b, time.Tick(lookEvery))
	if err := b.mount(); err != nil {
		return err
	}
	if err := b.blockersInSnapshot(); err != nil {
		return err
	}
	if err := b.openStream(); err != nil {
		return err
	}
	b.announceLevel()
	b.job.phase("saving files")
	if !b.advance() {
		return errors.Join(b.job.ctx.Err(), errors.New("there is nothing to save"))
	}
	return nil
}

// find looks the container up.
func (b *backup) find() error {
	c, err := b.job.containerOf(b.opts)
	if err != nil {
		return err
	}
	p, err := b.job.Node.Containers.Describe(b.job.ctx, c.UUID)
	if err != nil {
		if state := canBeSaved(c); state != nil {
			return state // an invalid one
		}
		return fmt.Errorf("container %s (%s): %w", c.Title(), c.UUID, err)
	}
	if was := b.container; was.UUID != "" && was.UUID != c.UUID {
		// The locks are those of the other one.
		return fmt.Errorf("while the job waited, the name %s has become that of container %s: when the job began, it was that of %s. Run the job again", text.Name(c.Name), c.UUID, was.UUID)
	}
	b.container, b.place = c, p
	return nil
}

// canBeSaved judges the state of a container. One that is just becoming something
// else is locked by whoever does that, as a rule: it is judged after the wait for
// the lock.
func canBeSaved(c prlctl.Container) error {
	switch c.State {
	case "running", "mounted", "stopped", "suspended":
		return nil
	default:
		return fmt.Errorf("container %s (%s) is in state %q: it can be saved when it is running, mounted, stopped or suspended", c.Title(), c.UUID, c.State)
	}
}

// safe checks that a snapshot of each disk loses nothing, before the first is made.
func (b *backup) safe() error {
	stuck := map[string]error{}
	c := b.job.cleaner()
	c.alone = true
	for _, v := range b.volumes {
		// Of disks outside of private areas the sweep does not know.
		if err := c.strangers(b.job.ctx, false, stuck, filepath.Dir(v.disk.Descriptor)); err != nil {
			return err
		}
		if err := b.job.stuck[v.disk.Descriptor]; err != nil {
			return fmt.Errorf("disk %s: no further snapshot is made where an earlier job has left something: %w", v.mountName(), err)
		}
		if err := b.settled(v); err != nil {
			return err
		}
	}
	return nil
}

// mount makes every frozen disk readable.
func (b *backup) mount() error {
	j := b.job
	begin := time.Now()
	for _, v := range b.volumes {
		if err := j.makeMountDir(v.dir); err != nil {
			return err
		}
		if err := j.journal.Intend(undo.Step{Do: undo.Mounted, Descriptor: v.disk.Descriptor, Snapshot: v.snapshot, Dir: v.dir}); err != nil {
			return err
		}
		if err := j.call(func(ctx context.Context) error {
			return j.Node.Snapshots.Mount(ctx, v.disk.Descriptor, v.snapshot, v.dir)
		}, v.disk.Descriptor, v.dir); err != nil {
			return fmt.Errorf("mount snapshot of disk %s: %w", v.mountName(), err)
		}
		if err := v.measure(j.Node.Mounts); err != nil {
			return err
		}
	}
	j.Log.Infof("snapshot mounted in %s", text.Duration(time.Since(begin)))
	return nil
}

// makeMountDir makes a directory to mount at.
func (j *Job) makeMountDir(dir string) error {
	if err := j.journal.Intend(undo.Step{Do: undo.MadeDir, Dir: dir}); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make mount directory: %w", err)
	}
	return nil
}

// advance goes to the next entry and reports whether there is one.
func (b *backup) advance() bool {
	b.close()
	if b.told && !b.lost {
		b.links.saved(b.next, b.job.Host)
	}
	b.told, b.lost, b.bad = false, false, false
	for {
		if b.job.ctx.Err() != nil || b.job.failed != nil {
			b.next = nil
			return false
		}
		it, err := b.stream.Next()
		var left *walk.Error
		switch {
		case err == io.EOF:
			b.next = nil
			b.count.complete = true
			if err := b.saves(); err != nil {
				_ = b.job.fatal(err)
			}
			return false
		case errors.As(err, &left):
			b.count.failed++
			b.job.warnFile(b.count.failed, "not saved: %s %s: %v", left.Op, text.Name(left.Path), left.Err)
			b.unreadable(left.Path, 0, nil, left.Err)
			continue
		case err != nil:
			b.next = nil
			_ = b.job.fatal(err)
			return false
		}
		b.next = it
		return true
	}
}

// current tells the daemon of the entry that advance has found.
func (b *backup) current(flags Flags) (*Entry, error) {
	if b.next == nil {
		return nil, ErrStop
	}
	b.judgeFileSet(flags)
	e := &b.next.Entry
	if !b.told {
		b.told = true
		b.links.replace(b.next)
		b.count.add(e)
		e.Watched = e.Kind == Regular && b.opts.MaxErrors != nil
		e.Paced = e.Kind == Regular && b.pace != nil
		if w := b.paths.judge(e.Name); w != "" && e.Kind != Object {
			b.job.Log.Warnf("%s", w)
		}
		b.job.count(b.count.entries(), b.count.bytes)
		if e.Kind == Regular && b.job.Daemon.Plain && !flags.Encrypted && b.hasHoles() {
			e.Holes = Pieces
		}
	}
	return e, nil
}

// judgeFileSet warns once of FileSet options by which data is lost silently.
func (b *backup) judgeFileSet(flags Flags) {
	if b.warned {
		return
	}
	b.warned = true
	var add []string
	if b.job.Daemon.OwnLinks && !flags.HardLinks {
		add = append(add, "HardLinks = yes (without it every hard link is saved and restored as a file of its own)")
	}
	if !b.job.Daemon.AlwaysXattrs && !flags.Xattrs {
		add = append(add, "XattrSupport = yes (without it ACLs, capabilities, all extended attributes and the flags of chattr are lost)")
	}
	if len(add) > 0 {
		b.job.Log.Warnf("the FileSet's Options should have: %s", strings.Join(add, "; "))
	}
}

// release lets go of everything that keeps the snapshot's mounts busy. A
// descriptor that the daemon may be reading from is exchanged under its hands.
func (b *backup) release() {
	if b.file >= 0 {
		if null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Dup3(null, b.file, unix.O_CLOEXEC)
			unix.Close(null)
		}
	}
	if b.stream != nil {
		b.stream.Close()
	}
}

// end takes everything back and writes the summary.
func (b *backup) end() {
	b.watch.stop()
	b.close()
	b.release()
	b.remember()
	j := b.job
	j.takeBack()
	j.unlock()
	b.links.close()
	if b.count.complete {
		b.tellLeft()
	}
	if b.count.complete && !b.estimate && j.failed == nil {
		b.summary()
	}
}
