// SPDX-License-Identifier: AGPL-3.0-only

package undo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// content returns the files of dir with what is in them.
func content(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s: %q\n", n.Name(), b)
	}
	return all.String()
}

func TestListLiveAndDead(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	intend(t, j, Step{Do: MadeDir, Dir: "/m"}, Step{Do: MadeSnapshot, Descriptor: "/d/DiskDescriptor.xml", Snapshot: "s"})
	if err := j.UndoOnly(func(s Step) bool { return s.Do == MadeDir }, func(Step) error { return nil }); err != nil {
		t.Fatal(err)
	}
	// Half a record: it is just being written.
	fmt.Fprint(j.file, `{"step":{"id":3,"do":"mk`)
	before := content(t, dir)
	for _, live := range []bool{true, false} {
		list, err := List(dir)
		if err != nil || len(list) != 1 {
			t.Fatalf("List = %v, %v, want one journal", list, err)
		}
		e := list[0]
		if e.Live != live || e.Head.Job != "backup.1" || e.Path != j.Path() || len(e.Pending) != 1 || e.Pending[0].Do != MadeSnapshot {
			t.Errorf("List = %+v, want the snapshot of backup.1 with Live = %v", e, live)
		}
		if live {
			die(j)
		}
	}
	if after := content(t, dir); after != before {
		t.Errorf("List has changed the journals:\n%safter:\n%s", before, after)
	}
}

func TestListOfBadJournals(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"future" + Suffix: `{"head":{"vz7ct_journal":99}}` + "\n",
		"broken" + Suffix: "{\n",
		"empty" + Suffix:  "",
		"README":          "not ours",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link"+Suffix)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"+Suffix), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := List(dir)
	if err == nil || !strings.Contains(err.Error(), "future") || !strings.Contains(err.Error(), "broken") || !strings.Contains(err.Error(), "link") {
		t.Errorf("List = %v, want the three bad journals named", err)
	}
	for _, e := range list {
		if e.Live || len(e.Pending) > 0 {
			t.Errorf("List = %+v, want nothing pending", e)
		}
	}
	if list, err := List(filepath.Join(dir, "none")); list != nil || err != nil {
		t.Errorf("List of no directory = %v, %v", list, err)
	}
	if _, err := List(filepath.Join(dir, "README")); err == nil {
		t.Error("List of a file = nil, want an error")
	}
}

// One who looks at a dead job's journal does not keep a sweeper from it.
func TestSweepBesideAReader(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	intend(t, j, Step{Do: MadeDir, Dir: "/m"})
	path := j.Path()
	die(j)
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := lock(reader, unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	// A reader that stays passes for a job in the end: nothing waits for ever.
	if err := Sweep(dir, func(*Journal) error { t.Error("handed out while it is held"); return nil }); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- Sweep(dir, func(j *Journal) error { return j.Undo(func(Step) error { return nil }) })
	}()
	if err := lock(reader, unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Sweep = %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// A command that the job has started holds the journal beyond the job's end.
func TestCommandOutlivesItsJob(t *testing.T) {
	dir := t.TempDir()
	j := create(t, dir)
	j.Head.PID = os.Getpid()
	intend(t, j, Step{Do: MadeDir, Dir: "/m"})
	cmd := exec.Command("cat", "-", filepath.Join(dir, "go"))
	if err := unix.Mkfifo(filepath.Join(dir, "go"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = j.Lock()
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := List(dir)
	if err != nil || len(list) != 1 || !list[0].Live || !list[0].Ended {
		t.Fatalf("List = %+v, %v, want a job that has ended and is held", list, err)
	}
	if pids := list[0].Commands(); len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("Commands = %v, want %d", pids, cmd.Process.Pid)
	}
	if err := Sweep(dir, func(*Journal) error { t.Error("handed out while its command runs"); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || out.Len() > 0 {
		t.Errorf("cat = %v and has read %q, want nothing", err, &out)
	}
	n := 0
	if err := Sweep(dir, func(j *Journal) error { n++; return j.Undo(func(Step) error { return nil }) }); err != nil || n != 1 {
		t.Errorf("Sweep = %v with %d journals, want one", err, n)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
}

// The number of a dead job's process may be another one's by now.
func TestDied(t *testing.T) {
	self := os.Getpid()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		head Head
		want bool
	}{
		{Head{PID: self, Born: born(self)}, false},
		{Head{PID: self, Born: born(self) + 1}, true},
		{Head{PID: self}, false}, // of an older release
		{Head{PID: gone.Process.Pid, Born: 7}, true},
		{Head{}, false},
	} {
		if got := died(c.head); got != c.want {
			t.Errorf("died(%+v) = %v, want %v", c.head, got, c.want)
		}
	}
	if born(self) == 0 || born(gone.Process.Pid) != 0 {
		t.Errorf("born = %d, and %d of one that is gone", born(self), born(gone.Process.Pid))
	}
	dir := t.TempDir()
	j, err := Create(dir, "mine", Head{PID: self})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := List(dir); err != nil || len(list) != 1 || list[0].Head.Born != born(self) {
		t.Errorf("List = %+v, %v, want when the process was started", list, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
