// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// cmd is a FileSet's command; no test depends on how full the disk is.
const cmd = "vz7ct:name=web:min_free=1"

func TestBackupSavesAllOfTheContainer(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	must(t, j.StartBackup(cmd+":lockfile="+n.path("lock")+":excluded_backup_paths=/var/cache/*"))
	list, err := save(j)
	must(t, err)
	private, root := "/vz/private/"+webID+"/", "/mnt/bareos/"+webID+"/"
	want := []string{
		objectName + webID, private + ".vz7ct/manifest.json", private + ".vz7ct/manifest-full.json", // first, in this order
	}
	got := names(list)
	if !slices.Equal(got[:3], want) {
		t.Errorf("the stream begins with %q, want %q", got[:3], want)
	}
	want = append(want,
		private+".vz7ct/etc-vz-conf/"+webID+".mount",
		private, private+"ve.conf", private+".ve.layout", private+".owner", private+"root.hdd/", private+"data.hdd/",
		private+"scripts/", private+"scripts/start", private+"dump/", private+"dump/Dump",
		root+"data/", root+"data/file",
		root, root+"etc/", root+"etc/hostname", root+"etc/link", root+"etc/fifo", root+"home/", root+"home/a", root+"home/b",
		root+"home/holes", root+"K\xdcBLER.csv", root+"two\nlines", root+"empty", root+"var/", root+"var/cache/")
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("saved %q,\nwant %q", got, want)
	}
	for _, words := range []string{
		"vz7ct 1.0 on Bareos 25: name=web (FileSet)", "of 2 disk(s) of running container taken",
		"what lies below the mount points of disks, and is hidden by them: /data (such as hidden)", "the quota limits of disk / are not saved",
		"container web saved: 15 files, 11 directories, 2 symbolic links, 1 devices and fifos",
		"excluded_backup_paths left out 1 directory with all it holds: /var/cache/x", "not saved: 1 socket, which holds nothing",
	} {
		if !strings.Contains(log.all(), words) {
			t.Errorf("the job log lacks %q:\n%s", words, log.all())
		}
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	wantCalls := []string{"list", "describe", "list", "describe", "owns", "snapshot", "snapshot", "mount", "mount", "unmount", "unmount", "owns", "merge", "owns", "merge"}
	if !reflect.DeepEqual(n.calls, wantCalls) {
		t.Errorf("calls = %q, want %q", n.calls, wantCalls)
	}
}

// What the daemon gets of each kind of file.
func TestBackupEntries(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	list, err := save(j)
	must(t, err)
	root := "/mnt/bareos/" + webID + "/"
	byName := map[string]saved{}
	for i, s := range list {
		byName[s.Name] = s
		if s.Kind == Directory != strings.HasSuffix(s.Name, "/") {
			t.Errorf("%q has kind %d", s.Name, s.Kind)
		}
		for _, later := range list[i+1:] {
			if s.Kind == Directory && strings.HasPrefix(later.Name, s.Name) {
				t.Errorf("%q comes after its directory", later.Name)
			}
		}
	}
	for _, tt := range []struct {
		name, link, content string
		kind                Kind
		holes               Holes
	}{
		{"etc/hostname", "", "web\n", Regular, NoHoles},
		{"empty", "", "", Empty, NoHoles},
		{"etc/link", "/etc/hostname", "", Symlink, NoHoles},
		{"etc/fifo", "", "", Special, NoHoles},
		{"home/holes", "", "begin" + strings.Repeat("\x00", 1<<20-5), Regular, Pieces},
		{"data/file", "", "on the data disk", Regular, NoHoles},
		{"K\xdcBLER.csv", "", "1;2", Regular, NoHoles},
	} {
		s := byName[root+tt.name]
		if s.Kind != tt.kind || s.Link != tt.link || s.content != tt.content || s.Holes != tt.holes {
			t.Errorf("%q: kind %d link %q holes %d and %d bytes, want %d %q %d and %d bytes",
				tt.name, s.Kind, s.Link, s.Holes, len(s.content), tt.kind, tt.link, tt.holes, len(tt.content))
		}
	}
	a, b, d := byName[root+"home/a"].Stat, byName[root+"home/b"].Stat, byName[root+"data/file"].Stat
	if a.Dev != b.Dev || a.Ino != b.Ino || a.Nlink != 2 {
		t.Errorf("hard links have (%d, %d) and (%d, %d)", a.Dev, a.Ino, b.Dev, b.Ino)
	}
	if a.Dev == d.Dev {
		t.Error("files of two disks have the same device number")
	}
	// The numbers do not depend on where a snapshot is mounted.
	again := webNode(t)
	k, _ := again.job(t, bareos)
	must(t, k.StartBackup(cmd))
	second, err := save(k)
	must(t, err)
	for _, s := range second {
		if before := byName[s.Name]; s.Stat.Dev != before.Stat.Dev {
			t.Errorf("%q: device %d, in the job before %d", s.Name, s.Stat.Dev, before.Stat.Dev)
		}
	}
}

