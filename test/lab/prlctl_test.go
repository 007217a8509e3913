// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPrlctlList(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	if got := l.in("prlctl", "list", "-a", "--vmtype", "ct", "-o", "uuid,name,status", "-j"); got != "[\n\n]\n" {
		t.Errorf("an empty list is %q", got)
	}
	l.do("create", l.dir, "--name", `odd "name" \ x`, "--uuid", ctUUID, "--ctid", "101", "--size", "512M", "--tree", smallTree(t))
	var list []map[string]string
	if err := json.Unmarshal([]byte(l.in("prlctl", "list", "-a", "-o", "uuid,name,status,envid,id", "-j")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0]["uuid"] != ctUUID || list[0]["name"] != `odd "name" \ x` || list[0]["status"] != "stopped" ||
		list[0]["envid"] != "101" || list[0]["id"] != "{"+ctUUID+"}" {
		t.Errorf("list: %v", list)
	}
	want := "UUID                                    NAME                             STATUS\n" +
		"{" + ctUUID + "}  " + `odd "name" \ x` + "                   stopped\n"
	if got := l.in("prlctl", "list", "-a", "-o", "uuid,name,status"); got != want {
		t.Errorf("list:\n%swant\n%s", got, want)
	}
	if got := l.in("prlctl", "list", "-H", "-o", "uuid"); got != "" {
		t.Errorf("running ones: %q", got)
	}
	var info []map[string]any
	if err := json.Unmarshal([]byte(l.in("prlctl", "list", "-i", "-j", "101")), &info); err != nil {
		t.Fatal(err)
	}
	hdd, _ := info[0]["Hardware"].(map[string]any)["hdd0"].(map[string]any)
	if info[0]["ID"] != ctUUID || info[0]["State"] != "stopped" || hdd["size"] != "512Mb" {
		t.Errorf("info: %v", info)
	}
	l.want(255, "Failed to get VM config", "prlctl", "list", "nobody")
	l.want(255, "Failed to get VM config", "prlctl", "start", "nobody")
	l.want(1, "", "prlctl", "list", "-o", "nonsense")
	l.want(1, "", "prlctl", "list", "--nonsense")
	l.want(0, "VM nobody deleted", "prlctl", "status", "nobody")
	l.want(0, "CT 101 exist stopped", "prlctl", "status", "101")
	for _, id := range []string{"101", ctUUID, "{" + ctUUID + "}", `odd "name" \ x`} {
		l.want(0, "exist stopped", "prlctl", "status", id)
	}
}

func TestPrlctlStates(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container("--disk", "mnt=/data,size=512M")
	state := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(l.in("prlctl", "list", "-a", "-H", "-o", "status")); got != want {
			t.Errorf("status is %q, want %q", got, want)
		}
	}
	state("stopped")
	l.in("prlctl", "stop", "web") // no error
	l.in("prlctl", "start", "web")
	state("running")
	l.want(255, "already running", "prlctl", "start", "web")
	l.in("prlctl", "exec", "web", "sh", "-c", "echo hello >/data/h")
	l.want(3, "", "prlctl", "exec", "web", "sh", "-c", "exit 3")
	if got := l.in("prlctl", "exec", "web", "cat /data/h"); got != "hello\n" {
		t.Errorf("exec = %q", got)
	}
	if n := len(l.status().Mounts); n != 2 {
		t.Errorf("%d disks are mounted, want 2", n)
	}
	l.in("prlctl", "suspend", "web")
	state("suspended")
	l.want(0, "", "test", "-s", "/vz/private/"+ctUUID+"/dump/Dump")
	l.in("prlctl", "resume", "web")
	state("running")
	// Something that runs in it goes with it.
	wait := l.background("prlctl", "exec", "web", "sleep", "100")
	l.in("prlctl", "stop", "web")
	_ = wait()
	state("stopped")
	l.in("prlctl", "mount", "web")
	state("mounted")
	l.in("prlctl", "umount", "web")
	state("stopped")
	if s := l.status(); len(s.Mounts)+len(s.Devices)+len(s.Locks)+len(s.Processes) != 0 {
		t.Errorf("left: %+v", s)
	}
	l.in("prlctl", "destroy", "web")
	l.want(255, "", "prlctl", "start", "web")
}

func TestPrlctlLock(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	file := "/vz/lock/" + ctUUID + ".lck"
	l.sh("sleep 100 >/dev/null 2>&1 & printf '%s\\nmounting\\n' $! >" + file)
	l.want(255, "Cannot lock the Container", "prlctl", "start", "web")
	l.sh("pid=$(head -n 1 " + file + "); printf '%s\\nBacking up\\n' $pid >" + file + "; cp " + file + " /run/lock.kept")
	l.want(255, "Cannot lock the Container", "prlctl", "stop", "web")
	l.in("prlctl", "start", "web") // a start is let through while a backup holds the lock, and removes it
	l.sh("! test -e " + file + " && mv /run/lock.kept " + file)
	l.want(255, "Cannot lock the Container", "prlctl", "stop", "web")
	l.sh("pid=$(head -n 1 " + file + "); kill $pid; while [ -d /proc/$pid ]; do sleep 0.1; done")
	l.in("prlctl", "stop", "web") // the lock is stale
	if s := l.status(); len(s.Locks) != 0 {
		t.Errorf("locks: %v", s.Locks)
	}
}

