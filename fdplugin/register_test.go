// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Of the files put aside only action scripts of this container are installed,
// with their mode, and none over one that is there.
func TestScripts(t *testing.T) {
	n := emptyNode(t)
	j, log := n.job(t, bareos)
	m := webManifest()
	m.CTID = "101"
	c := anew(t, j, m, n.path("private/101"))
	c.opts.Anywhere.Trust = true
	if found, err := c.scripts(); err != nil || len(found) > 0 {
		t.Errorf("scripts without any = %v, %v", found, err)
	}
	dir := filepath.Join(c.private, scriptFolder)
	for name, mode := range map[string]os.FileMode{"101.mount": 0o755, "101.start": 0o700, "101.conf": 0o644, "102.mount": 0o755, "1011": 0o755, "vps.mount": 0o755, "101.old": 0o640} {
		put(t, filepath.Join(dir, name), "new "+name)
		must(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "101.link")))
	must(t, unix.Mkfifo(filepath.Join(dir, "101.fifo"), 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "101.dir"), 0o700))
	put(t, n.path("conf/101.old"), "kept")
	found, err := c.scripts()
	must(t, err)
	c.install(found)
	want := map[string]string{"101.mount": "new 101.mount", "101.start": "new 101.start", "101.old": "kept"}
	got, err := os.ReadDir(n.path("conf"))
	must(t, err)
	for _, e := range got {
		b, err := os.ReadFile(n.path("conf/" + e.Name()))
		must(t, err)
		if string(b) != want[e.Name()] {
			t.Errorf("%s is installed with %q, want %q", e.Name(), b, want[e.Name()])
		}
	}
	if info, err := os.Stat(n.path("conf/101.start")); err != nil || info.Mode() != 0o700 || len(got) != len(want) {
		t.Errorf("installed %v, 101.start with %v, %v, want %d scripts", got, info, err, len(want))
	}
	for _, name := range []string{"101.conf", "102.mount", "1011", "vps.mount", "101.link", "101.fifo", "101.dir"} {
		if !strings.Contains(log.all("warning"), "not restored: "+name+" is no action script") {
			t.Errorf("%s is left out without a word: %s", name, log.all())
		}
	}
	if !strings.Contains(log.all("warning"), "101.old exists and is kept") || !strings.Contains(log.all("info"), "101.mount restored: the node runs it as root") {
		t.Errorf("said %s", log.all())
	}
}

// A configuration from the volume is no way to read or change a file of the node.
func TestConfigureFollowsNoLink(t *testing.T) {
	n := emptyNode(t)
	j, _ := n.job(t, bareos)
	c := anew(t, j, webManifest(), n.path("private/"+webID))
	victim := n.path("victim")
	put(t, victim, "DISK=\"image=/pool/data.hdd\"\n")
	must(t, c.fits())
	must(t, os.Mkdir(c.private, 0o700))
	must(t, os.Symlink(victim, filepath.Join(c.private, "ve.conf")))
	if err := c.configure(); err == nil {
		t.Error("configure with a link as ve.conf = nil")
	}
	must(t, os.Remove(filepath.Join(c.private, "ve.conf")))
	must(t, unix.Mkfifo(filepath.Join(c.private, "ve.conf"), 0o600))
	if err := c.configure(); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("configure with a fifo as ve.conf = %v", err)
	}
	if b, _ := os.ReadFile(victim); string(b) != "DISK=\"image=/pool/data.hdd\"\n" {
		t.Errorf("the node's file is %q", b)
	}
	must(t, os.Remove(filepath.Join(c.private, "ve.conf")))
	conf := "VE_ROOT=\"" + n.path("root") + "/$VEID\"\nVE_PRIVATE=\"" + n.path("private") + "/$VEID\"\nVEID=\"" + webID + "\"\nUUID=\"" + webID + "\"\nNAME=\"web\"\n"
	put(t, filepath.Join(c.private, "ve.conf"), conf+"DISK=\"uuid={"+dataID+"},image=/pool/data.hdd,mnt=/data\"\n")
	must(t, c.configure())
	b, err := os.ReadFile(filepath.Join(c.private, "ve.conf"))
	if want := conf + "DISK=\"uuid={" + dataID + "},image=disk-{" + dataID + "}.hdd,mnt=/data\"\n"; string(b) != want {
		t.Errorf("ve.conf = %q, %v, want %q", b, err, want)
	}
	entries, err := os.ReadDir(c.private)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if err != nil || !slices.Equal(names, []string{".ve.layout", "ve.conf"}) {
		t.Errorf("the private area has %q, %v", names, err)
	}
}

// A restore whose last files have not come is told from a whole one: the
// container is registered, and not started.
func TestIncompleteRestoreIsNotStarted(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for name, tt := range map[string]struct {
		spoil func([]saved) []saved
		want  string
	}{
		"root directory missing": {func(l []saved) []saved { return l[:len(l)-1] }, "the directory that disk / begins with has not come"},
		"a file cut short": {func(l []saved) []saved {
			for i, s := range l {
				if strings.HasSuffix(s.Name, "/etc/hostname") {
					l[i].Stat.Size++
				}
			}
			return l
		}, "not restored exactly"},
	} {
		n := emptyNode(t)
		log := restoreCT(t, n, "", tt.spoil(slices.Clone(list)))
		got := log.all("warning")
		if len(n.registered) != 1 || len(n.started) > 0 || !strings.Contains(got, tt.want) || !strings.Contains(got, "container web is not started") {
			t.Errorf("%s: registered %q, started %q, said %s", name, n.registered, n.started, log.all())
		}
	}
}

// Special files in the place of what the plugin itself reads end the job.
func TestPrivateAreaHoldsNoTraps(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for _, name := range []string{"ve.conf", ".vz7ct", ".vz7ct/etc-vz-conf", ".vz7ct/etc-vz-conf/" + webID + ".mount"} {
		trap := saved{Entry: Entry{Kind: Symlink, Name: "/vz/private/" + webID + "/" + name, Link: "/etc"}}
		n := emptyNode(t)
		log := restoreCT(t, n, "", []saved{list[0], trap})
		if got := log.all("fatal"); !strings.Contains(got, "is no regular file") || len(n.registered) > 0 {
			t.Errorf("%s as a link: said %s", name, log.all())
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("%s as a link: left behind %q", name, left)
		}
	}
	// What comes below a link in the private area goes nowhere.
	outside := t.TempDir()
	n := emptyNode(t)
	private := "/vz/private/" + webID + "/"
	log := restoreCT(t, n, "", append([]saved{list[0],
		{Entry: Entry{Kind: Symlink, Name: private + "scripts", Link: outside}},
		{Entry: Entry{Kind: Symlink, Name: private + "up", Link: ".."}},
		{Entry: Entry{Kind: Empty, Name: private + "scripts/planted"}},
		{Entry: Entry{Kind: Empty, Name: private + "up/planted"}},
		{Entry: Entry{Kind: Empty, Name: private + "../planted"}},
	}, list[1:]...))
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("outside: %v\n%s", left, log.all())
	}
	for _, made := range []string{n.path("private/planted"), n.path("planted"), filepath.Join(n.path("private"), webID, "planted")} {
		if exists(made) {
			t.Errorf("%s was made\n%s", made, log.all())
		}
	}
}
