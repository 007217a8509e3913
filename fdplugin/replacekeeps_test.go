// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// What the container has by now, and was saved with, it keeps without the recorded
// configuration being trusted; what only that says, it does not get.
func TestRollBackKeepsWhatTheContainerHas(t *testing.T) {
	list, _ := backedUp(t, bareos)
	const has = "DEVNODES=\"fuse:rw net/tun:rw\"\nFEATURES=\"nfs:on\"\nX_NODE=\"ours\"\n"
	for n := range list {
		if strings.HasSuffix(list[n].Name, "/ve.conf") {
			list[n].content += "DEVNODES=\"fuse:rw kvm:rw\"\nFEATURES=\"nfs:on time:on\"\nX_NODE=\"ours\"\nX_EVIL=\"yes\"\nCAPABILITY=\"SYS_ADMIN:on\"\n"
			list[n].Stat.Size = int64(len(list[n].content))
		}
	}
	script := func(name, content string, mode uint32) saved {
		s := saved{Entry: Entry{Kind: Regular, Name: "/vz/private/" + webID + "/scripts/" + name}, content: content}
		s.Stat = unix.Stat_t{Mode: unix.S_IFREG | mode, Size: int64(len(content)), Nlink: 1, Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
		return s
	}
	list = slices.Insert(list, 1, script("premount", "ours", 0o644), script("postmount", "changed", 0o755), script("umount", "made to run", 0o755))
	n := toReplace(t, "running")
	home := n.path("private/" + webID)
	conf, err := os.ReadFile(home + "/ve.conf")
	must(t, err)
	put(t, home+"/ve.conf", string(conf)+has)
	put(t, home+"/scripts/premount", "ours")
	put(t, home+"/scripts/postmount", "as it was")
	put(t, home+"/scripts/umount", "made to run")
	put(t, n.path("conf/"+webID+".start"), "the node's")

	log := rollBack(t, n, ":restore_name=web2:restore_private="+n.path("private"), list, Good)
	if !oneOfBoth(t, n, "rolled back", "running") {
		t.Fatal(log.all())
	}
	now, err := prlctl.ReadConfig(home + "/ve.conf")
	must(t, err)
	for key, want := range map[string]string{
		"VE_PRIVATE": home, "UUID": webID, "VEID": webID, "NAME": "web2", "DEVNODES": "fuse:rw", "FEATURES": "nfs:on", "X_NODE": "ours", "X_EVIL": "", "CAPABILITY": "",
	} {
		if got := now.Get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	for name, want := range map[string]string{
		"scripts/premount": "ours", "scripts/postmount": "", "scripts/umount": "",
		asideFolder + "/scripts/postmount": "changed", asideFolder + "/scripts/umount": "made to run", asideFolder + "/scripts/premount": "",
	} {
		if b, _ := os.ReadFile(filepath.Join(home, name)); string(b) != want {
			t.Errorf("%s is %q, want %q", name, b, want)
		}
	}
	for _, name := range []string{webID + ".mount", webID + ".start"} {
		if !exists(n.path("conf/"+name)) || exists(filepath.Join(home, asideFolder, "etc-vz-conf", name)) {
			t.Errorf("action script %s of the node was touched, or put aside although it is there", name)
		}
	}
	warned := log.all("warning")
	for _, want := range []string{`DEVNODES="kvm:rw" is left out`, "time:on is left out", `X_EVIL="yes" is left out`, "CAPABILITY=", "it is in " + home + "/" + asideFolder, home + "/scripts/postmount"} {
		if !strings.Contains(warned, want) {
			t.Errorf("the job log does not say %q:\n%s", want, warned)
		}
	}
	if strings.Contains(warned, newSuffix) || strings.Contains(warned, "premount") || strings.Contains(warned, webID+".mount") {
		t.Errorf("the job log names the area's name of meanwhile, or what was kept:\n%s", warned)
	}
}

// One directory of a backup comes with those above it, so it looks like the end of a disk.
// It is not what a container is replaced by.
func TestRollBackToOneDirectory(t *testing.T) {
	all, _ := backedUp(t, bareos)
	ofDisks(t, all, 20000)
	list := []saved{all[0], all[1]}
	for _, s := range all {
		if s.Kind == Directory && strings.HasPrefix(s.Name, treeRoot) || strings.HasSuffix(s.Name, "/etc/hostname") || strings.HasSuffix(s.Name, "/ve.conf") {
			list = append(list, s)
		}
	}
	n := toReplace(t, "running")
	log := rollBack(t, n, "", list, Good)
	if oneOfBoth(t, n, "one directory", "running") || slices.Contains(n.calls, "stop") ||
		!strings.Contains(log.all("warning"), "files, directories and links have come, and ") || !strings.Contains(log.all("fatal"), "the old one is not replaced") {
		t.Errorf("calls %q, said %s", n.calls, log.all())
	}
	// Beside nobody it is a container all the same, and is said to be little.
	n = emptyNode(t)
	if log := rollBack(t, n, "", list, Good); len(n.registered) != 1 || !strings.Contains(log.all("warning"), "either not all was selected") {
		t.Errorf("registered %q, said %s", n.registered, log.all())
	}
}

// A disk that the backup has not, because it was excluded or made since, would go with the
// old private area, and nothing would bring it back.
func TestRollBackLosesNoDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the container that is saved has one disk only without root")
	}
	all, _ := backedUp(t, bareos)
	m, err := decodeObject([]byte(all[0].Data))
	must(t, err)
	m.Disks = slices.DeleteFunc(m.Disks, func(d manifestDisk) bool { return d.UUID == dataID })
	one := saved{Entry: Entry{Kind: Object, Name: all[0].Name}}
	one.Data, err = m.encodeObject(0)
	must(t, err)
	for _, later := range []bool{false, true} {
		n := toReplace(t, "running")
		whole := n.place.Config
		end := Failed
		if later {
			put(t, n.path("private/"+webID+"/ve.conf"), "VEID=\""+webID+"\"\n")
			n.place.Config = readConfig(t, n)
		}
		j, log := n.job(t, bareos)
		j.AddOptions("vz7ct:replace_ct=yes")
		if play(j, cmd, "", append([]saved{one}, slices.DeleteFunc(slices.Clone(all[2:]), func(s saved) bool { return strings.HasPrefix(s.Name, treeRoot+webID+"/data") })...)) == nil {
			end = Good
		}
		n.place.Config = whole
		j.EndRestore(end)
		j.Close()
		if got := log.all("fatal"); !strings.Contains(got, "has disk /data ({"+dataID+"}), which is not in this backup and would be lost") || slices.Contains(n.calls, "stop") || slices.Contains(n.calls, "init") != later {
			t.Errorf("later %v: calls %q, said %s", later, n.calls, log.all())
		}
		if !exists(n.path("private/"+webID+"/data.hdd/DiskDescriptor.xml")) || len(n.left(t)) > 0 {
			t.Errorf("later %v: left %q", later, n.left(t))
		}
	}
}

