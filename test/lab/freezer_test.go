// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// control is what a group is frozen by.
var control = map[string]struct{ file, frozen, thawed string }{
	"v1": {"freezer.state", "FROZEN", "THAWED"},
	"v2": {"cgroup.freeze", "1", "0"},
}

// freezable makes a lab whose containers can be frozen by a version of control groups, and starts one. It returns the
// container's group.
func freezable(t *testing.T, version string) (*lab, string) {
	t.Helper()
	needs(t, "mkfs.ext4")
	l := up(t)
	l.do("set", l.dir, "cgroup="+version)
	how := l.status().Freezer
	if how == "" {
		t.Skipf("this machine has no freezer of %s", version)
	}
	l.container()
	l.in("prlctl", "start", "web")
	_, mount, _ := strings.Cut(how, " ")
	found, err := filepath.Glob(filepath.Join(mount, "vz7ct-lab-*", "machine.slice", ctUUID))
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(l.in("cat", "/run/ve/"+ctUUID+".init.pid"))
	for _, dir := range found {
		if b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")); slices.Contains(strings.Fields(string(b)), pid) {
			return l, dir
		}
	}
	t.Fatalf("none of %q has the container's first process %s", found, pid)
	return nil, ""
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// All processes of a container are in its group, and stand still with it; its end takes the group along.
func TestFreezer(t *testing.T) {
	for version, c := range control {
		t.Run(version, func(t *testing.T) {
			l, group := freezable(t, version)
			if s := l.status(); len(s.Frozen)+len(s.Groups) > 0 {
				t.Errorf("of a container that runs: %+v", s)
			}
			l.in("prlctl", "exec", "web", "sh", "-c", "echo in > /tmp/there; [ $(cat /tmp/there) = in ]")
			if r := l.try("prlctl", "exec", "web", "no-such-command"); r.code == 0 {
				t.Errorf("a command that is not there = %+v", r)
			}
			wait := l.background("prlctl", "exec", "web", "sh", "-c", "sleep 100; true")
			for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
				b, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
				if n := strings.Fields(string(b)); err == nil && len(n) == 3 { // the workload, sh, sleep
					break
				}
				if time.Now().After(end) {
					t.Fatalf("the group has %q, want three processes", b)
				}
			}
			l.busy(5)
			write(t, filepath.Join(group, c.file), c.frozen)
			for end := time.Now().Add(patience); !slices.Contains(l.status().Frozen, c.frozen+" "+group); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("frozen: %q, want %s", l.status().Frozen, group)
				}
			}
			before := l.entries()
			time.Sleep(200 * time.Millisecond)
			if after := l.entries(); after != before {
				t.Errorf("it has made %d entries while it is frozen", after-before)
			}
			write(t, filepath.Join(group, c.file), c.thawed)
			l.busy(5)
			l.in("prlctl", "stop", "web")
			_ = wait()
			if _, err := os.Stat(filepath.Dir(filepath.Dir(group))); !os.IsNotExist(err) {
				t.Errorf("after the stop: %v, want no group", err)
			}
		})
	}
}

// A lab goes down with a container that is frozen, and with groups that nobody owns, and tells of them before.
func TestDownWithFrozenGroups(t *testing.T) {
	for version, c := range control {
		t.Run(version, func(t *testing.T) {
			l, group := freezable(t, version)
			left := filepath.Join(filepath.Dir(group), "101", "made by it")
			if err := os.MkdirAll(left, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(group, "docker"), 0o755); err != nil { // the container's own
				t.Fatal(err)
			}
			if got, want := l.status().Groups, []string{filepath.Dir(left)}; !slices.Equal(got, want) {
				t.Errorf("left groups %q, want %q", got, want)
			}
			write(t, filepath.Join(group, c.file), c.frozen)
			l.downWithin()
			if _, err := os.Stat(filepath.Dir(filepath.Dir(group))); !os.IsNotExist(err) {
				t.Errorf("after lab down: %v, want no group", err)
			}
		})
	}
}

// A container without a group works as well.
func TestNoFreezer(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.do("set", l.dir, "cgroup=none")
	l.container()
	l.in("prlctl", "start", "web")
	l.busy(5)
	l.in("prlctl", "exec", "web", "sh", "-c", "true")
	if s := l.status(); s.Freezer != "" || len(s.Frozen)+len(s.Groups) > 0 {
		t.Errorf("status = %+v", s)
	}
	l.in("prlctl", "stop", "web")
}

// The disks of a container that counts are of one moment when it is stopped.
func TestLockstepOfAContainer(t *testing.T) {
	needs(t, "mkfs.ext4")
	l := up(t)
	l.do("set", l.dir, "lockstep=100")
	l.container("--disk", "mnt=/data,size=512M", "--disk", "mnt=/srv,size=512M")
	l.in("prlctl", "start", "web")
	l.busy(20)
	l.in("prlctl", "stop", "web")
	l.in("prlctl", "mount", "web")
	l.want(0, "lockstep: ", binary, "lockstep", "/vz/root/"+ctUUID, "/", "/data", "/srv")
	l.sh("echo 00000000000000000099 > /vz/root/" + ctUUID + "/srv/workload/lockstep")
	l.want(1, "not of one moment", binary, "lockstep", "/vz/root/"+ctUUID, "/", "/data", "/srv")
	l.in("prlctl", "umount", "web")
}
