// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// atRest is a node whose container web is stopped.
func atRest(t *testing.T) *fakeNode {
	t.Helper()
	n := webNode(t)
	n.list[1].State = "stopped"
	return n
}

// someFiles are names on both disks and what is in them; see webNode.
var someFiles = map[string]string{"etc/hostname": "new\n", "home/fresh/a": "fresh", "data/file": "new data", "data/sub/b": "sub"}

// restoreSome restores files into web.
func restoreSome(n *fakeNode, t *testing.T, options string, end Health) *jobLog {
	t.Helper()
	j, log := n.job(t, bareos)
	if options != "" {
		j.AddOptions("vz7ct:" + options)
	}
	err := j.StartRestore(fileCmd)
	for _, name := range []string{"data/file", "data/sub/b", "etc/hostname", "home/fresh/a"} {
		if err == nil {
			err = one(j, Restored{Name: treeRoot + webID + "/" + name}, someFiles[name])
		}
	}
	if err != nil {
		end = Failed
	}
	j.EndRestore(end)
	j.Close()
	return log
}

// Files go to the disk that they belong on, and the container stays stopped, and cannot
// be started meanwhile.
func TestFilesComeBackIntoAStoppedContainer(t *testing.T) {
	n := atRest(t)
	n.at = func(c int) {
		if n.calls[c-1] != "mount" {
			return
		}
		if b, err := os.ReadFile(n.place.Lock); err != nil || !strings.Contains(string(b), "\nRestoring files\n") {
			t.Errorf("Virtuozzo's lock while a disk is mounted = %q, %v", b, err)
		}
	}
	log := restoreSome(n, t, "", Good)
	for name, want := range someFiles {
		path := n.path("tree-root/" + name)
		if rest, ok := strings.CutPrefix(name, "data/"); ok {
			path = n.path("tree-data/" + rest)
		}
		if b, err := os.ReadFile(path); string(b) != want {
			t.Errorf("%s = %q, %v", name, b, err)
		}
	}
	if _, err := os.Lstat(n.path("tree-root/data/sub")); err == nil {
		t.Error("a file of the data disk is on the root disk")
	}
	want := []string{"list", "describe", "list", "describe", "owns", "openers", "mount", "openers", "mount", "unmount", "unmount"}
	if !slices.Equal(n.calls, want) {
		t.Errorf("calls = %q, want %q", n.calls, want)
	}
	if left := n.left(t); len(left) > 0 || log.all("fatal", "error", "warning") != "" {
		t.Errorf("left behind %q, said %s", left, log.all())
	}
	for _, words := range []string{"restoring files into stopped container web", "container web is stopped, as it was", "0 not restored exactly"} {
		if !strings.Contains(log.all("info"), words) {
			t.Errorf("said %s, want %q", log.all("info"), words)
		}
	}
}

// Only the disk that files are on is touched.
func TestOnlyTheDiskOfTheFileIsMounted(t *testing.T) {
	n := atRest(t)
	j, _ := n.job(t, bareos)
	j.AddOptions("vz7ct:restore_dir=/back")
	must(t, j.StartRestore(fileCmd))
	must(t, one(j, Restored{Name: treeRoot + webID + "/etc/hostname"}, "x"))
	j.EndRestore(Good)
	if got := len(slices.DeleteFunc(slices.Clone(n.calls), func(c string) bool { return c != "mount" })); got != 1 {
		t.Errorf("calls = %q", n.calls)
	}
	if b, err := os.ReadFile(n.path("tree-root/back/etc/hostname")); string(b) != "x" {
		t.Errorf("restored %q, %v", b, err)
	}
}

