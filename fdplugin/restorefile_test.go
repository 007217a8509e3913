// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/restore"
)

// running is a node whose container web runs. Its root is reached over a
// descriptor in /proc: so it is on another file system than the directory above
// it, as a mounted disk is, and no test needs root for a real mount. The
// container has one disk; for others see TestHiddenDisks.
func running(t *testing.T) (n *fakeNode, root string) {
	t.Helper()
	n = webNode(t)
	put(t, n.path("private/"+webID+"/ve.conf"), "VEID=\""+webID+"\"\n")
	n.place.Config = readConfig(t, n)
	root = n.path("root/" + webID)
	dir, err := os.Open(root)
	must(t, err)
	t.Cleanup(func() { dir.Close() })
	n.place.Root = fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	return n, root
}

// leftButRoot is left without the descriptor that running holds.
func leftButRoot(t *testing.T, n *fakeNode) []string {
	t.Helper()
	var out []string
	for _, l := range n.left(t) {
		if l != n.path("root/"+webID) {
			out = append(out, l)
		}
	}
	return out
}

// one restores a single file with content.
func one(j *Job, r Restored, content string) error {
	r.Stat.Mode |= 0o600
	r.Stat.Uid, r.Stat.Gid = uint32(os.Getuid()), uint32(os.Getgid())
	if r.Stat.Size == 0 {
		r.Stat.Size = int64(len(content))
	}
	if r.Replace == 0 {
		r.Replace = restore.Always
	}
	answer, err := j.CreateFile(&r)
	if err != nil {
		return err
	}
	if fd := j.OpenRestored(); answer == Extract && fd >= 0 {
		if _, err := unix.Write(fd, []byte(content)); err != nil {
			return err
		}
	}
	j.EndFile(false)
	return nil
}

const fileCmd = "vz7ct:name=web:restore=file"

func TestFilesComeBackIntoARunningContainer(t *testing.T) {
	list, _ := backedUp(t, bareos)
	linkAsBareos(list)
	var files []saved
	for _, s := range list {
		if strings.HasPrefix(s.Name, "/mnt/bareos/") {
			files = append(files, s)
		}
	}
	for where, at := range map[string]string{"": "", "/back/here": "back/here"} {
		n, root := running(t)
		must(t, os.MkdirAll(filepath.Join(root, at, "home"), 0o700))
		put(t, filepath.Join(root, at, "home/a"), "newer")
		j, log := n.job(t, bareos)
		if err := play(j, fileCmd, where, files); err != nil {
			t.Fatal(err, log.all())
		}
		if b, err := os.ReadFile(n.place.Lock); err != nil || !strings.Contains(string(b), "\nBacking up\n") {
			t.Errorf("Virtuozzo's lock while files are restored = %q, %v", b, err)
		}
		j.EndRestore(Good)
		got := look(t, filepath.Join(root, at))
		for name, want := range map[string]string{
			"home/a": `100644 1000000000.123456789 "first" 5 bytes in few blocks false, as home/a`, "home/b": `100644 1000000000.123456789 "first" 5 bytes in few blocks false, as home/a`,
			"K\xdcBLER.csv": `100644 1000000000.123456789 "1;2" 3 bytes in few blocks false, as `, "data/file": `100644 1000000000.123456789 "on the data disk" 16 bytes in few blocks false, as `,
		} {
			if got[name] != want {
				t.Errorf("where=%s: %q is %q, want %q", where, name, got[name], want)
			}
		}
		if link, _ := os.Readlink(filepath.Join(root, at, "etc/link")); link != "/etc/hostname" {
			t.Errorf("where=%s: link to %q", where, link)
		}
		if left := leftButRoot(t, n); len(left) > 0 || log.all("fatal", "error", "warning") != "" {
			t.Errorf("where=%s: left behind %q, said %s", where, left, log.all())
		}
		if !strings.Contains(log.all("info"), "restored: 18 files, directories and links; 0 not restored exactly") {
			t.Errorf("where=%s: said %s", where, log.all("info"))
		}
	}
}

