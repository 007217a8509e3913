// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Agree compares the inode with what stat(2) has said of it. What is no fact of the file
// system is left out: the device's number, and of a block device's node Blksize, which is
// the device's own since Linux 6.11 or so. Times in doubt (Doubt) are left out too.
func (n *Inode) Agree(st *unix.Stat_t) error {
	var out []string
	differ := func(what string, got, want any) {
		if got != want {
			out = append(out, fmt.Sprintf("%s %v, the kernel says %v", what, got, want))
		}
	}
	differ("number", n.Stat.Ino, st.Ino)
	differ("mode", n.Stat.Mode, st.Mode)
	differ("links", n.Stat.Nlink, st.Nlink)
	differ("owner", n.Stat.Uid, st.Uid)
	differ("group", n.Stat.Gid, st.Gid)
	differ("device", n.Stat.Rdev, st.Rdev)
	differ("size", n.Stat.Size, st.Size)
	differ("sectors", n.Stat.Blocks, st.Blocks)
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		differ("block size", n.Stat.Blksize, st.Blksize)
	}
	if !n.Doubt {
		differ("access", n.Stat.Atim, st.Atim)
		differ("modification", n.Stat.Mtim, st.Mtim)
		differ("change", n.Stat.Ctim, st.Ctim)
	}
	if out == nil {
		return nil
	}
	return fmt.Errorf("inode %d: %s", n.Ino, strings.Join(out, "; "))
}

// Handle is the inode's for open_by_handle_at(2), on any directory of the file system:
// number and generation (FILEID_INO32_GEN of linux/exportfs.h). A generation of 0 stands
// for any.
func (n *Inode) Handle() unix.FileHandle {
	b := le.AppendUint32(nil, n.Ino)
	return unix.NewFileHandle(1, le.AppendUint32(b, n.Generation))
}
