// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/restore"
)

// strange is a machine without containers: there is no vz.conf, and no prlctl.
type strange struct{ *fakeNode }

func (strange) Areas() (string, error)         { return "", os.ErrNotExist }
func (strange) RootFor(string) (string, error) { return "", os.ErrNotExist }

// toDir is a job on such a machine that restores to the directory dir.
func toDir(t *testing.T, n *fakeNode, dir string) (*Job, *jobLog) {
	t.Helper()
	j, log := n.job(t, bareos)
	j.Node.Containers, j.Node.Registry = strange{n}, strange{n}
	j.AddOptions("vz7ct:restore=dir:restore_dir=" + dir)
	return j, log
}

// All of a backup goes to a directory of a machine that knows no containers: what was
// in the container, and beside it what is of its private area.
func TestRestoreToADirectory(t *testing.T) {
	list, before := backedUp(t, bareos)
	linkAsBareos(list)
	for _, where := range []string{"", "/tmp/bareos-restores"} {
		n := emptyNode(t)
		dir := n.path("out")
		j, log := toDir(t, n, dir+"/")
		if err := play(j, cmd, where, list); err != nil {
			t.Fatal(err, log.all())
		}
		j.EndRestore(Good)
		want := look(t, before.path("tree-root"))
		for _, out := range []string{"aquota.user", "etc/socket", "data/hidden"} {
			delete(want, out)
		}
		if os.Geteuid() == 0 { // then data is a disk of its own
			delete(want, "data")
			for name, what := range look(t, before.path("tree-data")) {
				if name != "." {
					want["data/"+name] = what
				}
			}
		}
		got := look(t, filepath.Join(dir, webID, "root"))
		if os.Geteuid() == 0 {
			delete(got, "data")
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("where=%s: there is %q,\nwant %q", where, got, want)
		}
		area := look(t, filepath.Join(dir, webID, "private"))
		for _, name := range []string{"ve.conf", "scripts/start", ".owner", "dump/Dump", ".vz7ct/manifest.json", ".vz7ct/etc-vz-conf/" + webID + ".mount"} {
			if area[name] == "" {
				t.Errorf("where=%s: of the private area %s is missing: %q", where, name, area)
			}
		}
		if st, err := os.Stat(filepath.Join(dir, webID)); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("the container's folder has mode %v, %v", st.Mode(), err)
		}
		levels := []string{"fatal", "error", "warning"}
		if os.Geteuid() != 0 { // the manifest belongs to root, and cannot be given to it
			levels = levels[:2]
		}
		if left := n.left(t); len(left) > 0 || len(n.calls) > 0 || log.all(levels...) != "" {
			t.Errorf("where=%s: left %q, calls %q, said %s", where, left, n.calls, log.all())
		}
		if !strings.Contains(log.all("info"), "restoring files of container "+webID+" to "+dir+"/"+webID+"/root, ") {
			t.Errorf("said %s", log.all("info"))
		}
	}
}

