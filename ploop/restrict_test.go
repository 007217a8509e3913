// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRestrict(t *testing.T) {
	if os.Getenv("VZ7CT_ROOT_TESTS") == "" {
		t.Skip("VZ7CT_ROOT_TESTS is not 1")
	}
	dir := t.TempDir()
	if err := unix.Mount("vz7ct-test", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	for _, tt := range []struct {
		flags uintptr
		want  []string
	}{{0, []string{"rw", "nosuid", "nodev"}}, {unix.MS_RDONLY, []string{"ro", "nosuid", "nodev"}}} {
		if err := restrict(dir, tt.flags); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for line := range strings.SplitSeq(string(b), "\n") {
			if f := strings.Fields(line); len(f) > 5 && f[4] == dir {
				got = "," + f[5] + ","
			}
		}
		for _, w := range tt.want {
			if !strings.Contains(got, ","+w+",") {
				t.Errorf("restrict(%#x): options %q, want %s among them", tt.flags, got, w)
			}
		}
	}
}
