// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"os"
	"path/filepath"
	"strings"
)

// bootUnits are the units of packaging/systemd that are enabled, what each starts,
// and what becomes of a node without it.
var bootUnits = []struct{ unit, service, without string }{
	{"vz7ct-boot.service", "vz7ct-boot", "when the node has crashed, what interrupted jobs have left is not taken away before containers start"},
	{"vz7ct-recover.timer", "vz7ct-recover", "when the node has crashed, snapshots of interrupted jobs stay until the next job"},
}

// boot looks whether systemd takes back what jobs have left when the node has
// crashed and starts again.
func (c *checker) boot() {
	if _, err := os.Stat(c.root + "/run/systemd/system"); err != nil {
		c.ok("systemd does not run here: who starts vz7ct recover --boot, and vz7ct recover some time after it, is not known")
		return
	}
	for _, b := range bootUnits {
		start := "systemctl enable " + b.unit
		if strings.HasSuffix(b.unit, ".timer") {
			start += " && systemctl start " + b.unit
		}
		path, masked := findUnit(c.root, b.unit)
		service, err := readUnit(c.root, b.service)
		words := strings.Fields(service.last("ExecStart"))
		switch {
		case masked:
			c.warn("systemctl unmask "+b.unit+" && "+start, "%s is masked: %s", b.unit, b.without)
		case path == "":
			c.warn("copy the units of packaging/systemd to /etc/systemd/system, systemctl daemon-reload, "+start, "%s is not installed: %s", b.unit, b.without)
		case err != nil:
			c.warn("see whether systemd can read it", "systemd unit: %v", err)
		case len(words) == 0:
			c.warn("copy it from packaging/systemd to /etc/systemd/system, systemctl daemon-reload", "%s starts nothing: there is no %s.service, or it has no ExecStart", b.unit, b.service)
		case !enabled(c.root, b.unit):
			c.warn(start, "%s is not enabled: %s", b.unit, b.without)
		case !executable(c.root + words[0]):
			c.warn("install -m 0755 -o root -g root vz7ct "+words[0], "%s starts %s, which is no program: %s", service.path, words[0], b.without)
		default:
			c.ok("%s is enabled and starts %s", b.unit, strings.Join(words, " "))
		}
	}
}

// enabled reports whether another unit wants this one: that is what systemctl
// enable makes, a link in the folder of the other one.
func enabled(root, file string) bool {
	for _, dir := range unitDirs {
		for _, kind := range []string{"wants", "requires"} {
			if found, _ := filepath.Glob(filepath.Join(root+"/", dir, "*."+kind, file)); len(found) > 0 {
				return true
			}
		}
	}
	return false
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}
