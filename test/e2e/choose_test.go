// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// Every rule that leaves something out, in one job of a real daemon, with Options of its
// FileSet; then what must not look like a backup: one of nothing, and one with files that
// could not be read.
func TestChoosing(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	tree := filepath.Join(w.dir, "tree")
	for name, content := range map[string]string{
		"etc/hostname": "web\n", "srv/a.tmp": "1", "srv/build/x": "2", "srv/keep": "3", "tmp/x": "4", "run/y": "5",
		"cache/CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n", "cache/x": "6", "home/.bareosignore": "*.log\n", "home/u/a.log": "7", "home/u/b": "8",
		"home/v/.nobackup": "", "home/v/c": "9", "big": strings.Repeat("x", 2<<20), "flagged": "10", "opt/wild/x": "11", "opt/a.wild": "12",
		"unread/1": strings.Repeat("y", 1<<16), "unread/2": strings.Repeat("z", 1<<16),
	} {
		w.must(os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755))
		w.must(os.WriteFile(filepath.Join(tree, name), []byte(content), 0o644))
	}
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Disks: []string{"mnt=/data,size=512M"}, Tree: tree})
	w.run("prlctl", "mount", "web")
	w.run("chattr", "+d", "/vz/root/"+webUUID+"/flagged")
	w.run("prlctl", "umount", "web")
	const rules = "name=web:exclude=*.tmp,/srv/build/:std_excludes=yes:exclude_caches=yes:tenant_excludes=yes:honor_nodump=yes:exclude_larger_than=1M"
	own := "exclude = yes\n WildDir = \"/mnt/bareos/*/opt/wild\"\n WildFile = \"/mnt/bareos/*.wild\"\n }\n Options { Signature = MD5\n"
	if rig.IsBareos() {
		own += "HardLinks = yes\n XattrSupport = yes\n"
	}
	w.start(rig.Config{Jobs: []rig.Job{
		{Name: "chosen", Plugin: []string{rules}, Block: own}, {Name: "nothing", Plugin: []string{"name=web:exclude=*"}}, {Name: "disk", Plugin: []string{"name=web:disks=!/data"}},
		{Name: "strict", Plugin: []string{"name=web:max_errors=1"}}, {Name: "lax", Plugin: []string{"name=web:max_errors=2"}},
		{Name: "plain", Plugin: []string{"name=web"}},
	}})
	r := w.backup("chosen")
	w.says(r, "exclude left out 1 file of 1 B and 1 directory with all it holds: /srv/", "std_excludes=yes left out the content of 2 directories: /",
		"exclude_caches=yes left out the content of 1 directory: /cache", "tenant_excludes=yes left out 1 file of 1 B and the content of 1 directory: /home/",
		"exclude_larger_than=1.0MiB left out 1 file of 2.0 MiB: /big", "honor_nodump=yes left out 1 file of 2 B: /flagged",
		"the FileSet's Options left out 1 file of 2 B and 1 directory with all it holds: /opt/")
	listing, err := w.sys.Listing(r.ID)
	w.must(err)
	for name, want := range map[string]bool{
		"/etc/hostname": true, "/srv/a.tmp": false, "/srv/build": false, "/srv/keep": true, "/tmp/": true, "/tmp/x": false, "/run/": true, "/run/y": false,
		"/cache/CACHEDIR.TAG": true, "/cache/x": false, "/home/.bareosignore": true, "/home/u/a.log": false, "/home/u/b": true, "/home/v/.nobackup": true, "/home/v/c": false,
		"/big": false, "/flagged": false, "/opt/wild": false, "/opt/a.wild": false, "/opt/": true, "/data/": true,
	} {
		if got := strings.Contains(listing, "/mnt/bareos/"+webUUID+name); got != want {
			t.Errorf("%s in the backup: %v, want %v", name, got, want)
		}
	}
	w.refused("nothing", "nothing of container web would be saved but its configuration: exclude left out ")
	r = w.backup("disk")
	w.says(r, "disks left out 1 disk: /data (a disk, ")
	if listing, err = w.sys.Listing(r.ID); err != nil || !strings.Contains(listing, webUUID+"/etc/hostname") {
		t.Errorf("disks=!/data has saved %s, %v", listing, err)
	}
	w.run("prlctl", "mount", "web")
	for _, name := range []string{"1", "2"} {
		if out, err := w.node.Lab("spoil", w.node.Dir, "/vz/root/"+webUUID+"/unread/"+name, "4096", "4096"); err != nil {
			t.Fatalf("spoil: %v: %s", err, out)
		}
	}
	w.run("prlctl", "umount", "web")
	w.refused("strict", "max_errors=1: 2 files and directories could not be read, or not completely, the last one /mnt/bareos/"+webUUID+"/unread/", unix.EIO.Error())
	// Without max_errors, Bareos from 22 reads by itself.
	for _, job := range []string{"lax", "plain"} {
		r, err = w.sys.Backup(job)
		w.must(err)
		w.says(r, "could not be read, or not completely: 2 files and directories of 128.0 KiB", "/unread/1", "/unread/2")
		if r.OK() || !strings.HasPrefix(r.Termination, "Backup OK") {
			t.Errorf("%s: a job with as many errors as it may have has ended with %q, want warnings", job, r.Termination)
		}
		w.nothingLeft()
	}
}