// Where a console of few rights could lead root astray, nothing is made.
func TestDirectoriesThatAreRefused(t *testing.T) {
	n := emptyNode(t)
	must(t, os.Mkdir(n.path("real"), 0o755))
	must(t, os.Symlink(n.path("real"), n.path("link")))
	must(t, os.Mkdir(n.path("shared"), 0o755))
	must(t, os.Chmod(n.path("shared"), 0o775))
	must(t, os.MkdirAll(n.path("sticky/inside"), 0o755))
	must(t, os.Chmod(n.path("sticky"), os.ModeSticky|0o777))
	must(t, os.MkdirAll(n.path("real/linked"), 0o755))
	must(t, os.Symlink(n.path("shared"), n.path("real/linked/"+webID)))
	must(t, os.Mkdir(n.path("real/open"), 0o755))
	must(t, os.Mkdir(n.path("real/open/"+webID), 0o755))
	must(t, os.Chmod(n.path("real/open/"+webID), 0o777))
	put(t, n.path("real/file"), "")
	cases := map[string]string{
		"/etc": "lies in /etc, where nothing is restored to", "/etc/cron.d": "lies in /etc", "/usr/lib/x": "lies in /usr", "/run/x": "lies in /run",
		"/vz/private": "lies in /vz/private", "/vz/private/x": "lies in /vz/private",
		n.path("private"): "lies in " + n.path("private"), n.path("root/x"): "lies in ", n.path("state"): "lies in ", n.path("mnt/x"): "lies in ", n.path("conf"): "lies in ",
		n.path("link"): "is a symbolic link", n.path("link/x"): "is a symbolic link", n.path("real/file"): "or no directory", n.path("real/file/x"): "or no directory",
		n.path("none/x"): "only the last directory is made", n.path("shared"): "is writable by others than root (mode 0775)", n.path("shared/x"): "is writable by others",
		n.path("sticky"): "is writable by others", n.path("real/linked"): webID + " is a symbolic link", n.path("real/open"): "is writable by others",
		"/proc/self/cwd": "lies in /proc",
	}
	if os.Geteuid() == 0 {
		must(t, os.Mkdir(n.path("theirs"), 0o755))
		must(t, os.Chown(n.path("theirs"), 1000, 1000))
		cases[n.path("theirs")], cases[n.path("theirs/x")] = "belongs to user 1000", "belongs to user 1000"
	}
	before := look(t, n.dir)
	for dir, want := range cases {
		j, log := n.job(t, bareos)
		j.AddOptions("vz7ct:restore=dir:restore_dir=" + dir)
		must(t, j.StartRestore(cmd))
		err := one(j, Restored{Name: treeRoot + webID + "/etc/x"}, "x")
		if err != ErrStop || !strings.Contains(log.all("fatal"), want) || !strings.Contains(log.all("fatal"), "restore=dir: restore_dir="+dir) {
			t.Errorf("restore_dir=%s: %v, %s, want %q", dir, err, log.all("fatal"), want)
		}
		j.EndRestore(Failed)
	}
	after := look(t, n.dir)
	for name := range after {
		if before[name] == "" && !strings.HasPrefix(name, "state") {
			t.Errorf("%s was made", name)
		}
	}
	// These are refused for nothing.
	for _, dir := range []string{n.path("sticky/inside"), n.path("sticky/new"), n.path("real"), n.path("real/new")} {
		j, log := n.job(t, bareos)
		j.AddOptions("vz7ct:restore=dir:restore_dir=" + dir)
		must(t, j.StartRestore(cmd))
		if err := one(j, Restored{Name: treeRoot + webID + "/etc/x"}, "x"); err != nil {
			t.Errorf("restore_dir=%s: %v, %s", dir, err, log.all("fatal"))
		}
		j.EndRestore(Good)
		if _, err := os.Stat(filepath.Join(dir, webID, "root/etc/x")); err != nil || log.all("warning", "fatal", "error") != "" {
			t.Errorf("restore_dir=%s: %v, %s", dir, err, log.all())
		}
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Options that do not go together end the job before anything is touched.
func TestDirectoryOptions(t *testing.T) {
	for options, want := range map[string]string{
		"restore=dir":                            "restore_dir is missing",
		"restore_dir=/srv/x":                     "does not count for restore=ct",
		"restore=ct:restore_dir=/srv/x":          "give restore=dir, or restore=file",
		"restore=dir:restore_dir=/srv/x/../../y": "is no absolute path of a directory",
	} {
		n := emptyNode(t)
		j, log := n.job(t, bareos)
		j.AddOptions("vz7ct:" + options)
		if err := j.StartRestore(cmd); err != ErrStop || !strings.Contains(log.all("fatal"), want) || len(n.calls) > 0 {
			t.Errorf("%s: %v, %s, want %q", options, err, log.all("fatal"), want)
		}
	}
}

// Neither a name of the stream nor a link that was planted leads out of the folder, or
// from the container's files to what is of its private area.
func TestDirectoryIsNotLeft(t *testing.T) {
	n := emptyNode(t)
	outside := t.TempDir()
	put(t, filepath.Join(outside, "a"), "untouched")
	folder := n.path("out/" + webID)
	must(t, os.MkdirAll(folder+"/root", 0o755))
	must(t, os.Chmod(folder, 0o700))
	must(t, os.Symlink(outside, folder+"/root/planted"))
	must(t, os.Symlink("../private", folder+"/root/across"))
	must(t, os.Symlink(filepath.Join(outside, "a"), folder+"/root/last"))
	must(t, os.Symlink(outside, folder+"/private"))
	j, log := toDir(t, n, n.path("out"))
	must(t, j.StartRestore(cmd))
	tree := treeRoot + webID
	for _, name := range []string{tree + "/planted/a", tree + "/across/ve.conf", tree + "/last", privateRoot + webID + "/a", tree + "/good"} {
		if err := one(j, Restored{Name: name}, "new"); err != nil {
			t.Errorf("%s: %v, want the job to go on", name, err)
		}
	}
	if err := one(j, Restored{Kind: Directory, Name: tree + "/planted/"}, ""); err != nil {
		t.Error(err)
	}
	j.EndRestore(Good)
	for _, name := range []string{"planted/a", "across/ve.conf", privateRoot + webID + "/a"} {
		if !strings.Contains(log.all("warning"), name+": ") {
			t.Errorf("%s is not named: %s", name, log.all())
		}
	}
	if got := look(t, outside); len(got) != 2 || !strings.Contains(got["a"], "untouched") {
		t.Errorf("outside: %q", got)
	}
	for _, name := range []string{"good", "last"} {
		if b, err := os.ReadFile(folder + "/root/" + name); string(b) != "new" {
			t.Errorf("%s = %q, %v", name, b, err)
		}
	}
	for _, name := range []string{tree + "/../x", "/etc/passwd", liveRoot + webID + "/x", privateRoot + webID + "/../x", treeRoot + "x/y"} {
		j, log := toDir(t, n, n.path("out"))
		must(t, j.StartRestore(cmd))
		if err := one(j, Restored{Name: name}, "new"); err != ErrStop || !strings.Contains(log.all("fatal"), "is no name of a container's backup") {
			t.Errorf("%s: %v, %s", name, err, log.all())
		}
		j.EndRestore(Failed)
	}
	j, log = toDir(t, n, n.path("out"))
	must(t, j.StartRestore(cmd))
	r := Restored{Kind: HardLink, Name: tree + "/x", Link: treeRoot + oldID + "/y"}
	if err := one(j, r, ""); err != ErrStop || !strings.Contains(log.all("fatal"), "is of another container") {
		t.Errorf("a link to another container: %v, %s", err, log.all())
	}
}

// Containers of one restore have a folder each.
func TestDirectoryOfTwoContainers(t *testing.T) {
	n := emptyNode(t)
	j, log := toDir(t, n, n.path("out"))
	must(t, j.StartRestore(cmd))
	for _, id := range []string{webID, oldID, webID} {
		must(t, one(j, Restored{Name: treeRoot + id + "/etc/hostname"}, id))
	}
	j.EndRestore(Good)
	for _, id := range []string{webID, oldID} {
		if b, err := os.ReadFile(n.path("out/" + id + "/root/etc/hostname")); string(b) != id {
			t.Errorf("%s = %q, %v\n%s", id, b, err, log.all())
		}
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// The daemon's replace option counts, for directories and for containers.
func TestReplaceOptions(t *testing.T) {
	for _, tt := range []struct {
		how      restore.Replace
		existing int64
		replaced bool
	}{
		{restore.Always, 2e9, true}, {restore.IfNewer, 2e9, false}, {restore.IfNewer, 1e9, false}, {restore.IfNewer, 5e8, true},
		{restore.IfOlder, 2e9, true}, {restore.IfOlder, 1e9, false}, {restore.IfOlder, 5e8, false}, {restore.Never, 5e8, false},
	} {
		for _, mode := range []string{"dir", "file"} {
			n, root := running(t)
			options := "vz7ct:restore=file:restore_dir=/back"
			at := filepath.Join(root, "back")
			if mode == "dir" {
				options = "vz7ct:restore=dir:restore_dir=" + n.path("out")
				at = n.path("out/" + webID + "/root")
			}
			must(t, os.MkdirAll(at, 0o700))
			if mode == "dir" {
				must(t, os.Chmod(filepath.Dir(at), 0o700))
			}
			put(t, at+"/f", "old")
			ts := []unix.Timespec{{}, {Sec: tt.existing}}
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, at+"/f", ts, 0))
			j, log := n.job(t, bareos)
			j.AddOptions(options)
			must(t, j.StartRestore(cmd))
			stat := unix.Stat_t{Mtim: unix.Timespec{Sec: 1e9}}
			must(t, one(j, Restored{Name: treeRoot + webID + "/f", Replace: tt.how, Stat: stat}, "new"))
			must(t, one(j, Restored{Name: treeRoot + webID + "/fresh/g", Replace: tt.how, Stat: stat}, "new"))
			stat.Mode = 0o710
			must(t, one(j, Restored{Kind: Directory, Name: treeRoot + webID + "/fresh/", Replace: tt.how, Stat: stat}, ""))
			j.EndRestore(Good)
			b, err := os.ReadFile(at + "/f")
			if (string(b) == "new") != tt.replaced || err != nil {
				t.Errorf("restore=%s, replace %c over %d: %q, %v, want it replaced: %v\n%s", mode, tt.how, tt.existing, b, err, tt.replaced, log.all())
			}
			if kept := strings.Contains(log.all("info"), "1 kept as they are"); kept == tt.replaced {
				t.Errorf("restore=%s, replace %c: said %s", mode, tt.how, log.all("info"))
			}
			st, err := os.Stat(at + "/fresh")
			if err != nil || st.Mode().Perm() != 0o710 || st.ModTime().Unix() != 1e9 {
				t.Errorf("restore=%s, replace %c: a directory made by the restore has %v, %v", mode, tt.how, st, err)
			}
			if _, err := os.Stat(at + "/fresh/g"); err != nil {
				t.Errorf("restore=%s, replace %c: %v", mode, tt.how, err)
			}
		}
	}
}

// A hostile backup names any number of containers, and the daemon has a limit of open
// files for all its jobs.
func TestFilesOfManyContainers(t *testing.T) {
	n := emptyNode(t)
	j, log := toDir(t, n, n.path("out"))
	must(t, j.StartRestore(cmd))
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(entries)
	}
	before := open()
	var err error
	made := 0
	for ; err == nil && made < 1000; made++ {
		name := fmt.Sprintf("/mnt/bareos/%08x%s%sx", made, webID[8:], strings.Repeat("/d", 50)+"/")
		err = one(j, Restored{Kind: Regular, Name: name, Stat: unix.Stat_t{Mode: unix.S_IFREG}}, "x")
	}
	if made-1 != maxContainers || !strings.Contains(log.all("fatal"), "of more than 100 containers: restore them in several jobs") {
		t.Errorf("after %d containers: %v\n%s", made-1, err, log.all("fatal"))
	}
	if got := open() - before; got > 3*maxContainers+100 {
		t.Errorf("%d descriptors are open", got)
	}
	j.EndRestore(Failed)
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}
