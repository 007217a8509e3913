// SPDX-License-Identifier: AGPL-3.0-only

package mount

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func place(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestGate(t *testing.T) {
	dir := t.TempDir()
	root := place(t, dir)
	gate := Gate(root, "/proc/self/mountinfo")
	for path, want := range map[string]bool{dir: true, "/proc": false, "/proc/sys/kernel": false, "/sys": false} {
		if _, err := ID(place(t, path)); errors.Is(err, ErrUnknown) {
			t.Skip(err)
		}
		if err := gate(place(t, path)); (err == nil) != want || err != nil && !errors.Is(err, ErrForeign) {
			t.Errorf("gate of %s = %v, want nil: %v", path, err, want)
		}
	}
	// Where the root itself is, one is let in.
	if err := Gate(place(t, "/proc"), "/proc/self/mountinfo")(place(t, "/proc/sys")); err != nil {
		t.Errorf("gate of the root's own file system = %v", err)
	}
	// A mount that another process sees is none here.
	if err := Judge(root, "/dev/null", 1); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "not mounted there") {
		t.Errorf("Judge by an empty list = %v", err)
	}
}

func TestTypeOf(t *testing.T) {
	const info = `21 26 0:20 / /sys rw,nosuid - sysfs sysfs rw
26 1 252:0 / / rw,relatime shared:1 - ext4 /dev/ploop1p1 rw - tmpfs x rw
27 26 0:40 / /a\040-\040tmpfs rw master:3 propagate_from:2 - fuse.sshfs x rw
28 26 0:41 / /b rw
29 26 0:42 / /long` + "LONG" + ` rw - xfs x rw
x 26 0:42 / / rw - xfs x rw
`
	long := strings.Replace(info, "LONG", strings.Repeat("31 1 0:1 / / rw - ext4 x rw ", 5000), 1)
	for id, want := range map[int]string{21: "sysfs", 26: "ext4", 27: "fuse.sshfs"} {
		if got, err := typeOf(strings.NewReader(long), id); got != want || err != nil {
			t.Errorf("typeOf(%d) = %q, %v, want %q", id, got, err, want)
		}
	}
	for _, id := range []int{1, 2, 28, 30, 31} {
		if got, err := typeOf(strings.NewReader(long), id); err == nil {
			t.Errorf("typeOf(%d) = %q, want an error", id, got)
		}
	}
}
