// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"

	"golang.org/x/sys/unix"
)

// links finds hard links for a daemon that does not do so itself. It keeps the
// names of first links in a nameless file and forgets a file when all its names
// have come; what is kept in memory is 40 bytes for each file with names to come.
type links struct {
	own  bool
	dir  string
	file *os.File
	end  int64
	seen map[[2]uint64]first
}

// first is the name under which a file was sent.
type first struct {
	at     int64
	length int32
	index  int32
	left   uint64
}

func newLinks(daemonsOwn bool, dir string) *links {
	return &links{own: daemonsOwn, dir: dir, seen: map[[2]uint64]first{}}
}

// replace turns an item into a hard link if the file was sent before.
func (l *links) replace(it *item) {
	if l.own || !linked(it) {
		return
	}
	key := [2]uint64{it.Stat.Dev, it.Stat.Ino}
	f, ok := l.seen[key]
	if !ok {
		return
	}
	name := make([]byte, f.length)
	if _, err := l.file.ReadAt(name, f.at); err != nil {
		return // it is sent again as a file of its own: nothing is lost
	}
	it.Kind, it.Link, it.LinkIndex, it.open, it.xattrs = HardLink, string(name), int(f.index), nil, nil
	f.left--
	if f.left == 0 {
		delete(l.seen, key)
		return
	}
	l.seen[key] = f
}

// saved remembers the name of a file that has further ones.
func (l *links) saved(it *item, h Host) {
	if l.own || it.Kind == HardLink || !linked(it) || len(it.Name) > 1<<20 {
		return
	}
	if l.file == nil {
		f, err := unnamed(l.dir)
		if err != nil {
			return // as in replace
		}
		l.file = f
	}
	if _, err := l.file.WriteAt([]byte(it.Name), l.end); err != nil {
		return
	}
	l.seen[[2]uint64{it.Stat.Dev, it.Stat.Ino}] = first{l.end, int32(len(it.Name)), int32(h.FileIndex()), it.Stat.Nlink - 1}
	l.end += int64(len(it.Name))
}

func linked(it *item) bool {
	return it.Stat.Nlink > 1 && it.Kind != Object && it.Stat.Mode&unix.S_IFMT != unix.S_IFDIR
}

func (l *links) close() {
	if l != nil && l.file != nil {
		l.file.Close()
		l.file = nil
	}
}
