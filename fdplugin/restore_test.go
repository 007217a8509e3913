// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/restore"
)

// begin starts a restore of files into the running container.
func begin(t *testing.T) (j *Job, log *jobLog, root string) {
	t.Helper()
	n, root := running(t)
	j, log = n.job(t, bareos)
	must(t, j.StartRestore(fileCmd))
	return j, log, root
}

// A file that did not come whole does not take the place of one that is there.
func TestIncompleteFiles(t *testing.T) {
	for _, tt := range []struct {
		name    string
		there   bool
		broken  bool
		size    int64
		content string // afterwards
		failed  bool
	}{
		{"whole", true, false, 4, "part", false},
		{"short", true, false, 10, "old", true},
		{"long", true, false, 3, "old", true},
		{"broken", true, true, 4, "old", true},
		{"short and new", false, false, 10, "part", true}, // better than nothing
		{"broken and new", false, true, 4, "part", true},
	} {
		j, log, root := begin(t)
		path := filepath.Join(root, "f")
		if tt.there {
			put(t, path, "old")
		}
		r := &Restored{Name: "/mnt/bareos/" + webID + "/f", Replace: restore.Always,
			Stat: unix.Stat_t{Mode: 0o600, Size: tt.size, Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}}
		if answer, err := j.CreateFile(r); answer != Extract || err != nil {
			t.Fatalf("%s: CreateFile = %v, %v", tt.name, answer, err)
		}
		if _, err := unix.Write(j.OpenRestored(), []byte("part")); err != nil {
			t.Fatal(err)
		}
		j.EndFile(tt.broken)
		j.EndFile(tt.broken) // the daemon may call again
		j.EndRestore(Good)
		if b, err := os.ReadFile(path); string(b) != tt.content {
			t.Errorf("%s: the file is %q, %v, want %q", tt.name, b, err, tt.content)
		}
		if got := strings.Contains(log.all("warning"), "not restored exactly: /mnt/bareos/"+webID+"/f: "); got != tt.failed {
			t.Errorf("%s: said %s, want a warning: %v", tt.name, log.all(), tt.failed)
		}
		if got := strings.Contains(log.all("warning"), "what was there before is kept"); got != (tt.content == "old") {
			t.Errorf("%s: said %s", tt.name, log.all())
		}
	}
}

// The daemon's replace option counts for a running container.
func TestReplaceIsCounted(t *testing.T) {
	j, log, root := begin(t)
	put(t, filepath.Join(root, "f"), "old")
	if err := one(j, Restored{Name: "/mnt/bareos/" + webID + "/f", Replace: restore.Never}, "new"); err != nil {
		t.Error(err)
	}
	j.EndRestore(Good)
	if b, _ := os.ReadFile(filepath.Join(root, "f")); string(b) != "old" {
		t.Errorf("the file is %q", b)
	}
	if !strings.Contains(log.all("info"), "restored: 0 files, directories and links; 0 not restored exactly, 1 kept as they are") {
		t.Errorf("said %s", log.all())
	}
}

// What the daemon says a file is counts, not the mode that came with it.
func TestAnswersByKind(t *testing.T) {
	j, log, root := begin(t)
	put(t, filepath.Join(root, "first"), "x")
	tree := "/mnt/bareos/" + webID + "/"
	for _, tt := range []struct {
		kind   Kind
		mode   uint32
		answer Answer
		open   bool
		is     uint32
	}{
		{Regular, unix.S_IFREG, Extract, true, unix.S_IFREG},
		{Regular, unix.S_IFDIR, Extract, true, unix.S_IFREG},
		{Empty, unix.S_IFREG, Extract, true, unix.S_IFREG},
		{Directory, unix.S_IFLNK, Created, false, unix.S_IFDIR},
		{Symlink, unix.S_IFREG, Extract, false, unix.S_IFLNK},
		{Special, unix.S_IFIFO, Extract, false, unix.S_IFIFO},
		{HardLink, unix.S_IFDIR, Created, false, unix.S_IFREG},
	} {
		r := &Restored{Kind: tt.kind, Name: tree + "new", Link: tree + "first", Replace: restore.Always,
			Stat: unix.Stat_t{Mode: tt.mode | 0o700, Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}}
		answer, err := j.CreateFile(r)
		if answer != tt.answer || err != nil || (j.OpenRestored() >= 0) != tt.open {
			t.Errorf("kind %d: CreateFile = %v, %v, descriptor %d, want %v", tt.kind, answer, err, j.OpenRestored(), tt.answer)
		}
		j.SetXattr("user.none", nil)
		j.EndFile(false)
		if j.OpenRestored() >= 0 {
			t.Errorf("kind %d: a descriptor after EndFile", tt.kind)
		}
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(root, "new"), &st); err != nil || st.Mode&unix.S_IFMT != tt.is {
			t.Errorf("kind %d with mode %o: %o, %v", tt.kind, tt.mode, st.Mode, err)
		}
		must(t, os.Remove(filepath.Join(root, "new")))
	}
	if log.all("fatal") != "" {
		t.Error(log.all())
	}
}

