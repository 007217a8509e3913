// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/lock"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// Every step may have been taken back already, or never have been taken.
func TestUndoIsIdempotent(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	descriptor := filepath.Join(n.place.Private, "root.hdd/DiskDescriptor.xml")
	tree := n.path("private/" + oldID)
	put(t, filepath.Join(tree, "root.hdd/x"), "")
	put(t, filepath.Join(tree, markName), "mine")
	must(t, os.Mkdir(n.path("mnt/m"), 0o700))
	for _, s := range []undo.Step{
		{Do: undo.MadeDir, Dir: n.path("mnt/m")},
		{Do: undo.Mounted, Descriptor: descriptor, Snapshot: oldID, Dir: n.path("mnt/m")},
		{Do: undo.Mounted, Descriptor: descriptor, Dir: n.path("mnt/m")},
		{Do: undo.MadeSnapshot, Descriptor: descriptor, Snapshot: oldID},
		{Do: undo.MadeTree, Dir: tree, Container: "not registered", Mark: "mine"},
		{Do: undo.MadeLink, Dir: n.path("lock.lock")},
	} {
		for range 2 {
			if err := j.undo(s); err != nil {
				t.Errorf("undo(%+v) = %v", s, err)
			}
		}
	}
	for _, gone := range []string{n.path("mnt/m"), tree} {
		if _, err := os.Lstat(gone); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	if err := j.undo(undo.Step{Do: "later"}); err == nil || !strings.Contains(err.Error(), `step "later" in the journal is not known`) {
		t.Errorf("undo of a step of a later release = %v", err)
	}
	if log.all() != "" {
		t.Errorf("said %s", log.all())
	}
}

// What somebody has put into a mount directory is not removed with it.
func TestUndoRemovesNoContent(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	put(t, n.path("mnt/m/file"), "")
	if err := j.undo(undo.Step{Do: undo.MadeDir, Dir: n.path("mnt/m")}); err == nil {
		t.Error("undo of a directory with content = nil")
	}
	if _, err := os.Lstat(n.path("mnt/m/file")); err != nil {
		t.Error(err)
	}
	put(t, n.path("lock.lock"), "another program's")
	if err := j.undo(undo.Step{Do: undo.MadeLink, Dir: n.path("lock.lock")}); err != nil {
		t.Errorf("undo of a lock that is another's now = %v", err)
	}
	if _, err := os.Lstat(n.path("lock.lock")); err != nil {
		t.Errorf("another program's lock file: %v", err)
	}
}

// A private area is removed only if no container has it and it bears the mark of
// the restore that has made it.
func TestRemovePrivate(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	s := undo.Step{Do: undo.MadeTree, Dir: n.place.Private, Container: webID, Mark: "mine"}
	put(t, filepath.Join(s.Dir, markName), "mine")
	put(t, filepath.Join(s.Dir, scriptFolder, webID+".mount"), "")
	if err := j.undo(s); err != nil || !strings.Contains(log.all(), "is registered: its private area "+s.Dir+" stays") ||
		!strings.Contains(log.all("warning"), "action scripts of container "+webID+" were not put in place") || exists(filepath.Join(s.Dir, markName)) {
		t.Errorf("undo of a registered container = %v, %s", err, log.all())
	}
	must(t, os.RemoveAll(filepath.Join(s.Dir, ownFolder)))
	log.lines = nil
	for _, mark := range []string{"another's", "gone", "mine"} {
		put(t, filepath.Join(s.Dir, markName), mark)
		if mark == "gone" {
			must(t, os.Remove(filepath.Join(s.Dir, markName)))
		}
		if err := j.undo(s); err != nil || log.all("warning") != "" || exists(filepath.Join(s.Dir, markName)) != (mark == "another's") {
			t.Errorf("undo of a registered container with the mark %q = %v, %s", mark, err, log.all("warning"))
		}
	}
	n.failAt = len(n.calls) + 1
	if err := j.undo(s); err == nil || !strings.Contains(err.Error(), "is container "+webID+" registered? ") {
		t.Errorf("undo without an answer = %v", err)
	}
	n.list = []prlctl.Container{}
	for _, mark := range []string{"another's", "", "gone"} {
		put(t, filepath.Join(s.Dir, markName), mark)
		if mark == "gone" {
			must(t, os.Remove(filepath.Join(s.Dir, markName)))
		}
		log.lines = nil
		if err := j.undo(s); err != nil || !strings.Contains(log.all("warning"), "does not bear its mark any more, or has an owner: it stays") {
			t.Errorf("undo with the mark %q = %v, %s", mark, err, log.all())
		}
	}
	unmarked := s
	unmarked.Mark = ""
	put(t, filepath.Join(s.Dir, markName), "")
	if err := j.undo(unmarked); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(s.Dir, "ve.conf")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(s.Dir, markName), "mine")
	put(t, filepath.Join(s.Dir, ownerName), "node2")
	if err := j.undo(s); err != nil || !exists(filepath.Join(s.Dir, "ve.conf")) {
		t.Errorf("undo of an area that was registered elsewhere = %v, it exists: %v", err, exists(s.Dir))
	}
	must(t, os.Remove(filepath.Join(s.Dir, ownerName)))
	if err := j.undo(s); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(s.Dir); err == nil {
		t.Error("the private area is there")
	}
	// A crash came before the mark: there is nothing in it.
	must(t, os.Mkdir(s.Dir, 0o700))
	if err := j.undo(s); err != nil || exists(s.Dir) {
		t.Errorf("undo of an empty area = %v, it exists: %v", err, exists(s.Dir))
	}
}

