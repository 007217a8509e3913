// SPDX-License-Identifier: AGPL-3.0-only

package veconf

import (
	"strings"
	"testing"
)

// What the container has that is rolled back it keeps, in whole or in part, and nothing
// more; a line that is not plain is nobody's.
func TestWhatTheContainerHas(t *testing.T) {
	disk := `DISK="uuid={` + dataID + `},enabled=yes,image=data.hdd,mnt=/data,mnt_opts=journal_path=/dev/sda"`
	external := "uuid={" + newID + "},device=/dev/sda,mnt=/x"
	data := "uuid={" + dataID + "},enabled=yes,mnt=/data,image=data.hdd"
	for _, tt := range []struct{ present, line, want, word string }{
		{`DEVNODES="fuse:rw net/tun:rw "`, `DEVNODES="fuse:rw net/tun:rw "`, `DEVNODES="fuse:rw net/tun:rw "`, ""},
		{`DEVNODES=fuse:rw`, `DEVNODES="kvm:rw fuse:rw"`, `DEVNODES="fuse:rw"`, `DEVNODES="kvm:rw" is left out`},
		{`DEVNODES="fuse:rw"`, `DEVNODES="fuse:r"`, "", "is left out"},
		{`DEVNODES="fuse:rw"`, `DEVICES="fuse:rw"`, "", "is left out"},
		{"DEVNODES=\"fuse:rw\"\nDEVNODES=\"\"", `DEVNODES="fuse:rw"`, "", "is left out"},
		{`DEVNODES="fuse:rw" ; x`, `DEVNODES="fuse:rw"`, "", "is left out"},
		{`CAPABILITY="SYS_ADMIN:on NET_ADMIN:on"`, `CAPABILITY="NET_ADMIN:on SYS_TIME:on"`, `CAPABILITY="NET_ADMIN:on"`, "SYS_TIME"},
		{`BINDMOUNT="/srv:/srv /a:/b"`, `BINDMOUNT="/a:/b"`, "", "is left out"},
		{`BINDMOUNT="/srv:/srv"`, `BINDMOUNT="/srv:/srv"`, `BINDMOUNT="/srv:/srv"`, ""},
		{`FEATURES="nfs:on"`, `FEATURES="nfs:on sit:off time:on"`, `FEATURES="nfs:on sit:off"`, "time:on"},
		{`SOME_NEW_SETTING="yes"`, `SOME_NEW_SETTING="yes"`, `SOME_NEW_SETTING="yes"`, ""},
		{`SOME_NEW_SETTING="yes"`, `SOME_NEW_SETTING="no"`, "", "is not known"},
		{`SOME_NEW_SETTING="$(touch x)"`, `SOME_NEW_SETTING="$(touch x)"`, "", "is left out"},
		{`HOSTNAME="a b;c"`, `HOSTNAME="a b;c"`, `HOSTNAME="a b;c"`, ""},
		{`VE_ROOT="/srv/root/$VEID"`, `VE_ROOT="/srv/root/$VEID"`, `VE_ROOT="/srv/root/$VEID"`, ""},
		{`VE_ROOT="/srv/root/$VEID"`, `VE_ROOT="/etc"`, `VE_ROOT="/vz/root/` + oldID + `"`, "mounted at"},
		{`NETIF="ifname=eth0,mac_filter=off"`, `NETIF="ifname=eth0,mac_filter=off;ifname=eth1,mac_filter=off"`, `NETIF="ifname=eth0,mac_filter=off;ifname=eth1"`, "mac_filter=off"},
		{disk, disk, disk, ""},
		{`DISK="` + external + `"`, `DISK="` + external + `;` + data + `"`, `DISK="` + external + `;` + data + `"`, ""},
		{`DISK="` + external + `"`, `DISK="` + external + `2;` + data + `"`, `DISK="` + data + `"`, "device of this node"},
	} {
		to := same()
		to.Present = tt.present + "\n"
		conf, warnings, err := Judge(tt.line+"\n", to)
		if err != nil {
			t.Fatal(err)
		}
		key, _, _ := strings.Cut(tt.line, "=")
		all := strings.Join(warnings, "\n")
		if key != "DISK" {
			all = strings.ReplaceAll(all, "DISK: disk {"+dataID+"} is added: ve.conf did not name it", "")
		}
		if got := lineOf(conf, key); got != tt.want || (tt.word == "") != (strings.Trim(all, "\n") == "") || !strings.Contains(all, tt.word) {
			t.Errorf("with %s, %s becomes %q with %q, want %q and a word on %q", tt.present, tt.line, got, warnings, tt.want, tt.word)
		}
	}
}
