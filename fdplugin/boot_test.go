// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// deadBackup is a node on which a backup of web has died with its snapshots
// mounted.
func deadBackup(t *testing.T) *fakeNode {
	t.Helper()
	whole := webNode(t)
	_, _, err := run(t, whole, cmd)
	must(t, err)
	n := webNode(t)
	crashAt(t, n, slices.Index(whole.calls, "unmount"))
	n.calls = nil
	return n
}

// At boot nothing is asked of prlctl, which does not answer yet, and nothing is
// merged or removed that takes its time or needs an owner.
func TestSweepAtBoot(t *testing.T) {
	n := deadBackup(t)
	tree := n.path("private/" + dataID)
	put(t, filepath.Join(tree, markName), "mine")
	put(t, n.path("lock.lock"), "vz7ct 1\n")
	put(t, n.path("state/locks/"+webID), "")
	j, err := undo.Create(n.path("state/journal"), "restore", undo.Head{Job: "restore.1", Container: "old"})
	must(t, err)
	must(t, os.Mkdir(n.path("mnt/r"), 0o700))
	for _, s := range []undo.Step{
		{Do: undo.MadeLink, Dir: n.path("lock.lock")},
		{Do: undo.MadeTree, Dir: tree, Container: dataID, Mark: "mine"},
		{Do: undo.MadeDir, Dir: n.path("mnt/r")},
		{Do: undo.Mounted, Descriptor: filepath.Join(tree, "root.hdd/DiskDescriptor.xml"), Dir: n.path("mnt/r")},
	} {
		must(t, j.Intend(s))
	}
	must(t, j.Close())
	n.fault = func(step string) error {
		if step != "unmount" && step != "owns" { // which reads a file
			return errors.New("not at boot")
		}
		return nil
	}
	log, said := newLog()
	boot := Cleaner{Node: n.node(), Log: log, Boot: true}
	before := len(n.left(t))
	if _, err := boot.Sweep(context.Background(), true); err != nil || len(n.calls) > 0 || len(n.left(t)) != before {
		t.Errorf("dry sweep at boot = %v, calls %q", err, n.calls)
	}
	said.lines = nil
	stuck, err := boot.Sweep(context.Background(), false)
	slices.Sort(n.calls) // the journals are in any order
	if want := []string{"owns", "owns", "unmount", "unmount", "unmount"}; len(n.completed) != 2 || err != nil || len(stuck) > 0 || !reflect.DeepEqual(n.calls, want) {
		t.Errorf("sweep at boot = %v, %v, calls %q, want %q", stuck, err, n.calls, want)
	}
	for _, want := range []string{"warning: job job.1 of ", "left behind: mount of ", "left behind: lock file " + n.path("lock.lock"),
		"left for later: snapshot {", "left for later: private area " + tree + " of an incomplete restore of job restore.1 (container old): it can wait until containers"} {
		if !strings.Contains(said.all(), want) {
			t.Errorf("it says\n%s\nwithout %q", said.all(), want)
		}
	}
	if !exists(tree) || len(n.shots) != 2 || len(n.mounts) != 0 {
		t.Errorf("after boot: tree there %v, snapshots %v, mounts %v", exists(tree), n.shots, n.mounts)
	}
	for _, l := range n.left(t) {
		if !strings.HasPrefix(l, "state/journal/") && !strings.Contains(l, "DiskDescriptor.xml") && !strings.Contains(l, recordPrefix) {
			t.Errorf("left: %s, want the snapshots with their records and the journals alone", l)
		}
	}
	// A second time there is nothing to do.
	n.calls, said.lines = nil, nil
	if _, err := boot.Sweep(context.Background(), false); err != nil || slices.Contains(n.calls, "unmount") || said.all("warning") != "" {
		t.Errorf("the second sweep at boot = %v, calls %q, %s", err, n.calls, said.all())
	}
	n.fault = nil
	boot.Boot = false
	if _, err := boot.Sweep(context.Background(), false); err != nil {
		t.Errorf("the sweep after it = %v", err)
	}
	if left := n.left(t); len(left) > 0 || exists(tree) {
		t.Errorf("left after it: %q, tree there %v", left, exists(tree))
	}
}

