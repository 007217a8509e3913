// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// Options may come from consoles with few rights, and users of the node plant links
// where they may write: no option makes the plugin change, remove, make or mount over
// a file of the node, or tell what is in it.
func TestHostileOptions(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "512M", Tree: smallTree})
	// Inside, /etc is this machine's own: nothing but a fault would change it.
	w.run("sh", "-c", `cd /run && echo secret-of-root >secret && chmod 600 secret && touch empty &&
		ln -s /run/secret link && ln -s /run/none dangling && ln -s /etc way && mkdir dir && mkfifo fifo && mknod device c 1 3 &&
		printf '[backup]\nsecret-key=secret-value\n' >key && printf 'secret\n' >text && printf '[secret]\n' >section &&
		printf '[backup]\nname=web\n' >theirs && chown 1234 theirs && printf '[backup]\nname=web\n' >open && chmod 666 open && ln -s /run/key planted &&
		ln -s /run/secret taken.lock && mkdir taken2.lock && mkfifo taken3.lock && echo kept >taken4.lock`)
	var options []string
	for _, file := range []string{
		"/etc/passwd", "/etc/shadow", "/etc/nologin", "/etc/cron.allow", "/etc/new.lock", "/run/nologin", "/run/link", "/run/dangling", "/run/way/passwd", "/run/way/new",
		"/run/dir", "/run/fifo", "/run/device", "/dev/null", "/dev/full", "/proc/kmsg", "/proc/self/mem", "/sys/kernel/x", "/vz/private/" + webUUID + "/ve.conf",
		"/vz/private/" + webUUID + "/root.hdd/DiskDescriptor.xml", "/var/lib/vz7ct/journal/x.journal", "/run/secret/x", "/run/systemd/system/x.service",
		"/run/taken", "/run/taken2", "/run/taken3", "/run/taken4", "/etc/vz/vz.conf", "/usr/sbin/ploop", "/", "//", "/..",
	} {
		options = append(options, "lock_wait=1:lockfile="+file)
	}
	for _, key := range []string{"defaults_file", "overrides_file"} {
		for _, file := range []string{
			"/etc/shadow", "/run/secret", "/run/key", "/run/text", "/run/section", "/run/theirs", "/run/open", "/run/planted", "/run/dangling", "/run/dir", "/run/fifo",
			"/run/device", "/dev/zero", "/proc/kmsg", "/proc/self/environ", "/run/none", "/usr/sbin/ploop",
		} {
			options = append(options, key+"="+file)
		}
	}
	before := w.everything()
	changes := w.changes()
	for n, o := range options {
		out, err := w.node.Run(rig.Build("fdhost"), "--plugin", rig.Build("vz7ct-fd.so"), "--layout", "bareos25", "backup",
			"--fileset", "vz7ct:name=web", "--job-options", "vz7ct:"+o, "--store", filepath.Join(w.dir, fmt.Sprintf("store%d", n%2)))
		if err == nil || !strings.Contains(out, "message FATAL") || strings.Contains(out, "violation ") {
			t.Errorf("%s: %v\n%s", o, err, lastLines(out, 10))
		}
		told := strings.ReplaceAll(out, "/run/secret", "") // the name is the option's own
		for _, secret := range []string{"secret", "root:", "daemon:"} {
			if strings.Contains(told, secret) {
				t.Errorf("%s: the job log has %q\n%s", o, secret, lastLines(out, 10))
			}
		}
	}
	if now := w.changes(); now != changes {
		t.Errorf("%d calls of ploop have changed a disk", now-changes)
	}
	after := w.everything()
	for path, was := range before {
		if after[path] != was {
			t.Errorf("%s is %q, before %q", path, after[path], was)
		}
	}
	for path, is := range after {
		// A lock file stays, if the option names one that is as it should be.
		if _, there := before[path]; !there && !strings.HasPrefix(path, "/run/taken") {
			t.Errorf("%s was made: %s", path, is)
		}
	}
	w.nothingLeft()
	if len(before) < 200 {
		t.Errorf("%d files were looked at", len(before))
	}
	// The control: what is looked at sees a file that is made, and one that is touched.
	w.run("sh", "-c", "touch /run/new; echo x >>/run/empty")
	if now := w.everything(); now["/run/new"] == "" || now["/run/empty"] == before["/run/empty"] {
		t.Error("changes of files are not seen")
	}
}