// A disk that is encrypted with the recorded key stays so; another key must be said.
func TestRollBackOfAnEncryptedDisk(t *testing.T) {
	for now, want := range map[string]string{"k1": "is not encrypted with key k1 although ploop has made it", "k2": "was encrypted with key k1: say with encryption=<key id>"} {
		list, _ := backedUp(t, bareos)
		m, err := decodeObject([]byte(list[0].Data))
		must(t, err)
		m.Disks[0].KeyID = "k1"
		list[0].Data, err = m.encodeObject(0)
		must(t, err)
		n := toReplace(t, "running")
		disk := n.path("private/" + webID + "/" + filepath.Dir(m.Disks[0].Image) + "/DiskDescriptor.xml")
		b, err := os.ReadFile(disk)
		must(t, err)
		put(t, disk, strings.Replace(string(b), "</Disk_Parameters>", "<Encryption><KeyId>"+now+"</KeyId></Encryption></Disk_Parameters>", 1))
		log := rollBack(t, n, "", append([]saved{list[0]}, only(list[2:], "ve.conf")...), Good)
		if !strings.Contains(log.all("fatal"), want) || slices.Contains(n.keys, "k1") != (now == "k1") {
			t.Errorf("the disk has key %s: keys %q, said %s, want %q", now, n.keys, log.all(), want)
		}
		oneOfBoth(t, n, "key "+now, "running")
	}
}

