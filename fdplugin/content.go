// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// hasHoles reports whether the file at hand has holes. One that takes less room than its
// length has; where attributes, the index of its extents or room that was reserved may
// make up for them, its file system is asked, and the file stays open for the daemon. Not
// so where the file may be written to: up to Linux 4.12 ext4 takes what was just written
// to reserved room for a hole (7d95eddf313c, "ext4: fix SEEK_HOLE").
func (b *backup) hasHoles() bool {
	st := &b.next.Stat
	if st.Blocks*512 < st.Size || b.estimate || !b.next.still || b.next.dense || b.next.open == nil {
		return st.Blocks*512 < st.Size
	}
	b.close()
	fd, err := b.next.open()
	if err != nil {
		return false // open tells of it
	}
	hole, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
	if _, back := unix.Seek(fd, 0, io.SeekStart); back != nil {
		unix.Close(fd)
		return false
	}
	b.file, b.early = fd, true
	return err == nil && hole < st.Size
}

func (b *backup) open() (int, error) {
	if b.next == nil || b.next.open == nil {
		return -1, unix.ENOENT
	}
	if b.early {
		b.early = false
		return b.file, nil
	}
	b.close()
	fd, err := b.next.open()
	if err != nil {
		b.lost = true // no other name may become a link to it
		b.torn(err)
		return -1, err
	}
	b.file = fd
	return fd, nil
}

// readOut is told that the daemon is done with the content. Where it reads by itself
// (Bareos from 22) nobody tells of a read that has failed, but it has not come to the end
// then. What the node may write to meanwhile is not judged.
func (b *backup) readOut() {
	if b.file < 0 || b.early || b.next == nil || !b.next.still || b.next.Holes == Pieces {
		return
	}
	if at, err := unix.Seek(b.file, 0, io.SeekCurrent); err == nil && at < b.next.Stat.Size {
		b.torn(errNotReadOut)
	}
}

var errNotReadOut = errors.New("the daemon has not read it to its end")

func (b *backup) close() {
	b.early = false
	if b.file >= 0 {
		if b.next != nil && b.next.still {
			closeRead(b.file)
		} else {
			unix.Close(b.file)
		}
		b.file = -1
	}
}
