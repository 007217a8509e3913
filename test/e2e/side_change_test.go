// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// What users do in spite of the lock, here since it cannot be taken: the job says
// so. Their snapshots, made and deleted meanwhile, and a disk that becomes larger,
// are as they want them when it has ended, and nothing of ours is left.
func TestChangesWithoutTheLock(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Slow: true, Plugin: []string{"name=web"}}}})
	w.run("sed", "-i", "s:^LOCKDIR=.*:LOCKDIR=/nowhere:", "/etc/vz/vz.conf")
	w.run("prlctl", "start", "web")
	made := w.run("prlctl", "snapshot", "web")
	_, id, _ := strings.Cut(made, "with id ")
	old := strings.Fields(id)[0]
	job := w.waiting("web")
	w.must(w.sys.WaitLog(job, "Virtuozzo's lock of container "+webUUID+" is not taken: "))
	w.busy(60)

	// The snapshot below ours cannot be deleted while ours is read; it can later.
	if out, err := w.node.Run("prlctl", "snapshot-delete", "web", "-i", old); err == nil || !strings.Contains(out, "is busy by device") {
		t.Errorf("snapshot-delete below a mounted snapshot: %v %s", err, out)
	}
	made = w.run("prlctl", "snapshot", "web")
	_, id, _ = strings.Cut(made, "with id ")
	above := strings.Fields(id)[0]
	w.run("prlctl", "set", "web", "--device-set", "hdd0", "--size", "1800")
	w.busy(120)
	r := w.goesOn(job)
	w.says(r, "container web saved")
	if !strings.HasPrefix(r.Termination, "Backup OK") || strings.Contains(r.Log, "rror: ") {
		t.Errorf("the job: %s", r)
	}
	left, err := w.node.Snapshots()
	w.must(err)
	for _, s := range left {
		if !strings.Contains(s, old) && !strings.Contains(s, above) {
			t.Errorf("snapshot %s is left", s)
		}
	}
	if len(left) != 4 {
		t.Errorf("snapshots %v, want the user's two of two disks", left)
	}
	w.run("prlctl", "snapshot-delete", "web", "-i", old)
	w.run("prlctl", "snapshot-delete", "web", "-i", above)
	w.nothingLeft()
	w.keptAll()
	if got := w.run("ploop", "info", "-s", descriptor(webUUID, "root.hdd")); !strings.Contains(got, "3686400") {
		t.Errorf("disk: %s, want 1800 MiB", got)
	}
	// The backup is of the disk as it was.
	w.run("prlctl", "destroy", "web")
	w.restore(rig.Restore{JobIDs: []int{r.ID}})
	if got := w.run("ploop", "info", "-s", descriptor(webUUID, "root.hdd")); !strings.Contains(got, "3072000") {
		t.Errorf("restored disk: %s, want 1500 MiB", got)
	}
}

// Between two jobs a container is renamed, a disk becomes larger, another one comes.
// Both backups are restored as they were made.
func TestContainerIsChangedBetweenJobs(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "name", Plugin: []string{"name=web"}}, {Name: "uuid", Plugin: []string{"uuid=" + webUUID}}}})
	root := descriptor(webUUID, "root.hdd")
	first := w.backup("name")
	firstRoot := w.scan(root)

	w.run("prlctl", "set", "web", "--name", "mail")
	w.refused("name", `name="web"`, "no such container on this node", "prlctl list -a")
	// Another container has the old name by now: by name, it is the one that is saved.
	w.create(rig.Container{Name: "web", UUID: oldUUID, Size: "1G", Tree: smallTree})
	w.says(w.backup("name"), "container web saved")
	w.run("prlctl", "set", webUUID, "--device-set", "hdd0", "--size", "1800")
	w.run("prlctl", "set", webUUID, "--device-add", "hdd", "--size", "512", "--mnt", "/srv/more")
	w.run("prlctl", "start", "mail")
	w.run("prlctl", "start", "web")
	w.run("sh", "-c", "echo new > /vz/root/"+webUUID+"/srv/more/file && rm /vz/root/"+webUUID+"/etc/resolv.conf /vz/root/"+oldUUID+"/etc/resolv.conf")
	second := w.backup("uuid")
	w.says(second, "snapshot {", "of 3 disk(s)", "container mail saved")

	// A file of the first backup finds the container that it came from.
	res := w.restore(rig.Restore{JobIDs: []int{first.ID}, Files: []string{"/mnt/bareos/" + webUUID + "/etc/resolv.conf"}, Options: "restore=file"})
	w.says(res, "into running container mail ("+webUUID+")")
	if _, err := w.node.Run("test", "-e", "/vz/root/"+webUUID+"/etc/resolv.conf"); err != nil {
		t.Error("the file is not in the container that was renamed")
	}
	if _, err := w.node.Run("test", "-e", "/vz/root/"+oldUUID+"/etc/resolv.conf"); err == nil {
		t.Error("the file is in the container that has the name now")
	}
	for _, name := range []string{"mail", "web"} {
		w.run("prlctl", "stop", name)
		w.run("prlctl", "destroy", name)
	}

	disks := func(want ...string) {
		t.Helper()
		out := w.run("sh", "-c", "for d in /vz/private/"+webUUID+"/*.hdd/DiskDescriptor.xml; do ploop info -s $d | head -n 1; done")
		for _, size := range want {
			if !strings.Contains(out, size) {
				t.Errorf("disks of\n%swant one of %s", out, size)
			}
		}
		if n := strings.Count(out, "size:"); n != len(want) {
			t.Errorf("%d disks, want %d", n, len(want))
		}
	}
	w.restore(rig.Restore{JobIDs: []int{second.ID}})
	disks("3686400", "1048576", "1048576")
	w.run("prlctl", "start", "mail")
	if out := w.run("cat", "/vz/root/"+webUUID+"/srv/more/file"); out != "new\n" {
		t.Errorf("the third disk has %q", out)
	}
	w.run("prlctl", "stop", "mail")
	judge(t, w)
	w.run("prlctl", "destroy", "mail")
	w.restore(rig.Restore{JobIDs: []int{first.ID}})
	disks("3072000", "1048576")
	w.same(firstRoot, w.scan(root), mountPoint)
	if out := w.run("prlctl", "list", "-a", "-H", "-o", "name"); strings.TrimSpace(out) != "web" {
		t.Errorf("restored under the name %q, want web", out)
	}
}