// registeredNew is a node on which a restore has died when the new container was
// registered in the old one's place, with an action script of its own.
func registeredNew(t *testing.T, state string) (*fakeNode, swap) {
	t.Helper()
	n := toReplace(t, "stopped")
	at := swapOf(n.path("private/"+webID), oldID)
	must(t, os.Remove(n.path("conf/"+webID+".mount")))
	for _, f := range []string{"ve.conf", "scripts/start", "root.hdd/DiskDescriptor.xml"} {
		b, err := os.ReadFile(filepath.Join(at.home, f))
		must(t, err)
		put(t, filepath.Join(at.made, f), string(b))
	}
	must(t, os.Symlink("5", filepath.Join(at.made, ".ve.layout")))
	put(t, filepath.Join(at.made, markName), oldID)
	put(t, filepath.Join(at.made, ownerName), "node1\n")
	for name, content := range map[string]string{webID + ".mount": "restored", webID + ".umount": "restored", webID + ".conf": "no script", "vps.mount": "the node's own"} {
		put(t, filepath.Join(at.made, scriptFolder, name), content)
		put(t, n.path("conf/"+name), content)
	}
	put(t, n.path("conf/"+webID+".umount"), "changed since")
	must(t, os.Rename(at.home, at.aside))
	must(t, os.Rename(at.made, at.home))
	must(t, os.Remove(filepath.Join(at.aside, ownerName)))
	must(t, os.MkdirAll(n.path("state/journal"), 0o700))
	must(t, os.Chmod(n.path("state"), 0o700))
	j, err := undo.Create(n.path("state/journal"), "x", undo.Head{Job: "restore", Container: "web"})
	must(t, err)
	must(t, j.Intend(undo.Step{Do: undo.MadeTree, Dir: at.made, Container: webID, Mark: oldID}))
	must(t, j.Intend(undo.Step{Do: undo.Replaced, Dir: at.home, Container: webID, Mark: oldID, State: state}))
	j.Abandon()
	return n, at
}

// A new container that was registered, and does not start, is not what the old one is
// given up for, even where whoever tried it first has died.
func TestOldOneOutlivesANewOneThatDoesNotStart(t *testing.T) {
	for _, state := range []string{"stopped", "mounted"} {
		t.Run(state, func(t *testing.T) { oldOneOutlives(t, state) })
	}
}

func oldOneOutlives(t *testing.T, state string) {
	n, at := registeredNew(t, "running")
	n.web().State = state
	starts := 0
	n.fault = func(step string) error {
		if step == "start" {
			if starts++; starts == 1 {
				return errors.New("no such template")
			}
		}
		return nil
	}
	log, said := newLog()
	if _, err := (Cleaner{Node: n.node(), Log: log}).Sweep(context.Background(), false); err != nil {
		t.Errorf("Sweep = %v", err)
	}
	if oneOfBoth(t, n, "does not start", "running") || !strings.Contains(said.all("warning"), "does not start: no such template: the old one is put back") {
		t.Errorf("said %s", said.all())
	}
	for name, want := range map[string]bool{webID + ".mount": false, webID + ".umount": true, webID + ".conf": true, "vps.mount": true} {
		if exists(n.path("conf/"+name)) != want {
			t.Errorf("conf/%s is there: %v, want %v", name, !want, want)
		}
	}
	if exists(at.made) || exists(at.gone) {
		t.Error("the new one is left")
	}
}

// One that the node has started meanwhile has come to its end, whatever the power cut has
// left of its registration: it stays, and is not stopped.
func TestNewOneThatRunsStays(t *testing.T) {
	n, at := registeredNew(t, "running")
	must(t, os.Remove(filepath.Join(at.home, ownerName)))
	n.web().State = "running"
	log, said := newLog()
	if _, err := (Cleaner{Node: n.node(), Log: log}).Sweep(context.Background(), false); err != nil {
		t.Errorf("Sweep = %v", err)
	}
	if exists(at.home+"/old") || exists(at.home+"/"+markName) || exists(at.aside) || exists(at.gone) || slices.Contains(n.calls, "stop") || n.web().State != "running" {
		t.Errorf("calls %q, said %s", n.calls, said.all())
	}
	if !strings.Contains(said.all("warning"), "look at "+filepath.Join(at.home, scriptFolder)) {
		t.Errorf("of its action scripts is said %s", said.all("warning"))
	}
}

