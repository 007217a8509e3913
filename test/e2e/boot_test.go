// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// TestBoot is a node that loses its power in the midst of a backup: what the units
// of packaging/systemd start, and jobs before and after the container was started.
func TestBoot(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Tree: smallTree})
	w.create(rig.Container{Name: "other", UUID: oldUUID, Size: "512M", Tree: smallTree})
	w.run("sed", "-i", `s/^ONBOOT=.*/ONBOOT="yes"/`, "/vz/private/"+webUUID+"/ve.conf")
	w.start(rig.Config{Jobs: []rig.Job{
		{Name: "web", Slow: true, Plugin: []string{"name=web:lockfile=/vz/backup"}}, {Name: "other", Plugin: []string{"name=other"}}}})
	w.run("touch", "/vz/backup") // elsewhere than in the usual places it must be there
	w.run("prlctl", "start", "web")
	id := w.waiting("web")
	w.sys.StopDaemon("fd", syscall.SIGKILL)
	w.lab("crash")
	w.installCommand()
	w.lab("up")
	left := w.left()
	for _, want := range []string{"directory ", "snapshot ", "state ", "lock"} {
		if !strings.Contains(left, want) {
			t.Fatalf("after the power cut %q is left, and no %q: nothing is tested", left, want)
		}
	}

	// Before the dispatcher runs.
	out, asked := w.unit("vz7ct-boot.service")
	if asked > 0 {
		t.Errorf("vz7ct recover --boot has called prlctl %d times", asked)
	}
	left = w.left()
	if !strings.Contains(out, "left for later: snapshot {") || !strings.Contains(left, "snapshot ") || strings.Contains(left, "directory ") || strings.Contains(left, "lock") {
		t.Errorf("vz7ct recover --boot says\n%sand leaves %q, want the snapshot and its journal", out, left)
	}

	// The daemon starts before the container does, and has a job.
	uptime := filepath.Join(w.dir, "uptime")
	w.must(os.WriteFile(uptime, []byte("60.00 100.00\n"), 0o644))
	w.run("mount", "--bind", uptime, "/proc/uptime")
	w.must(w.sys.StartDaemon("fd"))
	w.must(w.sys.Cancel(id))
	w.says(w.backup("other"), "left for later: snapshot {", "ONBOOT=yes")
	if left := w.left(); !strings.Contains(left, "snapshot ") {
		t.Errorf("the daemon and its job leave %q, want the snapshot", left)
	}
	w.run("prlctl", "start", "web")

	w.unit("vz7ct-recover.service")
	w.nothingLeft()
	if out := w.run("prlctl", "list", "-a", "-H", "-o", "status", "web"); strings.TrimSpace(out) != "running" {
		t.Errorf("container is %q", out)
	}
	w.run("umount", "/proc/uptime")
	w.run("prlctl", "stop", "web")
	judge(t, w)
}

func (w *world) lab(command string) {
	w.Helper()
	if out, err := w.node.Lab(command, w.node.Dir); err != nil {
		w.Fatalf("lab %s: %v %s", command, err, out)
	}
}

// installCommand puts vz7ct into /usr/bin of a node that is down.
func (w *world) installCommand() {
	w.Helper()
	b, err := os.ReadFile(rig.Build("vz7ct"))
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.node.Dir, "overlay/bin/vz7ct"), b, 0o755))
}

// left is what is left on the node, with the lock of the job.
func (w *world) left() string {
	w.Helper()
	left, err := w.node.Leftovers()
	w.must(err)
	if out := w.run("sh", "-c", "ls /vz/backup.lock 2>/dev/null || true"); out != "" {
		left = append(left, "lock "+strings.TrimSpace(out))
	}
	return strings.Join(left, "; ")
}

// unit runs what a unit of packaging/systemd starts. It returns what that says,
// and how often it has called prlctl.
func (w *world) unit(name string) (said string, asked int) {
	w.Helper()
	b, err := os.ReadFile("../../packaging/systemd/" + name)
	w.must(err)
	_, command, ok := strings.Cut(string(b), "\nExecStart=")
	if !ok {
		w.Fatalf("%s has no ExecStart", name)
	}
	command, _, _ = strings.Cut(command, "\n")
	calls := func() int {
		b, err := os.ReadFile(filepath.Join(w.node.Dir, "log/prlctl.jsonl"))
		w.must(err)
		return strings.Count(string(b), "\n")
	}
	before := calls()
	said = w.run(strings.Fields(command)...)
	return said, calls() - before
}
