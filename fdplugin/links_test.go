// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// sent passes one file through the table as a backup does, and returns it as the
// daemon is told of it.
func sent(l *links, h *counter, name string, ino, nlink uint64, mode uint32) *item {
	it := &item{Entry: Entry{Kind: Regular, Name: name}, open: func() (int, error) { return -1, nil }}
	it.Stat = unix.Stat_t{Dev: 1, Ino: ino, Nlink: nlink, Mode: mode}
	h.n++
	l.replace(it)
	l.saved(it, h)
	return it
}

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	l, h := newLinks(false, dir), &counter{}
	defer l.close()
	for _, tt := range []struct {
		name       string
		ino, nlink uint64
		mode       uint32
		link       string
		index      int
	}{
		{"alone", 1, 1, unix.S_IFREG, "", 0},
		{"a", 2, 3, unix.S_IFREG, "", 0},
		{"K\xdcBLER\n", 3, 2, unix.S_IFLNK, "", 0},
		{"b", 2, 3, unix.S_IFREG, "a", 2},
		{"x", 3, 2, unix.S_IFLNK, "K\xdcBLER\n", 3},
		{"dir", 4, 5, unix.S_IFDIR, "", 0},
		{"dir2", 4, 5, unix.S_IFDIR, "", 0},
		{"c", 2, 3, unix.S_IFREG, "a", 2},
		// All names have come: the number may be another file's by now.
		{"d", 2, 3, unix.S_IFREG, "", 0},
		{"y", 3, 2, unix.S_IFLNK, "", 0},
	} {
		it := sent(l, h, tt.name, tt.ino, tt.nlink, tt.mode)
		if (it.Kind == HardLink) != (tt.link != "") || it.Link != tt.link || it.LinkIndex != tt.index {
			t.Errorf("%q: kind %d link %q of index %d, want %q of %d", tt.name, it.Kind, it.Link, it.LinkIndex, tt.link, tt.index)
		}
		if it.Kind == HardLink && (it.open != nil || it.xattrs != nil) {
			t.Errorf("%q: a link has content", tt.name)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("the file of names has a name: %v", left)
	}
	if n := len(l.seen); n != 2 {
		t.Errorf("%d files kept, want those two with names to come", n)
	}
}

// A daemon that finds links itself gets every name as a file, and where no file
// can be made nothing is lost.
func TestLinksThatAreFiles(t *testing.T) {
	for name, l := range map[string]*links{"daemon's own": newLinks(true, t.TempDir()), "no room": newLinks(false, "/proc/none")} {
		h := &counter{}
		for _, file := range []string{"a", "b"} {
			if it := sent(l, h, file, 2, 2, unix.S_IFREG); it.Kind != Regular || it.open == nil {
				t.Errorf("%s: %s has kind %d", name, file, it.Kind)
			}
		}
		l.close()
		l.close()
	}
	var none *links
	none.close()
}