// What cannot be unmounted at boot is an error, with the commands for that alone.
func TestSweepAtBootThatFails(t *testing.T) {
	n := deadBackup(t)
	n.failAt = 1
	log, _ := newLog()
	_, err := Cleaner{Node: n.node(), Log: log, Boot: true}.Sweep(context.Background(), false)
	if err == nil || !strings.Contains(err.Error(), "by hand: ploop umount -m ") || strings.Contains(err.Error(), "snapshot-delete") || len(n.mounts) != 1 {
		t.Errorf("sweep at boot with a busy mount = %v, mounts %v", err, n.mounts)
	}
}

func TestSweepAtBootDoesNotWaitForOthers(t *testing.T) {
	if got := (Cleaner{Boot: true}).turnWait(); got <= 0 || got.Minutes() > 1 {
		t.Errorf("turnWait at boot = %s", got)
	}
	if got := (Cleaner{}).turnWait(); got != 0 {
		t.Errorf("turnWait = %s, want no limit", got)
	}
}

// A merge must not keep the node from starting a container after its boot.
func TestSweepLetsContainersStart(t *testing.T) {
	for _, tt := range []struct {
		state, onboot, uptime string
		own                   bool
		left                  bool
	}{
		{"stopped", "yes", "60.00 1.00\n", false, true},
		{"stopped", "auto", "60.00 1.00\n", false, true},
		{"suspended", "yes", "899.99 1.00\n", false, true},
		{"starting", "yes", "60.00 1.00\n", false, true},
		{"stopped", "yes", "60.00 1.00\n", true, false},
		{"stopped", "yes", "900.00 1.00\n", false, false},
		{"stopped", "no", "60.00 1.00\n", false, false},
		{"stopped", "", "60.00 1.00\n", false, false},
		{"running", "yes", "60.00 1.00\n", false, false},
		{"mounted", "yes", "60.00 1.00\n", false, false},
	} {
		n := deadBackup(t)
		n.onboot(t, tt.state, tt.onboot, tt.uptime)
		log, said := newLog()
		c := Cleaner{Node: n.node(), Log: log, LetStart: true}
		if tt.own {
			c.own = Options{Name: "web"}.mean
		}
		stuck, err := c.Sweep(context.Background(), false)
		if err != nil || len(stuck) > 0 || len(n.mounts) > 0 {
			t.Errorf("%+v: Sweep = %v, %v, mounts %v", tt, stuck, err, n.mounts)
		}
		if left := len(n.shots) == 2; left != tt.left || !left && len(n.left(t)) > 0 {
			t.Errorf("%+v: left %q", tt, n.left(t))
		}
		if tt.left && !strings.Contains(said.all("info"), "the container is "+tt.state+", and the node, up for ") {
			t.Errorf("%+v: it says\n%s", tt, said.all())
		}
		c.LetStart = false // by hand
		if _, err := c.Sweep(context.Background(), false); err != nil || len(n.left(t)) > 0 {
			t.Errorf("%+v: by hand = %v, left %q", tt, err, n.left(t))
		}
	}
}

// The same where only the record beside the images tells of the snapshot.
func TestSweepOfRecordsLetsContainersStart(t *testing.T) {
	n := leftWithout(t, "unmount")
	n.onboot(t, "stopped", "yes", "60.00 1.00\n")
	log, said := newLog()
	c := Cleaner{Node: n.node(), Log: log, Boot: true}
	if _, err := c.Sweep(context.Background(), false); err != nil || len(n.calls) > 0 {
		t.Errorf("sweep at boot without a journal = %v, calls %q", err, n.calls)
	}
	c.Boot, c.LetStart = false, true
	stuck, err := c.Sweep(context.Background(), false)
	if err != nil || len(stuck) > 0 || len(n.mounts) > 0 || len(n.shots) != 2 || len(records(t, n)) != 2 || said.all("warning") != "" ||
		strings.Count(said.all("info"), "the container is stopped, and the node, up for ") != 2 {
		t.Errorf("Sweep = %v, %v, mounts %v, snapshots %v, records %q\n%s", stuck, err, n.mounts, n.shots, records(t, n), said.all())
	}
	c.LetStart = false
	if stuck, err := c.Sweep(context.Background(), true); err != nil || len(stuck) != 2 || len(n.shots) != 2 {
		t.Errorf("dry sweep = %v, %v", stuck, err)
	}
	if _, err := c.Sweep(context.Background(), false); err != nil || len(n.shots) > 0 || len(records(t, n)) > 0 {
		t.Errorf("by hand = %v, snapshots %v", err, n.shots)
	}
}

