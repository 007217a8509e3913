// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The states in which the real tool destroys data or refuses. A product that calls it there must be seen to fail.

// A snapshot after a killed offline merge drops the old top from the descriptor, with exit status 0.
func TestSnapshotAfterKilledMergeLosesTheTop(t *testing.T) {
	needs(t, "mkfs.ext4")
	l, sum := killedOfflineMerge(t)
	const other = "{22222222-2222-4222-8222-222222222222}"
	l.want(0, "has been successfully created", "ploop", "snapshot", "-u", other, rootDD)
	s := l.status()
	if len(s.Leftovers) == 0 {
		t.Fatalf("the old top is still listed: %+v", s)
	}
	if got := l.bigSum(); got == sum {
		t.Errorf("the data written after the first snapshot is still there: the lab is too kind")
	}
}

// A mount of a running disk's top, without -u, repairs the image under the container's feet.
func TestMountOfLiveTop(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	l.in("prlctl", "mount", "web")
	l.sh("mkdir /mnt/bareos/m; echo x >/vz/root/" + ctUUID + "/x; sync -f /vz/root/" + ctUUID)
	image := l.outside(filepath.Dir(rootDD) + "/root.hds")
	flag := func() string {
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[44:48])
	}
	if flag() != "Ynot" {
		t.Fatalf("the live top is not marked in use: %q", flag())
	}
	l.try("ploop", "mount", "-r", "-c", "bk", "-m", "/mnt/bareos/m", rootDD)
	if flag() == "Ynot" {
		t.Error("the live top is still marked in use: the lab is too kind")
	}
}

func TestMountErrors(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	l.in("prlctl", "mount", "web")
	l.sh("mkdir /mnt/bareos/m")
	l.want(21, "already used by device /dev/ploop", "ploop", "mount", "-r", "-m", "/mnt/bareos/m", rootDD)
	l.want(43, "not found", "ploop", "mount", "-r", "-c", "x", "-u", snapU, "-m", "/mnt/bareos/m", rootDD)
	l.want(38, "Incorrect uuid specified: x", "ploop", "mount", "-r", "-u", "x", rootDD)
	l.want(39, "Can't resolve /vz/none/DiskDescriptor.xml: No such file or directory", "ploop", "mount", "/vz/none/DiskDescriptor.xml")
	l.in("ploop", "snapshot", "-u", snapU, rootDD)
	l.want(38, "already exist", "ploop", "snapshot", "-u", snapU, rootDD)
	before := len(l.status().Devices)
	l.want(38, "Failed to stat mount point", "ploop", "mount", "-r", "-c", "x", "-u", snapU, "-m", "/mnt/bareos/none", rootDD)
	if n := len(l.status().Devices); n != before {
		t.Errorf("a mount at a missing folder left a device: %d, before %d", n, before)
	}
	l.want(37, "Can't check, in use by device", "ploop", "check", rootDD)
	l.want(38, "Unable to delete active snapshot", "ploop", "snapshot-delete", "-u", topU, rootDD)
	l.want(38, "Unable to find ploop device by /mnt/bareos/m", "ploop", "umount", "-m", "/mnt/bareos/m")
	l.want(38, "Can't create", "ploop", "init", "-s", "1g", filepath.Dir(rootDD)+"/other.hds")
}

