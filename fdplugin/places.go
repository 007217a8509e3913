// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// A directory that is renamed, or moved, changes its own time and no other: without
// Accurate the daemon sees nothing new below it, and a restore has its content at the old
// place only. So the plugin remembers where each directory was, and saves all below one
// that is elsewhere now. Accurate jobs need no such memory, but keep it up.

// places is where the directories of a container were found, one row for each.
type places struct {
	// run is the number of this job's run.
	run uint32
	// old are the rows of before, in the order of their keys; known says that there are
	// any.
	old   []byte
	known bool
	// rows are those of this run.
	rows []placeRow
	// lost: there are more than are remembered.
	lost bool
	// oldMisses: there are old rows of what could not be read; misses are those of now.
	oldMisses bool
	misses    int
}

// placeRow says of a directory (key: disk and inode) where it is (place: its parent's
// inode and its name) and since which run.
type placeRow struct {
	key   uint64
	place uint32
	run   uint32
}

const (
	rowSize   = 16
	maxPlaces = 4 << 20
	placesTag = "vz7ct-places-1\n\n" // one row long
)

func placesPath(history string) string { return strings.TrimSuffix(history, ".json") + ".places" }

// read loads the rows of before.
func (p *places) read(path string) error {
	data, err := regular.ReadFile(path, (maxPlaces+1)*rowSize)
	if err != nil {
		return err
	}
	rest, ok := bytes.CutPrefix(data, []byte(placesTag))
	if !ok || len(rest)%rowSize != 0 {
		return fmt.Errorf("%s is not what it should be", path)
	}
	p.old, p.known = rest, true
	for i := range len(rest) / rowSize {
		p.oldMisses = p.oldMisses || p.row(i).run == missedRun
	}
	return nil
}

func (p *places) row(i int) placeRow {
	b := p.old[i*rowSize:]
	return placeRow{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])}
}

// find returns the row of before for a key.
func (p *places) find(key uint64) (placeRow, bool) {
	lo, hi := 0, len(p.old)/rowSize
	for lo < hi {
		mid := (lo + hi) / 2
		if p.row(mid).key < key {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(p.old)/rowSize || p.row(lo).key != key {
		return placeRow{}, false
	}
	return p.row(lo), true
}

// note takes a directory in, and returns since which run it is where it is, and has the
// same rules for what is in it.
func (p *places) note(disk string, e *walk.Entry, rules uint32) uint32 {
	row := placeRow{keyOf(disk, e.Stat.Ino), placeOf(e, rules), p.run}
	if was, ok := p.find(row.key); ok && was.place == row.place {
		row.run = was.run
	}
	p.add(row)
	return row.run
}

func (p *places) add(row placeRow) {
	if len(p.rows) == maxPlaces {
		p.lost, p.rows = true, nil
	}
	if !p.lost {
		p.rows = append(p.rows, row)
	}
}

func keyOf(disk string, ino uint64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64([]byte(disk), ino))
	return h.Sum64()
}

func placeOf(e *walk.Entry, rules uint32) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, e.Parent))
	_, _ = h.Write(binary.LittleEndian.AppendUint32(nil, rules))
	_, _ = h.Write([]byte(e.Path[strings.LastIndexByte(e.Path, '/')+1:]))
	return h.Sum32()
}

var errTooManyPlaces = errors.New("there are too many directories")

// write replaces the rows of before by those of this run.
func (p *places) write(path string) error {
	if p.lost {
		return errTooManyPlaces
	}
	slices.SortFunc(p.rows, func(a, b placeRow) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
	out := append(make([]byte, 0, len(placesTag)+len(p.rows)*rowSize), placesTag...)
	for _, r := range p.rows {
		out = binary.LittleEndian.AppendUint64(out, r.key)
		out = binary.LittleEndian.AppendUint32(out, r.place)
		out = binary.LittleEndian.AppendUint32(out, r.run)
	}
	return writeState(path, out)
}

// placesKnown reports whether it can be told which directories have moved since the job
// that this one goes by.
func (b *backup) placesKnown() bool { return b.places.known && b.baseRun > 0 }

// enter takes in a directory that the walk goes into. rules stands for what the directory
// itself says of what is left out in it: if it has said something else, what is let pass
// now may be older than the job that this one goes by.
func (b *backup) enter(v *volume, e *walk.Entry, rules uint32) {
	since := b.places.note(v.conf.UUID, e, rules)
	if !b.job.partial() || b.accurate || v.moved(e.Path) {
		return
	}
	// The root cannot be renamed.
	renamed := e.Path != "" && e.Stat.Ctim.Sec >= b.since
	missed := b.places.missed(missedTree, v.conf.UUID, e.Path, b.baseRun)
	if b.placesKnown() && since > b.baseRun || !b.placesKnown() && renamed || missed {
		v.elsewhere, v.anew = e.Path, true
	}
}

// moved reports whether a path is, or is below, the directory found last that was not
// where it is, or as it is, at the time of the job that this one goes by. The walk does not come back
// to what it has left.
func (v *volume) moved(path string) bool {
	return v != nil && v.anew && (path == v.elsewhere || v.elsewhere == "" || strings.HasPrefix(path, v.elsewhere+"/"))
}