// The daemon may end a job at any point, and call in any order.
func TestRestoreEndsAnywhere(t *testing.T) {
	for name, end := range map[string]func(j *Job){
		"close": func(j *Job) { j.Close() }, "failed": func(j *Job) { j.EndRestore(Failed) }, "cancelled": func(j *Job) { j.Cancel(); j.EndRestore(Good) },
		"cancel alone": func(j *Job) { j.Cancel(); j.Close() }, "end backup first": func(j *Job) { j.EndBackup(); j.Close() },
	} {
		n, root := running(t)
		j, log := n.job(t, bareos)
		must(t, j.StartRestore(fileCmd))
		r := &Restored{Name: "/mnt/bareos/" + webID + "/f", Replace: restore.Always, Stat: unix.Stat_t{Mode: 0o600, Size: 1}}
		if _, err := j.CreateFile(r); err != nil {
			t.Fatal(err)
		}
		end(j)
		if _, err := os.Lstat(filepath.Join(root, "f")); err == nil {
			t.Errorf("%s: half a file is left", name)
		}
		if _, err := j.CreateFile(r); err != ErrStop || j.OpenRestored() != -1 {
			t.Errorf("%s: CreateFile after the end = %v", name, err)
		}
		j.SetXattr("user.x", nil)
		j.EndFile(false)
		j.EndRestore(Good)
		j.Close()
		if left := leftButRoot(t, n); len(left) > 0 || log.all("error") != "" || strings.Contains(log.all(), "restored: ") {
			t.Errorf("%s: left behind %q, said %s", name, left, log.all())
		}
	}
	// Calls without a job of ours.
	n := webNode(t)
	j, log := n.job(t, bareos)
	j.EndFile(true)
	j.SetXattr("user.x", nil)
	j.CloseFile()
	j.EndBackup()
	j.EndRestore(Good)
	if _, err := j.CreateFile(&Restored{}); err != ErrStop {
		t.Errorf("CreateFile without a command = %v", err)
	}
	if _, err := j.NextFile(Flags{}); err != ErrStop || j.FileDone() || j.OpenRestored() != -1 || j.Xattrs() != nil {
		t.Errorf("NextFile without a command = %v", err)
	}
	j.Close()
	if left := n.left(t); len(left) > 0 || len(n.calls) > 0 || log.all() != "" {
		t.Errorf("a job that is not ours: left %q, calls %q, said %s", left, n.calls, log.all())
	}
	if _, err := os.Lstat(n.path("state")); err == nil {
		t.Error("a job that is not ours has made the state directory")
	}
}

// Several commands, as of a Full and an Incremental with other options, are
// judged once each and announced once.
func TestCommandsOfOneRestore(t *testing.T) {
	j, log, _ := begin(t)
	must(t, j.StartRestore(fileCmd+":lock_wait=5"))
	must(t, j.StartRestore(fileCmd))
	must(t, j.StartRestore(fileCmd))
	if n := strings.Count(log.all("info"), "vz7ct 1.0 on Bareos 25"); n != 1 {
		t.Errorf("announced %d times", n)
	}
	if err := j.StartRestore("vz7ct:bad=1"); err != ErrStop || !strings.Contains(log.all("fatal"), "unknown option bad=1") {
		t.Errorf("StartRestore(bad) = %v, %s", err, log.all())
	}
	if err := j.StartRestore(fileCmd); err != ErrStop {
		t.Errorf("StartRestore after a fatal one = %v, want ErrStop", err)
	}
}
