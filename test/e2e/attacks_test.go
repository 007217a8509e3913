// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// outsideOf describes the files in /run/outside, and the node's name, which the
// restore of a container's /etc/hostname could reach.
const outsideOf = `cd /run/outside && ls -A && stat -c '%n %a %u:%g %h %s %Y' * && cat flag && getfattr --absolute-names -d -m - flag && uname -n`

// plantOutside makes the files in /run/outside and describes them.
func (w *world) plantOutside() string {
	w.Helper()
	w.run("sh", "-c", "mkdir /run/outside && cd /run/outside && echo untouched >flag && touch -d '2001-02-03 04:05:06' flag && chmod 640 flag && "+
		"chown 42:43 flag && setfattr -n trusted.k -v v flag && cp -a flag a && cp -a flag hostname && cp -a flag c")
	return w.run("sh", "-c", outsideOf)
}

// untouched checks that they are as they were.
func (w *world) untouched(what, before string) {
	w.Helper()
	if now := w.run("sh", "-c", outsideOf); now != before {
		w.Errorf("%s: outside of the container:\n%s\nwas\n%s", what, now, before)
	}
}

// Attacks of test/attacks with real daemons: what a tenant has planted, mounted and
// keeps exchanging in a running container leads no restore out of it, holds none up,
// and the files that are not in its way come back.
func TestAttacksOnARunningContainer(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}}})
	r := w.backup("web")
	w.run("prlctl", "start", "web")
	root, tree := "/vz/root/"+webUUID, "/mnt/bareos/"+webUUID
	in := func(script string) string { return w.run("sh", "-c", "cd "+root+" && "+script) }
	before := w.plantOutside()
	restore := func(what string, files ...string) rig.Result {
		t.Helper()
		rr := rig.Restore{JobIDs: []int{r.ID}, Options: "restore=file"}
		for _, f := range files {
			rr.Files = append(rr.Files, tree+f)
		}
		res, err := w.sys.Restore(rr)
		w.must(err)
		w.nothingLeft()
		w.untouched(what, before)
		return res
	}

	for _, attack := range []struct{ what, plant, file, content string }{
		{"a link in place of the directory", "rm -rf home/admin && ln -s ../../../../../../../run/outside home/admin", "/home/admin/a", ""},
		{"a link in place of the file", "rm home/other/c && ln -s /run/outside/flag home/other/c", "/home/other/c", "c"},
		{"a link to nowhere in place of the file", "rm home/other/c && ln -s /run/outside/new home/other/c", "/home/other/c", "c"},
		{"a fifo in place of the file", "rm home/other/c && mkfifo home/other/c", "/home/other/c", "c"},
		{"a device in place of the file", "rm home/other/c && mknod home/other/c c 1 7", "/home/other/c", "c"},
		{"a whiteout in place of the file", "rm home/other/c && mknod home/other/c c 0 0", "/home/other/c", "c"},
		{"an access list handed down", "setfacl -d -m u:7:rwx home/other", "/home/other/c", "c"},
		{"another user's file linked there", "echo theirs >tmp/theirs && ln -f tmp/theirs home/other/c", "/home/other/c", "c"},
	} {
		in(attack.plant)
		restore(attack.what, attack.file)
		if attack.content == "" {
			continue
		}
		if got := in("cat ." + attack.file + "; getfacl -cp ." + attack.file + " | grep -c user:7 || true"); got != attack.content+"0\n" {
			t.Errorf("%s: %s is %q, want %q", attack.what, attack.file, got, attack.content)
		}
	}
	if got := in("cat tmp/theirs"); got != "theirs\n" {
		t.Errorf("a file with a name in place of the restored one is %q", got)
	}

	// The kernel's settings over the directory: /etc/hostname would be the node's name.
	in("mount --bind /proc/sys/kernel etc")
	res := restore("settings mounted over the directory", "/etc/hostname", "/home/other/c")
	in("umount etc")
	w.says(res, "not restored exactly: "+tree+"/etc/hostname", "is on a file system of type proc")

	// A tenant that moves the directory away and puts a link there, all the time.
	w.run("touch", "/run/racing")
	done := make(chan error, 1)
	go func() {
		_, err := w.node.Run("sh", "-c", "cd "+root+"/home && n=0; while [ -e /run/racing ]; do mv -T other away; ln -s /run/outside other; rm -f other; mv -T away other || rm -rf away; n=$((n+1)); echo $n >/run/raced; done")
		done <- err
	}()
	for range 3 {
		restore("a directory and a link that take turns", "/home/other/c", "/home/other/")
	}
	w.run("rm", "/run/racing")
	if err := <-done; err != nil {
		t.Errorf("attacker: %v", err)
	}
	if n := strings.TrimSpace(w.run("cat", "/run/raced")); len(n) < 3 {
		t.Errorf("the attacker has come to %s rounds only", n)
	}

	// The control: who writes by the path gets out, and it is seen.
	in("rm -rf home/admin && ln -s /run/outside home/admin && echo changed >home/admin/a")
	if now := w.run("sh", "-c", outsideOf); now == before {
		t.Error("a file outside was written to, and it is not seen")
	}
	w.run("prlctl", "stop", "web")
}

// The same by the way of every release: links in place of a directory and of a file, and
// names that climb, which end the job.
func TestAttacksInLayouts(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Tree: smallTree})
	before := w.plantOutside()
	root, tree := "/vz/root/"+webUUID, "/mnt/bareos/"+webUUID
	store := func(layout string) string { return filepath.Join(w.dir, "store-"+layout) }
	for _, layout := range layouts {
		w.host("fdhost", 0, "--layout", layout, "backup", "--fileset", "vz7ct:name=web:restore=file", "--store", store(layout))
	}
	w.run("prlctl", "start", "web")
	for _, layout := range layouts {
		w.run("sh", "-c", "cd "+root+"/home && rm -rf admin other/c && ln -s /run/outside admin && ln -s /run/outside/c other/c")
		restore := []string{"--layout", layout, "restore", "--store", store(layout)}
		// What is refused is told: Bacula knows a restore with errors, but none with warnings.
		told := 0
		if strings.HasPrefix(layout, "bacula") {
			told = 4
		}
		w.host("fdhost", told, append(restore, "--select", tree+"/home")...)
		w.untouched(layout+", planted links", before)
		if got := w.run("cat", root+"/home/other/c"); got != "c" {
			t.Errorf("%s: the file behind a link is %q", layout, got)
		}
		w.host("fdhost", 3, append(restore, "--select", tree+"/home/other/c", "--rename", "/home/other=/../../../run/outside")...)
		w.untouched(layout+", names that climb", before)
		w.nothingLeft()
	}
	w.run("sh", "-c", "cd "+root+"/home && rm -rf admin && ln -s /run/outside admin && echo changed >admin/a")
	if now := w.run("sh", "-c", outsideOf); now == before {
		t.Error("a file outside was written to, and it is not seen")
	}
}
