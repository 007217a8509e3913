// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// saves fails a job that has met nothing on the disks of a container although there is
// something: an option with a mistake must not look like a backup. An empty container is
// fine, and so is a job without changes.
func (b *backup) saves() error {
	if b.count.met > 0 {
		return nil
	}
	var why []string
	for r := range reasons {
		if line := b.left.by[r].line(); line != "" {
			why = append(why, b.rule(r)+" left out "+line)
		}
	}
	if b.left.unread > 0 {
		why = append(why, some(b.left.unread, "file or directory", "files and directories")+" could not be read")
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("nothing of container %s would be saved but its configuration: %s", b.container.Title(), strings.Join(why, "; "))
}

// unreadable counts what could not be read, or not completely. More of it than max_errors
// allows ends the job, and so does a snapshot that is no longer mounted.
func (b *backup) unreadable(name string, size int64, v *volume, err error) {
	b.left.unread++
	b.left.bytes += size
	if gone := v.mounted(); gone != nil {
		_ = b.job.fatal(gone)
		return
	}
	if limit := b.opts.MaxErrors; limit != nil && b.left.unread > *limit {
		_ = b.job.fatal(fmt.Errorf("max_errors=%d: %s could not be read, or not completely, the last one %s: %w",
			*limit, some(b.left.unread, "file or directory", "files and directories"), text.Name(name), err))
	}
}

// ReadFailed tells that content of the file at hand could not be read.
func (j *Job) ReadFailed(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.halted() {
		return
	}
	j.backup.torn(err)
}

// torn counts the file at hand, once: the daemon names it, since it asked for its content.
func (b *backup) torn(err error) {
	if b.next == nil || b.bad {
		return
	}
	b.bad = true
	b.missing(b.next)
	b.count.failed++
	b.unreadable(b.next.Name, b.next.Stat.Size, b.next.disk, err)
}

// mounted checks that the disk's snapshot is still mounted where it was. Without that
// its mount point would be an empty directory, and the backup would look like one.
func (v *volume) mounted() error {
	if v == nil {
		return nil // what is not of a disk
	}
	var now unix.Stat_t
	err := unix.Stat(v.dir, &now)
	if err == nil {
		err = v.isRoot(&now)
	}
	if err != nil {
		return fmt.Errorf("the snapshot of disk %s is not mounted at %s any more (%w): somebody has unmounted it, or its device is gone, see dmesg; what was saved of the disk is not complete, run the job again",
			v.mountName(), v.dir, err)
	}
	return nil
}

// isRoot checks that st is that of the root directory which measure has found.
func (v *volume) isRoot(st *unix.Stat_t) error {
	if st.Dev != v.root.dev || st.Ino != v.root.ino {
		return errors.New("another directory is there")
	}
	return nil
}
