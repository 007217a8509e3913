// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"path"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// partial reports whether the job saves only what has changed since another one.
func (j *Job) partial() bool { return j.level == 'I' || j.level == 'D' }

// announceLevel says what the level means for this job.
func (b *backup) announceLevel() {
	j := b.job
	if !j.partial() {
		return
	}
	since := "the job before"
	if name := j.Host.Previous(); name != "" {
		since = "job " + text.Name(name)
	}
	how := "by the times of files, so that what was deleted is not recorded (Accurate = yes in the Job does)"
	if j.Host.Accurate() {
		how = "compared with the catalogue (Accurate), and what was deleted"
	}
	j.Log.Infof("level %c: saved is what has changed since %s, %s; the container's configuration always", j.level, since, how)
}

// take decides whether an item of a disk is sent now: the FileSet must let it pass, and
// in a partial job it must have changed. Files with several names wait for the others, and
// directories for those.
func (b *backup) take(v *volume, it *item) bool {
	it.still, it.disk = true, v
	// A directory was asked about before it was entered; for the others, and for the
	// settings that go with the file, the daemon is asked now.
	if !b.accepts(it) && it.Kind != Directory {
		b.leave(byFileSet, strings.TrimPrefix(path.Join(v.catalogue, it.path), "/"), &it.Stat)
		return false
	}
	if it.path != "" && !b.marks(it.path) {
		b.count.met++
	}
	if !b.job.partial() {
		return true
	}
	changed := b.changed(it) || it.moved || b.places.missed(missedEntry, v.conf.UUID, it.path, b.baseRun)
	if linked(it) && v.groups.wait(it, changed) {
		return false
	}
	if !changed {
		b.count.unchanged++
		return false
	}
	return it.Kind != Directory || !v.groups.follow(it)
}

// accepts asks the daemon whether the Options of the FileSet let the item pass. They
// are made for names as the daemon finds them, without a slash at the end.
func (b *backup) accepts(it *item) bool {
	if it.Kind != Directory {
		return b.job.Host.Accepts(&it.Entry)
	}
	e := it.Entry
	e.Name = strings.TrimSuffix(e.Name, "/")
	return b.job.Host.Accepts(&e)
}

// changed asks the daemon whether the item has changed. What it cannot tell is saved.
func (b *backup) changed(it *item) bool {
	yes, err := b.job.Host.Changed(&it.Entry)
	return yes || err != nil
}

// How many places that could not be read are remembered, and with how many bytes.
const (
	maxUnread      = 10000
	maxUnreadBytes = 16 << 20
)

// unread are places of which the job does not know whether they are still there.
type unread struct {
	places map[string]bool
	bytes  int
	// all: there are more than are remembered.
	all bool
}

func (u *unread) add(name string) {
	if u.places == nil {
		u.places = map[string]bool{}
	}
	if len(u.places) == maxUnread || u.bytes+len(name) > maxUnreadBytes {
		u.all = true
		return
	}
	u.bytes += len(name)
	u.places[strings.TrimSuffix(name, "/")] = true
}

// covers reports whether name is such a place or below one.
func (u *unread) covers(name string) bool {
	if u.all {
		return true
	}
	if len(u.places) == 0 {
		return false
	}
	name = strings.TrimSuffix(name, "/")
	for {
		if u.places[name] {
			return true
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return false
		}
		name = name[:i]
	}
}

// Keeps reports whether a file of the catalogue that an accurate job has not met must
// not be recorded as deleted, since the place where it was could not be read. It is
// asked about files of all plugins, and of none.
func (j *Job) Keeps(name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.unread.covers(name)
}
