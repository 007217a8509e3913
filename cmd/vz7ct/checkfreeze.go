// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"os"

	"github.com/bareos-contrib/vz7ct/internal/freezer"
	"github.com/bareos-contrib/vz7ct/internal/run"
)

// freeze looks whether multi_disk=freeze can be used. Jobs without it do not need
// what is missing here.
func (c *checker) freeze() {
	const without = "jobs without multi_disk=freeze need nothing"
	program, err := run.Companion(c.root)
	if err != nil {
		c.warn("install vz7ct to /usr/bin; "+without, "multi_disk=freeze cannot be used: %v", err)
		return
	}
	info, err := os.ReadFile(c.root + "/proc/self/mountinfo")
	if err != nil {
		c.warn(without, "multi_disk=freeze: %v", err)
		return
	}
	where, ok := freezer.Mounted(string(info))
	if !ok {
		c.warn("mount the freezer, as systemd does at /sys/fs/cgroup/freezer; "+without,
			"multi_disk=freeze cannot be used: neither the freezer of cgroup v1 nor cgroup v2 is mounted")
		return
	}
	c.ok("multi_disk=freeze can be used: %s, guarded by %s", where, program)
}
