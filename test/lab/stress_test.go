// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cycles is how often the stress test goes round.
func cycles() int {
	if full() {
		return 40
	}
	return 6
}

// snapshot, read-only mount, two equal sums of the snapshot's device under load, e2fsck, umount, online merge: again and
// again under a working container. In the end all that was durable is there, and every judge agrees.
func TestStress(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l := up(t)
	l.do("set", l.dir, "rate=200")
	l.container("--size", "600M", "--disk", "mnt=/data,size=512M")
	l.in("prlctl", "start", "web")
	l.sh("mkdir /mnt/bareos/s")
	const mnt = "/mnt/bareos/s"
	for n := range cycles() {
		l.busy(30)
		u := fmt.Sprintf("{%08x-1111-4111-8111-111111111111}", n+1)
		before := l.now()
		l.in("ploop", "snapshot", "-u", u, rootDD)
		l.in("ploop", "mount", "-r", "-u", u, "-c", "bareos-1", "-m", mnt, rootDD)
		dev := strings.TrimSpace(l.sh("grep ' " + mnt + " ' /proc/mounts | cut -d' ' -f1"))
		sums := l.sh("md5sum <" + dev + "; sleep 0.3; echo 3 >/proc/sys/vm/drop_caches; md5sum <" + dev)
		if s := strings.Fields(sums); len(s) != 4 || s[0] != s[2] {
			t.Errorf("cycle %d: the snapshot changed under load:\n%s", n, sums)
		}
		l.want(0, "", "e2fsck", "-fn", dev)
		if r := l.verify(before, mnt); r.code != 0 || !strings.Contains(r.out, " missing=0 wrong=0") {
			t.Errorf("cycle %d: %s%s", n, r.out, r.err)
		}
		l.in("ploop", "umount", "-m", mnt)
		l.in("ploop", "snapshot-delete", "-u", u, rootDD)
	}
	frozen, merged := 0.0, 0
	for _, c := range l.calls() {
		frozen = max(frozen, c.FreezeMS)
		merged += c.Merged
	}
	if frozen == 0 || merged == 0 {
		t.Errorf("the log tells of a freeze of %v ms and %d merged clusters", frozen, merged)
	}
	t.Logf("longest freeze %.0f ms, %d clusters merged", frozen, merged)
	at := l.now()
	l.in("prlctl", "stop", "web")
	if s := l.status(); len(s.Mounts)+len(s.Loops)+len(s.Devices)+len(s.Leftovers)+len(s.Locks)+len(s.Processes) != 0 {
		t.Errorf("left on the node: %+v", s)
	}
	l.do("check", l.dir)
	l.in("prlctl", "mount", "web")
	root := "/vz/root/" + ctUUID
	if r := l.verify(at, root); r.code != 0 {
		t.Errorf("at the end: %s%s", r.out, r.err)
	}
	r := l.try(binary, "workload-verify", "--ledger", l.ledger()+"@data", "--before", at, root)
	if r.code != 0 {
		t.Errorf("second disk: %s%s", r.out, r.err)
	}
	// Control: the verifier sees one damaged file.
	l.sh("printf x >>" + root + "/var/lib/workload/files/0000/000000003")
	if r := l.verify(at, root); r.code == 0 || !strings.Contains(r.out, "wrong=1") {
		t.Errorf("a damaged file is not seen: %s", r.out)
	}
	l.in("prlctl", "umount", "web")
}

