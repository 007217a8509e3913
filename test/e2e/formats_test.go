// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// Disks come back with the format, cluster size and size that they had, in the descriptor
// and in the image's own header. Of image versions there is 2 only: the tool brings 1 to 2
// when it mounts a disk to be written to, where the kernel can (ploop of vz7-u22, run).
func TestDisksOfEveryFormat(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	private := "/vz/private/" + webUUID
	var entries []string
	for n, options := range []string{"-f preallocated -b 128", "-f preallocated -b 4096", "-f raw -b 512", "-f expanded -b 64", "-f expanded -b 16384"} {
		dir := fmt.Sprintf("%s/of-%d.hdd", private, n)
		w.run("sh", "-c", fmt.Sprintf("set -e; mkdir -m 0700 %[1]s; ploop init -s 320M %[2]s -t ext4 %[1]s/root.hds; mkdir /run/fill; ploop mount -m /run/fill %[1]s/DiskDescriptor.xml; echo %[2]s > /run/fill/made; ploop umount -m /run/fill; rmdir /run/fill", dir, options))
		entries = append(entries, fmt.Sprintf("uuid={00000000-0000-4000-8000-00000000000%d},enabled=yes,mnt=/srv/%[1]d,image=of-%[1]d.hdd", n))
	}
	w.run("sed", "-i", `s|^DISK="\(.*\)"$|DISK="\1;`+strings.Join(entries, ";")+`"|`, private+"/ve.conf")
	// What says how a disk was made: the descriptor but for the names of its images, and the
	// header's signature, cluster and size.
	describe := func() string {
		return w.run("sh", "-c", "cd "+private+"; for d in root.hdd of-*.hdd; do echo $d; grep -E '<(Disk_size|Blocksize|Preallocated|Type|Cylinders|Heads|Sectors)>' $d/DiskDescriptor.xml; ploop info -s $d/DiskDescriptor.xml; "+
			"grep -q Plain $d/DiskDescriptor.xml || head -c 44 $d/root.hds | od -An -tx1; case $d in of-[012]*) du -s --block-size=64M $d;; esac; done")
	}
	want := describe()
	for _, figure := range []string{"<Blocksize>64<", "<Blocksize>128<", "<Blocksize>512<", "<Blocksize>4096<", "<Blocksize>16384<", "<Type>Plain<", "<Preallocated>1<"} {
		if !strings.Contains(want, figure) {
			t.Errorf("the disks to be saved have no %q:\n%s", figure, want)
		}
	}
	r := w.backup("web")
	w.run("prlctl", "destroy", "web")
	w.restore(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=ct:start=yes"})
	w.run("prlctl", "stop", "web")
	if got := describe(); got != want {
		t.Errorf("the disks are\n%s\nand were\n%s", got, want)
	}
	w.run("prlctl", "start", "web")
	if got := w.run("sh", "-c", "cat /vz/root/"+webUUID+"/srv/?/made"); strings.Count(got, "-f ") != len(entries) {
		t.Errorf("the disks hold %q", got)
	}
	w.run("prlctl", "stop", "web")
	judge(t, w)
}
