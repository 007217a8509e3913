// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a node has no room for is said with figures before anything is made of it: it is
// refused where all of it must come, or is taken at once, and is a warning else.
func TestRoomOnTheNode(t *testing.T) {
	for name, tt := range map[string]struct {
		free    uint64
		change  func(c *newContainer)
		refused string
		warned  string
	}{
		"enough":        {free: 400 << 20},
		"too little":    {free: 400<<20 - 1, warned: "has 400.0 MiB free, and the new container takes 400.0 MiB for what was in use on the saved disks"},
		"preallocated":  {free: 1 << 30, change: func(c *newContainer) { c.m.Disks[0].Preallocated = true }, warned: "takes 300.0 MiB for what was in use on the saved disks and 1.0 GiB for disks"},
		"not for those": {free: 1<<30 - 1, change: func(c *newContainer) { c.m.Disks[0].Raw = true }, refused: "and 1.0 GiB for disks that are allocated as a whole: make room"},
		"replaced":      {free: 400<<20 - 1, change: func(c *newContainer) { c.old = &oldContainer{} }, refused: "while the old one is still there: make room"},
		"odd figures":   {free: 2 << 30, change: func(c *newContainer) { c.m.Disks[0].UsedBytes, c.m.Disks[1].UsedBytes = 1<<60, 1<<60 }},
	} {
		n := emptyNode(t)
		n.free = tt.free
		j, log := n.job(t, bareos)
		c := anew(t, j, webManifest(), n.path("private/none/"+webID))
		c.m.Disks[1].Preallocated = false
		c.m.Disks[0].UsedBytes, c.m.Disks[1].UsedBytes = 100<<20, 300<<20
		if tt.change != nil {
			tt.change(c)
		}
		must(t, c.fits())
		err := c.room()
		if (err != nil) != (tt.refused != "") || err != nil && (!strings.Contains(err.Error(), tt.refused) || !strings.HasSuffix(err.Error(), "nothing was touched")) {
			t.Errorf("%s: room = %v, want %q", name, err, tt.refused)
		}
		if said := log.all("warning"); tt.warned != "" && (!strings.Contains(said, tt.warned) || !strings.Contains(said, n.path("private")+" has")) || tt.warned == "" && strings.Contains(said, "free") {
			t.Errorf("%s: said %q, want %q", name, said, tt.warned)
		}
	}
	n := emptyNode(t)
	node := n.node()
	node.Free = nil
	var st unix.Statfs_t
	must(t, unix.Statfs(n.dir, &st))
	if at, free, err := node.freeFor(n.path("none/at/all")); err != nil || at != n.dir || (free == 0) != (st.Bavail == 0) {
		t.Errorf("freeFor = %s, %d, %v", at, free, err)
	}
	node.Free = func(string) (uint64, error) { return 0, errors.New("no") }
	if _, _, err := node.freeFor(n.path("x")); err == nil || !strings.Contains(err.Error(), "measure free space of "+n.dir) {
		t.Errorf("freeFor = %v", err)
	}
}

// A smaller disk has fewer inodes, too: many small files fit by their bytes, and not by
// their number.
func TestDiskSizeForManyFiles(t *testing.T) {
	for _, tt := range []struct {
		size, inodes uint64
		ok           bool
	}{
		{1 << 30, 65536, true}, {1 << 30, 65537, false}, {10 << 30, 655361, false}, {511 << 20, 100000, true}, {511 << 20, 130817, false}, {5 << 40, 5<<40/32768 + 1, false}, {20 << 40, 20 << 40 / 65536, true},
	} {
		j, _ := emptyNode(t).job(t, bareos)
		c := anew(t, j, webManifest(), "/vz/private/"+webID)
		c.opts.DiskSize, c.m.Disks[0].UsedInodes = tt.size, tt.inodes
		if err := c.fits(); (err == nil) != tt.ok || err != nil && !strings.Contains(err.Error(), "files on the saved disk") {
			t.Errorf("disk_size=%d with %d inodes in use: %v", tt.size, tt.inodes, err)
		}
	}
}
