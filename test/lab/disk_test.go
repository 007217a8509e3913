// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withDisk is a node with a hard disk of its own.
func withDisk(t *testing.T) *lab {
	t.Helper()
	needs(t, "mkfs.ext4", "ploop", "qemu-img", "e2fsck")
	t.Setenv("TMPDIR", "/var/tmp") // such a node has a /tmp of its own
	l := &lab{t: t, dir: filepath.Join(t.TempDir(), "lab")}
	t.Cleanup(func() {
		if t.Failed() {
			for _, f := range []string{"server", "medium", "watch", "hold"} {
				b, _ := os.ReadFile(filepath.Join(l.dir, "log", f+".log"))
				t.Logf("%s.log: %s", f, b)
			}
		}
		if _, err := os.Stat(l.dir); err == nil {
			if r := command(t, patience, binary, "down", l.dir); r.code != 0 {
				t.Errorf("lab down = %d: %s", r.code, r.err)
			}
		}
	})
	l.do("up", l.dir, "--disk", "4096")
	return l
}

// What was not flushed is gone after a power cut, or a part of it is; what was flushed is there. The control: without the
// power cut everything is there.
func TestPowerCutLosesWhatWasNotFlushed(t *testing.T) {
	l := withDisk(t)
	l.sh("sync -f /vz")
	for i, cut := range [][]string{nil, {"crash", l.dir}, {"crash", l.dir, "--seed", "7"}} {
		// No new names: those would be flushed with the next one that is.
		dir := fmt.Sprintf("/vz/tmp/%d", i)
		l.sh("mkdir " + dir + "; cd " + dir + "; head -c 8M /dev/zero | tr '\\0' a > kept; cp kept lost; sync -f .")
		l.sh("cd " + dir + "; head -c 8M /dev/zero | tr '\\0' b | dd of=kept conv=notrunc,fsync status=none bs=1M")
		l.sh("cd " + dir + "; head -c 8M /dev/zero | tr '\\0' b | dd of=lost conv=notrunc oflag=direct iflag=fullblock status=none bs=1M")
		if cut == nil {
			l.do("down", l.dir, "--keep")
		} else {
			l.do(cut...)
		}
		l.do("up", l.dir)
		changed := func(name string) int {
			return strings.Count(l.sh("cd "+dir+"; for i in $(seq 0 2047); do dd if="+name+" bs=4096 count=1 skip=$i status=none | head -c1; done"), "b")
		}
		if n := changed("kept"); n != 2048 {
			t.Errorf("%v: %d of 2048 flushed blocks have survived", cut, n)
		}
		n := changed("lost")
		if want := [][2]int{{2048, 2048}, {0, 0}, {500, 1500}}[i]; n < want[0] || n > want[1] {
			t.Errorf("%v: %d of 2048 blocks that were not flushed have survived, want %d to %d", cut, n, want[0], want[1])
		}
	}
}

// A container that runs while the power is cut has all that its programs had synced.
func TestPowerCutUnderLoad(t *testing.T) {
	l := withDisk(t)
	l.container("--disk", "mnt=/data,size=512M")
	l.sh("sync") // that the container is registered was not flushed
	for seed := range 3 {
		l.in("prlctl", "start", "web")
		l.busy(20)
		l.in("ploop", "snapshot", "-u", snapU, rootDD)
		l.busy(20)
		l.do("set", l.dir, "merge_pace_ms=200")
		_ = l.background("ploop", "snapshot-delete", "-u", snapU, rootDD)
		l.busy(5)
		at := l.now()
		l.do("crash", l.dir, "--seed", fmt.Sprint(seed))
		l.do("up", l.dir)
		l.do("set", l.dir, "merge_pace_ms=0")
		l.in("prlctl", "mount", "web")
		if r := l.verify(at, "/vz/root/"+ctUUID); r.code != 0 {
			t.Errorf("seed %d: %s%s", seed, r.out, r.err)
		}
		if s := l.status(); len(s.Snapshots[rootDD]) > 0 {
			r := l.try("ploop", "snapshot-delete", "-u", snapU, rootDD)
			t.Logf("seed %d: %v: snapshot-delete = %d", seed, s.Snapshots, r.code)
		}
		l.in("prlctl", "umount", "web")
		l.do("check", l.dir)
	}
	l.downWithin()
}

