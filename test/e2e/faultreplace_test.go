// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"strings"

	"github.com/bareos-contrib/vz7ct/test/compare"
)

// generation is a file of the container that its backup does not have.
const generation = "/etc/generation"

// markOld prepares a replacement: the container runs, and is told from what was saved.
func (f *faults) markOld() {
	f.Helper()
	f.run("sh", "-c", "echo old > /vz/root/"+webUUID+generation)
}

// isOld reports whether the container, which is mounted or runs, is that of before.
func (f *faults) isOld() bool {
	f.Helper()
	return strings.TrimSpace(f.run("sh", "-c", "cat /vz/root/"+webUUID+generation+" 2>/dev/null || true")) == "old"
}

// startAgain starts the container if it does not run: the power was cut before the
// journal said that it did.
func (f *faults) startAgain() {
	f.Helper()
	if f.state("web") != "running" {
		f.run("prlctl", "start", "web")
	}
}

// newLedger lets the programs of a container that was restored begin a new ledger: the
// old one tells of the container that was replaced.
func (f *faults) newLedger() {
	f.Helper()
	f.run("prlctl", "stop", "web")
	f.run("sh", "-c", "rm -f "+f.node.Dir+"/ledger/*")
	f.run("prlctl", "start", "web")
	f.busy(10)
}

// oldOrNew judges the node after a replacement that was stopped: there is one container,
// it runs, and it is the old one with all that it had synced, or the new one as it was
// saved, and nothing of both.
func (f *faults) oldOrNew() {
	f.Helper()
	if left := f.comesBack(); len(left) > 0 {
		f.Errorf("left on the node: %s", strings.Join(left, "; "))
	}
	if out := strings.Fields(f.run("prlctl", "list", "-a", "-H", "-o", "uuid")); len(out) != 1 || strings.Trim(out[0], "{}") != webUUID {
		f.Fatalf("containers %q, want web alone", out)
	}
	if out := strings.Fields(f.run("ls", "/vz/private")); len(out) != 1 || out[0] != webUUID {
		f.Errorf("private areas %q, want web's alone", out)
	}
	// Where there was no room, the old one did not start either, and an operator is told to.
	if f.state("web") == "stopped" && strings.Contains(f.sys.Log(f.job), "is not started again") && strings.Contains(f.sys.Log(f.job), "no space left") {
		f.run("prlctl", "start", "web")
	}
	f.running()
	now, err := f.node.Lab("now")
	f.must(err)
	old := f.isOld()
	f.run("prlctl", "stop", "web")
	judge(f.T, f.world)
	if old {
		f.run("prlctl", "mount", "web")
		f.verify(webUUID, strings.TrimSpace(now))
		f.run("prlctl", "umount", "web")
		f.run("prlctl", "start", "web")
	} else {
		for disk, want := range f.want {
			f.same(want, f.scan(descriptor(webUUID, disk)), func(d compare.Difference) bool { return mountPoint(d) || byPrograms(d) })
		}
		f.run("prlctl", "start", "web")
		f.newLedger()
	}
	f.nextBackup()
}

// byPrograms ignores what the container's programs have made since it was started.
func byPrograms(d compare.Difference) bool {
	for _, p := range []string{"var/lib/workload", "var/log/workload", "workload"} {
		if d.Path == p || strings.HasPrefix(d.Path, p+"/") {
			return true
		}
	}
	above := d.Path == "." || d.Path == "var/lib" || d.Path == "var/log"
	return above && (d.What == compare.Mtime || d.What == compare.Nanos)
}