func TestPrlctlRegister(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	private := "/vz/private/" + ctUUID
	l.in("prlctl", "unregister", "web")
	if got := l.in("prlctl", "list", "-a", "-H"); got != "" {
		t.Errorf("after unregister: %q", got)
	}
	l.in("prlctl", "register", private, "--preserve-uuid")
	if got := l.in("prlctl", "list", "-a", "-H", "-o", "uuid,name"); got != "{"+ctUUID+"}  web\n" {
		t.Errorf("after register: %q", got)
	}
	l.want(255, "already registered", "prlctl", "register", private, "--preserve-uuid")
	l.in("prlctl", "unregister", "web")
	l.in("prlctl", "register", private)
	if got := l.in("prlctl", "list", "-a", "-H", "-o", "uuid"); strings.Contains(got, ctUUID) {
		t.Errorf("registered without --preserve-uuid under the old UUID: %q", got)
	}
	l.in("prlctl", "unregister", "web")
	l.sh("rm " + private + "/.ve.layout; echo 5 >" + private + "/.ve.layout")
	l.want(255, "", "prlctl", "register", private) // must be a symlink
	l.sh("rm " + private + "/.ve.layout; ln -s 5 " + private + "/.ve.layout; mv " + private + " /vz/private/102")
	l.in("prlctl", "register", "/vz/private/102", "--uuid", ctUUID)
	if got := l.in("prlctl", "list", "-a", "-H", "-o", "envid,home,uuid"); !strings.Contains(got, "102        /vz/private/102") {
		t.Errorf("registered elsewhere: %q", got)
	}
	l.in("prlctl", "start", "web")
	// A name in use gets a suffix.
	l.do("create", l.dir, "--name", "other", "--uuid", "6c9a0000-0000-4000-8000-000000000002", "--size", "512M", "--tree", smallTree(t))
	l.in("prlctl", "unregister", "other")
	l.sh("sed -i 's/^NAME=.*/NAME=\"web\"/' /vz/private/6c9a0000-0000-4000-8000-000000000002/ve.conf")
	l.in("prlctl", "register", "/vz/private/6c9a0000-0000-4000-8000-000000000002", "--preserve-uuid")
	l.want(0, "exist stopped", "prlctl", "status", "web-(0)")
}

func TestPrlctlSnapshots(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l := up(t)
	l.container("--disk", "mnt=/data,size=512M")
	l.in("prlctl", "start", "web")
	out := l.in("prlctl", "snapshot", "web", "-n", "first")
	id := out[strings.Index(out, "{") : strings.Index(out, "}")+1]
	for dd, s := range l.status().Snapshots {
		if len(s) != 1 || s[0] != id {
			t.Errorf("%s: %v, want %s", dd, s, id)
		}
	}
	if b, err := os.ReadFile(l.outside("/vz/private/" + ctUUID + "/Snapshots.xml")); err != nil || !strings.Contains(string(b), id) {
		t.Errorf("Snapshots.xml: %s, %v", b, err)
	}
	l.want(0, "", "test", "-f", "/vz/private/"+ctUUID+"/dump/"+id+".ve.conf")
	l.want(0, "*"+id, "prlctl", "snapshot-list", "web")
	l.in("prlctl", "snapshot-delete", "web", "-i", id)
	for dd, s := range l.status().Snapshots {
		if len(s) != 0 {
			t.Errorf("%s: %v, want none", dd, s)
		}
	}
	l.in("prlctl", "stop", "web")
	l.do("check", l.dir)
}

// A node of Virtuozzo 9's dialect runs containers too.
func TestVZ9Node(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l := up(t, "--dialect", "vz9")
	l.container("--disk", "mnt=/data,size=512M")
	l.in("prlctl", "start", "web")
	l.want(0, "/dev/mapper/ploop", "grep", "ploop", "/proc/mounts")
	l.in("ploop", "snapshot", "-u", snapU, rootDD)
	l.busy(20)
	l.in("ploop", "snapshot", "-u", "{22222222-2222-4222-8222-222222222222}", rootDD)
	l.busy(20)
	l.in("ploop", "snapshot-delete", "-u", "{22222222-2222-4222-8222-222222222222}", rootDD) // the lower image comes up
	l.busy(20)
	l.in("ploop", "snapshot-delete", "-u", snapU, rootDD)
	at := l.now()
	l.in("prlctl", "stop", "web")
	if s := l.status(); len(s.Devices)+len(s.Mounts)+len(s.Leftovers)+len(s.Snapshots[rootDD]) != 0 {
		t.Errorf("left: %+v", s)
	}
	l.do("check", l.dir)
	l.in("prlctl", "mount", "web")
	if r := l.verify(at, "/vz/root/"+ctUUID); r.code != 0 {
		t.Errorf("%s%s", r.out, r.err)
	}
	l.in("prlctl", "umount", "web")
}

// The private area has what facts say one has.
func TestPrivateArea(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container("--disk", "mnt=/data,size=512M")
	private := l.outside("/vz/private/" + ctUUID)
	for name, to := range map[string]string{".ve.layout": "5", "templates": "root.hdd/templates"} {
		if got, err := os.Readlink(filepath.Join(private, name)); err != nil || got != to {
			t.Errorf("%s -> %q, %v, want %q", name, got, err, to)
		}
	}
	for _, name := range []string{
		"ve.conf", ".owner", "scripts", "dump", "root.hdd/DiskDescriptor.xml", "root.hdd/root.hds", "root.hdd/.statfs",
		"root.hdd/templates",
		"disk-1.hdd/DiskDescriptor.xml",
	} {
		if _, err := os.Lstat(filepath.Join(private, name)); err != nil {
			t.Error(err)
		}
	}
	for name, to := range map[string]string{
		"/etc/vz/conf/" + ctUUID + ".conf": "/vz/private/" + ctUUID + "/ve.conf", "/etc/vz/names/web": "/etc/vz/conf/" + ctUUID + ".conf",
	} {
		if got := strings.TrimSpace(l.in("readlink", name)); got != to {
			t.Errorf("%s -> %q, want %q", name, got, to)
		}
	}
}
