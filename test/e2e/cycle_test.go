// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// A container is saved, destroyed, restored by the two commands of the reference
// plugin's documentation, and is what it was.
func TestCycle(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"blocker=tmp/backup_blocker:lockfile=/run/backup.lock"}, Options: "name=web:uuid=" + webUUID}}})
	rootDisk, dataDisk := descriptor(webUUID, "root.hdd"), descriptor(webUUID, "disk-1.hdd")
	wantRoot, wantData := w.scan(rootDisk), w.scan(dataDisk)
	wantConf := w.run("cat", "/vz/private/"+webUUID+"/ve.conf")
	w.run("sh", "-c", "echo '#!/bin/sh' > /etc/vz/conf/"+webUUID+".mount; chmod 700 /etc/vz/conf/"+webUUID+".mount")

	r := w.backup("web")
	w.nothingLeft()
	w.says(r, "snapshot {", "snapshot mounted in", "disk /: the tables of its file system have ", "merged in", "container web saved:", "blocker=tmp/backup_blocker (FileSet)")
	listing, err := w.sys.Listing(r.ID)
	w.must(err)
	for _, name := range []string{
		"/mnt/bareos/" + webUUID + "/etc/hostname", "/mnt/bareos/" + webUUID + "/data/", "/vz/private/" + webUUID + "/ve.conf",
		"/vz/private/" + webUUID + "/.vz7ct/manifest.json", "/vz/private/" + webUUID + "/.vz7ct/etc-vz-conf/" + webUUID + ".mount",
		"K\xdcBLER.csv",
	} {
		if !strings.Contains(listing, name) {
			t.Errorf("the catalogue has no %q", name)
		}
	}
	for _, name := range []string{"root.hds", "DiskDescriptor", "lost+found", ".balloon", "aquota"} {
		if strings.Contains(listing, name) {
			t.Errorf("the catalogue has %q", name)
		}
	}

	w.run("prlctl", "destroy", "web")
	w.run("rm", "-f", "/etc/vz/conf/"+webUUID+".mount")
	res := w.restore(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=ct:disk=2:restore_trust_config=yes"})
	w.says(res, "restored and registered", "0 not restored exactly")
	w.same(wantRoot, w.scan(rootDisk), mountPoint)
	w.same(wantData, w.scan(dataDisk), nil)
	if got := w.run("cat", "/vz/private/"+webUUID+"/ve.conf"); got != wantConf {
		t.Errorf("ve.conf is\n%s, want\n%s", got, wantConf)
	}
	if got := w.run("ls", "-l", "/etc/vz/conf/"+webUUID+".mount"); !strings.HasPrefix(got, "-rwx------") {
		t.Errorf("action script: %s", got)
	}
	if got := w.run("sh", "-c", "ploop info -s "+rootDisk); !strings.Contains(got, "4194304") {
		t.Errorf("disk size: %s, want 2 GiB as disk=2 says", got)
	}
	if out := w.run("prlctl", "list", "-a", "-o", "status", "-H"); strings.TrimSpace(out) != "stopped" {
		t.Errorf("state %q, want stopped: start=yes was not given", out)
	}
	judge(t, w)

	w.run("prlctl", "start", "web")
	res = w.restore(rig.Restore{
		JobIDs: []int{r.ID}, Files: []string{"/mnt/bareos/" + webUUID + "/etc/resolv.conf"},
		Options: "name=web:uuid=" + webUUID + ":restore=files",
		Regex:   fmt.Sprintf("!^/mnt/bareos/%s/!/vz/root/%s/tmp/bareos-restore/!", webUUID, webUUID),
	})
	w.says(res, "restoring files into running container web")
	if got, want := w.run("stat", "-c", "%Y %a", "/vz/root/"+webUUID+"/tmp/bareos-restore/etc/resolv.conf"), w.run("stat", "-c", "%Y %a", "/vz/root/"+webUUID+"/etc/resolv.conf"); got != want {
		t.Errorf("mtime and mode of the restored file: %s, want %s", got, want)
	}
}

// mountPoint ignores the directory at which the second disk is mounted: the
// backup has the disk's own root under its name.
func mountPoint(d compare.Difference) bool { return d.Path == "data" }

// judge asks those who did not write the images or the trees.
func judge(t *testing.T, w *world) {
	t.Helper()
	out, err := w.node.Lab("check", w.node.Dir)
	if err != nil {
		t.Errorf("lab check: %v\n%s", err, out)
	}
}

// A running container that writes all the time: what it had synced before the
// snapshot is in the backup, whole.
func TestRunningContainerThatWrites(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{""}, Options: "name=web"}}})
	w.run("prlctl", "start", "web")
	w.busy(60)
	before, err := w.node.Lab("now")
	w.must(err)
	r := w.backup("web")
	w.nothingLeft()
	if out := w.run("prlctl", "list", "-a", "-o", "status", "-H"); strings.TrimSpace(out) != "running" {
		t.Errorf("state %q after the backup, want running", out)
	}
	w.run("prlctl", "stop", "web")
	judge(t, w)
	w.run("prlctl", "destroy", "web")
	w.restore(rig.Restore{JobIDs: []int{r.ID}})
	w.run("prlctl", "mount", "web")
	defer w.run("prlctl", "umount", "web")
	for _, ledger := range []string{webUUID, webUUID + "@data"} {
		out, err := w.node.Run(rig.Build("lab"), "workload-verify", "--ledger", filepath.Join(w.node.Dir, "ledger", ledger),
			"--before", strings.TrimSpace(before), "/vz/root/"+webUUID)
		if err != nil || !strings.Contains(out, "missing=0 wrong=0") || strings.Contains(out, "files=0 ") {
			t.Errorf("what was synced before the snapshot: %v %s", err, out)
		}
	}
}

// busy waits until the container's workload has written n files.
func (w *world) busy(n int) {
	w.Helper()
	w.run("sh", "-c", fmt.Sprintf(`for i in $(seq 600); do [ "$(wc -l < %s/ledger/%s)" -ge %d ] && exit 0; sleep 0.1; done; exit 1`, w.node.Dir, webUUID, n))
}
