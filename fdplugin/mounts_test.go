// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Lines as a container's init has them in /proc/<pid>/mountinfo.
func TestOtherMounts(t *testing.T) {
	const info = `100 90 182:100 / / rw,relatime shared:1 - ext4 /dev/ploop1p1 rw
101 100 182:116 / /data rw - ext4 /dev/ploop2p1 rw
102 100 0:50 / /srv/nfs\040share rw - nfs4 server:/ex\134port rw
103 100 0:51 / /run rw - tmpfs tmpfs rw
104 100 0:52 / /proc rw - proc proc rw
105 104 0:53 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw
106 100 0:54 / /dev rw - devtmpfs none rw
107 106 0:55 / /dev/shm rw - tmpfs tmpfs rw
108 100 8:1 /pool /bind master:2 propagate_from:3 - ext4 /dev/sda1 rw
109 100 0:56 / /K` + "\xdc" + `\012x rw - fuse none rw
broken line
110 100 0:57 /
`
	want := []string{`/srv/nfs share (nfs4 from server:/ex\\port)`, "/run (tmpfs)", "/bind (ext4 from /dev/sda1)", `/K\xdc\nx (fuse)`}
	if got := otherMounts(info, map[string]bool{"/": true, "/data": true}); !slices.Equal(got, want) {
		t.Errorf("otherMounts = %q,\nwant %q", got, want)
	}
	var many strings.Builder
	for n := range 25 {
		fmt.Fprintf(&many, "1 1 0:1 / /m%d rw - ext4 /dev/x rw\n", n)
	}
	if got := otherMounts(many.String(), nil); len(got) != 21 || got[20] != "and 5 more" {
		t.Errorf("otherMounts of 25 = %q", got)
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{"": "", `a\040b`: "a b", `\134`: `\`, `\012\011`: "\n\t", `\04`: `\04`, `\`: `\`, `\999`: `\999`, `\777`: `\777`, `a\`: `a\`} {
		if got := unescape(in); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}
