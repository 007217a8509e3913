// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// downWithin takes a lab down and demands that it takes no longer than half a minute.
func (l *lab) downWithin() {
	l.t.Helper()
	start := time.Now()
	l.do("down", l.dir)
	if d := time.Since(start); d > 30*time.Second {
		l.t.Errorf("lab down took %v", d)
	}
	l.gone()
}

func kill(t *testing.T, sig syscall.Signal, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Fatal(err)
		}
	}
}

// sleeper starts a shell command that becomes a sleep, and returns when it is one; end ends it. Other tests have sleeps of
// their own: it is known by its number.
func (l *lab) sleeper(command string) (end func()) {
	l.t.Helper()
	wait := l.background("sh", "-c", "echo $$ > /run/sleeper.pid; "+command)
	for limit := time.Now().Add(30 * time.Second); !slices.Contains(l.status().Processes, "sleep"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			l.t.Fatalf("%s: no sleep runs: %v", command, l.status().Processes)
		}
	}
	return func() {
		l.sh("kill $(cat /run/sleeper.pid); rm /run/sleeper.pid")
		_ = wait()
	}
}

// background starts a command inside the node and returns once it runs; wait gives its exit status, -1 for a signal.
func (l *lab) background(argv ...string) (wait func() int) {
	l.t.Helper()
	cmd := exec.Command(binary, append([]string{"exec", l.dir, "--"}, argv...)...)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	return func() int {
		select {
		case <-done:
			return cmd.ProcessState.ExitCode()
		case <-time.After(patience):
			l.t.Fatalf("%q does not end", argv)
			return 0
		}
	}
}

func TestDownAfterKill(t *testing.T) {
	needs(t, "mkfs.ext4")
	for name, hit := range map[string]func(server, holder int){
		"server":  func(s, _ int) { kill(t, syscall.SIGKILL, s) },
		"holder":  func(_, h int) { kill(t, syscall.SIGKILL, h) },
		"both":    func(s, h int) { kill(t, syscall.SIGKILL, s, h) },
		"stopped": func(s, _ int) { kill(t, syscall.SIGSTOP, s) },
	} {
		t.Run(name, func(t *testing.T) {
			l := up(t)
			l.container("--disk", "mnt=/data,size=512M")
			l.in("prlctl", "start", "web")
			l.busy(20)
			hit(l.processes())
			time.Sleep(200 * time.Millisecond)
			l.downWithin()
		})
	}
}

// The guard thaws when ploop dies while the file system is frozen.
func TestKillWhileFrozen(t *testing.T) {
	needs(t, "mkfs.ext4")
	for _, point := range []string{"frozen", "switched"} {
		t.Run(point, func(t *testing.T) {
			l := up(t)
			l.container()
			l.in("prlctl", "start", "web")
			l.busy(10)
			l.do("set", l.dir, "pause="+point)
			wait := l.background("ploop", "snapshot", "-u", snapU, rootDD)
			pid := l.paused(point)
			held := l.entries()
			time.Sleep(100 * time.Millisecond)
			if n := l.entries(); n > held+5 {
				t.Errorf("%d entries were made durable while frozen", n-held)
			}
			kill(t, syscall.SIGKILL, pid)
			if c := wait(); c != -1 {
				t.Fatalf("ploop ended with %d, want death by signal", c)
			}
			start := time.Now()
			l.busy(10) // the guard has thawed
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("the container wrote again after %v", d)
			}
			if s := l.status(); len(s.Snapshots[rootDD]) != 0 || len(s.Leftovers) == 0 {
				t.Errorf("after the kill: %+v; want no snapshot, and files left over", s)
			}
			l.downWithin()
		})
	}
}

// The guard thaws after a while even if ploop lives on and does nothing.
func TestGuardLosesPatience(t *testing.T) {
	needs(t, "mkfs.ext4")
	if !full() {
		t.Skip("VZ7CT_FULL is not 1: waits a quarter of a minute")
	}
	l := up(t)
	l.container()
	l.in("prlctl", "start", "web")
	l.do("set", l.dir, "pause=frozen")
	wait := l.background("ploop", "snapshot", "-u", snapU, rootDD)
	pid := l.paused("frozen")
	kill(t, syscall.SIGSTOP, pid)
	start := time.Now()
	l.busy(5)
	if d := time.Since(start); d < 10*time.Second || d > 25*time.Second {
		t.Errorf("thawed after %v, want some 15 s", d)
	}
	kill(t, syscall.SIGKILL, pid)
	_ = wait()
}

