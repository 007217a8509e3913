// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// The names that a restore into a running container accepts, where they go, and
// that everything else ends the job with nothing written on the node.
func TestRestoreFileNames(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	w.create(rig.Container{Name: "old", UUID: oldUUID, Size: "1G", Tree: smallTree})
	r := w.backup("web")
	w.run("prlctl", "start", "web")
	w.run("prlctl", "start", "old")
	tree, web, old := "/mnt/bareos/"+webUUID, "/vz/root/"+webUUID, "/vz/root/"+oldUUID
	inWeb := "restore=file:name=web"

	for _, ok := range []struct {
		what    string
		r       rig.Restore
		arrives string
	}{
		{"the place it had", rig.Restore{Options: inWeb}, web + "/etc/hostname"},
		{"where inside the container", rig.Restore{Options: inWeb, Where: "/var/restored"}, web + "/var/restored/etc/hostname"},
		{"regexwhere to the container's root", rig.Restore{Options: inWeb, Regex: "!^" + tree + "/!" + web + "/tmp/bareos-restore/!"}, web + "/tmp/bareos-restore/etc/hostname"},
		{"regexwhere that keeps the catalogue's root", rig.Restore{Options: inWeb, Regex: "!" + webUUID + "/etc!" + webUUID + "/kept!"}, web + "/kept/hostname"},
		{"another container", rig.Restore{Options: "restore=file:name=old:uuid=" + oldUUID}, old + "/etc/hostname"},
		{"another container by regexwhere", rig.Restore{Options: "restore=files:uuid=" + oldUUID, Regex: "!^" + tree + "/!" + old + "/from-web/!"}, old + "/from-web/etc/hostname"},
	} {
		w.run("rm", "-f", ok.arrives)
		ok.r.JobIDs, ok.r.Files = []int{r.ID}, []string{tree + "/etc/hostname"}
		w.restore(ok.r)
		if got, err := w.node.Run("cat", ok.arrives); err != nil || got != "web\n" {
			t.Errorf("%s: %s = %q, %v", ok.what, ok.arrives, got, err)
		}
	}

	for _, bad := range []struct {
		what  string
		r     rig.Restore
		words []string
	}{
		{"a path of the node", rig.Restore{Options: inWeb, Regex: "!^" + tree + "/!/etc/planted-!"}, []string{"is no name inside a container", "nothing is written on the node"}},
		{"the private area", rig.Restore{Options: inWeb, Files: []string{"/vz/private/" + webUUID + "/ve.conf"}}, []string{"is no name inside a container"}},
		{"a path that leaves the container", rig.Restore{Options: inWeb, Regex: "!^" + tree + "/!" + web + "/../../../etc/planted-!"}, []string{"is no name inside a container"}},
		{"another container than the options say", rig.Restore{Options: inWeb, Regex: "!^" + tree + "/!" + old + "/planted/!"}, []string{"names container " + oldUUID, "name and uuid of the options mean web"}},
		{"a container that is not there", rig.Restore{Options: "restore=file:name=gone"}, []string{"no such container"}},
	} {
		bad.r.JobIDs = []int{r.ID}
		if bad.r.Files == nil {
			bad.r.Files = []string{tree + "/etc/hostname"}
		}
		w.restoreFails(bad.r, bad.words...)
		if out := w.run("sh", "-c", "ls -d /etc/planted* "+old+"/planted /vz/root/../etc/planted* 2>/dev/null || true"); out != "" {
			t.Errorf("%s: %s was made", bad.what, out)
		}
	}
}

// A lost file comes back into the running container with its time and owner,
// over links that a tenant has planted.
func TestRestoreIntoHostileContainer(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	root := "/vz/root/" + webUUID
	w.run("prlctl", "mount", "web")
	w.run("sh", "-c", "cd "+root+"/home/admin && touch -d '2001-02-03 04:05:06' a && chown 1234:5678 a && chmod 4750 a && setfattr -n user.k -v v a")
	w.run("prlctl", "umount", "web")
	r := w.backup("web")
	w.run("prlctl", "start", "web")
	w.run("sh", "-c", "mkdir -p "+root+"/run/outside /run/outside && echo untouched > /run/outside/a && rm -rf "+root+"/home/admin && ln -s /run/outside "+root+"/home/admin")
	w.restore(rig.Restore{JobIDs: []int{r.ID}, Files: []string{"/mnt/bareos/" + webUUID + "/home/admin/a"}, Options: "restore=file"})
	if got := w.run("sh", "-c", "cat /run/outside/a; ls /run/outside | wc -l"); got != "untouched\n1\n" {
		t.Errorf("outside the container: %q", got)
	}
	// The link means /run/outside inside the container, for whoever runs there.
	if got := w.run("stat", "-c", "%u:%g %a %Y", root+"/run/outside/a"); got != "1234:5678 4750 981173106\n" {
		t.Errorf("owner, mode and mtime of the restored file: %s", got)
	}
	if got := w.run("getfattr", "--absolute-names", "--only-values", "-n", "user.k", root+"/run/outside/a"); got != "v" {
		t.Errorf("attribute = %q", got)
	}
}

