// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/prlctl"
	"github.com/bareos-contrib/vz7ct/restore"
)

// living is a node on which the container that was saved runs on.
func living(t *testing.T) *fakeNode {
	t.Helper()
	n := emptyNode(t)
	n.list = []prlctl.Container{{UUID: webID, CTID: webID, Name: "web", State: "running"}}
	put(t, n.path("private/"+webID+"/ve.conf"), "of the original")
	put(t, n.path("root/"+webID+"/etc/hostname"), "of the original")
	put(t, n.path("conf/"+webID+".conf"), "of the original")
	put(t, n.path("conf/"+webID+".mount"), "of the original")
	return n
}

// A copy beside the living original has a UUID and a name of its own, wherever the
// node looks, and nothing of the original is touched.
func TestBesideTheOriginal(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := living(t)
	before := look(t, n.path("private"))
	log := restoreCT(t, n, ":restore_uuid=new:restore_name=web2:restore_trust_config=yes", list)
	if len(n.registered) != 1 || len(n.started) != 1 {
		t.Fatalf("registered %q, started %q\n%s", n.registered, n.started, log.all())
	}
	private, id := n.registered[0], n.started[0]
	if uuid, ok := prlctl.ParseUUID(id); !ok || uuid == webID || private != n.path("private/"+id) {
		t.Errorf("container %q has its private area at %s", id, private)
	}
	conf, err := prlctl.ReadConfig(filepath.Join(private, "ve.conf"))
	must(t, err)
	if conf.Get("UUID") != id || conf.Get("VEID") != id || conf.Get("NAME") != "web2" || conf.Get("VE_PRIVATE") != private {
		t.Errorf("its configuration is %+v", conf)
	}
	if b, err := os.ReadFile(n.path("tree-root.hdd/etc/hostname")); string(b) != "web\n" {
		t.Errorf("its hostname is %q, %v", b, err)
	}
	// Action scripts are called after the container.
	if b, err := os.ReadFile(n.path("conf/" + id + ".mount")); string(b) != "#!/bin/sh\n" {
		t.Errorf("its action script is %q, %v", b, err)
	}
	for path, what := range before {
		if now := look(t, n.path("private"))[path]; path != "." && now != what {
			t.Errorf("%s of the original is %q, was %q", path, now, what)
		}
	}
	if b, _ := os.ReadFile(n.path("conf/" + webID + ".mount")); string(b) != "of the original" {
		t.Errorf("the original's action script is %q", b)
	}
	if left := n.left(t); len(left) > 0 || !strings.Contains(log.all("info"), "restoring container web ("+webID+") as web2 ("+id+")") {
		t.Errorf("left %q, said %s", left, log.all())
	}
}

// Whatever fails, what was made of a copy goes, and the original stays.
func TestCopyFailsAtEveryStep(t *testing.T) {
	list, _ := backedUp(t, bareos)
	const options = ":restore_uuid=new:restore_name=web2"
	n := living(t)
	restoreCT(t, n, options, list)
	for at, step := range n.calls {
		n := living(t)
		n.failAt = at + 1
		log := restoreCT(t, n, options, list)
		private, err := os.ReadDir(n.path("private"))
		must(t, err)
		want := 1
		if step == "start" {
			want = 2 // it is registered
		}
		if left := n.left(t); len(left) > 0 || len(private) != want || !exists(n.path("private/"+webID+"/ve.conf")) {
			t.Errorf("step %d (%s): left %q and private areas %v\n%s", at+1, step, left, private, log.all())
		}
	}
}

// The refusal says which options lead beside what is there.
func TestRefusalNamesTheWayOut(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for _, tt := range []struct {
		there   prlctl.Container
		options string
		want    string
	}{
		{prlctl.Container{UUID: webID, Name: "web"}, "", "restore beside it with restore_uuid=new:restore_name=<another name>"},
		{prlctl.Container{UUID: webID, Name: "x"}, "", "restore beside it with restore_uuid=new"},
		{prlctl.Container{UUID: oldID, CTID: webID, Name: "x"}, "", "restore beside it with restore_uuid=new"},
		{prlctl.Container{UUID: oldID, Name: "web"}, "", "restore beside it with restore_name=<another name>"},
		{prlctl.Container{UUID: oldID, Name: "y"}, ":restore_uuid=" + oldID, "restore_uuid=new"},
		{prlctl.Container{UUID: webID, Name: "y"}, ":restore_uuid=new:restore_name=y", "restore beside it with restore_name=<another name>"},
	} {
		n := emptyNode(t)
		n.list = []prlctl.Container{tt.there}
		log := restoreCT(t, n, tt.options, list)
		if got := log.all("fatal"); !strings.HasSuffix(got, tt.want) || !strings.Contains(got, "nothing was touched; remove or rename it first") || len(n.registered) > 0 {
			t.Errorf("%+v with %q: said %s, want %s", tt.there, tt.options, got, tt.want)
		}
	}
}

