// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"github.com/bareos-contrib/vz7ct/test/lab/container"
)

// backup is as much of the real command as others on the node notice: the container's lock without the flock in the private
// area, and temporary snapshots with devices, until DIR/paused is removed or a minute is over. The real one is the
// dispatcher: CDspVmBackupInfrastructure.cpp of prl-disp-service vz7-u22.
func (t *Tool) backup(c *container.Container, _ []string) int {
	unlock, err := c.LockFile("Backing up")
	if err != nil {
		return t.fail(refused, "Failed to backup the CT: The virtual machine is locked: %v", err)
	}
	defer unlock()
	id, err := newUUID()
	if err != nil {
		return t.fail(refused, "lab: %v", err)
	}
	t.say("Backing up the CT %s", c.Name)
	code := 0
	for _, d := range c.Disks() {
		if code == 0 && t.ploop("tsnapshot", "-u", id, "-c", "prl_backup", d.Descriptor()) != 0 {
			code = t.fail(refused, "Failed to backup the CT: PRL_ERR_BACKUP_CREATE_SNAPSHOT_FAILED")
		}
	}
	if code == 0 {
		t.lab.PauseAt("backup")
	}
	for _, d := range c.Disks() {
		if c := t.ploop("snapshot-delete", "-u", id, d.Descriptor()); c != 0 && c != 43 {
			code = refused
		}
	}
	return code
}