// Of names that are no names inside the container, nothing is written anywhere,
// and the job ends.
func TestNamesOutsideEndTheJob(t *testing.T) {
	for _, tt := range []struct{ name, where, link, want string }{
		{"/etc/passwd", "", "", "nothing is written on the node"},
		{"/vz/private/" + webID + "/ve.conf", "", "", "is no name inside a container"},
		{"/vz/root/" + oldID + "/x", "", "", "names container " + oldID + ", but name and uuid of the options mean web"},
		{"/mnt/bareos/" + webID + "/x", "/r", "", "does not begin with where=/r"},
		{"/mnt/bareos/" + webID + "/.vz7ct-disk-" + dataID + "/x", "", "", "is on a disk that has no mount point"},
		{"/mnt/bareos/" + webID + "/x", "", "/etc/passwd", "is no name inside a container"},
		{"/mnt/bareos/" + webID + "/x", "", "/vz/root/" + oldID + "/y", "names container " + oldID},
		{"/mnt/bareos/" + webID + "/x", "", "/mnt/bareos/" + oldID + "/y", "restore one container at a time"},
	} {
		n, root := running(t)
		before := look(t, root)
		j, log := n.job(t, bareos)
		must(t, j.StartRestore(fileCmd))
		r := Restored{Name: tt.name, Where: tt.where, Link: tt.link}
		if tt.link != "" {
			r.Kind = HardLink
		}
		if err := one(j, r, "x"); err != ErrStop || !strings.Contains(log.all("fatal"), tt.want) {
			t.Errorf("%q, where=%s, link %q: %v, %s, want %q", tt.name, tt.where, tt.link, err, log.all("fatal"), tt.want)
		}
		if err := one(j, Restored{Name: "/mnt/bareos/" + webID + "/after"}, "x"); err != ErrStop {
			t.Errorf("%q: the file after it = %v, want ErrStop", tt.name, err)
		}
		j.EndRestore(Failed)
		if after := look(t, root); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%q: the container has %q, had %q", tt.name, after, before)
		}
		if left := leftButRoot(t, n); len(left) > 0 {
			t.Errorf("%q: left behind %q", tt.name, left)
		}
	}
}

// Links that a tenant has planted lead where they lead for its processes; a name
// with ".." ends the job.
func TestPathsThatLeaveTheContainer(t *testing.T) {
	n, root := running(t)
	outside := t.TempDir()
	put(t, filepath.Join(outside, "a"), "untouched")
	must(t, os.MkdirAll(filepath.Join(root, outside), 0o755)) // what the links mean inside
	must(t, os.Symlink(outside, filepath.Join(root, "planted")))
	must(t, os.Symlink("../../../../../../.."+outside, filepath.Join(root, "climbing")))
	must(t, os.Symlink(filepath.Join(outside, "a"), filepath.Join(root, "target")))
	j, log := n.job(t, bareos)
	must(t, j.StartRestore(fileCmd))
	tree := "/mnt/bareos/" + webID
	for _, name := range []string{"/planted/a", "/climbing/a", "/target", "//etc//good"} {
		if err := one(j, Restored{Name: tree + name}, "new"); err != nil {
			t.Errorf("%q: %v, want the job to go on", name, err)
		}
	}
	j.EndRestore(Good)
	if b, err := os.ReadFile(filepath.Join(outside, "a")); string(b) != "untouched" {
		t.Errorf("the file outside is %q, %v", b, err)
	}
	if got := look(t, outside); len(got) != 2 {
		t.Errorf("outside: %q", got)
	}
	for _, made := range []string{n.path("x"), n.path("root/x"), filepath.Join(root, "x")} {
		if _, err := os.Lstat(made); err == nil {
			t.Errorf("%s was made", made)
		}
	}
	// The links were followed inside the container, and the last name replaced.
	for _, made := range []string{outside + "/a", "target", "etc/good"} {
		if b, err := os.ReadFile(filepath.Join(root, made)); string(b) != "new" {
			t.Errorf("%s in the container = %q, %v", made, b, err)
		}
	}
	if got := log.all("warning"); got != "" {
		t.Errorf("warnings: %s", got)
	}
	for _, name := range []string{"/../x", "/../../../../../../.." + outside + "/a", "/etc/../../x", "/./x"} {
		j, log := n.job(t, bareos)
		must(t, j.StartRestore(fileCmd))
		if err := one(j, Restored{Name: tree + name}, "new"); err == nil || !strings.Contains(log.all(), "is no name inside a container") {
			t.Errorf("%q: %v, want a fatal error\n%s", name, err, log.all())
		}
		j.EndRestore(Failed)
	}
	if b, err := os.ReadFile(filepath.Join(outside, "a")); string(b) != "untouched" {
		t.Errorf("the file outside is %q, %v", b, err)
	}
}

