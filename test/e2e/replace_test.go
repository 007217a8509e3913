// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// A running container is rolled back: it runs until everything was restored, and again
// afterwards, as it was saved. One of whose disks somebody has hold stays as it is.
func TestRollBack(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	private := "/vz/private/" + webUUID
	scripts := private + "/scripts/mount /etc/vz/conf/" + webUUID + ".mount"
	w.run("sed", "-i", "/^FEATURES=/d", private+"/ve.conf")
	w.setConf(webUUID, `DEVNODES="kvm:rw"`, `FEATURES="nfs:on"`)
	w.run("sh", "-c", "set -e; mkdir -p "+private+"/scripts; for f in "+scripts+"; do printf '#!/bin/sh\\n:\\n' > $f; chmod 755 $f; done")
	r := w.backup("web")
	w.run("prlctl", "start", "web")
	root := "/vz/root/" + webUUID
	w.run("sh", "-c", "echo changed > "+root+"/etc/hostname; rm -r "+root+"/home/admin; echo later > "+root+"/data/later")

	w.restoreFails(rig.Restore{JobIDs: []int{r.ID}}, `this node has container "web"`, "nothing was touched")
	if got := w.run("cat", root+"/etc/hostname"); got != "changed\n" {
		t.Errorf("after a refused restore: %q", got)
	}
	w.run("prlctl", "snapshot", "web")
	res, err := w.sys.Restore(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=ct:replace_ct=yes"})
	w.must(err)
	if want := map[bool]string{true: "Restore OK -- with warnings", false: "Restore OK"}[rig.IsBareos()]; res.Termination != want {
		t.Errorf("restore over a container with snapshots has ended with %q, want %q:\n%s", res.Termination, want, res.Log)
	}
	w.says(res, "Warning: vz7ct: replace_ct=yes: the snapshots of container web", "stays so until everything was restored", "container web replaced in", "the old container web was removed")
	if got := w.state("web"); got != "running" {
		t.Errorf("the container is %q", got)
	}
	if got := w.run("sh", "-c", "cat "+root+"/etc/hostname "+root+"/home/admin/a; ls "+root+"/data/later 2>/dev/null || true"); got != "web\na" {
		t.Errorf("after the roll-back: %q", got)
	}
	if got := strings.Fields(w.run("ls", "/vz/private")); len(got) != 1 || got[0] != webUUID {
		t.Errorf("private areas %q", got)
	}
	// It keeps what it had, and no recorded configuration had to be trusted for that.
	w.run("sh", "-c", "set -e; ls "+scripts+"; grep '^DEVNODES=\"kvm:rw\"$' "+private+"/ve.conf; grep '^FEATURES=\"nfs:on\"$' "+private+"/ve.conf; ! ls -d "+private+"/.vz7ct*")
	if strings.Contains(res.Log, "is left out") || strings.Contains(res.Log, "is not restored") {
		t.Errorf("what the container has was not kept:\n%s", res.Log)
	}
	w.nothingLeft()

	// A device on the old container's disk, as of a backup that takes no lock.
	w.run("sh", "-c", "echo changed > "+root+"/etc/hostname")
	w.run("prlctl", "stop", "web")
	w.run("mkdir", "/run/other")
	w.run("ploop", "mount", "-r", "-m", "/run/other", descriptor(webUUID, "root.hdd"))
	w.restoreFails(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=ct:replace_ct=yes"}, "is in use, although that is stopped", "is back in its place, and registered")
	w.run("ploop", "umount", "-m", "/run/other")
	w.nothingLeft()
	w.run("prlctl", "start", "web")
	if got := w.run("cat", root+"/etc/hostname"); got != "changed\n" {
		t.Errorf("after a roll-back that failed: %q", got)
	}
	w.run("prlctl", "stop", "web")
	judge(t, w)
}
