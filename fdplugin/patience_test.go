// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every tool that changes the node does not come to an end in turn. The job ends
// without it; nothing that it works on is taken back while it runs, by this job or
// by others, and all of it when it has ended.
func TestBackupWithAToolThatDoesNotEnd(t *testing.T) {
	n := webNode(t)
	if _, _, err := run(t, n, cmd); err != nil {
		t.Fatal(err)
	}
	for at, step := range n.calls {
		if step == "list" || step == "describe" || step == "owns" {
			continue // they change nothing, and are ended
		}
		n := webNode(t)
		n.hang = at + 1
		_, log, _ := run(t, n, cmd)
		got := log.all("fatal", "error")
		if !strings.Contains(got, step+" is not awaited any longer") || !strings.Contains(got, "which was started") || n.finishers != 1 {
			t.Errorf("step %d (%s): the job ends with %q, and has started %d finishers, want one", at+1, step, got, n.finishers)
		}
		calls := len(n.calls)
		_, log, err := run(t, n, cmd)
		if err == nil || !strings.Contains(log.all("fatal"), "still runs") {
			t.Errorf("step %d (%s): the next job, while the tool runs: %v\n%s", at+1, step, err, log.all())
		}
		for _, c := range n.calls[calls:] {
			if !slices.Contains([]string{"list", "describe", "owns"}, c) {
				t.Errorf("step %d (%s): %s was called while the tool runs", at+1, step, c)
			}
		}
		if err := n.wake(); err != nil {
			t.Fatalf("step %d (%s): %v", at+1, step, err)
		}
		j, log := n.job(t, bareos)
		if _, err := j.cleaner().Sweep(context.Background(), false); err != nil {
			t.Errorf("step %d (%s): Sweep = %v\n%s", at+1, step, err, log.all())
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("step %d (%s): left behind when the tool has ended: %q", at+1, step, left)
		}
	}
}

// A merge that is not awaited keeps nothing of the other disk from being taken back.
func TestOtherDiskOfAToolThatDoesNotEnd(t *testing.T) {
	whole := webNode(t)
	if _, _, err := run(t, whole, cmd); err != nil {
		t.Fatal(err)
	}
	n := webNode(t)
	n.hang = slices.Index(whole.calls, "merge") + 1
	_, log, _ := run(t, n, cmd)
	if len(n.shots) != 1 {
		t.Errorf("snapshots %v, want that of the tool that still runs alone\n%s", n.shots, log.all())
	}
	must(t, n.wake())
	if _, log, err := run(t, n, cmd); err != nil {
		t.Errorf("the next job: %v\n%s", err, log.all())
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// The tools of the restore of a container do not end, in turn.
func TestRestoreWithAToolThatDoesNotEnd(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := emptyNode(t)
	restoreCT(t, n, "", list)
	for at, step := range n.calls {
		if !slices.Contains([]string{"init", "mount", "unmount", "register", "start"}, step) {
			continue
		}
		n := emptyNode(t)
		n.hang = at + 1
		log := restoreCT(t, n, "", list)
		if got := log.all("fatal", "error"); !strings.Contains(got, step+" is not awaited any longer") {
			t.Errorf("step %d (%s): the job ends with %q", at+1, step, got)
		}
		private, err := os.ReadDir(n.path("private"))
		must(t, err)
		if len(private) != 1 {
			t.Errorf("step %d (%s): private areas while the tool runs: %q, want the one it works on", at+1, step, private)
		}
		if err := n.wake(); err != nil {
			t.Fatalf("step %d (%s): %v", at+1, step, err)
		}
		j, log := n.job(t, bareos)
		if _, err := j.cleaner().Sweep(context.Background(), false); err != nil {
			t.Errorf("step %d (%s): Sweep = %v\n%s", at+1, step, err, log.all())
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("step %d (%s): left behind when the tool has ended: %q", at+1, step, left)
		}
		private, err = os.ReadDir(n.path("private"))
		must(t, err)
		if stays := step == "register" || step == "start"; stays != (len(private) == 1) || stays != (len(n.list) == 1) {
			t.Errorf("step %d (%s): in the end private areas %q, containers %q", at+1, step, private, n.list)
		}
	}
}

func TestPatience(t *testing.T) {
	job, cancel := context.WithCancel(context.Background())
	long, done := patient(job, time.Hour)
	defer done()
	short, done2 := patient(job, 10*time.Millisecond)
	defer done2()
	<-short.Done()
	if !errors.Is(short.Err(), context.DeadlineExceeded) || long.Err() != nil {
		t.Errorf("after a while: %v, %v, want the short one's end", short.Err(), long.Err())
	}
	// A cancel ends the wait, but not at once.
	after, done3 := patient(job, time.Hour)
	defer done3()
	cancel()
	if err := after.Err(); err != nil {
		t.Errorf("at a cancel: %v, want nil", err)
	}
	now, done4 := patient(job, 10*time.Millisecond)
	defer done4()
	if err := now.Err(); err != nil {
		t.Errorf("after a cancel: %v, want nil: what takes back is begun all the same", err)
	}
	<-now.Done()
}