// A start or stop that was cut off in its midst leaves a container mounted: that is not
// running as it did, whichever of both it is.
func TestHalfStartedIsNotRunning(t *testing.T) {
	n, _ := registeredNew(t, "running")
	n.web().State = "mounted"
	log, said := newLog()
	if _, err := (Cleaner{Node: n.node(), Log: log}).Sweep(context.Background(), false); err != nil || n.web().State != "running" || !slices.Contains(n.calls, "stop") {
		t.Errorf("Sweep = %v, the new one is %q after %q: %s", err, n.web().State, n.calls, said.all())
	}
	n = toReplace(t, "mounted")
	c := Cleaner{Node: n.node(), Log: log}
	if err := c.startAgain(context.Background(), undo.Step{Container: webID, State: "running"}); err != nil || n.web().State != "running" {
		t.Errorf("the old one is %q: %s", n.web().State, said.all())
	}
}

// A start that somebody else's hinders, such as one that was cut off here and goes on in
// the node, says nothing of the container: it is tried again, and nothing put back meanwhile.
func TestStartThatIsHinderedIsTriedAgain(t *testing.T) {
	for name, prepare := range map[string]func() *fakeNode{
		"the new one": func() *fakeNode { n, _ := registeredNew(t, "running"); return n },
		"the old one": func() *fakeNode {
			n, at := registeredNew(t, "running")
			must(t, os.Remove(filepath.Join(at.home, "ve.conf")))
			return n
		},
	} {
		n := prepare()
		locked := true
		n.fault = func(step string) error {
			if step == "start" && locked {
				return fmt.Errorf("prlctl start: %w", prlctl.ErrLocked)
			}
			return nil
		}
		log, said := newLog()
		c := Cleaner{Node: n.node(), Log: log}
		_, _ = c.Sweep(context.Background(), false)
		left, err := os.ReadDir(n.path("state/journal"))
		if must(t, err); len(left) != 1 || n.web().State == "running" || said.all("error") != "" && strings.Contains(said.all("error"), "not started again") {
			t.Errorf("%s, hindered: journals %v, container %q, said %s", name, left, n.web().State, said.all())
		}
		locked = false
		if _, err := c.Sweep(context.Background(), false); err != nil || n.web().State != "running" || exists(n.path("private/"+webID+"/old")) == (name == "the new one") {
			t.Errorf("%s, then: %v, container %q, said %s", name, err, n.web().State, said.all())
		}
	}
}

// Half a configuration is none: the old one comes back.
func TestNewOneWithHalfAConfiguration(t *testing.T) {
	n, at := registeredNew(t, "stopped")
	put(t, filepath.Join(at.home, "ve.conf"), "")
	log, said := newLog()
	if _, err := (Cleaner{Node: n.node(), Log: log}).Sweep(context.Background(), false); err != nil {
		t.Errorf("Sweep = %v", err)
	}
	if oneOfBoth(t, n, "half a configuration", "stopped") {
		t.Errorf("it is the new one: %s", said.all())
	}
}

// Under the UUID that it was saved by, and no other, a container is rolled back.
func TestRollBackIsOfItself(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := toReplace(t, "running")
	if log := rollBack(t, n, ":restore_uuid="+webID, list, Good); !oneOfBoth(t, n, "its own UUID", "running") {
		t.Error(log.all())
	}
	for _, id := range []string{"new", oldID} {
		n := toReplace(t, "running")
		log := rollBack(t, n, ":restore_uuid="+id, list, Good)
		if oneOfBoth(t, n, "restore_uuid="+id, "running") || !strings.Contains(log.all("fatal"), "restore_uuid="+id+" makes another one beside it") {
			t.Errorf("restore_uuid=%s: said %s", id, log.all())
		}
	}
}