func TestRunningContainerMustRun(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil     func(n *fakeNode)
		cmd, want string
	}{
		"suspended":       {func(n *fakeNode) { n.list[1].State = "suspended" }, fileCmd, `is in state "suspended", what its programs remember`},
		"mounted":         {func(n *fakeNode) { n.list[1].State = "mounted" }, fileCmd, `is in state "mounted", somebody has mounted its disks`},
		"starting":        {func(n *fakeNode) { n.list[1].State = "starting" }, fileCmd, `is in state "starting", it must be running or stopped`},
		"by the backup":   {func(n *fakeNode) { n.list = n.list[:1] }, "vz7ct:restore=file", "no such container on this node"},
		"list fails":      {func(n *fakeNode) { n.failAt = 1 }, fileCmd, "restore=file: list containers: planted fault"},
		"describe fails":  {func(n *fakeNode) { n.failAt = 2 }, fileCmd, "container web (" + webID + "): planted fault"},
		"root not there":  {func(n *fakeNode) { n.place.Root = n.path("none") }, fileCmd, "no such file"},
		"not mounted":     {func(n *fakeNode) { n.place.Root = n.path("root/" + webID) }, fileCmd, "nothing is mounted at "},
		"state is a file": {func(n *fakeNode) { put(t, n.path("state"), "") }, fileCmd, "state directory"},
		"broken ve.conf":  {func(n *fakeNode) { spoilDisks(t, n) }, fileCmd, "DISK of ve.conf"},
		"proc as root":    {func(n *fakeNode) { n.place.Root = "/proc" }, fileCmd, "which files are not restored to"},
	} {
		n, root := running(t)
		tt.spoil(n)
		j, log := n.job(t, bareos)
		err := j.StartRestore(tt.cmd)
		if err == nil {
			err = one(j, Restored{Name: "/mnt/bareos/" + webID + "/x"}, "x")
		}
		if err != ErrStop || !strings.Contains(log.all("fatal"), tt.want) {
			t.Errorf("%s: %v, %s, want %q", name, err, log.all("fatal"), tt.want)
		}
		j.EndRestore(Failed)
		if _, err := os.Lstat(filepath.Join(root, "x")); err == nil {
			t.Errorf("%s: the file was made", name)
		}
		if left := leftButRoot(t, n); len(left) > 0 {
			t.Errorf("%s: left behind %q", name, left)
		}
	}
}

// The name in the FileSet is the one that the container was saved under. It may
// have another one by now, and its old name may be another container's: the files
// go to the container that they came from, unless the restore says otherwise.
func TestContainerWasRenamed(t *testing.T) {
	for what, tt := range map[string]struct {
		rename  func(n *fakeNode)
		options string
		want    string
	}{
		"renamed":             {func(n *fakeNode) { n.list[1].Name = "web2" }, "", ""},
		"its name is another": {func(n *fakeNode) { n.list[1].Name, n.list[0].Name, n.list[0].State = "web2", "web", "running" }, "", ""},
		"the new name":        {func(n *fakeNode) { n.list[1].Name = "web2" }, "vz7ct:name=web2", ""},
		"the old name":        {func(n *fakeNode) { n.list[1].Name = "web2" }, "vz7ct:name=web", "no such container on this node"},
		"no such name":        {func(*fakeNode) {}, "vz7ct:name=none", "no such container on this node"},
	} {
		n, root := running(t)
		tt.rename(n)
		j, log := n.job(t, bareos)
		if tt.options != "" {
			j.AddOptions(tt.options)
		}
		must(t, j.StartRestore(fileCmd))
		err := one(j, Restored{Name: "/mnt/bareos/" + webID + "/x"}, "x")
		j.EndRestore(Good)
		_, made := os.Lstat(filepath.Join(root, "x"))
		if (err == nil) != (tt.want == "") || (made == nil) != (tt.want == "") || !strings.Contains(log.all("fatal"), tt.want) {
			t.Errorf("%s: %v, file %v, %s, want %q", what, err, made, log.all(), tt.want)
		}
		if tt.want == "" && !strings.Contains(log.all("info"), "into running container "+n.list[1].Name+" ("+webID+")") {
			t.Errorf("%s: said %s", what, log.all("info"))
		}
	}
}

// Where only the node's view of the root disk is to be had, a further disk's
// mount point is the empty directory below it: nothing may be written there.
func TestHiddenDisks(t *testing.T) {
	n, root := running(t)
	put(t, n.path("private/"+webID+"/ve.conf"), `DISK="uuid={`+dataID+`},image=data.hdd,mnt=/data/"`)
	n.place.Config = readConfig(t, n)
	j, log := n.job(t, bareos)
	must(t, j.StartRestore(fileCmd))
	tree := "/mnt/bareos/" + webID
	must(t, one(j, Restored{Name: tree + "/datax/f"}, "x"))
	if err := one(j, Restored{Name: tree + "/data/f"}, "x"); err != ErrStop || !strings.Contains(log.all("fatal"), "lies on the disk mounted at /data, which cannot be reached") {
		t.Errorf("a file of a hidden disk = %v, %s", err, log.all())
	}
	if _, err := os.Lstat(filepath.Join(root, "data")); err == nil {
		t.Error("the mount point was made")
	}
}
