// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/prlctl"
	"github.com/bareos-contrib/vz7ct/restore"
)

// backedUp returns what a backup of a container has sent, and its node. Without
// root the container has one disk: a mount point for another one is given to root.
func backedUp(t *testing.T, d Daemon) ([]saved, *fakeNode) {
	t.Helper()
	n := webNode(t)
	if os.Geteuid() != 0 {
		put(t, n.path("private/"+webID+"/ve.conf"), "VEID=\""+webID+"\"\n")
		n.place.Config = readConfig(t, n)
		must(t, os.Remove(n.path("tree-root/data/hidden")))
		must(t, os.Rename(n.path("tree-data/file"), n.path("tree-root/data/file")))
		must(t, os.RemoveAll(filepath.Join(n.place.Private, "data.hdd")))
	}
	j, _ := n.job(t, d)
	must(t, j.StartBackup(cmd))
	list, err := save(j)
	must(t, err)
	ofDisks(t, list, 20)
	return list, n
}

// ofDisks lets the manifests say how many inodes each disk has in use: what was measured
// is the file system that the test runs in.
func ofDisks(t *testing.T, list []saved, inodes uint64) {
	t.Helper()
	m, err := decodeObject([]byte(list[0].Data))
	must(t, err)
	for n := range m.Disks {
		m.Disks[n].UsedInodes = inodes
	}
	list[0].Data, err = m.encodeObject(0)
	must(t, err)
	m, err = decodeManifest([]byte(list[1].content))
	must(t, err)
	for n := range m.Disks {
		m.Disks[n].UsedInodes = inodes
	}
	b, err := m.encode()
	must(t, err)
	list[1].content, list[1].Stat.Size = string(b), int64(len(b))
}

// look describes every file below dir but the file system's own: type, mode,
// size, time, content, links.
func look(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	defer delete(all, "lost+found")
	first := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Lstat(p, &st))
		rel, _ := filepath.Rel(dir, p)
		what := fmt.Sprintf("%o %d.%09d", st.Mode, st.Mtim.Sec, st.Mtim.Nsec)
		if rel == "data" {
			what = "a mount point"
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(p)
			must(t, err)
			what += fmt.Sprintf(" %q", strings.TrimRight(string(b), "\x00"))
			if st.Nlink > 1 && first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			what += fmt.Sprintf(" %d bytes in few blocks %v, as %s", st.Size, st.Blocks*512 < st.Size, first[st.Ino])
		case unix.S_IFLNK:
			to, _ := os.Readlink(p)
			what += " " + to
		}
		all[rel] = what
		return nil
	}))
	return all
}

// A container saved on one node and restored on another one, by both daemons'
// ways of hard links, is the same.
func TestContainerComesBack(t *testing.T) {
	for _, d := range []Daemon{bareos, {Name: "Bacula 15", AlwaysXattrs: true, Plain: true}} {
		list, before := backedUp(t, d)
		if d.OwnLinks {
			linkAsBareos(list)
		}
		n := emptyNode(t)
		j, log := n.job(t, d)
		j.AddOptions("vz7ct:start=yes:restore_trust_config=yes")
		if err := play(j, cmd, "/tmp/restores", list); err != nil {
			t.Fatal(err, log.all())
		}
		j.EndRestore(Good)
		if got := log.all("fatal", "error", "warning"); got != "" {
			t.Errorf("%s: said %s", d.Name, got)
		}
		private := n.path("private/" + webID)
		if !slices.Equal(n.registered, []string{private}) || !slices.Equal(n.started, []string{webID}) {
			t.Errorf("%s: registered %q, started %q", d.Name, n.registered, n.started)
		}
		want := look(t, before.path("tree-root"))
		// Not saved: the quota file, a socket, what a mount point hides.
		for _, out := range []string{"aquota.user", "etc/socket", "data/hidden"} {
			delete(want, out)
		}
		if got := look(t, n.path("tree-root.hdd")); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: root disk has %q,\nwant %q", d.Name, got, want)
		}
		if os.Geteuid() == 0 {
			want = look(t, before.path("tree-data"))
			if got := look(t, n.path("tree-data.hdd")); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: data disk has %q, want %q", d.Name, got, want)
			}
		}
		got := look(t, private)
		for _, never := range []string{".owner", "dump/Dump", "root.hdd/.statfs", ".vz7ct", ".uptime"} {
			if what, there := got[never]; there {
				t.Errorf("%s: the private area has %s: %s", d.Name, never, what)
			}
		}
		for name, what := range look(t, before.path("private/"+webID)) {
			if base := filepath.Base(name); (base == "start" || base == ".ve.layout") && got[name] != what {
				t.Errorf("%s: %s is %q, want %q", d.Name, name, got[name], what)
			}
		}
		was, _ := os.ReadFile(before.path("private/" + webID + "/ve.conf"))
		added := "VE_PRIVATE=\"" + private + "\"\nUUID=\"" + webID + "\"\nNAME=\"web\"\n"
		if b, err := os.ReadFile(private + "/ve.conf"); string(b) != string(was)+added {
			t.Errorf("%s: ve.conf is %q, %v, want %q", d.Name, b, err, string(was)+added)
		}
		if b, err := os.ReadFile(n.path("conf/" + webID + ".mount")); string(b) != "#!/bin/sh\n" {
			t.Errorf("%s: action script = %q, %v", d.Name, b, err)
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("%s: left behind: %q", d.Name, left)
		}
		wantCalls := []string{"list", "private", "root", "init", "mount", "init", "mount", "unmount", "unmount", "register", "start"}
		if os.Geteuid() != 0 {
			wantCalls = []string{"list", "private", "root", "init", "mount", "unmount", "register", "start"}
		}
		if !slices.Equal(n.calls, wantCalls) {
			t.Errorf("%s: calls = %q, want %q", d.Name, n.calls, wantCalls)
		}
	}
}

