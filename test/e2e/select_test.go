// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

func TestExcludes(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{
		{Name: "fileset", Plugin: []string{"name=web:excluded_backup_paths='/home/admin','srv/links','/etc/host*'"}},
		{Name: "job", Plugin: []string{"excluded_backup_paths=/home/admin"}, Options: "name=web"},
		{Name: "both", Plugin: []string{"excluded_backup_paths=/home/admin"}, Options: "name=web:excluded_backup_paths=/home/other,/data"},
	}})
	in := func(job, name string, want bool) {
		t.Helper()
		r := w.backup(job)
		listing, err := w.sys.Listing(r.ID)
		w.must(err)
		if got := strings.Contains(listing, "/mnt/bareos/"+webUUID+name); got != want {
			t.Errorf("%s: %s in the backup: %v, want %v", job, name, got, want)
		}
	}
	r := w.backup("fileset")
	w.says(r, "excluded_backup_paths left out")
	listing, err := w.sys.Listing(r.ID)
	w.must(err)
	for name, want := range map[string]bool{"/home/admin": false, "/home/other/c": true, "/srv/links": false, "/etc/hostname": false, "/etc/resolv.conf": true, "/data/": true} {
		if got := strings.Contains(listing, "/mnt/bareos/"+webUUID+name); got != want {
			t.Errorf("fileset: %s in the backup: %v, want %v", name, got, want)
		}
	}
	in("job", "/home/admin/a", false)
	if !rig.IsBareos() {
		t.Log("skipped: that the Job's option replaces the FileSet's; Bacula 9.6 has no options of a Job")
		return
	}
	// The more specific level replaces the other, as in the reference plugin.
	in("both", "/home/admin/a", true)
	in("both", "/home/other/c", false)
	in("both", "/data/", false)
}

// Names are bytes: they arrive as they are, in the catalogue and on disk.
func TestNames(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	r := w.backup("web")
	listing, err := w.sys.Listing(r.ID)
	w.must(err)
	for _, name := range []string{"K\xdcBLER.csv", strings.Repeat("n", 200)} {
		if !strings.Contains(listing, name) {
			t.Errorf("the catalogue has no name with %q", name)
		}
	}
}

// Options of a file on the node count above and below all others.
func TestOptionFiles(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Tree: smallTree})
	under, over := filepath.Join(w.dir, "under.conf"), filepath.Join(w.dir, "over.conf")
	w.must(os.WriteFile(under, []byte("# node\n[backup]\nname = web\nexcluded_backup_paths = /home\n[restore]\nstart = yes\n"), 0o600))
	w.must(os.WriteFile(over, []byte("[backup]\nmin_free = 1M\n"), 0o600))
	w.start(rig.Config{Jobs: []rig.Job{
		{Name: "web", Plugin: []string{"min_free=99%:defaults_file=" + under}, Options: "overrides_file=" + over},
		{Name: "loose", Plugin: []string{"defaults_file=" + filepath.Join(w.dir, "loose.conf")}},
	}})
	if rig.IsBareos() {
		r := w.backup("web")
		w.says(r, "name=web (defaults_file "+under+")", "min_free=1M (overrides_file "+over+")", "excluded_backup_paths left out")
	} else {
		t.Log("skipped: two option files in one job; on Bacula the scenarios use overrides_file themselves")
	}
	w.must(os.WriteFile(filepath.Join(w.dir, "loose.conf"), []byte("[backup]\nname = web\n"), 0o666))
	w.must(os.Chmod(filepath.Join(w.dir, "loose.conf"), 0o666))
	w.refused("loose", "writable by others")
}

// A FileSet by which Bareos would lose links and attributes silently is warned of.
func TestFileSetThatLosesData(t *testing.T) {
	if !rig.IsBareos() {
		t.Skip("Bacula carries links and attributes whatever the FileSet says")
	}
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}, Plain: true}}})
	r, err := w.sys.Backup("web")
	w.must(err)
	w.says(r, "HardLinks = yes", "XattrSupport = yes")
	if n := strings.Count(r.Log, "HardLinks = yes"); n != 1 {
		t.Errorf("warned %d times, want once", n)
	}
}

// Two containers in one FileSet are saved one after another, and restored by one
// restore job.
func TestTwoPluginLines(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "both", Plugin: []string{"name=web", "name=old"}}}})
	w.create(rig.Container{Name: "old", UUID: oldUUID, Size: "1G", Tree: smallTree})
	web, old := w.scan(descriptor(webUUID, "root.hdd")), w.scan(descriptor(oldUUID, "root.hdd"))
	r := w.backup("both")
	w.says(r, "container web saved", "container old saved")
	w.nothingLeft()
	w.run("prlctl", "destroy", "web")
	w.run("prlctl", "destroy", "old")
	res := w.restore(rig.Restore{JobIDs: []int{r.ID}})
	w.says(res, "container web ("+webUUID+") restored and registered", "container old ("+oldUUID+") restored and registered")
	w.same(web, w.scan(descriptor(webUUID, "root.hdd")), mountPoint)
	w.same(old, w.scan(descriptor(oldUUID, "root.hdd")), nil)
}

// A job that has nothing to do with the plugin does not notice it.
func TestForeignJob(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "files", Files: []string{smallTree + "/etc"}}, {Name: "web", Plugin: []string{"name=web"}}}})
	r := w.backup("files")
	if ours := r.Ours(); ours != "" {
		t.Errorf("a foreign job has messages of ours: %s", ours)
	}
	if r.Files == 0 {
		t.Error("a foreign job has saved nothing")
	}
	w.backup("web")
	w.backup("files")
	w.nothingLeft()
}

func TestEstimateAndLevels(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	w.run("prlctl", "start", "web")
	out, err := w.sys.Console("estimate job=web level=Full listing")
	w.must(err)
	if !strings.Contains(out, "/mnt/bareos/"+webUUID+"/etc/hostname") {
		t.Errorf("estimate does not list the container's files:\n%.2000s", out)
	}
	w.nothingLeft()
	full := w.backup("web")
	w.run("sh", "-c", "echo changed > /vz/root/"+webUUID+"/etc/hostname")
	inc := w.backup("web", "level=Incremental")
	w.nothingLeft()
	w.run("prlctl", "stop", "web")
	w.run("prlctl", "destroy", "web")
	// The newer of the two restore objects counts, and the newer file.
	res := w.restore(rig.Restore{JobIDs: []int{full.ID, inc.ID}, Options: "start=yes"})
	w.says(res, "container web started")
	if got := w.run("cat", "/vz/root/"+webUUID+"/etc/hostname"); got != "changed\n" {
		t.Errorf("hostname %q, want that of the incremental", got)
	}
}
