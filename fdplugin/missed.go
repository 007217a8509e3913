// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"hash/fnv"

	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// What a job could not read has not changed when it can be read again: by its times, and
// by the catalogue, which has its attributes, it was saved. So the plugin remembers it, in
// rows among those of directories, and saves it in every partial job that goes by that
// job or an earlier one.

// missedRun marks such a row in place of a run, of which the first is 1; its place is the
// number of the run that could not read it.
const missedRun = 0

// The two kinds of what is missed: an entry, and what a directory holds.
const (
	missedEntry = "entry"
	missedTree  = "tree"
)

// missedKey is the key of a place by its path.
func missedKey(what, disk, path string) uint64 {
	h := fnv.New64a()
	for _, s := range []string{what, disk, path} {
		_, _ = h.Write([]byte(s))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// miss takes in what could not be read. Where that is more than is remembered it is all
// of the disk.
func (p *places) miss(what, disk, path string) {
	if p.misses++; p.misses > maxUnread {
		if p.misses == maxUnread+1 {
			p.add(placeRow{missedKey(missedTree, disk, ""), p.run, missedRun})
		}
		return
	}
	p.add(placeRow{missedKey(what, disk, path), p.run, missedRun})
}

// missed reports whether something could not be read by the run given, or by one after it.
func (p *places) missed(what, disk, path string, since uint32) bool {
	if !p.oldMisses {
		return false
	}
	row, ok := p.find(missedKey(what, disk, path))
	return ok && row.run == missedRun && row.place >= since
}

// carry keeps what runs could not read that may still be gone by, from the oldest on.
func (p *places) carry(oldest uint32) {
	if !p.oldMisses {
		return
	}
	now := map[uint64]bool{}
	for _, r := range p.rows {
		if r.run == missedRun {
			now[r.key] = true
		}
	}
	for i := range len(p.old) / rowSize {
		if r := p.row(i); r.run == missedRun && r.place >= oldest && !now[r.key] {
			p.add(r)
		}
	}
}

// missing remembers that an item was not read, or not completely.
func (b *backup) missing(it *item) {
	if it.disk != nil {
		b.places.miss(missedEntry, it.disk.conf.UUID, it.path)
	}
}

// missingPath remembers what the walk over a disk could not read.
func (b *backup) missingPath(v *volume, left *walk.Error) {
	switch {
	case v == nil:
	case left.Op == "read directory":
		b.places.miss(missedTree, v.conf.UUID, left.Path)
	default:
		b.places.miss(missedEntry, v.conf.UUID, left.Path)
	}
}
