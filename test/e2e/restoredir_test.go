// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// A backup goes to a directory of a machine on which prlctl, ploop and vz.conf are
// missing, as it was in the container. A second restore changes what replace says.
func TestRestoreToDirectory(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	wantRoot, wantData := w.scan(descriptor(webUUID, "root.hdd")), w.scan(descriptor(webUUID, "disk-1.hdd"))
	r := w.backup("web")
	w.run("prlctl", "destroy", "web")
	w.run("sh", "-c", "mv /etc/vz/vz.conf /etc/vz/vz.conf.away")
	calls := len(w.toolCalls())
	to := filepath.Join(w.dir, "restored")
	options := "restore=dir:restore_dir=" + to
	res, err := w.sys.Restore(rig.Restore{JobIDs: []int{r.ID}, Options: options, Where: "/tmp/bareos-restores"})
	w.must(err)
	if made := w.toolCalls()[calls:]; len(made) > 0 || !res.OK() {
		t.Errorf("calls of prlctl and ploop: %q; %s", made, res)
	}
	w.says(res, "restoring files of container "+webUUID+" to "+to+"/"+webUUID+"/root", "0 not restored exactly")
	root := filepath.Join(to, webUUID, "root")
	got := w.scanMounted(root)
	gotData := w.scanMounted(root + "/data")
	for path := range got {
		if strings.HasPrefix(path, "data/") {
			delete(got, path)
		}
	}
	// Which blocks a file has is the file system's matter, and this is another one.
	blocks := func(d compare.Difference) bool { return d.What == compare.Holes }
	w.same(wantRoot, got, func(d compare.Difference) bool { return mountPoint(d) || blocks(d) })
	w.same(wantData, gotData, blocks)
	if got := w.run("stat", "-c", "%u %a", filepath.Join(to, webUUID)); got != "0 700\n" {
		t.Errorf("owner and mode of the container's folder: %s", got)
	}
	w.run("test", "-f", filepath.Join(to, webUUID, "private/ve.conf"))
	w.run("test", "-f", filepath.Join(to, webUUID, "private/.vz7ct/manifest.json"))

	file := root + "/etc/hostname"
	for _, tt := range []struct{ replace, touch, want string }{
		{"never", "2001-01-01", "changed\n"}, {"always", "2001-01-01", "web\n"}, {"ifnewer", "2001-01-01", "web\n"}, {"ifnewer", "2037-01-01", "changed\n"},
		{"ifolder", "2001-01-01", "changed\n"}, {"ifolder", "2037-01-01", "web\n"},
	} {
		w.run("sh", "-c", "echo changed > "+file+"; touch -d "+tt.touch+" "+file)
		w.restore(rig.Restore{JobIDs: []int{r.ID}, Options: options, Files: []string{"/mnt/bareos/" + webUUID + "/etc/hostname"}, Replace: tt.replace})
		if got := w.run("cat", file); got != tt.want {
			t.Errorf("replace=%s over %s: %q, want %q", tt.replace, tt.touch, got, tt.want)
		}
	}

	for bad, words := range map[string]string{
		"/etc/vz": "lies in /etc", "/vz/private": "lies in /vz/private", "/tmp": "is writable by others than root", "/proc/self/root/srv": "lies in /proc",
	} {
		w.restoreFails(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=dir:restore_dir=" + bad}, words)
	}
	w.restoreFails(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=dir"}, "restore_dir is missing")
	w.restoreFails(rig.Restore{JobIDs: []int{r.ID}, Options: "restore_dir=" + to}, "does not count for restore=ct")
	w.run("mv", "/etc/vz/vz.conf.away", "/etc/vz/vz.conf")
}

// Files go back into a stopped container, each to its disk; the container stays stopped,
// cannot be started meanwhile, and starts afterwards.
func TestRestoreIntoStoppedContainer(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	root := "/vz/root/" + webUUID
	w.run("prlctl", "mount", "web")
	w.run("sh", "-c", "mkdir -p "+root+"/data/kept && echo precious > "+root+"/data/kept/f && chown 1234:5678 "+root+"/data/kept/f")
	w.run("prlctl", "umount", "web")
	wantRoot, wantData := w.scan(descriptor(webUUID, "root.hdd")), w.scan(descriptor(webUUID, "disk-1.hdd"))
	r := w.backup("web")
	w.run("prlctl", "mount", "web")
	w.run("sh", "-c", "rm "+root+"/home/admin/a "+root+"/data/kept/f; echo other > "+root+"/etc/hostname")
	w.run("prlctl", "umount", "web")

	tree := "/mnt/bareos/" + webUUID
	res := w.restore(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=file", Files: []string{tree + "/home/admin/a", tree + "/data/kept/f", tree + "/etc/hostname"}})
	w.says(res, "restoring files into stopped container web", "container web is stopped, as it was")
	w.nothingLeft()
	above := func(d compare.Difference) bool { // a directory's time is of what was done in it
		return mountPoint(d) || (d.What == compare.Mtime || d.What == compare.Nanos) && (d.Path == "kept" || d.Path == "etc" || d.Path == "home/admin")
	}
	w.same(wantRoot, w.scan(descriptor(webUUID, "root.hdd")), above)
	w.same(wantData, w.scan(descriptor(webUUID, "disk-1.hdd")), above)
	if got := w.state("web"); got != "stopped" {
		t.Errorf("the container is %q", got)
	}
	judge(t, w)
	w.run("prlctl", "start", "web")
	w.run("prlctl", "stop", "web")

	w.run("prlctl", "mount", "web")
	w.restoreFails(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=file", Files: []string{tree + "/etc/hostname"}}, `is in state "mounted"`)
	w.run("prlctl", "umount", "web")
}