// A snapshot that is mounted is not deleted; after the umount it is.
func TestDeleteOfMountedSnapshot(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	l.in("prlctl", "mount", "web")
	const second = "{22222222-2222-4222-8222-222222222222}"
	l.in("ploop", "snapshot", "-u", snapU, rootDD)
	l.in("ploop", "snapshot", "-u", second, rootDD)
	l.sh("mkdir /mnt/bareos/1 /mnt/bareos/2")
	l.in("ploop", "mount", "-r", "-c", "b1", "-u", snapU, "-m", "/mnt/bareos/1", rootDD)
	l.want(17, "Snapshot "+snapU+" is busy by device(s): /dev/ploop", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.in("ploop", "mount", "-r", "-c", "b2", "-u", second, "-m", "/mnt/bareos/2", rootDD)
	l.in("ploop", "umount", "-m", "/mnt/bareos/1")
	// Only its child is mounted: that is refused too.
	l.want(17, "is busy by device(s)", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.want(17, "is busy by device(s)", "ploop", "snapshot-delete", "-u", second, rootDD)
	l.in("ploop", "umount", "-m", "/mnt/bareos/2")
	l.want(0, "ploop snapshot merged", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.want(0, "ploop snapshot merged", "ploop", "snapshot-delete", "-u", second, rootDD)
}

func TestBusyUmount(t *testing.T) {
	needs(t, "mkfs.ext4", "lsof")
	l := up(t)
	l.container()
	l.in("prlctl", "mount", "web")
	l.do("set", l.dir, "busy_seconds=1")
	end := l.sleeper("cd /vz/root/" + ctUUID + " && exec sleep 60")
	l.want(46, "lsof", "ploop", "umount", rootDD)
	end()
	l.want(0, "Unmounting device", "ploop", "umount", rootDD)
	l.want(40, "is not mounted", "ploop", "umount", rootDD)
}

// Whoever has the device open keeps it.
func TestOpenDeviceIsBusy(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	l.in("ploop", "mount", rootDD)
	l.do("set", l.dir, "busy_seconds=1")
	dev := strings.Fields(l.in("ploop", "list"))[0]
	end := l.sleeper("exec sleep 60 </dev/" + dev + "p1")
	l.want(46, "PLOOP_IOC_STOP: Device or resource busy", "ploop", "umount", "-d", "/dev/"+dev)
	end()
	l.want(0, "", "ploop", "umount", "-d", "/dev/"+dev+"p1")
	l.want(255, "", "ploop", "umount", "-d", "/dev/"+dev)
}

func TestDescriptorLock(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	l.do("set", l.dir, "lock_seconds=1")
	l.want(23, "is locked: Resource temporarily unavailable", "flock", rootDD+".lck", "ploop", "snapshot", rootDD)
	l.want(0, "", "flock", rootDD+".lck", "ploop", "snapshot-list", rootDD) // takes no lock
}

// A temporary snapshot stays after its umount and is merged by the next command.
func TestTemporarySnapshot(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l := up(t)
	l.container()
	l.in("prlctl", "start", "web")
	l.sh("mkdir /mnt/bareos/m")
	l.want(0, "ploop temporary snapshot", "ploop", "tsnapshot", "-u", snapU, "-c", "bk", "-m", "/mnt/bareos/m", rootDD)
	if s := l.status(); len(s.Devices) != 2 || s.Devices[0].Cookie+s.Devices[1].Cookie != "~bk" {
		t.Fatalf("devices: %+v", s.Devices)
	}
	const other = "{22222222-2222-4222-8222-222222222222}"
	// Its mark makes it free game: another command unmounts and merges it.
	l.want(0, "temporary snapshot merge", "ploop", "snapshot", "-u", other, rootDD)
	if s := l.status(); strings.Join(s.Snapshots[rootDD], "") != other || len(s.Devices) != 1 {
		t.Errorf("after the next snapshot: %+v", s)
	}
	l.in("ploop", "snapshot-delete", "-u", other, rootDD)
	at := l.now()
	l.in("prlctl", "stop", "web")
	l.in("prlctl", "mount", "web")
	if r := l.verify(at, "/vz/root/"+ctUUID); r.code != 0 {
		t.Errorf("%s%s", r.out, r.err)
	}
	l.in("prlctl", "umount", "web")
	l.do("check", l.dir)
}

// An open folder on its mount saves it: the other command fails instead. See TestTemporarySnapshot.
func TestTemporarySnapshotHeld(t *testing.T) {
	needs(t, "mkfs.ext4", "lsof")
	l := up(t)
	l.container()
	l.in("prlctl", "mount", "web")
	l.do("set", l.dir, "busy_seconds=1")
	l.sh("mkdir /mnt/bareos/m")
	l.in("ploop", "tsnapshot", "-u", snapU, "-c", "bk", "-m", "/mnt/bareos/m", rootDD)
	end := l.sleeper("exec sleep 60 </mnt/bareos/m")
	l.want(46, "", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	if s := l.status(); len(s.Devices) != 2 || len(s.Mounts) != 2 {
		t.Errorf("after the refused delete: %+v", s)
	}
	end()
	l.want(0, "merged", "ploop", "snapshot-delete", "-u", snapU, rootDD)
}

// Without room the descriptor stays as it is.
func TestFullFileSystem(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.sh("mkdir /vz/full; mount -t tmpfs -o size=400m none /vz/full; ploop init -s 512m /vz/full/root.hds >/dev/null 2>&1;" +
		"cat /dev/zero >/vz/full/fill || true")
	l.want(39, "No space left on device", "ploop", "snapshot", "-u", snapU, "/vz/full/DiskDescriptor.xml")
	l.sh("rm /vz/full/fill")
	l.want(0, "successfully created", "ploop", "snapshot", "-u", snapU, "/vz/full/DiskDescriptor.xml")
}
