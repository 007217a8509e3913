// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/ploop"
)

// room compares what the new disks take with what is free on the node. A file system that
// runs full gives errors to all containers that are on it. Images that grow take what is
// restored, which may be less than was in use, so that is a reason to refuse only where
// all of it must come: a container that is replaced is there a second time until then.
func (c *newContainer) room() error {
	var whole, used uint64
	for _, d := range c.disks {
		size := d.Size * ploop.SectorSize
		if d.Preallocated || d.Raw {
			whole += size
			continue
		}
		used += min(d.UsedBytes, size)
	}
	at, free, err := c.job.Node.freeFor(c.private)
	if err != nil {
		return err
	}
	if free >= whole+used {
		return nil
	}
	figures := fmt.Sprintf("the file system of %s has %s free, and the new container takes %s for what was in use on the saved disks",
		at, text.Size(int64(free)), text.Size(int64(used)))
	if whole > 0 {
		figures += fmt.Sprintf(" and %s for disks that are allocated as a whole", text.Size(int64(whole)))
	}
	switch {
	case c.old != nil:
		return fmt.Errorf("replace_ct=yes: %s, while the old one is still there: make room, or destroy that by hand and restore without replace_ct; nothing was touched", figures)
	case free < whole:
		return fmt.Errorf("%s: make room, or restore elsewhere with restore_private; nothing was touched", figures)
	}
	c.job.Log.Warnf("%s: if all of that is restored it runs full, and containers on it get errors: make room, or cancel this job", figures)
	return nil
}

// freeFor returns how much is free where a private area is to be made, and the directory
// that is there already.
func (n Node) freeFor(private string) (at string, free uint64, err error) {
	at = filepath.Dir(private)
	for !exists(at) {
		at = filepath.Dir(at)
	}
	if n.Free != nil {
		free, err = n.Free(at)
	} else {
		var st unix.Statfs_t
		err = unix.Statfs(at, &st)
		free = st.Bavail * uint64(st.Bsize)
	}
	if err != nil {
		return at, 0, fmt.Errorf("measure free space of %s: %w", at, err)
	}
	return at, free, nil
}

// holds checks that a root disk of another size has room for what was saved.
func (d *newDisk) holds(asked uint64) error {
	size := d.Size * ploop.SectorSize
	// A new ext4 takes a part for itself: inode tables, and the 128 MiB of journal that
	// ploop gives it.
	if need := d.UsedBytes + d.UsedBytes/14 + 192<<20; size < need {
		return fmt.Errorf("disk_size of %s is too small: %s are in use on the saved disk, with what a file system needs for itself that takes %s",
			text.Size(int64(asked)), text.Size(int64(d.UsedBytes)), text.Size(int64(need)))
	}
	if per := bytesPerInode(size); d.UsedInodes > size/per {
		return fmt.Errorf("disk_size of %s is too small: there are %s files on the saved disk, and a new file system has one inode for each %s, so %s; that many files take %s",
			text.Size(int64(asked)), text.Count(int64(d.UsedInodes)), text.Size(int64(per)), text.Count(int64(size/per)), text.Size(int64(d.UsedInodes*per)))
	}
	return nil
}

// bytesPerInode is what mkfs takes where nobody says it, as ploop does not (mke2fs.conf of
// e2fsprogs, the same in CentOS 7: inode_ratio for the sizes small, default, big and huge).
func bytesPerInode(size uint64) uint64 {
	switch {
	case size < 512<<20:
		return 4096
	case size < 4<<40:
		return 16384
	case size < 16<<40:
		return 32768
	default:
		return 65536
	}
}
