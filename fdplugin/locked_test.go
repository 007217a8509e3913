// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// An old container that chattr keeps from being renamed or removed is not stopped in vain,
// and nothing of it is left for ever.
func TestRollBackOfALockedArea(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for _, name := range []string{"", "/dump/Dump"} {
		for _, later := range []bool{false, true} {
			n := toReplace(t, "running")
			path := n.path("private/" + webID + name)
			lock := func() { lockFile(t, path) }
			j, log := n.job(t, bareos)
			j.AddOptions("vz7ct:replace_ct=yes")
			end := Failed
			if !later {
				lock()
			}
			if play(j, cmd, "", list) == nil {
				end = Good
			}
			if later {
				lock()
			}
			j.EndRestore(end)
			j.Close()
			if got := log.all("fatal"); !strings.Contains(got, path+", which is immutable (i)") || strings.Contains(got, "nothing was touched") == later || slices.Contains(n.calls, "stop") {
				t.Errorf("%s locked, later %v: calls %q, said %s", name, later, n.calls, log.all())
			}
			if left := n.left(t); len(left) > 0 || n.web().State != "running" || !exists(n.path("private/"+webID+"/old")) {
				t.Errorf("%s locked, later %v: left %q", name, later, left)
			}
		}
	}
}

// lockFile makes a file immutable until the test ends.
func lockFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	if err := chattr.Set(int(f.Fd()), chattr.Attributes{Flags: chattr.Immutable}, 0); err != nil {
		t.Skipf("no file can be made immutable here (that takes root, and a file system that can): %v", err)
	}
	t.Cleanup(func() {
		f, err := os.Open(path)
		must(t, err)
		defer f.Close()
		must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0))
	})
}
