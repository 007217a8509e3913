// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

func TestContainerOf(t *testing.T) {
	n := emptyNode(t)
	n.list = []prlctl.Container{{UUID: webID, Name: "web"}, {UUID: oldID, Name: "twin"}, {UUID: dataID, Name: "twin"}, {UUID: "x"}}
	j, _ := n.job(t, bareos)
	for _, tt := range []struct{ name, uuid, found, want string }{
		{"web", "", webID, ""},
		{"", webID, webID, ""},
		{"web", webID, webID, ""},
		{"twin", dataID, dataID, ""},
		{"twin", "", "", `2 containers are called "twin": give uuid as well`},
		{"twin", webID, "", `name=twin and uuid=` + webID + ` do not belong together: this node has container "web"`},
		{"web", oldID, "", "do not belong together"},
		{"none", webID, "", "do not belong together"},
		{"web", "no such uuid", "", "do not belong together"},
		{"none", "", "", "no such container on this node"},
		{"Web", "", "", "no such container on this node"},
		{"", "4b16639b-0000-45a5-b4c2-9f7ae90dfe2c", "", "no such container on this node"},
	} {
		c, err := j.containerOf(Options{Name: tt.name, UUID: tt.uuid})
		if c.UUID != tt.found || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("containerOf(%q, %q) = %q, %v, want %q %q", tt.name, tt.uuid, c.UUID, err, tt.found, tt.want)
		}
		if strings.Contains(tt.want, "no such") && !errors.Is(err, prlctl.ErrNotFound) {
			t.Errorf("containerOf(%q, %q) = %v, want ErrNotFound", tt.name, tt.uuid, err)
		}
	}
}

// A job of which only foreign strings are known does nothing at all; one of ours
// shows them where the daemon's debug output goes.
func TestForeignStringsAreIgnored(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	for _, s := range []string{"python:module_name=x:name=web", "", "bpipe:a", "vz8ct:name=web"} {
		j.AddOptions(s)
	}
	if log.all() != "" || len(n.calls) > 0 {
		t.Errorf("said %s, calls %q", log.all(), n.calls)
	}
	must(t, j.StartBackup(cmd))
	if got := log.all("debug"); strings.Count(got, "is not for vz7ct and was ignored") != 4 || !strings.Contains(got, `"bpipe:a"`) {
		t.Errorf("said %s", got)
	}
	if strings.Contains(log.all("info"), "bpipe") {
		t.Error("a foreign string is in the job log")
	}
}

func TestNewUUID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id, err := newUUID()
		if parsed, ok := prlctl.ParseUUID(id); err != nil || !ok || parsed != id || id[14] != '4' || !strings.Contains("89ab", id[19:20]) || seen[id] {
			t.Fatalf("newUUID = %q, %v", id, err)
		}
		seen[id] = true
	}
}

// Files that cannot be saved are named up to a number: a tenant makes any number. With
// max_errors they are named up to that.
func TestWarningsAreBounded(t *testing.T) {
	for _, limit := range []int64{0, 5, maxWarnings + 10} {
		j, log := emptyNode(t).job(t, bareos)
		j.named = limit
		for n := range int64(maxWarnings + 500) {
			j.warnFile(n+1, "not saved: %d", n)
		}
		want := int(max(limit, maxWarnings))
		end := fmt.Sprintf("more than %s files: further ones are counted", text.Count(int64(want)))
		if got := strings.Count(log.all(), "not saved: "); got != want || !strings.Contains(log.all(), end) || len(log.lines) != want+1 {
			t.Errorf("max_errors=%d: %d files named in %d lines, want %d", limit, got, len(log.lines), want)
		}
	}
}
