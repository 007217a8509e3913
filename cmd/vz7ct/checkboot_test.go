// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	unitsOf   = "etc/systemd/system/"
	bootWants = unitsOf + "multi-user.target.wants/vz7ct-boot.service"
	timeWants = unitsOf + "timers.target.wants/vz7ct-recover.timer"
)

// ourUnits are the files of packaging/systemd.
func ourUnits(t *testing.T) map[string]string {
	t.Helper()
	found, err := filepath.Glob("../../packaging/systemd/vz7ct-*.*")
	must(t, err)
	units := map[string]string{}
	for _, f := range found {
		b, err := os.ReadFile(f)
		must(t, err)
		units[filepath.Base(f)] = string(b)
	}
	if len(units) != 3 {
		t.Fatalf("units: %q", found)
	}
	return units
}

// installUnits does what the README says.
func installUnits(t *testing.T, c *checker) {
	t.Helper()
	for name, content := range ourUnits(t) {
		put(t, c.path(unitsOf+name), content)
	}
	for _, wants := range []string{bootWants, timeWants} {
		must(t, os.MkdirAll(filepath.Dir(c.path(wants)), 0o755))
		must(t, os.Symlink("/etc/systemd/system/"+filepath.Base(wants), c.path(wants)))
	}
	put(t, c.path("usr/bin/vz7ct"), "x")
	must(t, os.Chmod(c.path("usr/bin/vz7ct"), 0o755))
}

func TestCheckOfTheBootUnits(t *testing.T) {
	for _, e := range []edit{
		{"no boot unit", remove(unitsOf + "vz7ct-boot.service"), doubt, "vz7ct-boot.service is not installed: when the node has crashed"},
		{"no timer", remove(unitsOf + "vz7ct-recover.timer"), doubt, "systemctl enable vz7ct-recover.timer && systemctl start vz7ct-recover.timer"},
		{"no service of the timer", remove(unitsOf + "vz7ct-recover.service"), doubt, "vz7ct-recover.timer starts nothing: there is no vz7ct-recover.service"},
		{"packaged", func(t *testing.T, c *checker) {
			must(t, os.MkdirAll(c.path("usr/lib/systemd/system"), 0o755))
			must(t, os.Rename(c.path(unitsOf+"vz7ct-boot.service"), c.path("usr/lib/systemd/system/vz7ct-boot.service")))
		}, fine, "vz7ct-boot.service is enabled"},
		{"boot unit not enabled", remove(bootWants), doubt, "vz7ct-boot.service is not enabled: when the node has crashed"},
		{"timer not enabled", remove(timeWants), doubt, "vz7ct-recover.timer is not enabled: when the node has crashed"},
		{"required", func(t *testing.T, c *checker) {
			remove(bootWants)(t, c)
			link("/x", unitsOf+"vz.service.requires/vz7ct-boot.service")(t, c)
		}, fine, "vz7ct-boot.service is enabled"},
		{"masked", func(t *testing.T, c *checker) {
			remove(unitsOf+"vz7ct-boot.service")(t, c)
			link(os.DevNull, unitsOf+"vz7ct-boot.service")(t, c)
		}, doubt, "vz7ct-boot.service is masked"},
		{"unreadable", func(t *testing.T, c *checker) {
			remove(unitsOf+"vz7ct-boot.service")(t, c)
			must(t, os.Mkdir(c.path(unitsOf+"vz7ct-boot.service"), 0o755))
		}, doubt, "systemd unit: "},
		{"starts nothing", write(unitsOf+"vz7ct-boot.service.d/x.conf", "[Service]\nExecStart=\n"), doubt, "vz7ct-boot.service starts nothing"},
		{"no program", remove("usr/bin/vz7ct"), doubt, "starts /usr/bin/vz7ct, which is no program"},
		{"not executable", func(t *testing.T, c *checker) { must(t, os.Chmod(c.path("usr/bin/vz7ct"), 0o644)) }, doubt, "install -m 0755 -o root -g root vz7ct /usr/bin/vz7ct"},
		{"no systemd", remove("run/systemd"), fine, "who starts vz7ct recover --boot"},
	} {
		e.try(t)
	}
}

// What the units start are commands of this program that do their work.
func TestCommandsOfTheUnits(t *testing.T) {
	started := 0
	for name, text := range ourUnits(t) {
		for line := range strings.SplitSeq(text, "\n") {
			command, ok := strings.CutPrefix(line, "ExecStart=")
			if !ok {
				continue
			}
			words := strings.Fields(command)
			if words[0] != "/usr/bin/vz7ct" {
				t.Errorf("%s starts %s", name, words[0])
			}
			n := webNode(t)
			must(t, n.journal(t, "backup.1", 1, n.backupSteps(t)...).Close())
			status, _, log := n.run(words[1:]...)
			if status != done || len(n.calls) == 0 {
				t.Errorf("%s: %s = %d, calls %q\n%s", name, command, status, n.calls, log)
			}
			started++
		}
	}
	if started != 2 {
		t.Errorf("%d commands, want 2", started)
	}
}
