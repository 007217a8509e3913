// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"context"
	"reflect"
	"testing"
)

func TestDevices(t *testing.T) {
	out := "ploop1\t/vz/private/x/root.hdd/root.hds\n" +
		"ploop2\t/vz/private/x/root.hdd/root.hds\t/mnt/bareos/x\tvz7ct-" + uuid + "\n" +
		"ploop3\t/vz/private/a b/root.hds\tvz7ct-" + uuid + "\n" +
		"ploop4\t/vz/private/y/root.hdd/root.hds\t/vz/root/y\t\n" +
		"ploop5\t/vz/private/y/root.hdd/root.hds\t~prl_backup\n\n"
	c, f := client(answer{stdout: out})
	got, err := c.Devices(context.Background())
	want := []Device{
		{"ploop1", "/vz/private/x/root.hdd/root.hds", ""},
		{"ploop2", "/vz/private/x/root.hdd/root.hds", "vz7ct-" + uuid},
		{"ploop3", "/vz/private/a b/root.hds", "vz7ct-" + uuid},
		{"ploop4", "/vz/private/y/root.hdd/root.hds", ""},
		{"ploop5", "/vz/private/y/root.hdd/root.hds", "~prl_backup"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Devices = %q, %v, want %q", got, err, want)
	}
	check(t, f, "list")
	for i, ours := range []string{"", uuid, uuid, "", ""} {
		if s := got[i].Snapshot(); s != ours {
			t.Errorf("Snapshot of %+v = %q, want %q", got[i], s, ours)
		}
	}
	c, _ = client(answer{exit: 1})
	if got, err := c.Devices(context.Background()); err == nil {
		t.Errorf("Devices of a tool that fails = %v, nil", got)
	}
}