func TestRestoreContainerIsRefused(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	r := w.backup("web")
	before := w.run("sh", "-c", "ls -laR /vz/private /etc/vz/conf; prlctl list -a")
	try := func(rr rig.Restore, words ...string) {
		t.Helper()
		rr.JobIDs = []int{r.ID}
		w.restoreFails(rr, words...)
	}
	try(rig.Restore{}, `this node has container "web"`, "nothing was touched")
	if after := w.run("sh", "-c", "ls -laR /vz/private /etc/vz/conf; prlctl list -a"); after != before {
		t.Errorf("a refused restore has changed the node:\n%s\nwas\n%s", after, before)
	}
	w.run("prlctl", "destroy", "web")
	w.run("mkdir", "-p", "/vz/private/"+webUUID+"/x")
	try(rig.Restore{}, "exists and is not empty")
	w.run("rm", "-r", "/vz/private/"+webUUID)
	try(rig.Restore{Options: "uuid=" + oldUUID}, "is asked for, but the backup is of container web")
	try(rig.Restore{Options: "disk_size=64M"}, "disk_size of 64.0 MiB is too small")
	try(rig.Restore{Options: "start=maybe"}, "start=maybe", "valid is yes or no")
	try(rig.Restore{Regex: "!^/vz/private!/etc/elsewhere!"}, "is no name of a container's backup")
	try(rig.Restore{Regex: "!/etc/hostname$!/etc/other!"}, "regexwhere")
	if out := w.run("ls", "/vz/private"); out != "" {
		t.Errorf("left in /vz/private: %s", out)
	}
	// With the default Where of a restore job, which means nothing here.
	w.restore(rig.Restore{JobIDs: []int{r.ID}, Where: "/tmp/bareos-restores"})
}

// A single directory of a backup, without the manifest among the files: what
// the disks were like comes from the catalogue's restore object.
func TestRestoreOneDirectoryAsContainer(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	r := w.backup("web")
	w.run("prlctl", "destroy", "web")
	rr := rig.Restore{JobIDs: []int{r.ID}, Files: []string{"/mnt/bareos/" + webUUID + "/etc/hostname"}}
	if !rig.IsBareos() {
		// Bacula 9.6.7 may deliver zeros for an object from an SQLite catalogue, and
		// one with the configuration would be too long for it.
		w.restoreFails(rr, "elect ", "too", ".vz7ct/manifest.json")
		rr.Files = append([]string{"/vz/private/" + webUUID + "/.vz7ct/manifest.json"}, rr.Files...)
	}
	res := w.restore(rr)
	w.says(res, "ve.conf was not among the restored files", "restored and registered")
	w.run("prlctl", "start", "web")
	if got := w.run("cat", "/vz/root/"+webUUID+"/etc/hostname"); got != "web\n" {
		t.Errorf("hostname = %q", got)
	}
}

// Options of the restore job count above those of the backup, and below those of
// the restore command.
func TestOptionsOfTheRestoreJob(t *testing.T) {
	if !rig.IsBareos() {
		t.Skip("Bacula 9.6 sends no options of a job to plugins")
	}
	w := newWorld(t, rig.Config{RestoreOptions: "restore=file:uuid=" + oldUUID, Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web:restore=ct"}}}})
	w.create(rig.Container{Name: "old", UUID: oldUUID, Size: "1G", Tree: smallTree})
	r := w.backup("web")
	w.run("prlctl", "start", "web")
	w.run("prlctl", "start", "old")
	for uuid, options := range map[string]string{oldUUID: "", webUUID: "uuid=" + webUUID} {
		w.run("sh", "-c", "rm /vz/root/*/etc/hostname")
		w.restore(rig.Restore{JobIDs: []int{r.ID}, Files: []string{"/mnt/bareos/" + webUUID + "/etc/hostname"}, Options: options})
		if got := w.run("sh", "-c", "ls /vz/root/*/etc/hostname"); strings.TrimSpace(got) != "/vz/root/"+uuid+"/etc/hostname" {
			t.Errorf("restored: %s, want it in %s", got, uuid)
		}
		w.run("sh", "-c", "touch /vz/root/"+webUUID+"/etc/hostname /vz/root/"+oldUUID+"/etc/hostname")
	}
}
