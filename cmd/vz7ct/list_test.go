// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// whose returns what list says of the one snapshot of the one disk.
func whose(t *testing.T, n *fakeNode) string {
	t.Helper()
	_, out, _ := n.run("list")
	_, after, found := strings.Cut(out, "snapshot {"+shotID+"}  ")
	if !found {
		t.Fatalf("list says\n%swithout the snapshot", out)
	}
	words, _, _ := strings.Cut(after, "\n")
	return words
}

func TestListWhoseSnapshots(t *testing.T) {
	n := webNode(t)
	dd := n.descriptor("root.hdd")
	must(t, n.write(dd, true))
	base := n.private(webID) + "/root.hdd/root.hds"
	shot := undo.Step{Do: undo.MadeSnapshot, Descriptor: dd, Snapshot: shotID, Container: webID}
	elsewhere := shot
	elsewhere.Descriptor = "/vz/private/clone/root.hdd/DiskDescriptor.xml"
	for _, tt := range []struct {
		name string
		make func() (undo func())
		want string
	}{
		{"nothing", func() func() { return func() {} }, "other"},
		{"dead job", func() func() {
			j := n.journal(t, "backup.1", nobody, shot)
			must(t, j.Close())
			return func() { must(t, os.Remove(j.Path())) }
		}, "ours (job backup.1, dead)"},
		{"running job", func() func() {
			j := n.journal(t, "backup.1", os.Getpid(), shot)
			return func() { must(t, errors.Join(j.Forget(func(undo.Step) bool { return true }), j.Close())) }
		}, "ours (job backup.1, running)"},
		{"job on a copy of the disk", func() func() {
			j := n.journal(t, "backup.1", nobody, elsewhere)
			must(t, j.Close())
			return func() { must(t, os.Remove(j.Path())) }
		}, "other"},
		{"our device", func() func() {
			n.devices = []ploop.Device{{Name: "ploop2", Image: base, Component: "vz7ct-" + shotID}}
			return func() { n.devices = nil }
		}, "ours, no job"},
		{"device of another tool", func() func() {
			n.devices = []ploop.Device{{Name: "ploop2", Image: base, Component: "~" + shotID}, {Name: "ploop3", Image: "/elsewhere", Component: "vz7ct-" + shotID}}
			return func() { n.devices = nil }
		}, "other"},
		{"our mount point", func() func() {
			must(t, os.Mkdir(n.path("mnt/"+webID+".11111111.0"), 0o700))
			return func() { must(t, os.Remove(n.path("mnt/"+webID+".11111111.0"))) }
		}, "ours, no job"},
		{"another container's mount point", func() func() {
			must(t, os.Mkdir(n.path("mnt/"+oldID+".11111111.0"), 0o700))
			return func() { must(t, os.Remove(n.path("mnt/"+oldID+".11111111.0"))) }
		}, "other"},
		{"devices not known", func() func() {
			n.fail["devices"] = errors.New("ploop: no such program")
			return func() { delete(n.fail, "devices") }
		}, "not known whose: list devices: ploop: no such program"},
	} {
		end := tt.make()
		if got := whose(t, n); got != tt.want {
			t.Errorf("%s: snapshot is %q, want %q", tt.name, got, tt.want)
		}
		end()
	}
}

// A job that begins after the journals were read is not taken for somebody else.
func TestListSeesJobsThatBegin(t *testing.T) {
	n := webNode(t)
	dd := n.descriptor("root.hdd")
	must(t, n.write(dd, true))
	d, err := ploop.Read(dd)
	must(t, err)
	j := n.journal(t, "backup.1", os.Getpid(), undo.Step{Do: undo.MadeSnapshot, Descriptor: dd, Snapshot: shotID})
	defer j.Close()
	again := func() []undo.Entry { list, _ := undo.List(n.path("state/journal")); return list }
	shot, _ := d.Shot(shotID)
	if s := (traces{again: again}).judge(webID, d, shot); s.words() != "ours (job backup.1, running)" {
		t.Errorf("judge = %q", s.words())
	}
}

func TestListUnsafe(t *testing.T) {
	n := webNode(t)
	dd := n.descriptor("root.hdd")
	must(t, n.write(dd, true))
	put(t, n.private(webID)+"/root.hdd/root.hds", string(header(true)))
	put(t, n.private(webID)+"/root.hdd/root.hds.{0a0b0c0d-0000-4000-8000-00000000abcd}", "")
	status, out, _ := n.run("list")
	if status != done {
		t.Errorf("list = %d, want 0", status)
	}
	has(t, "list", out, "NOT SAFE TO SNAPSHOT: image ", "ploop check -d "+dd+" && ploop snapshot-delete", "belongs to no snapshot, and may hold data: ")

	// While our own job merges it, the repair would do harm.
	j := n.journal(t, "backup.1", os.Getpid(), undo.Step{Do: undo.MadeSnapshot, Descriptor: dd, Snapshot: shotID})
	if _, out, _ = n.run("list"); strings.Contains(out, "ploop check") || !strings.Contains(out, "job backup.1 of this plugin is at work on it") {
		t.Errorf("list beside a job says\n%s", out)
	}
	must(t, j.Close())
	_, out, _ = n.run("list")
	has(t, "list after a dead job", out, "run vz7ct recover; if that does not help, ")
}

func TestListDisks(t *testing.T) {
	n := webNode(t)
	put(t, n.private(webID)+"/ve.conf", `DISK="uuid={2d109ae4-5231-475f-bc44-5cabf5d8503b},mnt=/data,image=data.hdd;uuid={3d109ae4-5231-475f-bc44-5cabf5d8503b},mnt=/dev1,device=/dev/sdx"`+"\n")
	must(t, n.write(n.descriptor("data.hdd"), true))
	n.list = append(n.list, prlctl.Container{UUID: oldID, Name: "a\nb", State: "invalid"})
	status, out, _ := n.run("list")
	if status != failed {
		t.Errorf("list with a container that cannot be read = %d, want 1", status)
	}
	has(t, "list", out, "web  "+webID+"  running\n    disk /  1.0 GiB  "+n.private(webID)+"/root.hdd/root.hds\n", "disk /data  1.0 GiB",
		"disk /dev1  0 B  /dev/sdx, which is no ploop image", `a\nb  `+oldID+"  invalid\n    cannot be read: ")

	_, out, _ = n.run("list", "--json")
	var got []container
	must(t, json.Unmarshal([]byte(out), &got))
	if len(got) != 2 || got[0].Name != "web" || got[0].State != "running" || len(got[0].Disks) != 3 || got[0].Disks[0].Size != 1<<30 ||
		got[0].Disks[1].Snapshots[0].Whose != "other" || got[1].Error == "" || got[1].Name != "a\nb" {
		t.Errorf("list --json = %s", out)
	}
	must(t, os.Remove(n.descriptor("data.hdd")))
	if status, out, _ := n.run("list"); status != failed || !strings.Contains(out, "        cannot be read: read descriptor") {
		t.Errorf("list without a descriptor = %d,\n%s", status, out)
	}
	n.fail["list"] = errors.New("prlctl list: exit status 253")
	status, out, log := n.run("list", "--json")
	if status != failed || out != "" {
		t.Errorf("list = %d, %q, want 1 and nothing", status, out)
	}
	has(t, "list", log, "error: list containers: prlctl list: exit status 253")
}