// everything describes the files that options may have named: type, mode, owner, size
// and time of each.
func (w *world) everything() map[string]string {
	w.Helper()
	all := map[string]string{}
	look := func(path, as string) {
		err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // it has just gone
			}
			info, err := d.Info()
			if err != nil {
				return nil //nolint:nilerr // the same
			}
			name := as + strings.TrimPrefix(p, path)
			if d.IsDir() {
				all[name] = info.Mode().String()
			} else {
				all[name] = fmt.Sprintf("%v %d %s", info.Mode(), info.Size(), info.ModTime())
			}
			return nil
		})
		w.must(err)
	}
	look("/etc", "/etc")
	for _, dir := range []string{"/run/", "/etc/vz/", "/vz/private/"} {
		out, err := w.node.Outside(dir)
		w.must(err)
		look(strings.TrimSuffix(out, "/"), strings.TrimSuffix(dir, "/"))
	}
	for path := range all { // of the daemons of this machine
		if strings.HasPrefix(path, "/run/lab") || strings.HasSuffix(path, ".adjtime") {
			delete(all, path)
		}
	}
	return all
}

// A container whose name has blanks, braces and letters beyond ASCII is saved and
// restored by it, and one whose disk has as many snapshots as ploop allows is saved
// if there is room for one more.
func TestUnusualButLegal(t *testing.T) {
	const name = "two words {b} -_.+ é日"
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: name, UUID: webUUID, Size: "512M", Tree: smallTree})
	d := descriptor(webUUID, "root.hdd")
	for n := range 125 {
		w.run("ploop", "snapshot", "-u", fmt.Sprintf("%08x-1111-4111-8111-111111111111", n), d)
	}
	backup := func() (string, error) {
		return w.node.Run(rig.Build("fdhost"), "--plugin", rig.Build("vz7ct-fd.so"), "--layout", "bareos25", "backup", "--fileset", "vz7ct:name='"+name+"'",
			"--store", filepath.Join(w.dir, "store"))
	}
	out, err := backup()
	if err != nil || strings.Contains(out, "violation ") || !strings.Contains(out, `container two words {b} -_.+ \xc3\xa9\xe6\x97\xa5 saved: `) {
		t.Fatalf("backup of 126 images: %v\n%s", err, lastLines(out, 20))
	}
	w.run("ploop", "snapshot", "-u", "000000ff-1111-4111-8111-111111111111", d)
	calls := w.changes()
	if out, err := backup(); err == nil || !strings.Contains(out, "it has 127 images already, the most that ploop allows") || w.changes() != calls {
		t.Errorf("backup of 127 images: %v\n%s", err, lastLines(out, 20))
	}
	w.run("prlctl", "destroy", webUUID)
	_ = os.RemoveAll(filepath.Join(w.dir, "store"))
	w.create(rig.Container{Name: name, UUID: webUUID, Size: "512M", Tree: smallTree})
	want := w.scan(d)
	if out, err := backup(); err != nil {
		t.Fatalf("backup: %v\n%s", err, lastLines(out, 20))
	}
	w.run("prlctl", "destroy", webUUID)
	w.host("fdhost", 0, "--layout", "bareos25", "restore", "--store", filepath.Join(w.dir, "store"), "--job-options", "vz7ct:restore=ct:name='"+name+"'")
	w.same(want, w.scan(d), nil)
	if list := w.run("prlctl", "list", "-a", "-o", "name"); !strings.Contains(list, name) {
		t.Errorf("prlctl list:\n%s\nwant %s", list, name)
	}
	w.nothingLeft()
}
