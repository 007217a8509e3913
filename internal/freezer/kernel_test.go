// SPDX-License-Identifier: AGPL-3.0-only

package freezer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The kernel's own freezer, of each version that this machine has.
func TestKernel(t *testing.T) {
	if os.Getenv("VZ7CT_ROOT_TESTS") == "" || os.Getuid() != 0 {
		t.Skip("makes control groups: runs as root with VZ7CT_ROOT_TESTS=1")
	}
	for _, unified := range []bool{false, true} {
		h := hierarchy{proc: "/proc", unified: unified}
		t.Run(h.String(), func(t *testing.T) {
			info, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			dir, err := h.dir(string(info), fmt.Sprintf("/vz7ct-test-%d", os.Getpid()))
			if err != nil {
				t.Skipf("this machine has no %s: %v", h, err)
			}
			onKernel(t, dir)
		})
	}
}

// onKernel freezes a process that counts, in a group that its container has made.
func onKernel(t *testing.T, top string) {
	group := filepath.Join(top, "machine.slice", ctid)
	inner := filepath.Join(group, "made by", "the container")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Skipf("no group can be made: %v", err)
	}
	defer func() {
		for d := inner; d != filepath.Dir(top); d = filepath.Dir(d) {
			eventually(t, "the group is empty", func() bool { err := os.Remove(d); return err == nil || errors.Is(err, os.ErrNotExist) })
		}
	}()
	counter := filepath.Join(t.TempDir(), "counter")
	cmd := exec.Command("/bin/sh", "-c", "echo 0 > "+strconv.Quote(inner)+"/cgroup.procs; while :; do echo >> "+counter+"; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	defer func() { _ = Client{}.Thaw(group) }() // first: v1 kills nothing that is frozen
	size := func() int64 {
		info, err := os.Stat(counter)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	eventually(t, "it counts", func() bool { return size() > 0 })

	c := client()
	dir, err := c.Find(cmd.Process.Pid, ctid)
	if err != nil || dir != group {
		t.Fatalf("Find = %q, %v, want %q", dir, err, group)
	}
	thaw, err := c.Freeze(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	// That nothing happens cannot be awaited.
	before := size()
	time.Sleep(100 * time.Millisecond)
	if after := size(); after != before {
		t.Errorf("it has counted from %d to %d while it is frozen", before, after)
	}
	if still, err := c.Frozen(dir); !still || err != nil {
		t.Errorf("Frozen = %v, %v", still, err)
	}
	if _, err := c.Find(cmd.Process.Pid, ctid); err == nil || !strings.Contains(err.Error(), "is FROZEN already") {
		t.Errorf("Find of a frozen one = %v", err)
	}
	if took, err := thaw(); err != nil || took < 100*time.Millisecond {
		t.Errorf("thaw = %v, %v", took, err)
	}
	eventually(t, "it counts again", func() bool { return size() > before })

	// A group above it that is frozen: nothing is said to go on that does not.
	above, err := open(filepath.Dir(group))
	if err != nil {
		t.Fatal(err)
	}
	if err := above.freeze(context.Background(), Patience); err != nil {
		t.Fatal(err)
	}
	if err := c.Thaw(group); err == nil {
		t.Error("Thaw below a frozen group = nil")
	}
	if err := above.thaw(); err != nil {
		t.Error(err)
	}

	daemon := frozenBy(t, dir)
	before = size()
	begin := time.Now()
	die(t, daemon)
	eventually(t, "it counts after the daemon's death", func() bool { return size() > before })
	t.Logf("it counts again %s after the daemon's death", time.Since(begin))
}
