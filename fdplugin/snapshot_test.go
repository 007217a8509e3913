// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/undo"
)

const freezeCmd = cmd + ":multi_disk=freeze"

// aliveNode is webNode with a process of the container: this one.
func aliveNode(t *testing.T) *fakeNode {
	t.Helper()
	n := webNode(t)
	put(t, n.path("run/"+webID+".init.pid"), fmt.Sprint(os.Getpid()))
	n.place.Run, n.place.Root = n.path("run"), "/"
	return n
}

// stood records at which steps the container stands still.
func (n *fakeNode) stood() *[]string {
	var list []string
	n.at = func(c int) {
		if n.frozen != "" {
			list = append(list, n.calls[c-1])
		}
	}
	return &list
}

// The container stands still around all snapshots, and at nothing else.
func TestFreezeAroundAllSnapshots(t *testing.T) {
	n := aliveNode(t)
	still := n.stood()
	_, log, err := run(t, n, freezeCmd)
	must(t, err)
	want := []string{"list", "describe", "list", "describe", "find", "freeze", "snapshot", "snapshot", "thaw", "mount", "mount", "unmount", "unmount", "merge", "merge"}
	calls := slices.DeleteFunc(slices.Clone(n.calls), func(c string) bool { return c == "owns" })
	if !slices.Equal(calls, want) {
		t.Errorf("calls = %q, want %q", calls, want)
	}
	if want := []string{"snapshot", "snapshot", "thaw"}; !slices.Equal(*still, want) {
		t.Errorf("it stood still at %q, want %q", *still, want)
	}
	if !strings.Contains(log.all(), "all processes of the container stood still for 143 ms") || strings.Contains(log.all(), "one after another") {
		t.Errorf("the job log:\n%s", log.all())
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestNothingIsFrozenWithoutNeed(t *testing.T) {
	for name, tt := range map[string]struct {
		cmd, state string
		estimate   bool
		skew       bool // the log tells the time between the disks
	}{
		"default":   {cmd, "running", false, true},
		"skew":      {cmd + ":multi_disk=skew", "running", false, true},
		"one disk":  {freezeCmd + ":excluded_backup_paths=/data", "running", false, false},
		"stopped":   {freezeCmd, "stopped", false, true},
		"mounted":   {freezeCmd, "mounted", false, true},
		"suspended": {freezeCmd, "suspended", false, true},
		"estimate":  {freezeCmd, "running", true, true},
	} {
		n := aliveNode(t)
		n.list[1].State = tt.state
		still := n.stood()
		j, log := n.job(t, bareos)
		start := j.StartBackup
		if tt.estimate {
			start = j.StartEstimate
		}
		must(t, start(tt.cmd))
		j.Close()
		if slices.Contains(n.calls, "find") || slices.Contains(n.calls, "freeze") || len(*still) > 0 {
			t.Errorf("%s: calls = %q", name, n.calls)
		}
		if strings.Contains(log.all(), "one after another") != tt.skew || strings.Contains(log.all(), "stood still") {
			t.Errorf("%s: the job log:\n%s", name, log.all())
		}
	}
}

// Every step fails in turn, before and after it has done its work: the container
// goes on, first of all, and nothing is left.
func TestFreezeFailsAtEveryStep(t *testing.T) {
	n := aliveNode(t)
	_, _, err := run(t, n, freezeCmd)
	must(t, err)
	says := map[string]string{"find": "multi_disk=freeze: container web: ", "freeze": "multi_disk=freeze: container web: ", "snapshot": "take snapshot of disk ", "thaw": ""}
	for at, step := range n.calls {
		want, ok := says[step]
		if !ok {
			continue // as without it
		}
		for _, late := range []bool{false, true} {
			n := aliveNode(t)
			n.failAt, n.late = at+1, late
			still := n.stood()
			_, log, err := run(t, n, freezeCmd)
			got := log.all("fatal")
			if err == nil || !strings.Contains(got, want) || !strings.Contains(got, "planted fault in "+step) {
				t.Errorf("step %d (%s, late %v): %v, %q, want %q", at+1, step, late, err, got, want)
			}
			if alternative := "with multi_disk=skew"; strings.Contains(got, alternative) != (step == "find" || step == "freeze") {
				t.Errorf("step %d (%s, late %v): %q, want it to name the alternative only where it helps", at+1, step, late, got)
			}
			if left := n.left(t); len(left) > 0 {
				t.Errorf("step %d (%s, late %v): left behind: %q", at+1, step, late, left)
			}
			for _, s := range *still {
				if s != "snapshot" && s != "thaw" {
					t.Errorf("step %d (%s, late %v): it stood still at %q", at+1, step, late, *still)
				}
			}
		}
	}
}

// Without a process of the container, nothing is touched.
func TestFreezeWithoutAnInit(t *testing.T) {
	for name, spoil := range map[string]func(n *fakeNode){
		"no record":       func(n *fakeNode) { must(t, os.Remove(n.path("run/"+webID+".init.pid"))) },
		"another process": func(n *fakeNode) { n.place.Root = n.path("root/" + webID) },
	} {
		n := aliveNode(t)
		spoil(n)
		_, log, err := run(t, n, freezeCmd)
		if err == nil || !strings.Contains(log.all("fatal"), "the pid of its init is not known") || !strings.Contains(log.all("fatal"), "with multi_disk=skew") {
			t.Errorf("%s: %v, %q", name, err, log.all("fatal"))
		}
		if slices.Contains(n.calls, "freeze") || slices.Contains(n.calls, "snapshot") {
			t.Errorf("%s: calls = %q", name, n.calls)
		}
	}
}

// A container that was let go before the last snapshot was made is not said to be
// saved as of one moment.
func TestThawedTooEarly(t *testing.T) {
	for name, tt := range map[string]struct{ during, snapshots int }{
		"during the first":  {1, 1},
		"during the second": {2, 2},
	} {
		n := aliveNode(t)
		seen := 0
		n.at = func(c int) {
			if n.calls[c-1] == "snapshot" {
				if seen++; seen == tt.during {
					n.frozen = "" // as the guard does
				}
			}
		}
		_, log, err := run(t, n, freezeCmd)
		if got := log.all("fatal"); err == nil || !strings.Contains(got, "it does not stand still any more") || !strings.Contains(got, "longer than a minute") || !strings.Contains(got, "with multi_disk=skew") {
			t.Errorf("%s: %v, %q", name, err, got)
		}
		if strings.Contains(log.all(), "stood still for") || seen != tt.snapshots || slices.Contains(n.calls, "mount") {
			t.Errorf("%s: %d snapshots, calls %q\n%s", name, seen, n.calls, log.all())
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("%s: left behind: %q", name, left)
		}
	}
}

// A fault of ours must not leave it standing still either.
func TestThawAfterAPanic(t *testing.T) {
	n := aliveNode(t)
	j, _ := n.job(t, bareos)
	n.at = func(c int) {
		if n.calls[c-1] == "snapshot" {
			n.at = nil
			panic("planted")
		}
	}
	func() {
		defer func() { _ = recover() }()
		_ = j.StartBackup(freezeCmd)
	}()
	if n.frozen != "" {
		t.Error("it stands still")
	}
	j.mu.TryLock()
	j.mu.Unlock()
	j.Close()
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// frozenNode is a node whose daemon and guard have died while the container stood
// still, before its second snapshot.
func frozenNode(t *testing.T) *fakeNode {
	t.Helper()
	n := aliveNode(t)
	_, _, err := run(t, n, freezeCmd)
	must(t, err)
	second := slices.Index(n.calls, "snapshot") + 1
	n = aliveNode(t)
	copied := crashOf(t, n, freezeCmd, second)
	if !strings.Contains(copied, `"do":"frozen"`) || n.frozen != "" {
		t.Fatalf("frozen %q, journal %s", n.frozen, copied)
	}
	n.frozen, n.calls = group, nil
	return n
}

// Whoever sweeps lets it go first of all, also where nothing else may be touched.
func TestSweepThawsFirst(t *testing.T) {
	for name, spoil := range map[string]func(n *fakeNode){
		"":                     func(*fakeNode) {},
		"registered elsewhere": func(n *fakeNode) { n.list = nil },
		"another owner":        func(n *fakeNode) { n.owner = "node2" },
	} {
		n := frozenNode(t)
		if left := n.left(t); !slices.Contains(left, "frozen "+group) {
			t.Fatalf("%s: left %q, so nothing is tested", name, left)
		}
		spoil(n)
		j, log := n.job(t, bareos)
		if _, err := j.cleaner().Sweep(context.Background(), true); err != nil || n.frozen == "" {
			t.Errorf("%s: a dry sweep: %v, frozen %q", name, err, n.frozen)
		}
		if want := "processes that stand still, in control group " + group; !strings.Contains(log.all(), want) {
			t.Errorf("%s: a dry sweep tells\n%s", name, log.all())
		}
		n.calls = nil
		_, err := j.cleaner().Sweep(context.Background(), false)
		if (err != nil) != (name != "") || n.frozen != "" || n.calls[0] != "thaw" {
			t.Errorf("%s: Sweep = %v, frozen %q, calls %q", name, err, n.frozen, n.calls)
		}
		if name != "" {
			// It is not let go a second time: it may stand still for somebody else by then.
			if list, _ := undo.List(n.path("state/journal")); len(list) != 1 || slices.ContainsFunc(list[0].Pending, isFrozen) {
				t.Errorf("%s: the journal has %+v", name, list)
			}
		} else if left := n.left(t); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// What cannot be let go is told, with the command, and tried again.
func TestSweepThatCannotThaw(t *testing.T) {
	n := frozenNode(t)
	n.fault = func(step string) error {
		if step == "thaw" {
			return errors.New("planted")
		}
		return nil
	}
	j, _ := n.job(t, bareos)
	_, err := j.cleaner().Sweep(context.Background(), false)
	if err == nil || !strings.Contains(err.Error(), "let container "+webID+" go on: planted") || !strings.Contains(err.Error(), "echo THAWED > "+group+"/freezer.state") {
		t.Errorf("Sweep = %v", err)
	}
	n.fault = nil
	if _, err := j.cleaner().Sweep(context.Background(), false); err != nil {
		t.Errorf("Sweep = %v", err)
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// recordOf reads the record that lies beside the images of the root disk.
func recordOf(t *testing.T, n *fakeNode) record {
	t.Helper()
	paths, err := filepath.Glob(n.path("private/" + webID + "/root.hdd/" + recordPrefix + "*"))
	must(t, err)
	if len(paths) != 1 {
		t.Fatalf("records %q, want one", paths)
	}
	r, err := readRecord(paths[0])
	must(t, err)
	return r
}

// A job that is alive is left alone; one that is dead is not waited for: a tool of
// it may still run.
func TestSweepBesideAFrozenContainer(t *testing.T) {
	n := aliveNode(t)
	j, _ := n.job(t, bareos)
	swept := false
	n.at = func(c int) {
		if n.calls[c-1] != "snapshot" || swept {
			return
		}
		swept = true
		other, _ := n.job(t, bareos)
		if _, err := other.cleaner().Sweep(context.Background(), false); err != nil || n.frozen == "" {
			t.Errorf("Sweep beside a live job: %v, frozen %q", err, n.frozen)
		}
	}
	must(t, j.StartBackup(freezeCmd))
	j.Close()
	if !swept {
		t.Fatal("there was no sweep")
	}

	n = frozenNode(t)
	// By its own name, so that the records beside the images are its.
	name := recordOf(t, n).Journal + undo.Suffix
	must(t, os.Rename(n.path("state/journal/dead.journal"), n.path("state/journal/"+name)))
	dead, err := os.Open(n.path("state/journal/" + name))
	must(t, err)
	must(t, unix.Flock(int(dead.Fd()), unix.LOCK_EX))
	b, err := os.ReadFile(dead.Name())
	must(t, err)
	// The number of no process.
	must(t, os.WriteFile(dead.Name(), []byte(strings.Replace(string(b), fmt.Sprintf(`"pid":%d`, os.Getpid()), `"pid":2147483646`, 1)), 0o600))
	j, _ = n.job(t, bareos)
	if _, err := j.cleaner().Sweep(context.Background(), false); err == nil || !strings.Contains(err.Error(), "still runs") || n.frozen != "" {
		t.Errorf("Sweep while a tool of a dead job runs = %v, frozen %q", err, n.frozen)
	}
	if slices.Contains(n.calls, "merge") {
		t.Errorf("calls = %q", n.calls)
	}
	dead.Close()
}