// Every step fails in turn, before and after it has done its work, and the job is
// cancelled at it: nothing stays mounted or locked, and a second try restores.
func TestStoppedContainerAtEveryStep(t *testing.T) {
	whole := atRest(t)
	restoreSome(whole, t, "", Good)
	for at, step := range whole.calls {
		for _, how := range []string{"fails", "fails late", "cancelled"} {
			n := atRest(t)
			var log *jobLog
			switch how {
			case "cancelled":
				j, l := n.job(t, bareos)
				log = l
				n.at = func(c int) {
					if c == at+1 {
						j.Cancel()
					}
				}
				err := j.StartRestore(fileCmd)
				for name, content := range someFiles {
					if err == nil {
						err = one(j, Restored{Name: treeRoot + webID + "/" + name}, content)
					}
				}
				j.EndRestore(Good)
				j.Close()
			default:
				n.failAt, n.late = at+1, how == "fails late"
				log = restoreSome(n, t, "", Good)
				if got := log.all("fatal"); !strings.Contains(got, "restore=file") || !strings.Contains(got, "planted fault in "+step) {
					t.Errorf("step %d (%s) %s: said %s", at+1, step, how, log.all())
				}
			}
			if left := n.left(t); len(left) > 0 {
				t.Errorf("step %d (%s) %s: left behind %q\n%s", at+1, step, how, left, log.all())
			}
			n.failAt, n.at = 0, nil
			if log := restoreSome(n, t, "", Good); log.all("fatal", "error", "warning") != "" {
				t.Errorf("step %d (%s) %s: the second try: %s", at+1, step, how, log.all())
			}
		}
	}
}

// A daemon that dies leaves the disks mounted; whoever sweeps, at boot too, unmounts
// them, and the files that had come are there.
func TestStoppedContainerIsSwept(t *testing.T) {
	for _, boot := range []bool{false, true} {
		n := atRest(t)
		j, _ := n.job(t, bareos)
		must(t, j.StartRestore(fileCmd))
		for _, name := range []string{"etc/hostname", "data/file"} {
			must(t, one(j, Restored{Name: treeRoot + webID + "/" + name}, someFiles[name]))
		}
		j.Abandon()
		if len(n.mounts) != 2 {
			t.Fatalf("a dead job has left mounts %v", n.mounts)
		}
		log, said := newLog()
		c := Cleaner{Node: n.node(), Log: log, Boot: boot}
		if _, err := c.Sweep(context.Background(), false); err != nil {
			t.Errorf("boot %v: Sweep = %v", boot, err)
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("boot %v: left %q\n%s", boot, left, said.all())
		}
		if b, err := os.ReadFile(n.path("tree-data/file")); string(b) != "new data" {
			t.Errorf("boot %v: restored %q, %v", boot, b, err)
		}
	}
}

// What makes it unsafe to write to the disks ends the job before one is mounted.
func TestStoppedContainerIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(n *fakeNode)
		want  string
	}{
		"another node's": {func(n *fakeNode) { n.owner = "node2" }, `it belongs to node "node2" by its file .owner`},
		"in use":         {func(n *fakeNode) { n.users = func() []string { return []string{"device ploop7"} } }, "it is in use, although the container is stopped: device ploop7"},
		"no lock":        {func(n *fakeNode) { n.place.Lock = "" }, "without it somebody may start it meanwhile"},
		"started meanwhile": {func(n *fakeNode) {
			n.at = func(c int) {
				if c == 2 { // when it has been described, the lock is waited for
					n.list[1].State = "running"
				}
			}
		}, `it was stopped, and is "running" since the job has its lock`},
		"gone meanwhile": {func(n *fakeNode) {
			n.at = func(c int) {
				if c == 2 {
					n.list = n.list[:1]
				}
			}
		}, `it was stopped, and is "" since`},
		"disabled disk": {func(n *fakeNode) { disksOf(t, n, "enabled=no,mnt=/data,image=data.hdd") }, "which is disabled in ve.conf"},
		"external disk": {func(n *fakeNode) { disksOf(t, n, "enabled=yes,mnt=/data,device=/dev/sdb") }, "which is /dev/sdb and no ploop image"},
	} {
		n := atRest(t)
		tt.spoil(n)
		log := restoreSome(n, t, "", Good)
		if got := log.all("fatal"); !strings.Contains(got, "restore=file: ") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: said %s, want %q", name, got, tt.want)
		}
		if left := n.left(t); len(left) > 0 || slices.Contains(n.calls, "mount") {
			t.Errorf("%s: left %q, calls %q", name, left, n.calls)
		}
	}
	n := atRest(t)
	j, log := n.job(t, bareos)
	must(t, j.StartRestore(fileCmd))
	j.stuck = map[string]error{filepath.Join(n.place.Private, "root.hdd/DiskDescriptor.xml"): errors.New("a merge is under way")}
	if err := one(j, Restored{Name: treeRoot + webID + "/x"}, "x"); err != ErrStop || !strings.Contains(log.all("fatal"), "a merge is under way") {
		t.Errorf("a disk with leftovers: %v, %s", err, log.all())
	}
}