// A disk whose descriptor is gone is done with only if its container is too.
func TestUndoOfADestroyedContainer(t *testing.T) {
	for name, tt := range map[string]struct {
		registered, area bool
		ok               bool
	}{"destroyed": {false, false, true}, "registered": {true, false, false}, "area there": {false, true, false}} {
		n := emptyNode(t)
		if tt.registered {
			n.list = []prlctl.Container{{UUID: webID}}
		}
		if tt.area {
			must(t, os.Mkdir(n.path("private/"+webID), 0o700))
		}
		// As ploop.Client does: it reads the descriptor first.
		n.fault = func(step string) error {
			if step == "merge" {
				return os.ErrNotExist
			}
			return nil
		}
		j, _ := n.job(t, bareos)
		err := j.undo(undo.Step{Do: undo.MadeSnapshot, Descriptor: n.path("private/" + webID + "/root.hdd/DiskDescriptor.xml"), Snapshot: oldID, Container: webID})
		if (err == nil) != tt.ok {
			t.Errorf("%s: undo = %v", name, err)
		}
	}
}

// Where an earlier job's snapshot cannot be merged, no further one is made; other
// containers are saved.
func TestNoSnapshotOnAStuckDisk(t *testing.T) {
	n := webNode(t)
	n.fault = func(step string) error {
		if step == "merge" {
			return errors.New("broken disk")
		}
		return nil
	}
	if _, _, err := run(t, n, cmd); err != nil {
		t.Fatal(err)
	}
	before := len(n.calls)
	_, log, err := run(t, n, cmd)
	if err == nil || !strings.Contains(log.all("fatal"), "no further snapshot is made where an earlier job has left something: ") || !strings.Contains(log.all("fatal"), "broken disk") {
		t.Errorf("a job on a stuck disk = %v, %s", err, log.all())
	}
	if got := strings.Join(n.calls[before:], " "); strings.Contains(got, "snapshot") {
		t.Errorf("it has done %s", got)
	}
	n.fault = nil
	if _, log, err := run(t, n, cmd); err != nil {
		t.Errorf("the job after the repair = %v, %s", err, log.all())
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// Nothing is removed below which something is mounted.
func TestRemoveTreeWithAMount(t *testing.T) {
	if err := removeTree("/proc"); err == nil || !strings.Contains(err.Error(), "/proc is mounted there") {
		t.Errorf("removeTree(/proc) = %v", err)
	}
	if err := removeTree(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("removeTree of nothing = %v", err)
	}
}

func TestByHand(t *testing.T) {
	steps := []undo.Step{
		{Do: undo.MadeLink, Dir: "/tmp/l.lock"}, {Do: undo.LockedContainer, Dir: "/vz/lock/x.lck", Mark: "m"}, {Do: undo.MadeTree, Dir: "/vz/private/x", Container: webID}, {Do: undo.MadeDir, Dir: "/mnt/bareos/m"},
		{Do: undo.MadeSnapshot, Descriptor: "/d/DiskDescriptor.xml", Snapshot: oldID}, {Do: undo.Mounted, Snapshot: oldID, Dir: "/mnt/bareos/m"},
	}
	want := "ploop umount -m /mnt/bareos/m; ploop snapshot-delete -u {" + oldID + "} /d/DiskDescriptor.xml; rmdir /mnt/bareos/m; rm -rf /vz/private/x (only if /vz/private/x/.vz7ct-restore is there and no node has container " + webID + "); rm /vz/lock/x.lck (only if its last line has m); rm /tmp/l.lock"
	if got := byHand(steps); got != want {
		t.Errorf("byHand = %s, want %s", got, want)
	}
}

// A journal that has served its time and cannot be removed is not left to the next job alone.
func TestJournalThatCannotBeRemoved(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	path := j.journal.Path()
	must(t, os.Remove(path))
	put(t, filepath.Join(path, "in the way"), "")
	j.Close()
	if said := log.all("error"); !strings.Contains(said, path+" goes in the background") || n.finishers != 1 {
		t.Errorf("said %q, and started %d processes that finish it", said, n.finishers)
	}
}

// crashAt lets a backup die before its call number at (from 0), and returns what
// its journal held, "" if there was none yet.
func crashAt(t *testing.T, n *fakeNode, at int) string {
	t.Helper()
	return crashOf(t, n, cmd, at)
}

func crashOf(t *testing.T, n *fakeNode, command string, at int) string {
	t.Helper()
	j, _ := n.job(t, bareos)
	copied := ""
	n.at = func(c int) {
		if c != at+1 || j.journal == nil {
			return
		}
		b, err := os.ReadFile(j.journal.Path())
		must(t, err)
		copied = string(b)
		panic("crash")
	}
	func() {
		defer func() { _ = recover() }()
		if j.StartBackup(command) == nil {
			_, _ = save(j)
		}
	}()
	n.at = nil
	if copied == "" {
		return ""
	}
	// What the kernel does for a dead process.
	j.mu.TryLock()
	j.backup.watch.stop()
	j.backup.release()
	locked, lockErr := os.ReadFile(n.place.Lock)
	j.unlock()
	if lockErr == nil {
		// It stays, and another process has the dead one's number by now.
		_, rest, _ := strings.Cut(string(locked), "\n")
		put(t, n.place.Lock, fmt.Sprintf("%d\n%s", os.Getppid(), rest))
	}
	must(t, j.journal.Forget(func(undo.Step) bool { return true }))
	j.forgetProgress()
	must(t, j.journal.Close())
	j.journal, j.backup = nil, nil
	j.mu.Unlock()
	put(t, n.path("state/journal/dead.journal"), copied)
	return copied
}

// A job that died at any step, as by a crash of the node, is swept by the next
// one: its journal is there, nobody holds it, and the step may have been taken.
func TestSweepAfterACrashAtEveryStep(t *testing.T) {
	n := webNode(t)
	_, _, err := run(t, n, cmd)
	must(t, err)
	crashes := 0
	for at, step := range n.calls {
		n := webNode(t)
		copied := crashAt(t, n, at)
		if copied == "" {
			continue
		}
		_, log, err := run(t, n, cmd)
		if err != nil || strings.Contains(log.all("warning"), "has not ended properly") != strings.Contains(copied, `"step"`) {
			t.Errorf("crash at step %d (%s): the next job: %v\n%s", at+1, step, err, log.all())
		}
		crashes++
		if left := n.left(t); len(left) > 0 {
			t.Errorf("crash at step %d (%s): left behind after the next job: %q", at+1, step, left)
		}
	}
	// All but the two before there is a journal.
	if want := len(n.calls) - 2; crashes != want {
		t.Errorf("%d crashes played, want %d", crashes, want)
	}
}

// A journal that cannot be read is reported and keeps no job from running.
func TestSweepOfABrokenJournal(t *testing.T) {
	n := webNode(t)
	put(t, n.path("state/journal/broken.journal"), "no journal\n")
	_, log, err := run(t, n, cmd)
	if err != nil || !strings.Contains(log.all("warning"), "leftovers of an earlier job: journal broken.journal: ") {
		t.Errorf("a backup beside a broken journal: %v, %s", err, log.all())
	}
	if left := fmt.Sprint(n.left(t)); left != "[state/journal/broken.journal]" {
		t.Errorf("left behind: %s, want the broken journal alone", left)
	}
}

// A private area is removed with its mark last, and not while a ploop works in it.
func TestRemoveTreeKeepsTheMarkToTheEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "private")
	put(t, filepath.Join(dir, markName), "mine")
	put(t, filepath.Join(dir, "root.hdd/DiskDescriptor.xml.lck"), "")
	busy, err := os.Open(filepath.Join(dir, "root.hdd/DiskDescriptor.xml.lck"))
	must(t, err)
	defer busy.Close()
	must(t, unix.Flock(int(busy.Fd()), unix.LOCK_EX))
	if err := removeTree(dir); err == nil || !strings.Contains(err.Error(), "a ploop command works on") || !exists(filepath.Join(dir, markName)) {
		t.Errorf("removeTree of a busy disk = %v", err)
	}
	busy.Close()
	if os.Geteuid() != 0 { // whom a mode does not keep from anything
		must(t, os.Chmod(filepath.Join(dir, "root.hdd"), 0o500))
		if err := removeTree(dir); err == nil || !exists(filepath.Join(dir, markName)) {
			t.Errorf("removeTree of what cannot be removed = %v, mark there %v", err, exists(filepath.Join(dir, markName)))
		}
		must(t, os.Chmod(filepath.Join(dir, "root.hdd"), 0o700))
	}
	if err := removeTree(dir); err != nil || exists(dir) {
		t.Errorf("removeTree = %v", err)
	}
}

