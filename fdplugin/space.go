// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/ploop"
)

// room checks that the file systems of all images have room for what is written
// while the snapshot exists.
func (b *backup) room() error {
	for _, v := range b.volumes {
		if err := roomFor(v, b.opts.MinFree, 0); err != nil {
			return err
		}
	}
	return nil
}

// roomFor compares what is free beside a disk's images with what must stay free
// and what the merge may need.
func roomFor(v *volume, m MinFree, merge uint64) error {
	dir := filepath.Dir(v.disk.Descriptor)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("measure free space of %s: %w", dir, err)
	}
	free := st.Bavail * uint64(st.Bsize)
	need := m.Of(st.Blocks * uint64(st.Bsize))
	if free >= need+merge {
		return nil
	}
	extra := ""
	if merge > 0 {
		extra = fmt.Sprintf(", and up to %s to merge what was written since the snapshot", text.Size(int64(merge)))
	}
	return fmt.Errorf("the file system of %s has %s free; min_free wants %s%s: make room, or lower min_free",
		dir, text.Size(int64(free)), text.Size(int64(need)), extra)
}

// watch looks at the free space while a snapshot exists. If it gets low, it ends
// the snapshot before the containers get I/O errors, even if the daemon waits
// for a volume just then; the job fails at its next call. It also takes
// Virtuozzo's lock again when a start has removed it.
type watch struct {
	quit, done chan struct{}
}

// lookEvery is how often the free space is looked at. A container that writes
// 500 MB/s fills 2.5 GB in between.
const lookEvery = 5 * time.Second

// watchRoom begins to look, whenever tick says so.
func watchRoom(b *backup, tick <-chan time.Time) *watch {
	w := &watch{make(chan struct{}), make(chan struct{})}
	go func() {
		defer close(w.done)
		defer func() {
			if p := recover(); p != nil {
				// Without it the file system could be filled.
				b.job.Log.Log(logrus.FatalLevel, fmt.Sprintf("internal fault in the watch over free space, please report it: %v", p))
				b.job.Cancel()
			}
		}()
		for {
			select {
			case <-w.quit:
				return
			case <-tick:
				b.job.relock()
				if b.look() {
					return
				}
			}
		}
	}()
	return w
}

// stop ends the watch. It may be called on nil. The job's lock is held by the
// caller: the watch never waits for it.
func (w *watch) stop() {
	if w == nil {
		return
	}
	select {
	case <-w.quit:
	default:
		close(w.quit)
	}
	<-w.done
}

// look ends the snapshot if there is too little room, and reports whether it
// has. While the job's thread is in the plugin nothing can be done here; the
// next look comes soon.
func (b *backup) look() bool {
	var low error
	for _, v := range b.volumes {
		if low = roomFor(v, b.opts.MinFree, v.written()); low != nil {
			break
		}
	}
	if low == nil || !b.job.mu.TryLock() {
		return false
	}
	defer b.job.mu.Unlock()
	if b.job.backup != b || b.starved != nil {
		return true
	}
	b.starved = fmt.Errorf("the snapshot was given up: %w", low)
	b.release()
	b.job.takeBack()
	return true
}

// written returns how large the image is that takes the writes.
func (v *volume) written() uint64 {
	d, err := ploop.Read(v.disk.Descriptor)
	if err != nil {
		return 0
	}
	for _, i := range d.Images {
		var st unix.Stat_t
		if i.GUID == d.Top && unix.Stat(i.File, &st) == nil && len(d.Images) > 1 {
			return uint64(st.Blocks) * 512
		}
	}
	return 0
}