// The judges see what is planted.
func TestCheckSeesDamage(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l := up(t)
	l.container()
	image := l.outside(filepath.Dir(rootDD) + "/root.hds")
	l.do("check", l.dir)
	good, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, judge string
		change      func([]byte)
	}{
		{"in-use flag", "FAIL ploop", func(b []byte) { copy(b[44:], "Ynot") }},
		{"entry behind the end", "FAIL qemu-check", func(b []byte) { copy(b[64:], []byte{0xff, 0xff, 0, 0}) }},
		{"cluster used twice", "FAIL ploop", func(b []byte) { copy(b[68:72], b[64:68]) }},
		{"signature", "FAIL qemu-info", func(b []byte) { b[0] = 'X' }},
		{"file system", "FAIL e2fsck", func(b []byte) { // superblock and group descriptors: the disk's second cluster
			at := int(b[68])<<20 | int(b[69])<<28
			for i := range 64 << 10 {
				b[at+i] ^= 0x5a
			}
		}},
	} {
		bad := append([]byte(nil), good...)
		c.change(bad)
		if err := os.WriteFile(image, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := command(t, patience, binary, "check", l.dir); r.code == 0 || !strings.Contains(r.out, c.judge) {
			t.Errorf("%s: check = %d\n%s", c.name, r.code, r.out)
		}
	}
	if err := os.WriteFile(image, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image+".{1234}", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := command(t, patience, binary, "check", l.dir); r.code == 0 || !strings.Contains(r.out, "FAIL descriptor") {
		t.Errorf("a file left over: check = %d\n%s", r.code, r.out)
	}
}

// A disk that has images of every layout and a chain works and is sound.
func TestLayouts(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	for name, args := range map[string][]string{
		"raw": {"--raw"}, "preallocated": {"--preallocated"}, "small clusters": {"--blocksize", "128"}, "version 1": {"--image-version", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			l := up(t)
			l.container(append(args, "--size", "600M")...)
			l.do("check", l.dir)
			l.in("prlctl", "start", "web")
			l.in("ploop", "snapshot", "-u", snapU, rootDD)
			l.busy(30)
			l.in("ploop", "snapshot", "-u", "{22222222-2222-4222-8222-222222222222}", rootDD)
			l.busy(30)
			l.in("ploop", "snapshot-delete", "-u", snapU, rootDD) // below the top, while it runs
			l.busy(10)
			at := l.now()
			l.in("prlctl", "stop", "web")
			l.do("check", l.dir)
			l.in("ploop", "snapshot-delete", "-u", "{22222222-2222-4222-8222-222222222222}", rootDD) // offline
			l.do("check", l.dir)
			l.in("prlctl", "mount", "web")
			if r := l.verify(at, "/vz/root/"+ctUUID); r.code != 0 {
				t.Errorf("%s%s", r.out, r.err)
			}
			l.in("prlctl", "umount", "web")
		})
	}
}

// Bugs 5 and 6 of the study: partitions have devices, and large reads need no splice.
func TestDevices(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	l.in("ploop", "mount", rootDD)
	dev := "/dev/" + strings.Fields(l.in("ploop", "list"))[0]
	l.want(0, "", "test", "-b", dev+"p1")
	if out := l.sh("blkid -p -o value -s TYPE " + dev + "p1; blkid -p -o value -s PTTYPE " + dev); out != "ext4\ngpt\n" {
		t.Errorf("blkid says %q", out)
	}
	l.sh("dd if=" + dev + " of=/dev/null bs=8M count=32 iflag=direct status=none")
	l.sh("dd if=" + dev + "p1 of=/dev/null bs=1M count=64 status=none")
	b, err := os.ReadFile(filepath.Join(l.dir, "log", "server.log"))
	if err != nil || strings.Contains(string(b), "plice") {
		t.Errorf("server.log: %q, %v", b, err)
	}
	l.in("ploop", "umount", rootDD)
	// Bug 2: nothing keeps a device after it is gone, round after round.
	for range 20 {
		l.in("ploop", "mount", rootDD)
		l.in("ploop", "umount", rootDD)
	}
	if s := l.status(); len(s.Devices)+len(s.Loops) != 0 {
		t.Errorf("after 20 rounds: %+v", s)
	}
}

func TestPackagesAreInstalled(t *testing.T) {
	b, err := os.ReadFile("packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	if why := cannot(); why != "" {
		t.Skip(why)
	}
	for _, p := range strings.Fields(string(b)) {
		if out, err := exec.Command("dpkg-query", "-W", "-f", "${Status}", p).Output(); err == nil && !strings.Contains(string(out), "installed") {
			t.Errorf("package %s: %s", p, out)
		}
	}
}
