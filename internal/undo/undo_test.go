// SPDX-License-Identifier: AGPL-3.0-only

package undo

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func create(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Create(dir, "job1", Head{Job: "backup.1", Container: "web", PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func intend(t *testing.T, j *Journal, steps ...Step) {
	t.Helper()
	for _, s := range steps {
		if err := j.Intend(s); err != nil {
			t.Fatal(err)
		}
	}
}

// die ends a job as a crash does: the lock goes, the file stays.
func die(j *Journal) { j.shut() }

func TestUndoNewestFirstAndRemove(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	intend(t, j, Step{Do: MadeDir, Dir: "/m"}, Step{Do: MadeSnapshot, Descriptor: "/d/DiskDescriptor.xml", Snapshot: "s"}, Step{Do: Mounted, Descriptor: "/d/DiskDescriptor.xml", Dir: "/m"})
	var got []Kind
	if err := j.Undo(func(s Step) error { got = append(got, s.Do); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []Kind{Mounted, MadeSnapshot, MadeDir}; !reflect.DeepEqual(got, want) {
		t.Errorf("Undo order = %v, want %v", got, want)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left after a clean end", left)
	}
}

// A mount that cannot be taken back keeps its snapshot, not those of other disks.
func TestFailedUndoStaysAndBlocksItsDisk(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	intend(t, j,
		Step{Do: MadeSnapshot, Descriptor: "/a/DiskDescriptor.xml", Snapshot: "s"}, Step{Do: Mounted, Descriptor: "/a/DiskDescriptor.xml", Dir: "/a"},
		Step{Do: MadeSnapshot, Descriptor: "/b/DiskDescriptor.xml", Snapshot: "s"}, Step{Do: Mounted, Descriptor: "/b/DiskDescriptor.xml", Dir: "/b"})
	busy := errors.New("busy")
	var tried []string
	err := j.Undo(func(s Step) error {
		tried = append(tried, string(s.Do)+filepath.Base(filepath.Dir(s.Descriptor)))
		if s.Do == Mounted && s.Descriptor == "/a/DiskDescriptor.xml" {
			return busy
		}
		return nil
	})
	if !errors.Is(err, busy) {
		t.Errorf("Undo = %v, want busy", err)
	}
	if want := []string{"mountb", "snapshotb", "mounta"}; !reflect.DeepEqual(tried, want) {
		t.Errorf("tried %v, want %v", tried, want)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var found []Step
	err = Sweep(dir, func(j *Journal) error { found = j.Pending(); return j.Undo(func(Step) error { return nil }) })
	if err != nil || len(found) != 2 || found[0].Do != MadeSnapshot || found[1].Do != Mounted {
		t.Errorf("Sweep = %v with %v, want the two steps of disk a", err, found)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

func TestSweepLeavesLiveJobsAlone(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	intend(t, j, Step{Do: MadeDir, Dir: "/m"})
	if err := Sweep(dir, func(*Journal) error { t.Error("a live job's journal was handed out"); return nil }); err != nil {
		t.Fatal(err)
	}
	die(j)
	n := 0
	if err := Sweep(dir, func(j *Journal) error { n++; return j.Undo(func(Step) error { return nil }) }); err != nil || n != 1 {
		t.Errorf("Sweep of a dead job = %v, %d journals, want nil, 1", err, n)
	}
}

// A crash may cut the last line at any byte: the steps before it count.
func TestJournalCutShort(t *testing.T) {
	whole := t.TempDir()
	j := create(t, whole)
	intend(t, j, Step{Do: MadeDir, Dir: "/m"}, Step{Do: MadeSnapshot, Descriptor: "/d/DiskDescriptor.xml", Snapshot: "s"})
	data, err := os.ReadFile(j.Path())
	if err != nil {
		t.Fatal(err)
	}
	die(j)
	for n := range len(data) + 1 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x"+Suffix), data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got := 0
		err := Sweep(dir, func(j *Journal) error {
			got = len(j.Pending())
			return j.Undo(func(Step) error { return nil })
		})
		want := max(strings.Count(string(data[:n]), "\n")-1, 0)
		if err != nil || got != want {
			t.Fatalf("cut at %d: Sweep = %v, %d steps, want nil, %d", n, err, got, want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Fatalf("cut at %d: %v is left", n, left)
		}
	}
}

// An undo that fails after a cut must not write into the torn line.
func TestCutJournalCanBeContinued(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	intend(t, j, Step{Do: MadeDir, Dir: "/m"}, Step{Do: MadeDir, Dir: "/n"})
	fmt.Fprint(j.file, `{"step":{"id":3,"do":"mk`)
	die(j)
	for range 2 {
		_ = Sweep(dir, func(j *Journal) error {
			return j.Undo(func(s Step) error {
				if s.Dir == "/m" {
					return errors.New("busy")
				}
				return nil
			})
		})
	}
	var left []Step
	if err := Sweep(dir, func(j *Journal) error { left = j.Pending(); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || left[0].Dir != "/m" {
		t.Errorf("left = %v, want /m only", left)
	}
}

func TestForeignAndBrokenJournals(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"future" + Suffix: `{"head":{"vz7ct_journal":99}}` + "\n",
		"broken" + Suffix: "{\n",
		"README":          "not ours",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := Sweep(dir, func(*Journal) error { t.Error("handed out"); return nil })
	if err == nil || !strings.Contains(err.Error(), "future") || !strings.Contains(err.Error(), "broken") {
		t.Errorf("Sweep = %v, want both bad journals named", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 3 {
		t.Errorf("%d files left, want all 3", len(left))
	}
	if err := Sweep(filepath.Join(dir, "none"), nil); err != nil {
		t.Errorf("Sweep of no directory = %v", err)
	}
}

func TestForgetKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	intend(t, j, Step{Do: MadeTree, Dir: "/vz/private/x"}, Step{Do: Mounted, Descriptor: "/d/DiskDescriptor.xml", Dir: "/m"})
	if err := j.Forget(func(s Step) bool { return s.Do == MadeTree }); err != nil {
		t.Fatal(err)
	}
	if p := j.Pending(); len(p) != 1 || p[0].Do != Mounted {
		t.Errorf("Pending = %v, want the mount", p)
	}
}

// A tree is not removed while a disk in it may still be in use.
func TestTreeStaysWhileItsImagesAreInUse(t *testing.T) {
	j := create(t, t.TempDir())
	intend(t, j, Step{Do: MadeTree, Dir: "/p/x"}, Step{Do: MadeTree, Dir: "/p/y"}, Step{Do: MadeDir, Dir: "/m"},
		Step{Do: Mounted, Descriptor: "/p/x/root.hdd/DiskDescriptor.xml", Dir: "/m"})
	var got []string
	err := j.Undo(func(s Step) error {
		got = append(got, string(s.Do)+" "+s.Dir)
		if s.Do == Mounted {
			return errors.New("busy")
		}
		return nil
	})
	if want := []string{"mount /m", "mkdir /m", "tree /p/y"}; err == nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Undo = %v, took back %v, want %v", err, got, want)
	}
	if left := j.Pending(); len(left) != 2 || left[0].Dir != "/p/x" {
		t.Errorf("pending = %v, want the tree and its mount", left)
	}
}

// A record that could not be written as a whole does not spoil the next one.

func TestTornRecordIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	intend(t, j, Step{Do: MadeDir, Dir: "/a"})
	// The limit cuts the next line in two.
	whole, err := j.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	back := fullAt(t, whole.Size()+10)
	err = j.Intend(Step{Do: MadeDir, Dir: "/b"})
	back()
	if err == nil {
		t.Fatal("Intend = nil although the file could not grow")
	}
	intend(t, j, Step{Do: MadeDir, Dir: "/c"})
	die(j)
	var got []string
	if err := Sweep(dir, func(dead *Journal) error {
		return dead.Undo(func(s Step) error { got = append(got, s.Dir); return nil })
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/c", "/a"}; !reflect.DeepEqual(got, want) {
		t.Errorf("taken back: %v, want %v", got, want)
	}
}

// fullAt lets no file of this process grow beyond a size, until back is called.
func fullAt(t *testing.T, size int64) (back func()) {
	t.Helper()
	signal.Ignore(unix.SIGXFSZ)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(size), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}
}

// What was taken back is done with, though the journal's disk is full: the snapshot
// that the mount rests on is merged, too.
func TestUndoWhereNothingCanBeRecorded(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	intend(t, j, Step{Do: MadeTree, Dir: "/p"}, Step{Do: MadeSnapshot, Descriptor: "/p/a/DiskDescriptor.xml", Snapshot: "s"}, Step{Do: Mounted, Descriptor: "/p/a/DiskDescriptor.xml", Dir: "/a"})
	size, err := j.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	back := fullAt(t, size.Size())
	var got []string
	err = j.Undo(func(s Step) error { got = append(got, string(s.Do)); return nil })
	back()
	if err == nil || len(j.Pending()) > 0 || !reflect.DeepEqual(got, []string{"mount", "snapshot", "tree"}) {
		t.Errorf("Undo = %v, took back %v, left %v", err, got, j.Pending())
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}
