// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A disk becomes larger while its container is stopped, while it runs and writes, and while there is a snapshot, which is
// merged then, online and offline. The judges have no complaints, and the programs miss nothing.
func TestResize(t *testing.T) {
	needs(t, "mkfs.ext4", "resize2fs", "e2fsck")
	l := up(t)
	l.container("--disk", "mnt=/data,size=512M")
	size := func(want string) {
		t.Helper()
		if got := strings.Fields(l.in("ploop", "info", "-s", rootDD)); len(got) < 2 || got[1] != want {
			t.Errorf("ploop info: %q, want size %s", got, want)
		}
	}
	room := func() string {
		return strings.TrimSpace(l.sh("df --output=size -k /vz/root/" + ctUUID + " | tail -n 1"))
	}
	l.in("prlctl", "set", "web", "--device-set", "hdd0", "--size", "1100")
	size("2252800")
	l.do("check", l.dir)
	l.in("prlctl", "start", "web")
	l.busy(10)
	before := room()
	r := l.try("ploop", "resize", "-s", "1200M", rootDD)
	size("2457600")
	if now := room(); strings.Contains(r.err, "its file system stays as it is") {
		t.Log("not played: that the file system of a running container grows, for which the kernel wants CAP_SYS_RESOURCE")
	} else if r.code != 0 || len(now) < len(before) || now == before {
		t.Errorf("the file system has %s KiB, had %s", now, before)
	}
	for n, state := range []string{"running", "stopped"} {
		l.in("ploop", "snapshot", "-u", snapU, rootDD)
		l.in("ploop", "resize", "-s", []string{"1300M", "1400M"}[n], rootDD)
		if state == "running" {
			l.busy(10)
		} else {
			l.in("prlctl", "stop", "web")
		}
		l.in("ploop", "snapshot-delete", "-u", snapU, rootDD)
	}
	size("2867200")
	l.in("ploop", "resize", "-s", "1400M", rootDD)
	l.do("check", l.dir)
	if got := l.in("prlctl", "list", "-i", "-j", "web"); !strings.Contains(got, `"512Mb"`) {
		t.Errorf("list -i: %s, want the other disk as it was", got)
	}
	l.in("prlctl", "set", "web", "--device-set", "hdd1", "--size", "600")
	if got := l.in("prlctl", "list", "-i", "-j", "web"); !strings.Contains(got, `"600Mb"`) {
		t.Errorf("list -i: %s, want the other disk larger", got)
	}
	l.want(38, "Usage: ploop resize", "ploop", "resize", rootDD)
	l.want(12, "larger only", "ploop", "resize", "-s", "100M", rootDD)
	l.do("check", l.dir)
	now := strings.TrimSpace(l.do("now"))
	l.in("prlctl", "mount", "web")
	if got := l.in(filepath.Join(l.dir, "bin/lab"), "workload-verify", "--ledger", filepath.Join(l.dir, "ledger", ctUUID), "--before", now, "/vz/root/"+ctUUID); !strings.Contains(got, "missing=0 wrong=0") {
		t.Errorf("workload: %s", got)
	}
}

func TestPrlctlSet(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	l.in("prlctl", "set", "web", "--name", "mail")
	l.want(255, "", "prlctl", "start", "web")
	l.in("prlctl", "start", "mail")
	l.want(255, "already in use", "prlctl", "set", "mail", "--name", "mail")
	l.in("prlctl", "set", "mail", "--device-add", "hdd", "--size", "512", "--mnt", "/srv/more")
	l.in("mountpoint", "/vz/root/"+ctUUID+"/srv/more")
	l.in("prlctl", "stop", "mail")
	l.in("prlctl", "mount", "mail")
	l.in("mountpoint", "/vz/root/"+ctUUID+"/srv/more")
	l.in("prlctl", "umount", "mail")
	l.want(1, "Usage", "prlctl", "set", "mail")
	l.want(255, "no disk", "prlctl", "set", "mail", "--device-set", "hdd7", "--size", "100")
	l.do("check", l.dir)
}

// What others on the node notice of the real prlctl backup.
func TestPrlctlBackup(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	l.in("prlctl", "start", "web")
	wait := l.background("prlctl", "backup", "web")
	l.paused("backup")
	if got := l.in("cat", "/vz/lock/"+ctUUID+".lck"); !strings.HasSuffix(got, "\nBacking up\n") {
		t.Errorf("lock: %q", got)
	}
	if got := l.in("ploop", "list"); !strings.Contains(got, "~prl_backup") {
		t.Errorf("ploop list: %s", got)
	}
	l.want(255, "Cannot lock the Container", "prlctl", "stop", "web")
	l.want(255, "Cannot lock the Container", "prlctl", "backup", "web")
	if err := os.Remove(filepath.Join(l.dir, "paused")); err != nil {
		t.Fatal(err)
	}
	if c := wait(); c != 0 {
		t.Errorf("prlctl backup: exit status %d", c)
	}
	if s := l.status(); len(s.Snapshots[rootDD])+len(s.Locks) != 0 {
		t.Errorf("left: %+v", s)
	}
	l.in("prlctl", "stop", "web")
}