// A sweep that another job is at is waited for.
func TestSweepsQueue(t *testing.T) {
	n := webNode(t)
	must(t, os.MkdirAll(n.path("state/journal"), 0o700))
	put(t, n.path("state/journal/x"), "") // something to look at
	turn, err := lock.Exclusive(n.path("state/sweep"), true)
	must(t, err)
	j, log := n.job(t, bareos)
	j.cancel()
	if err := j.sweep(); err == nil || !strings.Contains(err.Error(), "leftovers of earlier jobs") {
		t.Errorf("sweep beside another one, cancelled = %v\n%s", err, log.all())
	}
	must(t, turn.Release())
	if _, _, err := run(t, n, cmd); err != nil || exists(n.path("state/sweep")) {
		t.Errorf("a job after it = %v", err)
	}
}

// Where a job was killed when nothing but its locks was left, their files go too; those
// of a job that lives stay.
func TestSweepRemovesDeadLocks(t *testing.T) {
	n := webNode(t)
	must(t, os.MkdirAll(n.path("state/locks"), 0o700))
	for _, dead := range []string{"state/locks/" + webID, "state/sweep"} {
		put(t, n.path(dead), "")
	}
	log, _ := newLog()
	live, err := lock.Exclusive(n.path("state/locks/other"), true)
	must(t, err)
	left := func() (names string) {
		for _, pattern := range []string{"state/locks/*", "state/sweep"} {
			files, _ := filepath.Glob(n.path(pattern))
			for _, f := range files {
				names += " " + filepath.Base(f)
			}
		}
		return names
	}
	all := " " + webID + " other sweep"
	for _, s := range []struct {
		dry  bool
		mode os.FileMode // of the state directory
		want string
	}{{true, 0o700, all}, {false, 0o777, all}, {false, 0o700, " other"}} {
		must(t, os.Chmod(n.path("state"), s.mode))
		if _, err := (Cleaner{Node: n.node(), Log: log}).Sweep(context.Background(), s.dry); err != nil || left() != s.want {
			t.Errorf("Sweep(%v) = %v, left%s, want%s", s.dry, err, left(), s.want)
		}
	}
	must(t, live.Release())
}
