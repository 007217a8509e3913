// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A hostile backup has "hard links" to a root: they are nothing else instead, which in a
// private area nobody would have looked at.
func TestHardLinkToARoot(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for _, root := range []string{"/vz/private/" + webID, "/mnt/bareos/" + webID} {
		var planted []saved
		for name, mode := range map[string]uint32{"file": unix.S_IFREG | 0o4777, "fifo": unix.S_IFIFO | 0o666, "link": unix.S_IFLNK | 0o777, "dir": unix.S_IFDIR | 0o777} {
			planted = append(planted, saved{Entry: Entry{Kind: HardLink, Name: root + "/planted-" + name, Link: root, Stat: unix.Stat_t{
				Mode: mode, Nlink: 2, Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}}})
		}
		n := emptyNode(t)
		log := restoreCT(t, n, "", append(append([]saved{list[0]}, planted...), list[1:]...))
		if len(n.registered) != 1 || strings.Count(log.all("warning"), "which is no file") != len(planted) {
			t.Fatalf("%s: registered %q\n%s", root, n.registered, log.all())
		}
		for _, dir := range []string{n.registered[0], n.path("tree-root.hdd")} {
			entries, err := os.ReadDir(dir)
			must(t, err)
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), "planted-") {
					info, err := e.Info()
					t.Errorf("%s: %s was made of it, mode %v, %v", root, e.Name(), info.Mode(), err)
				}
			}
		}
	}
}
