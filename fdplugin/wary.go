// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/restore"
)

// A private area is the node's, not the container's: its tools go through it as root.
// What a genuine one never has is not restored into it, unless it is trusted.

// wary says why a file is not restored to the private area, "" if it is.
func (c *newContainer) wary(f *Restored, path string) string {
	if c.opts.Anywhere.Trust {
		return ""
	}
	switch {
	case f.Kind == Symlink && !(path == ".ve.layout" || path == "templates" && f.Link == "root.hdd/templates"):
		return "is a link to " + text.Name(f.Link) + ", which tools of this node would follow"
	case f.Kind == Special && path != "ve.conf" && !strings.HasPrefix(path, ownFolder):
		return "is a device, fifo or socket"
	case path == areaScripts && f.Kind != Directory:
		return "is no directory"
	}
	return ""
}

// tame makes a file of the private area one that only root can change, and that gives
// nobody root's rights.
func (c *newContainer) tame(f *Restored, it *restore.Item) {
	if c.opts.Anywhere.Trust || f.Kind != Regular && f.Kind != Empty && f.Kind != Directory {
		return
	}
	me := uint32(os.Geteuid())
	if it.UID == me && (it.GID == 0 || it.GID == uint32(os.Getegid())) && it.Mode&(unix.S_ISUID|unix.S_ISGID|0o022) == 0 {
		return
	}
	c.odd++
	c.job.warnFile(c.odd, "%s belongs to root now, and only root can write to it: it was of user %d, group %d, with mode %04o; restore_trust_config=yes restores that",
		text.Name(f.Name), it.UID, it.GID, it.Mode&0o7777)
	it.UID, it.GID = me, uint32(os.Getegid())
	it.Mode &^= unix.S_ISUID | unix.S_ISGID | 0o022
}

// distrusted reports whether a tree is a private area that is not trusted.
func distrusted(t target, tree *restore.Tree) bool {
	c, ok := t.(*newContainer)
	return ok && tree == c.area && !c.opts.Anywhere.Trust
}

// gives reports whether an extended attribute gives somebody rights.
func gives(xattr string) bool {
	return strings.HasPrefix(xattr, "system.posix_acl_") || xattr == "security.capability"
}