// One name or UUID is not for two containers of a restore.
func TestTwoContainersAreNotOne(t *testing.T) {
	n := emptyNode(t)
	j, _ := n.job(t, bareos)
	a, b := anew(t, j, webManifest(), ""), anew(t, j, webManifest(), "")
	b.m.UUID = dataID
	for _, tt := range []struct {
		name, uuid string
		ok         bool
	}{{"", "", true}, {"", newIdentity, true}, {"x", newIdentity, false}, {"", oldID, false}, {"", webID, false}} {
		for _, c := range []*newContainer{a, b} {
			c.opts.Anywhere.Name, c.opts.Anywhere.UUID = tt.name, tt.uuid
			must(t, c.identify())
		}
		if err := b.twice(a); (err == nil) != tt.ok {
			t.Errorf("restore_name=%s, restore_uuid=%s for two containers: %v", tt.name, tt.uuid, err)
		}
	}
}

// Where an option may have a private area made, and where not: a console of few rights
// can give it.
func TestPrivateAreaElsewhere(t *testing.T) {
	t.Setenv("TMPDIR", "/tmp") // /dev/shm is one of the places that are refused
	n := emptyNode(t)
	node := n.node()
	for _, d := range []string{"pool", "areas/" + webID, "mixed/x", "roots/a", "state/x", "open/in", "private/" + webID + "/in", "areas/lost+found"} {
		must(t, os.MkdirAll(n.path(d), 0o755))
	}
	must(t, os.Chmod(n.path("open"), 0o777))
	must(t, os.Symlink(n.path("pool"), n.path("link")))
	put(t, n.path("file"), "")
	put(t, n.path("private/README"), "")
	real := func(p string) string { d, err := filepath.EvalSymlinks(p); must(t, err); return d }
	for dir, want := range map[string]string{
		n.path("pool"): "", n.path("areas"): "", n.path("link"): "", n.path("private"): "",
		n.path("mixed"): "holds more than private areas, such as x", n.path("none"): "no such file", n.path("file"): "not a directory",
		n.path("open"): "is not root's alone", n.path("open/in"): "is not root's alone", n.path("private/" + webID + "/in"): "in a container's own directory",
		n.path("areas/" + webID): "in a container's own directory", n.path("roots"): "of mounted containers", n.path("roots/a"): "of mounted containers",
		n.path("state"): "of this plugin", "/etc": "of the system", "/etc/cron.d": "of the system", "/": "of the system", "/proc/self": "of the system", "/usr/lib": "of the system",
	} {
		got, err := node.areaDir(dir, n.path("private"), real(n.dir)+"/roots")
		switch {
		case want == "" && (err != nil || got != real(dir)):
			t.Errorf("areaDir(%s) = %q, %v", dir, got, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("areaDir(%s) = %q, %v, want %q", dir, got, err, want)
		}
	}
	if os.Geteuid() == 0 {
		must(t, os.Chown(n.path("pool"), 65534, 0))
		if got, err := node.areaDir(n.path("pool"), n.path("private"), "/vz/root"); err == nil {
			t.Errorf("areaDir of a directory of another user = %q", got)
		}
		must(t, os.Chown(n.path("pool"), 0, 0))
	}

	list, _ := backedUp(t, bareos)
	log := restoreCT(t, n, ":restore_private="+n.path("mixed"), list)
	if got := log.all("fatal"); !strings.Contains(got, "restore_private=") || !strings.HasSuffix(got, "nothing was touched") || len(n.registered) > 0 {
		t.Errorf("restore_private that is refused: %s", got)
	}
	must(t, os.RemoveAll(n.path("private/"+webID)))
	log = restoreCT(t, n, ":restore_private="+n.path("pool")+"/"+webID, list)
	if !slices.Equal(n.registered, []string{real(n.path("pool")) + "/" + webID}) || exists(n.path("private/"+webID)) {
		t.Errorf("registered %q\n%s", n.registered, log.all())
	}
	if conf, err := prlctl.ReadConfig(n.path("pool/" + webID + "/ve.conf")); err != nil || conf.Get("VE_PRIVATE") != real(n.path("pool"))+"/"+webID {
		t.Errorf("VE_PRIVATE is %q, %v", conf.Get("VE_PRIVATE"), err)
	}
}

// Without trust, what the node would run, follow or give rights by is put aside or left
// out, and each is named.
func TestUntrustedConfiguration(t *testing.T) {
	list, _ := backedUp(t, bareos)
	private := "/vz/private/" + webID + "/"
	for n := range list {
		if strings.HasSuffix(list[n].Name, "/ve.conf") {
			list[n].content += "DEVNODES=\"kvm:rw\"\nONBOOT=\"yes\"\nOSTEMPLATE=\".gone-1-x86_64\"\n$(touch /x)\n"
			list[n].Stat.Size = int64(len(list[n].content))
		}
	}
	regular := func(name, content string, mode uint32) saved {
		s := saved{Entry: Entry{Kind: Regular, Name: private + name}, content: content}
		s.Stat = unix.Stat_t{Mode: unix.S_IFREG | mode, Size: int64(len(content)), Nlink: 1, Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
		return s
	}
	planted := append([]saved{list[0],
		regular("scripts/premount", "evil", 0o755), regular("scripts/start", "tenant's", 0o755), regular("suid", "x", 0o4777),
		regular("root.hdd/x/DiskDescriptor.xml", "evil", 0o644), regular("other.hdd/DiskDescriptor.xml", "evil", 0o644), regular(asideFolder+"/ve.conf", "evil", 0o644),
		{Entry: Entry{Kind: Symlink, Name: private + "dump-here", Link: "/etc"}},
		{Entry: Entry{Kind: Symlink, Name: private + ".ve.layout", Link: "4", Stat: unix.Stat_t{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}}},
		{Entry: Entry{Kind: Special, Name: private + "fifo", Stat: unix.Stat_t{Mode: unix.S_IFIFO | 0o666}}},
	}, slices.DeleteFunc(slices.Clone(list[1:]), func(s saved) bool {
		return strings.HasSuffix(s.Name, "/scripts/start") || strings.HasSuffix(s.Name, ".ve.layout")
	})...)
	n := emptyNode(t)
	log := restoreCT(t, n, "", planted)
	if len(n.started) != 1 {
		t.Fatal(log.all())
	}
	area := n.registered[0]
	for name, want := range map[string]string{
		asideFolder + "/scripts/premount": "evil", asideFolder + "/etc-vz-conf/" + webID + ".mount": "#!/bin/sh\n", "scripts/start": "tenant's", "suid": "x",
	} {
		if b, err := os.ReadFile(filepath.Join(area, name)); string(b) != want {
			t.Errorf("%s is %q, %v, want %q", name, b, err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(area, asideFolder, "ve.conf")); !strings.Contains(string(b), "touch") {
		t.Errorf("the recorded configuration put aside is %q, %v", b, err)
	}
	for _, never := range []string{"scripts/premount", "root.hdd/x/DiskDescriptor.xml", "other.hdd/DiskDescriptor.xml", "dump-here", "fifo", ownFolder} {
		if exists(filepath.Join(area, never)) {
			t.Errorf("the private area has %s", never)
		}
	}
	if exists(n.path("conf/" + webID + ".mount")) {
		t.Error("an action script that is not trusted is installed")
	}
	if to, err := os.Readlink(filepath.Join(area, ".ve.layout")); to != "5" {
		t.Errorf("the layout is %q, %v", to, err)
	}
	var st unix.Stat_t
	must(t, unix.Lstat(filepath.Join(area, "suid"), &st))
	if st.Mode&0o7777 != 0o755 {
		t.Errorf("a setuid program in the private area has mode %o", st.Mode)
	}
	conf, err := os.ReadFile(filepath.Join(area, "ve.conf"))
	must(t, err)
	if s := string(conf); strings.Contains(s, "DEVNODES") || strings.Contains(s, "touch") || !strings.Contains(s, "ONBOOT=\"yes\"\n") {
		t.Errorf("ve.conf is %s", conf)
	}
	for _, want := range []string{
		`DEVNODES="kvm:rw" is left out: it would give the container devices`, "the line $(touch /x) is left out", "ve.conf of container web: as it was recorded it is in " + area,
		"action script premount is not restored", "action script " + webID + ".mount is not restored", "dump-here is a link to /etc", "/fifo is a device, fifo or socket",
		"suid belongs to root now", ".ve.layout was not that of a container with ploop disks", "OS template gone-1-x86_64 of container web is not on this node",
	} {
		if !strings.Contains(log.all("warning"), want) {
			t.Errorf("the job log does not say %q:\n%s", want, log.all("warning"))
		}
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// An encrypted disk is not restored in clear by oversight, and one that ploop has made
// otherwise than it was told is not filled.
func TestEncryptedDisk(t *testing.T) {
	for _, tt := range []struct {
		option, says string
		keys         []string
		registered   bool
	}{
		{"", "was encrypted with key k1: say with encryption=<key id>", nil, false},
		{":encryption=none", "restored in clear, as encryption=none says", []string{""}, true},
		{":encryption=k2", `not encrypted with key k2 although ploop has made it: its descriptor names key ""`, []string{"k2"}, false},
	} {
		list, _ := backedUp(t, bareos)
		m, err := decodeObject([]byte(list[0].Data))
		must(t, err)
		m.Disks = m.Disks[:1]
		m.Disks[0].KeyID = "k1"
		list[0].Data, err = m.encodeObject(0)
		must(t, err)
		n := emptyNode(t)
		log := restoreCT(t, n, tt.option, append([]saved{list[0]}, only(list[2:], "ve.conf")...))
		if !slices.Equal(n.keys, tt.keys) || (len(n.registered) == 1) != tt.registered || !strings.Contains(log.all(), tt.says) {
			t.Errorf("encryption%s: keys %q, registered %q, said %s", tt.option, n.keys, n.registered, log.all())
		}
		if left := n.left(t); len(left) > 0 || tt.keys == nil && exists(n.path("private/"+webID)) {
			t.Errorf("encryption%s: left behind %q", tt.option, left)
		}
	}
}

// A key for disks that have none is not taken in silence for one that they get.
func TestKeyForADiskInClear(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for option, warned := range map[string]bool{":encryption=k1": true, ":encryption=none": false} {
		n := emptyNode(t)
		log := restoreCT(t, n, option, list)
		if got := strings.Contains(log.all("warning"), "disk / was not encrypted, and is restored in clear: encryption=k1"); got != warned || slices.Contains(n.keys, "k1") || len(n.started) != 1 {
			t.Errorf("%s: keys %q, said %s", option, n.keys, log.all())
		}
	}
}

// Access lists of a private area that is not trusted would let users of the node in.
func TestNoRightsByXattrs(t *testing.T) {
	for name, want := range map[string]bool{"system.posix_acl_access": true, "system.posix_acl_default": true, "security.capability": true, "user.x": false, "security.selinux": false} {
		if got := gives(name); got != want {
			t.Errorf("gives(%s) = %v", name, got)
		}
	}
	c := &newContainer{area: new(restore.Tree)}
	if !distrusted(c, c.area) || distrusted(c, new(restore.Tree)) || distrusted(nil, c.area) {
		t.Error("distrusted does not tell trees apart")
	}
	if c.opts.Anywhere.Trust = true; distrusted(c, c.area) {
		t.Error("a trusted private area is not trusted")
	}
}

// One directory of a backup is enough for a container with all its disks, by the object
// alone, or by the manifest alone, under another identity as well.
func TestOneDirectoryIsAContainer(t *testing.T) {
	all, _ := backedUp(t, bareos)
	file := slices.IndexFunc(all, func(s saved) bool { return strings.HasSuffix(s.Name, "/etc/hostname") })
	for what, list := range map[string][]saved{"object": {all[0], all[file]}, "manifest": {all[1], all[file]}} {
		for _, options := range []string{"", ":restore_uuid=" + oldID + ":restore_name=web2"} {
			n := emptyNode(t)
			log := restoreCT(t, n, options, list)
			if len(n.registered) != 1 || len(n.started) > 0 || !strings.Contains(log.all("warning"), "is not started") {
				t.Fatalf("%s%s: registered %q\n%s", what, options, n.registered, log.all())
			}
			conf, err := prlctl.ReadConfig(filepath.Join(n.registered[0], "ve.conf"))
			must(t, err)
			id := filepath.Base(n.registered[0])
			if disks, err := conf.Disks(n.registered[0]); err != nil || conf.Get("UUID") != id || os.Geteuid() == 0 && len(disks) != 2 {
				t.Errorf("%s%s: disks %+v, %v, uuid %s", what, options, disks, err, conf.Get("UUID"))
			}
			if b, err := os.ReadFile(n.path("tree-root.hdd/etc/hostname")); string(b) != "web\n" {
				t.Errorf("%s%s: hostname %q, %v", what, options, b, err)
			}
		}
	}
}