// Full file systems are full for everybody, and a container that finds no room waits for it.
func TestFullDisk(t *testing.T) {
	l := withDisk(t)
	l.container()
	l.in("prlctl", "start", "web")
	l.busy(5)
	l.do("set", l.dir, "fault=1:after:full-system")
	l.in("ploop", "list")
	for _, dir := range []string{"/var/lib/vz7ct", "/tmp", "/etc/vz"} {
		if r := l.try("cp", "/etc/passwd", dir+"/x"); !strings.Contains(r.err, "No space left") {
			t.Errorf("a copy to %s/x = %d %s, want no space", dir, r.code, r.err)
		}
	}
	l.busy(5)
	l.do("free", l.dir)
	l.sh("echo x > /var/lib/vz7ct/x")

	l.sh("rm " + filepath.Join(l.dir, "calls"))
	l.do("set", l.dir, "fault=1:before:full-vz")
	l.want(39, "No space left", "ploop", "snapshot", "-u", snapU, rootDD)
	l.do("set", l.dir, "fault=")
	l.do("free", l.dir)
	l.in("ploop", "snapshot", "-u", snapU, rootDD)
	l.in("ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.busy(5)
	at := l.now()
	l.in("prlctl", "stop", "web")
	l.in("prlctl", "mount", "web")
	if r := l.verify(at, "/vz/root/"+ctUUID); r.code != 0 {
		t.Errorf("after the full disk: %s%s", r.out, r.err)
	}
	l.in("prlctl", "umount", "web")
	l.do("check", l.dir)
}

// A program is stopped before and after each change of the journal: what is held before it is made is never made.
func TestJournalSteps(t *testing.T) {
	l := withDisk(t)
	const script = `import os
d = "/var/lib/vz7ct/journal"
os.makedirs(d, exist_ok=True)
f = os.open(d + "/x.journal", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
os.write(f, b"1\n")
os.fsync(f)
os.write(f, b"2\n")
os.fsync(f)
os.ftruncate(f, 2)
os.unlink(d + "/x.journal")
n = os.open(d, os.O_RDONLY)
os.fsync(n)
`
	if err := os.WriteFile(filepath.Join(l.dir, "steps.py"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	program := []string{"python3", filepath.Join(l.dir, "steps.py")}
	l.do("set", l.dir, "fault=journal-0:-:-")
	l.in(program...)
	steps, err := os.ReadFile(filepath.Join(l.dir, "journal-steps"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(strings.Fields(string(steps)), " "), "create write sync write sync truncate remove sync-dir"; got != want {
		t.Fatalf("steps are %q, want %q", got, want)
	}
	for n, after := range map[int]string{0: "none", 1: "", 2: "1\n", 4: "1\n2\n", 6: "1\n", 7: "none"} {
		for _, when := range []string{"before", "after"} {
			step := n + 1
			if when == "after" {
				step = n
			}
			if step == 0 {
				continue
			}
			l.sh("rm -f /var/lib/vz7ct/journal/*")
			_ = os.Remove(filepath.Join(l.dir, "journal-steps"))
			l.do("set", l.dir, fmt.Sprintf("fault=journal-%d:%s:hold", step, when))
			cmd := exec.Command(binary, append([]string{"exec", l.dir, "--"}, program...)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			l.pausedBy(fmt.Sprintf("%s journal step %d", when, step))
			_ = cmd.Process.Kill()
			if err := os.Remove(filepath.Join(l.dir, "paused")); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := l.sh("cat /var/lib/vz7ct/journal/x.journal 2>/dev/null || printf none"); got != after {
				t.Errorf("killed %s step %d: the journal is %q, want %q", when, step, got, after)
			}
		}
	}
	l.sh("rm -f /var/lib/vz7ct/journal/*")
	_ = os.Remove(filepath.Join(l.dir, "journal-steps"))
	l.do("set", l.dir, "fault=journal-3:before:fail")
	if r := l.try(program...); r.code == 0 || !strings.Contains(r.err, "Input/output error") {
		t.Errorf("a sync that fails: %d %s", r.code, r.err)
	}
}

// pausedBy waits until something stands still at a point.
func (l *lab) pausedBy(point string) {
	l.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(filepath.Join(l.dir, "paused")); err == nil && strings.Contains(string(b), point) {
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("nothing stands still %s", point)
		}
	}
}
