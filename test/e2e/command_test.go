// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// The companion command is where the plugin looks for it, and sees this node: not
// the machine that the tests run on.
func TestCommandOnTheNode(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Tree: smallTree})
	if out := w.run("/usr/bin/vz7ct", "list"); !strings.Contains(out, webUUID) || !strings.Contains(out, "stopped") {
		t.Errorf("vz7ct list = %q, want the container", out)
	}
	if out := w.run("vz7ct", "recover"); !strings.Contains(out, "nothing of a dead job is left") {
		t.Errorf("vz7ct recover = %q", out)
	}
}
