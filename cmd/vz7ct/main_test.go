// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{nil, misuse, "", "no command is given; see vz7ct --help"},
		{[]string{"--help"}, done, help, ""},
		{[]string{"-h"}, done, help, ""},
		{[]string{"list", "--help"}, done, help, ""},
		{[]string{"check", "-h"}, done, help, ""},
		{[]string{"--version"}, done, "vz7ct unversioned\n", ""},
		{[]string{"remove"}, misuse, "", `unknown command "remove"`},
		{[]string{"--json"}, misuse, "", `unknown command "--json"`},
		{[]string{"recover", "--force"}, misuse, "", "flag provided but not defined: -force"},
		{[]string{"recover", "backup.1"}, misuse, "", `unknown argument "backup.1"`},
		{[]string{"recover", "--dry-run", "x"}, misuse, "", `unknown argument "x"`},
		{[]string{"recover", "--dry-run=maybe"}, misuse, "", "invalid boolean value"},
		{[]string{"recover", "--boot", "--wait"}, misuse, "", "--boot and --wait cannot be used together"},
		{[]string{"recover", "--wait", "--dry-run"}, misuse, "", "--dry-run and --wait cannot be used together"},
		{[]string{"recover", "--json"}, misuse, "", "flag provided but not defined: -json"},
		{[]string{"list", "--wait"}, misuse, "", "flag provided but not defined: -wait"},
		{[]string{"check", "--json"}, misuse, "", "flag provided but not defined"},
		{[]string{"status", "--dry-run"}, misuse, "", "flag provided but not defined"},
		{[]string{"thaw-guard"}, misuse, "", "is the plugin's own"},
		{[]string{"thaw-guard", "/a", "/b"}, misuse, "", "is the plugin's own"},
	} {
		n := webNode(t)
		status, stdout, stderr := n.run(tt.args...)
		if status != tt.status || stdout != tt.stdout || !strings.Contains(stderr, tt.stderr) || len(n.calls) > 0 {
			t.Errorf("vz7ct %q = %d, %q, %q, want %d, %q, %q", tt.args, status, stdout, stderr, tt.status, tt.stdout, tt.stderr)
		}
	}
}

func TestHelpNamesAllExitStatuses(t *testing.T) {
	has(t, "help", help, "Exit status:", "recover   0", "--dry-run 0", "--boot    0", "--wait    0", "list      0", "status    0", "check     0", "2  wrong use")
	for line := range strings.SplitSeq(help, "\n") {
		if len(line) > 90 {
			t.Errorf("help has a line of %d characters: %s", len(line), line)
		}
	}
}

func TestOnlyRootSeesTheNode(t *testing.T) {
	for _, command := range []string{"recover", "list", "status"} {
		var out, log bytes.Buffer
		a := app{uid: 1000, stdout: &out, stderr: &log}
		if status := a.run([]string{command}); status != failed || out.Len() > 0 || !strings.Contains(log.String(), "must be run as root") {
			t.Errorf("%s by a user = %d, %q, %q", command, status, &out, &log)
		}
	}
}

// The real node is put together with every tool that recovery calls.
func TestNewApp(t *testing.T) {
	a := newApp(&bytes.Buffer{}, &bytes.Buffer{})
	if a.node.Containers == nil || a.node.Snapshots == nil || a.node.Images == nil || a.devices == nil || a.check.runner == nil || a.check.release == "" || a.now == nil || a.pause == nil {
		t.Errorf("newApp = %+v", a)
	}
	if a.check.root != "" || a.check.owner != 0 || a.node.State != "/var/lib/vz7ct" {
		t.Errorf("newApp looks elsewhere than on this node: %+v", a)
	}
}