// linkAsBareos does with hard links what Bareos does when it saves them.
func linkAsBareos(list []saved) {
	first := map[[2]uint64]string{}
	for i, s := range list {
		if s.Kind != Regular || s.Stat.Nlink < 2 {
			continue
		}
		key := [2]uint64{s.Stat.Dev, s.Stat.Ino}
		if first[key] == "" {
			first[key] = s.Name
			continue
		}
		list[i].Kind, list[i].Link = HardLink, first[key]
	}
}

// Without a restore object, as Bacula 9.6 may lose it, the manifest among the
// files serves; without both the job says which file to select.
func TestContainerWithoutObject(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := emptyNode(t)
	j, log := n.job(t, bareos)
	if err := play(j, cmd, "", list[1:]); err != nil {
		t.Fatal(err, log.all())
	}
	j.EndRestore(Good)
	if len(n.registered) != 1 || len(n.started) > 0 {
		t.Errorf("registered %q, started %q, said\n%s", n.registered, n.started, log.all())
	}
	n = emptyNode(t)
	j, log = n.job(t, bareos)
	if err := play(j, cmd, "", list[3:]); err != ErrStop {
		t.Errorf("a restore without manifest = %v, want ErrStop", err)
	}
	j.EndRestore(Failed)
	want := "/vz/private/" + webID + "/.vz7ct/manifest.json was not restored before "
	if got := log.all("fatal"); !strings.Contains(got, want) || len(n.calls) > 0 {
		t.Errorf("said %q after calls %q, want %q", got, n.calls, want)
	}
	// A manifest that is cut short is none.
	n = emptyNode(t)
	j, log = n.job(t, bareos)
	cut := slices.Clone(list[1:])
	for i := range 2 {
		cut[i].content = cut[i].content[:100]
	}
	if err := play(j, cmd, "", cut); err != ErrStop || !strings.Contains(log.all("warning"), "the manifest among the files is not used") {
		t.Errorf("a restore with a broken manifest = %v, %s", err, log.all())
	}
	j.Close()
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// ve.conf may not have been selected; then it is that of the manifest.
func TestConfigurationOfTheManifest(t *testing.T) {
	small := bareos
	small.MaxObject = 1
	for _, s := range []struct {
		daemon Daemon
		from   int
		ok     bool
	}{
		{bareos, 0, true},
		{small, 1, true}, // the object is missing, the manifest is there
		{small, 0, false},
	} {
		all, _ := backedUp(t, s.daemon)
		var list []saved
		for n, saved := range all {
			manifest := n > 0 && (strings.HasSuffix(saved.Name, manifestName) || strings.HasSuffix(saved.Name, fullManifestName))
			if !strings.HasSuffix(saved.Name, "/ve.conf") && (s.from > 0 || !manifest) {
				list = append(list, saved)
			}
		}
		n := emptyNode(t)
		j, log := n.job(t, s.daemon)
		err := play(j, cmd, "", list[s.from:])
		j.EndRestore(Good)
		if s.ok && (err != nil || len(n.registered) != 1 || !strings.Contains(log.all(), "taken from the manifest")) {
			t.Errorf("with the manifest: %v, registered %q\n%s", err, n.registered, log.all())
		}
		if !s.ok && !strings.Contains(log.all("fatal"), "ve.conf is neither among the restored files nor in the restore object: select /vz/private/"+webID+"/ve.conf too") {
			t.Errorf("with the object: said %s", log.all())
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// Of ve.conf not all may come, as where the node is full: a part of it is none.
func TestConfigurationThatDidNotComeWhole(t *testing.T) {
	list, _ := backedUp(t, bareos)
	conf := ""
	for n := range list {
		if s := &list[n]; strings.HasSuffix(s.Name, "/ve.conf") {
			conf, s.content = s.content, s.content[:len(s.content)/2]
		}
	}
	n := emptyNode(t)
	j, log := n.job(t, bareos)
	must(t, play(j, cmd, "", list))
	j.EndRestore(Errors)
	if len(n.registered) != 1 || !strings.Contains(log.all(), "ve.conf: it has ") || !strings.Contains(log.all(), "taken from the manifest") {
		t.Fatalf("registered %q\n%s", n.registered, log.all())
	}
	got, err := os.ReadFile(filepath.Join(n.registered[0], "ve.conf"))
	must(t, err)
	if !strings.HasPrefix(string(got), conf) {
		t.Errorf("ve.conf is %q, want %q and more", got, conf)
	}
}

// anew is a container that is about to be made, on a node that takes it.
func anew(t *testing.T, j *Job, m *manifest, private string) *newContainer {
	t.Helper()
	c := &newContainer{job: j, m: m, private: private, root: filepath.Join(filepath.Dir(filepath.Dir(private)), "root", filepath.Base(private))}
	c.opts.Anywhere.Encryption = inClear
	must(t, c.identify())
	return c
}

// A disk that was outside the private area comes into it, and ve.conf says so.
func TestDiskFromOutsideThePrivateArea(t *testing.T) {
	j, log := emptyNode(t).job(t, bareos)
	old := webManifest() // data is at /pool/data.hdd
	old.Disks[0].Image = "a;b\"c/root.hds"
	c := anew(t, j, old, "/vz/private/"+webID)
	must(t, c.fits())
	if c.disks[0].image != "disk-{"+dataID+"}.hdd/root.hds" || c.disks[1].image != "root.hdd/root.hds" || c.disks[1].UUID != prlctl.RootDisk {
		t.Errorf("disks = %+v %+v, want data first", c.disks[0], c.disks[1])
	}
	to, err := c.target()
	if err != nil || to.Disks[0].Image != "disk-{"+dataID+"}.hdd" || to.Disks[1].Image != "root.hdd" || strings.Count(log.all("warning"), "outside the private area") != 2 {
		t.Errorf("target = %+v, %v, said %s", to, err, log.all())
	}
}

func TestDiskSize(t *testing.T) {
	for _, tt := range []struct {
		size, used, want uint64 // bytes; 0 is an error
	}{
		{0, 900 << 20, 1 << 30},
		{2 << 30, 900 << 20, 2 << 30},
		{1 << 30, 900 << 20, 0}, // fits without ext4's own part only
		{512 << 20, 100 << 20, 512 << 20},
	} {
		j, _ := emptyNode(t).job(t, bareos)
		c := anew(t, j, webManifest(), "/vz/private/"+webID)
		c.opts.DiskSize, c.m.Disks[0].UsedBytes = tt.size, tt.used
		err := c.fits()
		if (err == nil) != (tt.want != 0) || err == nil && c.disks[1].Size*512 != tt.want {
			t.Errorf("disk_size=%d with %d in use: %v, want %d", tt.size, tt.used, err, tt.want)
		}
	}
	j, _ := emptyNode(t).job(t, bareos)
	c := anew(t, j, webManifest(), "/vz/private/"+webID)
	c.m.Disks[0].Catalogue = "not/root"
	if err := c.fits(); err == nil || !strings.Contains(err.Error(), "the backup is without the root disk") {
		t.Errorf("fits without a root disk = %v", err)
	}
}

// A Full and an Incremental come one after the other: the later file counts,
// whatever the restore job's Replace says of files that exist.
func TestLaterLevelReplaces(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := emptyNode(t)
	j, log := n.job(t, bareos)
	must(t, play(j, cmd, "", list))
	name := "/mnt/bareos/" + webID + "/etc/hostname"
	must(t, one(j, Restored{Name: name, Replace: restore.Never, Stat: unix.Stat_t{Mtim: unix.Timespec{Sec: 5e8}}}, "later"))
	j.EndRestore(Good)
	if b, err := os.ReadFile(n.path("tree-root.hdd/etc/hostname")); string(b) != "later" {
		t.Errorf("the file is %q, %v, want that of the later level\n%s", b, err, log.all())
	}
}

// With regexwhere a console of few rights could make any file of a tenant's an action
// script, which the node runs as root, or the container's configuration.
func TestNoRegexwhereForContainers(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for _, name := range []string{
		privateRoot + webID + "/" + scriptFolder + "/" + webID + ".mount", privateRoot + webID + "/ve.conf", privateRoot + webID + "/" + manifestName,
		treeRoot + webID + "/etc/hostname",
	} {
		n := emptyNode(t)
		before := look(t, n.path("conf"))
		j, log := n.job(t, bareos)
		j.AddObject(list[0].Name, 1, list[0].Data)
		must(t, j.StartRestore(cmd))
		answer, err := j.CreateFile(&Restored{Kind: Regular, Name: name, Renamed: true, Stat: unix.Stat_t{Mode: 0o755, Size: 3}, Replace: restore.Always})
		if err != ErrStop || answer != Skip || j.OpenRestored() >= 0 || !strings.Contains(log.all("fatal"), "regexwhere") {
			t.Errorf("CreateFile(%s) = %v, %v, said %s", name, answer, err, log.all())
		}
		j.EndRestore(Failed)
		if left := n.left(t); len(left) > 0 || len(n.calls) > 0 || len(look(t, n.path("conf"))) != len(before) {
			t.Errorf("%s: calls %q, left %q", name, n.calls, left)
		}
	}
}