// Down works while a tool holds the file system frozen.
func TestDownWhileFrozen(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.container()
	l.in("prlctl", "start", "web")
	l.do("set", l.dir, "pause=frozen")
	wait := l.background("ploop", "snapshot", "-u", snapU, rootDD)
	l.paused("frozen")
	l.downWithin()
	if c := wait(); c != -1 {
		t.Errorf("ploop ended with %d, want death by signal", c)
	}
}

// Down works in the middle of merges, online and below the top.
func TestDownWhileMerging(t *testing.T) {
	needs(t, "mkfs.ext4")
	for name, below := range map[string]bool{"top": false, "below": true} {
		t.Run(name, func(t *testing.T) {
			l := up(t)
			l.container()
			l.in("prlctl", "start", "web")
			l.in("ploop", "snapshot", "-u", snapU, rootDD)
			l.busy(20)
			if below {
				l.in("ploop", "snapshot", "-u", "{22222222-2222-4222-8222-222222222222}", rootDD)
			}
			l.do("set", l.dir, "merge_pace_ms=5000", "pause=merge-marked")
			wait := l.background("ploop", "snapshot-delete", "-u", snapU, rootDD)
			l.paused("merge-marked")
			if err := os.Remove(filepath.Join(l.dir, "paused")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond)
			l.downWithin()
			if c := wait(); c == 0 {
				t.Errorf("ploop ended with 0 in the middle of a merge")
			}
		})
	}
}