// disksOf gives web another second disk.
func disksOf(t *testing.T, n *fakeNode, disk string) {
	t.Helper()
	put(t, n.path("private/"+webID+"/ve.conf"), "VEID=\""+webID+"\"\nDISK=\"uuid={"+dataID+"},"+disk+"\"\n")
	n.place.Config = readConfig(t, n)
}

// Over a link the mount point of a further disk would be reached on the root disk, where
// nobody sees what lies below it. And a link leads nowhere out of a disk.
func TestLinksInAStoppedContainer(t *testing.T) {
	n := atRest(t)
	outside := t.TempDir()
	must(t, os.Symlink("/data", n.path("tree-root/over")))
	must(t, os.Symlink(outside, n.path("tree-root/planted")))
	must(t, os.Symlink("../../../../../../../../.."+outside, n.path("tree-data/climbing")))
	must(t, os.Symlink("/home", n.path("tree-root/inside")))
	j, log := n.job(t, bareos)
	must(t, j.StartRestore(fileCmd))
	for _, name := range []string{"over/x", "planted/x", "data/climbing/x", "inside/x"} {
		if err := one(j, Restored{Name: treeRoot + webID + "/" + name}, "x"); err != nil {
			t.Errorf("%s: %v, want the job to go on", name, err)
		}
	}
	link := Restored{Kind: HardLink, Name: treeRoot + webID + "/x", Link: treeRoot + webID + "/data/file", Stat: unix.Stat_t{Mode: unix.S_IFREG}}
	if err := one(j, link, ""); err != nil {
		t.Errorf("a link to another disk: %v, want the job to go on", err)
	}
	j.EndRestore(Good)
	got := log.all("warning")
	for _, words := range []string{"over/x: ", "leads to the mount point of another disk", "planted/x: ", "climbing/x: ", "which is on another disk by now"} {
		if !strings.Contains(got, words) {
			t.Errorf("said %s, want %q", got, words)
		}
	}
	if names := look(t, outside); len(names) != 1 {
		t.Errorf("outside: %q", names)
	}
	if b, err := os.ReadFile(n.path("tree-root/home/x")); string(b) != "x" {
		t.Errorf("over a link inside: %q, %v\n%s", b, err, log.all())
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind %q", left)
	}
}

// The journal's steps are those that every release since the first one knows.
func TestStoppedContainerInTheJournal(t *testing.T) {
	n := atRest(t)
	j, _ := n.job(t, bareos)
	must(t, j.StartRestore(fileCmd))
	must(t, one(j, Restored{Name: treeRoot + webID + "/x"}, "x"))
	var kinds []undo.Kind
	for _, s := range j.journal.Pending() {
		kinds = append(kinds, s.Do)
	}
	if want := []undo.Kind{undo.LockedContainer, undo.MadeDir, undo.Mounted}; !slices.Equal(kinds, want) {
		t.Errorf("steps = %q, want %q", kinds, want)
	}
}