// Bacula does not look for hard links itself.
func TestBackupFindsHardLinksForBacula(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, Daemon{Name: "Bacula 15", AlwaysXattrs: true})
	must(t, j.StartBackup(cmd))
	list, err := save(j)
	must(t, err)
	var first, second saved
	var index int
	for i, s := range list {
		switch {
		case !strings.Contains(s.Name, "/home/") || s.Stat.Nlink != 2 || s.Kind == Directory:
		case first.Name == "":
			first, index = s, i+1
		default:
			second = s
		}
		if s.Holes != NoHoles {
			t.Errorf("%q is sent in pieces, although the daemon may encrypt", s.Name)
		}
	}
	if first.Kind != Regular || second.Kind != HardLink || second.Link != first.Name || second.LinkIndex != index {
		t.Errorf("links are sent as %d %q and %d %q -> %q of index %d, want a file and a link to it of index %d",
			first.Kind, first.Name, second.Kind, second.Name, second.Link, second.LinkIndex, index)
	}
}

func TestBackupOfAContainerByState(t *testing.T) {
	for state, ok := range map[string]bool{"running": true, "mounted": true, "stopped": true, "suspended": true,
		"migrating": false, "mounting": false, "": false, "paused": false} {
		n := webNode(t)
		n.list[1].State = state
		j, log := n.job(t, bareos)
		if err := j.StartBackup(cmd); (err == nil) != ok {
			t.Errorf("StartBackup in state %q = %v", state, err)
		}
		j.Close()
		if !ok && (!strings.Contains(log.all("fatal"), `in state "`+state+`"`) || slices.Contains(n.calls, "snapshot")) {
			t.Errorf("state %q: calls %q and %q, want the state named and nothing done", state, n.calls, log.all("fatal"))
		}
	}
}

// A disk that an option leaves out, one that is no ploop image, one without a
// mount point, and an orphan.
func TestBackupChoosesDisks(t *testing.T) {
	n := webNode(t)
	put(t, n.path("private/"+webID+"/ve.conf"), `DISK="uuid={`+dataID+`},image=data.hdd;uuid={`+oldID+`},device=/dev/sdb1,mnt=/raw"`)
	n.place.Config = readConfig(t, n)
	put(t, n.path("private/"+webID+"/root.hdd/root.hds.{0a0b0c0d-0000-4000-8000-00000000abcd}"), "")
	j, log := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	list, err := save(j)
	must(t, err)
	if want := "/mnt/bareos/" + webID + "/.vz7ct-disk-" + dataID + "/file"; !slices.Contains(names(list), want) {
		t.Errorf("saved %q, without %q", names(list), want)
	}
	for _, words := range []string{`not saved: disk {` + oldID + `} at "/raw" is /dev/sdb1`, "abcd} belongs to no snapshot"} {
		if !strings.Contains(log.all("warning"), words) {
			t.Errorf("the job log lacks %q:\n%s", words, log.all())
		}
	}

	n = webNode(t)
	j, log = n.job(t, bareos)
	must(t, j.StartBackup(cmd+":excluded_backup_paths=data"))
	list, err = save(j)
	must(t, err)
	if slices.Contains(names(list), "/mnt/bareos/"+webID+"/data/file") || !strings.Contains(log.all(), "excluded_backup_paths left out 1 disk: /data (a disk, ") {
		t.Errorf("saved %q and said\n%s\nwant no data disk", names(list), log.all())
	}
	if n := strings.Count(strings.Join(n.calls, " "), "snapshot"); n != 1 {
		t.Errorf("%d snapshots, want 1", n)
	}
}

