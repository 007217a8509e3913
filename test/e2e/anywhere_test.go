// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// restoreWarns runs a restore that must end well, with warnings that have the words.
func (w *world) restoreWarns(r rig.Restore, words ...string) rig.Result {
	w.Helper()
	res, err := w.sys.Restore(r)
	w.must(err)
	if !strings.Contains(res.Termination, "OK") || !strings.Contains(res.Log, "restored and registered") {
		w.Fatalf("restore has ended with %q:\n%s", res.Termination, res.Log)
	}
	w.says(res, words...)
	w.nothingLeft()
	return res
}

// setConf appends lines to a container's ve.conf.
func (w *world) setConf(uuid string, lines ...string) {
	w.Helper()
	path, err := w.node.Outside("/vz/private/" + uuid + "/ve.conf")
	w.must(err)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	w.must(err)
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	w.must(err)
	w.must(f.Close())
}

var restoredAs = regexp.MustCompile(`container \S+ \(([0-9a-f-]{36})\) restored and registered`)

// A copy beside the running original, in a directory of its own, has other ids and
// hardware addresses, and both run.
func TestBesideTheLivingOriginal(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	w.setConf(webUUID, `IP_ADDRESS="192.0.2.7"`, `NETIF="ifname=eth0,mac=00:18:51:AA:BB:CC,host_mac=FE:18:51:AA:BB:CC,host_ifname=vethaabbcc,network=Bridged,ip=192.0.2.8:"`)
	want := w.scan(descriptor(webUUID, "root.hdd"))
	r := w.backup("web")
	w.run("prlctl", "start", "web")
	before := w.run("sh", "-c", "cat /vz/private/"+webUUID+"/ve.conf; readlink /etc/vz/names/web /etc/vz/conf/"+webUUID+".conf")

	for _, bad := range []struct {
		options string
		words   []string
	}{
		{"", []string{"restore beside it with restore_uuid=new:restore_name=<another name>"}},
		{"restore_uuid=new", []string{"restore beside it with restore_name=<another name>"}},
		{"restore_uuid=new:restore_name=web2:restore_private=/etc", []string{"restore_private=/etc", "directory of the system"}},
		{"restore_uuid=new:restore_name=web2:restore_private=/tmp", []string{"is not root's alone"}},
		{"restore_uuid=new:restore_name=web2:restore_private=/vz/root/" + webUUID + "/srv", []string{"of mounted containers"}},
		{"restore_uuid=new:restore_name=../x", []string{"cannot be the name of a container"}},
	} {
		w.restoreFails(rig.Restore{JobIDs: []int{r.ID}, Options: bad.options}, bad.words...)
	}
	w.run("mkdir", "-p", "-m", "0755", "/vz/second")
	res := w.restoreWarns(rig.Restore{JobIDs: []int{r.ID}, Options: "restore_uuid=new:restore_name=web2:restore_private=/vz/second"},
		`IP_ADDRESS="192.0.2.7" is left out`, "ip=192.0.2.8: is left out", "restoring container web ("+webUUID+") as web2 (")
	found := restoredAs.FindStringSubmatch(res.Log)
	if found == nil || found[1] == webUUID {
		t.Fatalf("the job log names no new UUID:\n%s", res.Log)
	}
	id := found[1]
	conf := w.run("cat", "/vz/second/"+id+"/ve.conf")
	for _, never := range []string{webUUID, "192.0.2", "AA:BB:CC", "vethaabbcc"} {
		if strings.Contains(conf, never) {
			t.Errorf("the copy's configuration has %s:\n%s", never, conf)
		}
	}
	w.same(want, w.scan("/vz/second/"+id+"/root.hdd/DiskDescriptor.xml"), mountPoint)
	w.run("prlctl", "start", "web2")
	if got := w.run("cat", "/vz/root/"+webUUID+"/etc/hostname", "/vz/root/"+id+"/etc/hostname"); got != "web\nweb\n" {
		t.Errorf("both containers have %q", got)
	}
	if got := w.run("sh", "-c", "cat /vz/private/"+webUUID+"/ve.conf; readlink /etc/vz/names/web /etc/vz/conf/"+webUUID+".conf"); got != before {
		t.Errorf("the original is registered as\n%s, before\n%s", got, before)
	}
	w.run("prlctl", "stop", "web2")
	w.run("prlctl", "destroy", "web2")
	if got := w.run("prlctl", "list", "-a", "-o", "name,status", "-H"); !strings.Contains(got, "running") || strings.Contains(got, "web2") {
		t.Errorf("containers: %s", got)
	}
}

