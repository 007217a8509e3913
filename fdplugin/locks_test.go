// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/lock"
)

// While a container is saved, everything that must not come between is locked,
// and a second job ends at the wait that its options allow, with the holder named.
func TestLocksOfABackup(t *testing.T) {
	n := webNode(t)
	command := cmd + ":lockfile=" + n.path("lock")
	j, _ := n.job(t, bareos)
	must(t, j.StartBackup(command))
	if _, err := os.Lstat(n.path("lock.lock")); err != nil {
		t.Errorf("the Python module's lock: %v", err)
	}
	for _, path := range []string{n.path("lock"), n.path("state/locks/" + webID), n.path("pcompact.pid")} {
		if h, err := lock.Exclusive(path, false); err == nil {
			h.Release()
			t.Errorf("%s is not locked", path)
		}
	}
	if h, err := lock.Shared(n.path("pcompact.pid")); err != nil {
		t.Errorf("pcompact.pid is not shared with other daemons: %v", err)
	} else if err := h.Release(); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct{ options, want string }{
		{":lock_wait=1ns:lockfile=" + n.path("lock"), "lockfile=" + n.path("lock") + ": "},
		{":lock_wait=1ns", "another job on container " + webID + ": "},
	} {
		before := len(n.calls)
		_, log, err := run(t, n, cmd+tt.options)
		got := log.all("fatal")
		if err == nil || !strings.Contains(got, tt.want) || !strings.Contains(got, "is held by process") || !strings.Contains(got, "still after 1ns") {
			t.Errorf("a second job with %s = %v, %q, want %q and the holder", tt.options, err, got, tt.want)
		}
		if got := n.calls[before:]; strings.Contains(strings.Join(got, " "), "snapshot") {
			t.Errorf("the second job has done %q", got)
		}
	}
	// The job's own locks were not touched by those that failed.
	if list, err := save(j); err != nil || len(list) < 20 {
		t.Errorf("save = %d entries, %v", len(list), err)
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// As far as prlctl and vzctl are concerned, prlctl backup is at work.
func TestVirtuozzosLock(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	n.at = func(int) {
		switch step := n.calls[len(n.calls)-1]; step {
		case "snapshot", "mount", "unmount", "merge":
			if b, err := os.ReadFile(n.place.Lock); err != nil || !strings.HasPrefix(string(b), fmt.Sprintf("%d\nBacking up\n", os.Getpid())) {
				t.Errorf("at %s the lock is %q, %v", step, b, err)
			}
		}
	}
	must(t, j.StartBackup(cmd))
	// A start is let through, and removes the file in the end.
	must(t, os.Remove(n.place.Lock))
	j.relock()
	if b, err := os.ReadFile(n.place.Lock); err != nil || !strings.Contains(string(b), "\nBacking up\n") {
		t.Errorf("after a start the lock is %q, %v", b, err)
	}
	// Somebody else may be quicker: then it is his, also at the end.
	must(t, os.Remove(n.place.Lock))
	theirs := fmt.Sprintf("%d\nstopping\n", os.Getppid())
	put(t, n.place.Lock, theirs)
	j.relock()
	n.at = nil
	if list, err := save(j); err != nil || len(list) < 20 {
		t.Errorf("save = %d entries, %v", len(list), err)
	}
	if b, err := os.ReadFile(n.place.Lock); err != nil || string(b) != theirs {
		t.Errorf("another's lock is %q, %v, want %q", b, err, theirs)
	}

	// Another's is waited for and named.
	before := len(n.calls)
	_, log, err := run(t, n, cmd+":lock_wait=1ns")
	if got := log.all("fatal"); err == nil || !strings.Contains(got, "Virtuozzo's lock of container "+webID+": ") || !strings.Contains(got, `status "stopping", still after 1ns`) {
		t.Errorf("a job beside a stop = %v, %q", err, got)
	}
	if got := strings.Join(n.calls[before:], " "); strings.Contains(got, "snapshot") {
		t.Errorf("it has done %s", got)
	}
	must(t, os.Remove(n.place.Lock))
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A container that is just being stopped is saved when that is done.
func TestStateIsJudgedWhenTheLockIsHad(t *testing.T) {
	n := webNode(t)
	n.list[1].State = "stopping"
	put(t, n.place.Lock, fmt.Sprintf("%d\nstopping\n", os.Getppid()))
	j, log := n.job(t, bareos)
	log.told = func(line string) {
		if strings.Contains(line, "waiting for Virtuozzo's lock") {
			n.list[1].State = "stopped"
			must(t, os.Remove(n.place.Lock))
		}
	}
	must(t, j.StartBackup(cmd))
	j.Close()
	if !strings.Contains(log.all("info"), "of stopped container taken") {
		t.Errorf("said %s", log.all())
	}
}

// Where Virtuozzo's lock cannot be had the job goes on, and says why.
func TestWithoutVirtuozzosLock(t *testing.T) {
	for what, tt := range map[string]struct {
		spoil func(n *fakeNode)
		want  string
	}{
		"no directory": {func(n *fakeNode) { must(t, os.Remove(n.path("vzlock"))) }, "no such file or directory"},
		"no LOCKDIR":   {func(n *fakeNode) { n.place.Lock = "" }, "LOCKDIR in vz.conf is no absolute path"},
		"planted link": {func(n *fakeNode) { must(t, os.Symlink("/etc/passwd", n.place.Lock)) }, "too many levels of symbolic links"},
	} {
		n := webNode(t)
		tt.spoil(n)
		_, log, err := run(t, n, cmd)
		if got := log.all("warning"); err != nil || strings.Count(got, "Virtuozzo's lock of container "+webID+" is not taken: ") != 1 || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %v, said %q, want %q", what, err, got, tt.want)
		}
		if got := log.all("error"); got != "" {
			t.Errorf("%s: said %q", what, got)
		}
	}
}

// A running pcompact is waited for, unless the option says not to.
func TestBackupBesidePcompact(t *testing.T) {
	n := webNode(t)
	pcompact, err := lock.Exclusive(n.path("pcompact.pid"), false)
	must(t, err)
	defer pcompact.Release()
	if _, log, err := run(t, n, cmd+":lock_wait=1ns"); err == nil || !strings.Contains(log.all("fatal"), "pcompact: ") {
		t.Errorf("StartBackup beside pcompact = %v, %s", err, log.all("fatal"))
	}
	if _, log, err := run(t, n, cmd+":lock_wait=1ns:pcompact=ignore"); err != nil {
		t.Errorf("StartBackup with pcompact=ignore = %v, %s", err, log.all())
	}
}

// A wait ends with the job, and says for whom it waits.
func TestWaitIsCancelled(t *testing.T) {
	n := webNode(t)
	held, err := lock.Exclusive(n.path("lock"), false)
	must(t, err)
	j, log := n.job(t, bareos)
	log.told = func(line string) {
		if strings.Contains(line, "waiting for lockfile=") {
			j.Cancel()
		}
	}
	if err := j.StartBackup(cmd + ":lockfile=" + n.path("lock")); err != ErrStop {
		t.Errorf("StartBackup = %v, want ErrStop", err)
	}
	if got := log.all("info"); !strings.Contains(got, "is held by process") {
		t.Errorf("said %q, want the holder", got)
	}
	must(t, held.Release())
	if left := n.left(t); len(left) > 0 || log.all("fatal") != "" {
		t.Errorf("left behind: %q\n%s", left, log.all())
	}
}

// The name goes to another container while the job waits for the lock of the one
// that it began with.
func TestNameGoesToAnotherContainerDuringTheWait(t *testing.T) {
	n := webNode(t)
	n.at = func(int) {
		if len(n.calls) == 3 { // the second look
			n.list[0].Name, n.list[1].Name = "web", "web-old"
		}
	}
	_, log, err := run(t, n, cmd)
	if err == nil || !strings.Contains(log.all("fatal"), "has become that of container "+oldID) || slices.Contains(n.calls, "snapshot") {
		t.Errorf("job = %v, calls %q\n%s", err, n.calls, log.all())
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
