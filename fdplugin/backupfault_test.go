// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// run is a backup from its beginning to its end, whatever happens.
func run(t *testing.T, n *fakeNode, command string) (*Job, *jobLog, error) {
	t.Helper()
	j, log := n.job(t, bareos)
	err := j.StartBackup(command)
	if err == nil {
		_, err = save(j)
	}
	j.EndBackup()
	j.Close()
	return j, log, err
}

// says is what the operator reads of a step that failed.
var says = map[string]string{
	"list": "list containers: ", "describe": "container web (" + webID + "): ", "snapshot": "take snapshot of disk ",
	"mount": "mount snapshot of disk ", "unmount": "unmount: ", "merge": "merge snapshot: ",
	"owns": "whose is container " + webID + "? ",
}

// Every step fails in turn, before and after it has done its work. The job ends
// with an error that names it, and what was done is undone: by the job itself,
// or, where undoing is what failed, by the next one.
func TestBackupFailsAtEveryStep(t *testing.T) {
	n := webNode(t)
	if _, log, err := run(t, n, cmd); err != nil {
		t.Fatal(err, log.all())
	}
	steps := n.calls
	for at, step := range steps {
		for _, late := range []bool{false, true} {
			n := webNode(t)
			n.failAt, n.late = at+1, late
			_, log, _ := run(t, n, cmd+":lockfile="+n.path("lock"))
			got := log.all("fatal", "error")
			if !strings.Contains(got, says[step]) || !strings.Contains(got, "planted fault in "+step) {
				t.Errorf("step %d (%s, late %v): the job ends with %q, want %q", at+1, step, late, got, says[step])
			}
			undo := step == "unmount" || step == "owns" && slices.Contains(steps[:at], "unmount") || step == "merge"
			if undo {
				byHand := map[string]string{"unmount": "ploop umount -m "}[step]
				byHand = cmp.Or(byHand, "ploop snapshot-delete -u {")
				if !strings.Contains(got, byHand) {
					t.Errorf("step %d (%s): %q tells no command that helps", at+1, step, got)
				}
			} else if left := n.left(t); len(left) > 0 {
				t.Errorf("step %d (%s, late %v): left behind: %q", at+1, step, late, left)
			}
			// The next job finds a clean node, or cleans it.
			n.failAt = 0
			_, log, err := run(t, n, cmd+":lockfile="+n.path("lock"))
			if err != nil || strings.Contains(log.all(), "has not ended properly") != undo {
				t.Errorf("step %d (%s, late %v): the next job: %v\n%s", at+1, step, late, err, log.all())
			}
			if left := n.left(t); len(left) > 0 {
				t.Errorf("step %d (%s, late %v): left behind after the next job: %q", at+1, step, late, left)
			}
		}
	}
}

// A cancel at any step ends the job without a message of its own, undone.
func TestBackupIsCancelledAtEveryStep(t *testing.T) {
	n := webNode(t)
	if _, _, err := run(t, n, cmd); err != nil {
		t.Fatal(err)
	}
	for at := range len(n.calls) {
		n := webNode(t)
		j, log := n.job(t, bareos)
		n.at = func(c int) {
			if c == at+1 {
				j.Cancel()
			}
		}
		if err := j.StartBackup(cmd); err == nil {
			_, _ = save(j)
		}
		j.Close()
		if got := log.all("fatal", "error"); got != "" {
			t.Errorf("cancel at step %d (%s): %q, want no message", at+1, n.calls[at], got)
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("cancel at step %d (%s): left behind: %q", at+1, n.calls[at], left)
		}
	}
}

// A cancel between two files, on the daemon's other thread.
func TestBackupIsCancelledBetweenFiles(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	for range 5 {
		_, err := j.NextFile(Flags{HardLinks: true, Xattrs: true})
		must(t, err)
		if !j.FileDone() {
			t.Fatal("the list has ended")
		}
	}
	done := make(chan struct{})
	go func() { j.Cancel(); close(done) }()
	<-done
	if e, err := j.NextFile(Flags{}); err != ErrStop {
		t.Errorf("NextFile after a cancel = %v, %v, want ErrStop", e, err)
	}
	if fd, err := j.OpenFile(); err == nil {
		t.Errorf("OpenFile after a cancel = %d", fd)
	}
	if j.FileDone() {
		t.Error("FileDone after a cancel = true")
	}
	j.EndBackup()
	if left := n.left(t); len(left) > 0 || strings.Contains(log.all(), "container web saved") {
		t.Errorf("left behind: %q\n%s", left, log.all())
	}
}

