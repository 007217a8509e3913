// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// status is what `lab status --json` says.
type status struct {
	Up        bool
	Mounts    []string
	Loops     []string
	Devices   []struct{ Name, Cookie string }
	Snapshots map[string][]string
	Leftovers []string
	Locks     []string
	Flocks    []string
	Bareos    []string `json:"mnt_bareos"`
	Processes []string
	Frozen    []string
	Groups    []string
	Freezer   string
}

func (l *lab) status() status {
	l.t.Helper()
	var s status
	if err := json.Unmarshal([]byte(l.do("status", l.dir, "--json")), &s); err != nil {
		l.t.Fatal(err)
	}
	return s
}

// processes reads the numbers of server and holder.
func (l *lab) processes() (server, holder int) {
	l.t.Helper()
	var s struct{ Server, Holder struct{ PID int } }
	b, err := os.ReadFile(filepath.Join(l.dir, "state.json"))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return s.Server.PID, s.Holder.PID
}

// gone demands that nothing of a lab is left on the machine.
func (l *lab) gone() {
	l.t.Helper()
	if _, err := os.Stat(l.dir); !os.IsNotExist(err) {
		l.t.Errorf("%s is still there: %v", l.dir, err)
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		l.t.Fatal(err)
	}
	if strings.Contains(string(b), l.dir) {
		l.t.Errorf("mounts of the lab are left")
	}
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), l.dir) {
			l.t.Errorf("%s: %s", f, b)
		}
	}
	if out, err := exec.Command("pgrep", "-f", l.dir).Output(); err == nil {
		l.t.Errorf("processes are left: %s", out)
	}
}

func TestUpDown(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	if got := l.in("readlink", "/usr/sbin/ploop"); got != l.dir+"/bin/lab\n" {
		t.Errorf("/usr/sbin/ploop inside is %q", got)
	}
	l.want(0, "", "ploop", "list")
	l.want(38, "Usage: ploop init", "ploop")
	l.want(0, "VE_PRIVATE=/vz/private/$VEID", "cat", "/etc/vz/vz.conf")
	l.want(0, "", "sh", "-c", "[ -d /vz/private ] && [ -d /mnt/bareos ] && [ -d /var/lib/vz7ct ] && [ -d /run/lock ]")
	if r := command(t, patience, binary, "up", l.dir); r.code == 0 || !strings.Contains(r.err, "is up") {
		t.Errorf("a second up = %d: %s", r.code, r.err)
	}
	before := l.status()
	if !before.Up || len(before.Loops)+len(before.Mounts)+len(before.Devices) != 0 {
		t.Errorf("a fresh lab has %+v", before)
	}
	l.do("down", l.dir)
	l.gone()
}

func TestUpRefusesPlacesOfTheNode(t *testing.T) {
	needs(t)
	for _, dir := range []string{"/run/lab-test", "/vz/lab-test"} {
		_, missing := os.Stat(filepath.Dir(dir))
		if r := command(t, patience, binary, "up", dir); r.code == 0 || !strings.Contains(r.err, "take another folder") {
			t.Errorf("up %s = %d: %s", dir, r.code, r.err)
		}
		_ = os.Remove(dir)
		if os.IsNotExist(missing) {
			_ = os.Remove(filepath.Dir(dir))
		}
	}
}

// The process of `lab exec` is the command's own: status, streams and signals are its own too.
func TestExecBecomesTheCommand(t *testing.T) {
	needs(t)
	l := up(t)
	l.want(7, "", "sh", "-c", "exit 7")
	cmd := exec.Command(binary, "exec", l.dir, "--", "cat")
	cmd.Stdin = strings.NewReader("through\n")
	if out, err := cmd.Output(); err != nil || string(out) != "through\n" {
		t.Errorf("cat inside = %q, %v", out, err)
	}
	cmd = exec.Command(binary, "exec", l.dir, "sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		b, _ := os.ReadFile(filepath.Join("/proc", itoa(cmd.Process.Pid), "comm"))
		if string(b) == "sleep\n" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s := l.status(); len(s.Processes) != 1 || s.Processes[0] != "sleep" {
		t.Errorf("processes inside: %v, want sleep", s.Processes)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestSideBySide(t *testing.T) {
	needs(t, "mkfs.ext4")
	a, b := up(t), up(t)
	for i, l := range []*lab{a, b} {
		l.container()
		l.in("prlctl", "start", "web")
		l.sh("echo " + itoa(i) + " >/vz/root/" + ctUUID + "/who")
	}
	for i, l := range []*lab{a, b} {
		if got := l.in("prlctl", "exec", "web", "cat", "/who"); got != itoa(i)+"\n" {
			t.Errorf("lab %d reads %q", i, got)
		}
		if n := len(l.status().Devices); n != 1 {
			t.Errorf("lab %d has %d devices, want 1", i, n)
		}
	}
	a.do("down", a.dir)
	a.gone()
	if got := b.in("prlctl", "exec", "web", "cat", "/who"); got != "1\n" {
		t.Errorf("after the other one went down: %q", got)
	}
}

// A power cut under load: what was durable is there after the reboot, and the start repairs the images.
func TestCrashAndReboot(t *testing.T) {
	needs(t, "ploop", "qemu-img", "e2fsck")
	l := up(t)
	l.container()
	l.in("prlctl", "start", "web")
	l.in("ploop", "snapshot", "-u", snapU, rootDD)
	l.busy(40)
	l.do("crash", l.dir)
	at := strings.TrimSpace(l.do("now"))
	l.do("up", l.dir)
	if s := l.status(); len(s.Devices)+len(s.Mounts) != 0 || len(s.Snapshots[rootDD]) != 1 {
		t.Fatalf("after the reboot: %+v", s)
	}
	if r := command(t, patience, binary, "check", l.dir); r.code == 0 || !strings.Contains(r.out, "FAIL ploop") {
		t.Errorf("check of unclean images = %d\n%s", r.code, r.out)
	}
	l.in("prlctl", "mount", "web")
	if r := l.verify(at, "/vz/root/"+ctUUID); r.code != 0 {
		t.Errorf("after the power cut: %s%s", r.out, r.err)
	}
	l.in("prlctl", "umount", "web")
	l.in("ploop", "snapshot-delete", "-u", snapU, rootDD)
	l.do("check", l.dir)
}

func TestCleanFindsTheKilled(t *testing.T) {
	needs(t, "mkfs.ext4")
	dead, alive := up(t), up(t)
	dead.container()
	dead.in("prlctl", "start", "web")
	server, holder := dead.processes()
	for _, pid := range []int{server, holder} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	// Only below our own folders: other tests may be at work with labs they killed on purpose.
	out := dead.do("clean", filepath.Dir(dead.dir)) + dead.do("clean", filepath.Dir(alive.dir))
	if !strings.Contains(out, dead.dir) || strings.Contains(out, alive.dir) {
		t.Errorf("clean took down %q, want %s only", out, dead.dir)
	}
	dead.gone()
	alive.want(0, "", "true")
}