// A ploop that is killed while it merges below the top leaves what the real one leaves: the mark, and an image in use.
func TestKillInMergeBelowTheTop(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l := up(t)
	l.container()
	l.in("prlctl", "start", "web")
	const second = "{22222222-2222-4222-8222-222222222222}"
	l.in("ploop", "snapshot", "-u", snapU, rootDD)
	l.sh("dd if=/dev/urandom of=/vz/root/" + ctUUID + "/big bs=1M count=40 conv=fsync status=none")
	sum := l.sh("md5sum /vz/root/" + ctUUID + "/big")
	l.in("ploop", "snapshot", "-u", second, rootDD)
	l.do("set", l.dir, "merge_pace_ms=500", "pause=merge-marked")
	wait := l.background("ploop", "snapshot-delete", "-u", snapU, rootDD)
	pid := l.paused("merge-marked")
	if err := os.Remove(filepath.Join(l.dir, "paused")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	kill(t, syscall.SIGKILL, pid)
	if c := wait(); c != -1 {
		t.Fatalf("ploop ended with %d, want death by signal", c)
	}
	time.Sleep(700 * time.Millisecond) // the server sees it at the end of a batch
	l.do("set", l.dir, "merge_pace_ms=0", "pause=")
	l.busy(10)
	l.want(4, "Image is in use", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.in("prlctl", "stop", "web")
	l.want(0, "", "ploop", "check", "-d", "-u", snapU, rootDD)
	l.want(0, "merged", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.in("prlctl", "start", "web")
	if got := l.sh("md5sum /vz/root/" + ctUUID + "/big"); got != sum {
		t.Errorf("content after the repair: %s, want %s", got, sum)
	}
	l.in("prlctl", "stop", "web")
	l.in("ploop", "snapshot-delete", "-u", second, rootDD)
	l.do("check", l.dir)
}

// A ploop that is killed in an online merge leaves the device in that state; the next command ends it, as the driver and
// 7.0.280 do, and nothing is lost.
func TestKillInOnlineMerge(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l := up(t)
	l.container()
	l.in("prlctl", "start", "web")
	l.in("ploop", "snapshot", "-u", snapU, rootDD)
	l.sh("dd if=/dev/urandom of=/vz/root/" + ctUUID + "/big bs=1M count=60 conv=fsync status=none")
	sum := l.sh("md5sum /vz/root/" + ctUUID + "/big")
	l.do("set", l.dir, "merge_pace_ms=700")
	wait := l.background("ploop", "snapshot-delete", "-u", snapU, rootDD)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(l.outside(rootDD))
		if err == nil && strings.Contains(string(b), "<Temporary/>") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the merge did not begin")
		}
	}
	time.Sleep(400 * time.Millisecond)
	out, err := exec.Command("pgrep", "-f", "ploop snapshot-delete -u .* "+rootDD).Output()
	if err != nil {
		t.Fatalf("the merge is over already: %v", err)
	}
	for p := range strings.FieldsSeq(string(out)) {
		_ = exec.Command("kill", "-9", p).Run()
	}
	if c := wait(); c != -1 {
		t.Fatalf("ploop ended with %d, want death by signal", c)
	}
	l.do("set", l.dir, "merge_pace_ms=0")
	if s := l.status(); len(s.Devices) != 1 || !strings.Contains(strings.Join(s.Snapshots[rootDD], ""), "temporary") {
		t.Fatalf("after the kill: %+v", s)
	}
	l.busy(10) // the container was never stopped
	l.want(38, "Completing an on-going operation MERGE", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.want(43, "Can't find snapshot by uuid", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	if got := l.sh("md5sum /vz/root/" + ctUUID + "/big"); got != sum {
		t.Errorf("content after the merge: %s, want %s", got, sum)
	}
	at := l.now()
	l.in("prlctl", "stop", "web")
	l.in("prlctl", "mount", "web")
	if r := l.verify(at, "/vz/root/"+ctUUID); r.code != 0 {
		t.Errorf("%s%s", r.out, r.err)
	}
	l.in("prlctl", "umount", "web")
	l.do("check", l.dir)
}

// stoppedWithSnapshot is a stopped container with a snapshot and data above it, and the sum of that data.
func stoppedWithSnapshot(t *testing.T) (*lab, string) {
	t.Helper()
	l := up(t)
	l.container()
	l.in("prlctl", "mount", "web")
	l.in("ploop", "snapshot", "-u", snapU, rootDD)
	l.sh("dd if=/dev/urandom of=/vz/root/" + ctUUID + "/big bs=1M count=40 conv=fsync status=none")
	sum := l.sh("md5sum </vz/root/" + ctUUID + "/big")
	l.in("prlctl", "umount", "web")
	return l, sum
}

// killedOfflineMerge leaves the disk as facts tell: parent temporary and marked in use, the child whole.
func killedOfflineMerge(t *testing.T) (*lab, string) {
	t.Helper()
	l, sum := stoppedWithSnapshot(t)
	l.do("set", l.dir, "pause=offline-merge")
	wait := l.background("ploop", "snapshot-delete", "-u", snapU, rootDD)
	kill(t, syscall.SIGKILL, l.paused("offline-merge"))
	if c := wait(); c != -1 {
		t.Fatalf("ploop ended with %d, want death by signal", c)
	}
	l.do("set", l.dir, "pause=")
	if err := os.Remove(filepath.Join(l.dir, "paused")); err != nil {
		t.Fatal(err)
	}
	if s := l.status(); strings.Join(s.Snapshots[rootDD], "") != snapU+" (temporary)" || len(s.Leftovers) != 1 {
		t.Fatalf("after the kill: %+v", s)
	}
	return l, sum
}

func (l *lab) bigSum() string {
	l.t.Helper()
	l.in("prlctl", "mount", "web")
	defer l.in("prlctl", "umount", "web")
	r := l.try("sh", "-c", "md5sum </vz/root/"+ctUUID+"/big")
	return r.out
}

// Repair: check -d, then snapshot-delete again.
func TestKilledOfflineMergeIsRepaired(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l, sum := killedOfflineMerge(t)
	l.want(4, "Image is in use", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.want(37, "Dirty flag is set", "ploop", "check", rootDD)
	l.want(0, "", "ploop", "check", "-d", rootDD)
	l.want(0, "ploop snapshot merged", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	if got := l.bigSum(); got != sum {
		t.Errorf("content after the repair: %q, want %q", got, sum)
	}
	l.do("check", l.dir)
}

// A start of the container repairs by itself.
func TestKilledOfflineMergeHealsAtStart(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l, sum := killedOfflineMerge(t)
	if got := l.bigSum(); got != sum {
		t.Errorf("content after the start: %q, want %q", got, sum)
	}
	l.want(43, "", "ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.do("check", l.dir)
}