// What is wrong with the node itself, each found before or after something was
// done to it.
func TestBackupFailsOnABadNode(t *testing.T) {
	private := "private/" + webID
	for name, tt := range map[string]struct {
		spoil func(n *fakeNode)
		cmd   string // behind the usual one
		want  string
		early bool // nothing may have been snapshotted
	}{
		"no such container":     {func(n *fakeNode) { n.list = n.list[:1] }, "", "no such container on this node", true},
		"uuid of another":       {func(*fakeNode) {}, ":uuid=" + oldID, "do not belong together", true},
		"state is a file":       {func(n *fakeNode) { put(t, n.path("state"), "") }, "", "state directory: ", true},
		"journal is a file":     {func(n *fakeNode) { put(t, n.path("state/journal"), "") }, "", "state directory: ", true},
		"locks is a file":       {func(n *fakeNode) { put(t, n.path("state/locks"), "") }, "", "state directory: ", true},
		"lock file is a link":   {func(n *fakeNode) { must(t, os.Symlink("x", n.path("l"))) }, ":lockfile=LINK", "is a symbolic link", true},
		"pcompact is a link":    {func(n *fakeNode) { must(t, os.Symlink("x", n.path("pcompact.pid"))) }, "", "pcompact: ", true},
		"no ve.conf disks":      {func(n *fakeNode) { spoilDisks(t, n) }, "", "DISK of ve.conf", true},
		"no descriptor":         {func(n *fakeNode) { remove(t, n, private+"/data.hdd/DiskDescriptor.xml") }, "", "only ploop disks can be saved", true},
		"broken descriptor":     {func(n *fakeNode) { put(t, n.path(private+"/data.hdd/DiskDescriptor.xml"), "<x") }, "", `disk "/data" of container web`, true},
		"no image":              {func(n *fakeNode) { remove(t, n, private+"/root.hdd/root.hds") }, "", "read image header", true},
		"interrupted merge":     {func(n *fakeNode) { temporary(t, n) }, "", "is not safe to snapshot", true},
		"two at one mount":      {func(n *fakeNode) { twice(t, n) }, "", "have the same mount point", true},
		"too little room":       {func(*fakeNode) {}, ":min_free=4000000T", "min_free wants 3.8 EiB", true},
		"blocker in live root":  {func(n *fakeNode) { put(t, filepath.Join(n.place.Root, "etc/stop"), "") }, ":blocker=etc/stop", "blocker=etc/stop: container web has the file /etc/stop", true},
		"blocker in snapshot":   {func(*fakeNode) {}, `:blocker=/etc/host*`, "has the file /etc/hostname", false},
		"blocker on data disk":  {func(*fakeNode) {}, `:blocker=data/fil?`, "has the file /data/file", false},
		"no live root":          {func(n *fakeNode) { n.place.Root = n.path("none") }, ":blocker=x", "look for blocker x", true},
		"mounts is a file":      {func(n *fakeNode) { remove(t, n, "mnt/other"); put(t, n.path("mnt/other"), "") }, "", "mount directory", true},
		"state of all users":    {func(n *fakeNode) { shared(t, n.path("state")) }, "", "is writable by others (mode 0777): chmod go-w", true},
		"journal of all users":  {func(n *fakeNode) { shared(t, n.path("state/journal")) }, "", "state directory: ", true},
		"no action scripts dir": {func(n *fakeNode) { must(t, os.RemoveAll(n.path("conf"))) }, "", "action scripts: ", false},
	} {
		n := webNode(t)
		tt.spoil(n)
		command := cmd
		if strings.HasPrefix(tt.cmd, ":min_free") {
			command = "vz7ct:name=web"
		}
		_, log, err := run(t, n, command+strings.ReplaceAll(tt.cmd, "LINK", n.path("l")))
		if got := log.all("fatal"); err == nil || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %v, %q, want %q", name, err, got, tt.want)
		}
		if n := strings.Contains(strings.Join(n.calls, " "), "snapshot"); n == tt.early {
			t.Errorf("%s: snapshot taken: %v", name, n)
		}
		var left []string
		for _, l := range n.left(t) {
			if !strings.HasPrefix(l, "mnt/other") {
				left = append(left, l)
			}
		}
		if len(left) > 0 {
			t.Errorf("%s: left behind: %q", name, left)
		}
	}
}

func remove(t *testing.T, n *fakeNode, name string) {
	t.Helper()
	must(t, os.Remove(n.path(name)))
}

func spoilDisks(t *testing.T, n *fakeNode) {
	t.Helper()
	put(t, filepath.Join(n.place.Private, "ve.conf"), `DISK="uuid=zz,mnt=/data"`)
	n.place.Config = readConfig(t, n)
}

func twice(t *testing.T, n *fakeNode) {
	t.Helper()
	must(t, os.Mkdir(n.path("pool.hdd"), 0o700))
	must(t, n.write(n.path("pool.hdd/DiskDescriptor.xml"), ""))
	put(t, filepath.Join(n.place.Private, "ve.conf"), `DISK="uuid={`+dataID+`},mnt=/data,image=data.hdd;uuid={`+oldID+`},mnt=/data/,image=`+n.path("pool.hdd")+`"`)
	n.place.Config = readConfig(t, n)
}

// temporary leaves a disk as an interrupted merge does.
func temporary(t *testing.T, n *fakeNode) {
	t.Helper()
	descriptor := filepath.Join(n.place.Private, "root.hdd/DiskDescriptor.xml")
	must(t, n.write(descriptor, oldID))
	b, err := os.ReadFile(descriptor)
	must(t, err)
	must(t, os.WriteFile(descriptor, []byte(strings.Replace(string(b), "<ParentGUID>", "<Temporary/><ParentGUID>", 1)), 0o600))
}

// ploop may say that it has mounted a snapshot when it has not: the node's own
// directory would be saved in its place.
func TestBackupChecksThatTheSnapshotIsMounted(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	j.Node.Mounts = n.path("mnt")
	if err := j.StartBackup(cmd); err == nil || !strings.Contains(log.all("fatal"), "but nothing is mounted there") {
		t.Errorf("StartBackup without a mount = %v, %s", err, log.all("fatal"))
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Two commands of one FileSet: the second is saved although the first has failed.
func TestSecondCommandAfterAFailedOne(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	if err := j.StartBackup("vz7ct:name=none"); err == nil {
		t.Error("StartBackup of a container that is not there = nil")
	}
	must(t, j.StartBackup(cmd))
	if list, err := save(j); err != nil || len(list) < 20 {
		t.Errorf("save = %d entries, %v", len(list), err)
	}
}

// shared makes a directory that every user can write to.
func shared(t *testing.T, dir string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.Chmod(dir, 0o777))
}