// A configuration that a hostile volume could have brought gives the container nothing
// of the node, and runs nothing on it; trusted, it is what it was.
func TestUntrustedConfiguration(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	private := "/vz/private/" + webUUID
	w.setConf(webUUID, `DEVNODES="kvm:rw"`, `BINDMOUNT="/etc:/mnt"`, `FEATURES="nfs:on sit:off"`, `DISTRIBUTION="../../../tmp/evil"`, `ODD="$(touch /run/ran)"`, "touch /run/ran", `NEW_SETTING="1"`)
	w.run("sh", "-c", "for f in "+private+"/scripts/mount /etc/vz/conf/"+webUUID+".mount; do printf '#!/bin/sh\\ntouch /run/ran\\n' > $f; chmod 755 $f; done; ln -s /etc "+private+"/link; cp /bin/sh "+private+"/suid; chmod 4755 "+private+"/suid")
	r := w.backup("web")
	w.run("prlctl", "destroy", "web")
	w.run("rm", "-f", "/etc/vz/conf/"+webUUID+".mount")
	res := w.restoreWarns(rig.Restore{JobIDs: []int{r.ID}, Options: "start=yes"},
		`DEVNODES="kvm:rw" is left out`, `BINDMOUNT="/etc:/mnt" is left out`, "nfs:on is left out", "DISTRIBUTION=", "is left out: it is no plain KEY", `NEW_SETTING="1" is left out`,
		"action script mount is not restored", "action script "+webUUID+".mount is not restored", "/link is a link to /etc", "suid belongs to root now", ".vz7ct-aside/ve.conf", "started")
	if out := w.run("sh", "-c", "ls -d /run/ran "+private+"/scripts/mount /etc/vz/conf/"+webUUID+".mount "+private+"/link 2>/dev/null || true; find "+private+" -perm -4000"); out != "" {
		t.Errorf("the node has %s\n%s", out, res.Log)
	}
	conf := w.run("cat", private+"/ve.conf")
	for _, never := range []string{"DEVNODES", "BINDMOUNT", "touch", "NEW_SETTING", "nfs", "evil"} {
		if strings.Contains(conf, never) {
			t.Errorf("ve.conf has %s:\n%s", never, conf)
		}
	}
	if aside := w.run("cat", private+"/.vz7ct-aside/ve.conf", private+"/.vz7ct-aside/scripts/mount"); !strings.Contains(aside, "DEVNODES") || !strings.Contains(aside, "touch /run/ran") {
		t.Errorf("put aside was %s", aside)
	}
	w.run("prlctl", "stop", "web")
	// What was put aside is not of the container: the next backup leaves it out.
	again := w.backup("web")
	if listing, err := w.sys.Listing(again.ID); err != nil || strings.Contains(listing, ".vz7ct-aside") {
		t.Errorf("the next backup has what was put aside: %v", err)
	}
	w.run("prlctl", "destroy", "web")
	w.restoreWarns(rig.Restore{JobIDs: []int{r.ID}, Options: "restore_trust_config=yes"}, "is left out: it is no plain KEY", "action script /etc/vz/conf/"+webUUID+".mount restored")
	conf = w.run("cat", private+"/ve.conf")
	for _, kept := range []string{`DEVNODES="kvm:rw"`, `FEATURES="nfs:on sit:off"`, `NEW_SETTING="1"`} {
		if !strings.Contains(conf, kept) {
			t.Errorf("a trusted ve.conf has no %s:\n%s", kept, conf)
		}
	}
	if strings.Contains(conf, "touch") || w.run("sh", "-c", "ls -d /run/ran 2>/dev/null || true; readlink "+private+"/link") != "/etc\n" {
		t.Errorf("a trusted restore: %s", conf)
	}
}

// An encrypted container is restored only if it was said how.
func TestEncryptedContainer(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	root := descriptor(webUUID, "root.hdd")
	w.run("sed", "-i", "s|</Disk_Parameters>|<Encryption><KeyId>k1</KeyId></Encryption>&|", root)
	r, err := w.sys.Backup("web")
	w.must(err)
	w.says(r, "is encrypted (key k1)", "saved: ")
	w.run("prlctl", "destroy", "web")
	w.restoreFails(rig.Restore{JobIDs: []int{r.ID}}, "was encrypted with key k1", "encryption=none", "nothing was touched")
	w.restoreWarns(rig.Restore{JobIDs: []int{r.ID}, Options: "encryption=none"}, "restored in clear, as encryption=none says")
	w.run("sh", "-c", "! grep KeyId "+root)
	w.run("prlctl", "destroy", "web")
	w.restore(rig.Restore{JobIDs: []int{r.ID}, Options: "encryption=k2"})
	w.run("grep", "<KeyId>k2</KeyId>", root)
}

// A template that the node has not is no reason not to restore.
func TestMissingTemplate(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	r := w.backup("web")
	w.run("prlctl", "destroy", "web")
	w.run("rm", "-r", "/vz/template/centos")
	w.restoreWarns(rig.Restore{JobIDs: []int{r.ID}, Options: "start=yes"}, "OS template centos-7-x86_64 of container web is not on this node", "vzpkg install template centos-7-x86_64", "container web started")
}