// What would silently be lost for want of a FileSet option is said once.
func TestBackupJudgesTheFileSet(t *testing.T) {
	for _, tt := range []struct {
		d    Daemon
		f    Flags
		want []string
	}{
		{bareos, Flags{HardLinks: true, Xattrs: true}, nil},
		{bareos, Flags{Xattrs: true}, []string{"HardLinks = yes"}},
		{bareos, Flags{}, []string{"HardLinks = yes", "XattrSupport = yes"}},
		{Daemon{AlwaysXattrs: true}, Flags{}, nil},
	} {
		n := webNode(t)
		j, log := n.job(t, tt.d)
		must(t, j.StartBackup(cmd))
		for range 3 {
			if _, err := j.NextFile(tt.f); err != nil {
				t.Fatal(err)
			}
			j.FileDone()
		}
		got := log.all("warning")
		if n := strings.Count(got, "the FileSet's Options should have"); n != min(len(tt.want), 1) {
			t.Errorf("%+v with %+v: said %d times:\n%s", tt.d, tt.f, n, got)
		}
		for _, w := range tt.want {
			if !strings.Contains(got, w) {
				t.Errorf("%+v with %+v: %q, want %q", tt.d, tt.f, got, w)
			}
		}
		j.Close()
	}
}

// Files that go away before they are looked at, or before they are opened, are
// the job's business, not its end.
func TestBackupGoesOnAfterABadFile(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	j.oneByOne = true
	must(t, j.StartBackup(cmd))
	emptied := false
	for {
		if strings.HasSuffix(j.backup.next.Name, "/etc/hostname") {
			must(t, os.Remove(n.mounted("etc/hostname")))
		}
		e, err := j.NextFile(Flags{HardLinks: true, Xattrs: true})
		must(t, err)
		switch {
		case strings.HasSuffix(e.Name, "/etc/hostname"):
			if fd, err := j.OpenFile(); err == nil {
				t.Errorf("OpenFile of what has gone = %d, want an error", fd)
			}
		case strings.Contains(e.Name, "/home/") && !emptied:
			emptied = true // of its three files, the daemon has been told of one
			for _, f := range []string{"a", "b", "holes"} {
				must(t, os.Remove(n.mounted("home/"+f)))
			}
		case e.Kind == Special:
			if fd, err := j.OpenFile(); err != unix.ENOENT {
				t.Errorf("OpenFile of a fifo = %d, %v, want ENOENT", fd, err)
			}
		}
		if !j.FileDone() {
			break
		}
	}
	if got := strings.Count(log.all("warning"), "not saved: stat home/"); got != 2 || !strings.Contains(log.all("info"), "; 3 not saved, or not completely") {
		t.Errorf("%d warnings, want 2, and a summary that counts 3:\n%s", got, log.all())
	}
}

// mounted is a path in the root disk's snapshot.
func (n *fakeNode) mounted(path string) string {
	for dir, descriptor := range n.mounts {
		if strings.Contains(descriptor, "/root.hdd/") {
			return filepath.Join(dir, path)
		}
	}
	return ""
}

// If the first name of a file could not be read, no further one becomes a link
// to it: the daemon has nothing under the first.
func TestNoLinkToALostFile(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, Daemon{Name: "Bacula 15", AlwaysXattrs: true})
	j.oneByOne = true
	must(t, j.StartBackup(cmd))
	first, saved := "", ""
	for {
		e, err := j.NextFile(Flags{})
		must(t, err)
		if name := filepath.Base(e.Name); strings.Contains(e.Name, "/home/") && (name == "a" || name == "b") {
			if first == "" {
				first = name
				must(t, os.Link(n.mounted("home/"+name), n.mounted("lost+found/x"))) // it has two names still
				must(t, os.Remove(n.mounted("home/"+name)))
				if fd, err := j.OpenFile(); err == nil {
					t.Fatalf("OpenFile = %d, want an error", fd)
				}
			} else if e.Kind == Regular {
				saved, err = content(j)
				must(t, err)
			}
		}
		if !j.FileDone() {
			break
		}
	}
	if saved != "first" {
		t.Errorf("the other name of the file that was lost has the content %q, want it saved", saved)
	}
}

func TestEstimate(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	must(t, j.StartEstimate(cmd))
	for more := true; more; more = j.FileDone() {
		e, err := j.NextFile(Flags{HardLinks: true, Xattrs: true})
		must(t, err)
		if e.Kind == Object {
			t.Error("an estimate has an object, which has no file's name")
		}
	}
	if strings.Contains(log.all(), "container web saved") {
		t.Errorf("an estimate says that it has saved:\n%s", log.all())
	}
	for _, estimate := range []bool{false, true} {
		j, log := n.job(t, bareos)
		if err := j.start("vz7ct:min_free=1", estimate); err == nil || !strings.Contains(log.all("fatal"), "neither name nor uuid is given") {
			t.Errorf("start(estimate %v) without a container = %v, %s", estimate, err, log.all())
		}
		if got := strings.Contains(log.all("fatal"), "for an estimate"); got != estimate {
			t.Errorf("start(estimate %v) tells of an estimate: %v", estimate, got)
		}
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