// onboot sets what decides whether web is about to be started.
func (n *fakeNode) onboot(t *testing.T, state, onboot, uptime string) {
	t.Helper()
	put(t, n.path("uptime"), uptime)
	conf := filepath.Join(n.place.Private, "ve.conf")
	b, err := os.ReadFile(conf)
	must(t, err)
	if onboot != "" {
		put(t, conf, string(b)+"ONBOOT=\""+onboot+"\"\n")
	}
	n.place.Config, err = prlctl.ReadConfig(conf)
	must(t, err)
	for i := range n.list {
		if n.list[i].UUID == webID {
			n.list[i].State = state
		}
	}
}

// What cannot be found out is an error: nothing is merged, and the disk counts as
// one on which something is left.
func TestSweepDoesNotGuessAboutBoot(t *testing.T) {
	for name, spoil := range map[string]func(n *fakeNode){
		"no uptime":  func(n *fakeNode) { must(t, os.Remove(n.path("uptime"))) },
		"odd uptime": func(n *fakeNode) { put(t, n.path("uptime"), "soon\n") },
		// Each of two snapshots is looked up and its owner asked for. Then the
		// first one is looked up again, and its place asked for.
		"no list":    func(n *fakeNode) { n.failAt = 5 },
		"no ve.conf": func(n *fakeNode) { n.failAt = 6 },
	} {
		n := deadBackup(t)
		n.onboot(t, "stopped", "yes", "60.00 1.00\n")
		spoil(n)
		log, _ := newLog()
		stuck, err := Cleaner{Node: n.node(), Log: log, LetStart: true}.Sweep(context.Background(), false)
		if err == nil || len(stuck) != 2 || len(n.shots) != 2 {
			t.Errorf("%s: Sweep = %v, %v, snapshots %v", name, stuck, err, n.shots)
		}
	}
}

// The jobs of a node that has just booted: of another container what is left
// stays, without a warning, and the own one is not kept from its backup.
func TestJobsAfterBoot(t *testing.T) {
	n := deadBackup(t)
	n.onboot(t, "stopped", "yes", "60.00 1.00\n")
	j, log := n.job(t, bareos)
	must(t, j.sweep()) // for no container yet, as a restore does
	if len(n.shots) != 2 || len(j.stuck) > 0 || strings.Contains(log.all("warning"), "leftovers") || !strings.Contains(log.all("info"), "left for later: snapshot {") {
		t.Errorf("sweep of another container's job: snapshots %v, stuck %v\n%s", n.shots, j.stuck, log.all())
	}
	_, log, err := run(t, n, cmd)
	if err != nil || len(n.left(t)) > 0 {
		t.Errorf("backup of the container itself = %v, left %q\n%s", err, n.left(t), log.all())
	}
}

// A sweep that is repeated does not wait for a tool that a dead job has started.
func TestSweepSkipsWhatToolsWorkOn(t *testing.T) {
	n := webNode(t)
	if _, _, err := run(t, n, cmd); err != nil {
		t.Fatal(err)
	}
	at := slices.Index(n.calls, "merge")
	n = webNode(t)
	n.hang = at + 1
	_, _, _ = run(t, n, cmd)
	n.calls = nil
	log, said := newLog()
	node := n.node()
	node.Pause = time.Hour
	c := Cleaner{Node: node, Log: log, SkipBusy: true}
	stuck, err := c.Sweep(context.Background(), false)
	if err != nil || len(stuck) > 0 || len(n.calls) > 0 || !strings.Contains(said.all("info"), "left for later: what job job.1 (container web ") {
		t.Errorf("Sweep beside a tool = %v, %v, calls %q\n%s", stuck, err, n.calls, said.all())
	}
	c.SkipBusy, c.Boot = false, true
	if _, err := c.Sweep(context.Background(), false); err == nil || !strings.Contains(err.Error(), "still runs") || len(n.calls) > 0 {
		t.Errorf("Sweep at boot beside a tool = %v, calls %q", err, n.calls)
	}
	must(t, n.wake())
	c.SkipBusy, c.Boot = true, false
	if _, err := c.Sweep(context.Background(), false); err != nil || len(n.left(t)) > 0 {
		t.Errorf("Sweep after it = %v, left %q", err, n.left(t))
	}
}
