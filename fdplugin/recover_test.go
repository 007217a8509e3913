// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// A container that leaves the node while it is saved, by a fail-over on shared
// storage, keeps its snapshot: a merge here would write to what another node uses.
// All that is this node's alone is taken back.
func TestContainerLeavesDuringTheJob(t *testing.T) {
	for name, tt := range map[string]struct {
		owner, want string
		unlist      bool
	}{
		"another owner":    {"node2", `belongs to node "node2" by its file .owner`, false},
		"not registered":   {noOwner, "is not registered on this node any more", true},
		"nobody's, listed": {noOwner, "", false},
		"ours, not listed": {"", "", true}, // prlctl may be wrong, the owner is not
	} {
		n := webNode(t)
		list := n.list
		j, log := n.job(t, bareos)
		must(t, j.StartBackup(cmd))
		n.owner = tt.owner
		if tt.unlist {
			n.list = nil
		}
		_, err := save(j)
		got := log.all("error")
		merged := slices.Contains(n.calls, "merge")
		if err != nil || merged != (tt.want == "") || (got == "") != merged {
			t.Errorf("%s: %v, merged %v, said %q", name, err, merged, got)
		}
		if tt.want == "" {
			if left := n.left(t); len(left) > 0 {
				t.Errorf("%s: left behind: %q", name, left)
			}
			continue
		}
		for _, words := range []string{tt.want, "by hand, on the node that has the container and on no other: ploop snapshot-delete -u {"} {
			if !strings.Contains(got, words) {
				t.Errorf("%s: said %q, want %q", name, got, words)
			}
		}
		if len(n.mounts) > 0 || exists(n.place.Lock) || len(n.shots) != 2 {
			t.Errorf("%s: mounts %v, lock there %v, snapshots %v", name, n.mounts, exists(n.place.Lock), n.shots)
		}
		// It comes back, and is taken care of then.
		n.owner, n.list = "", list
		if _, log, err := run(t, n, cmd); err != nil || !strings.Contains(log.all("warning"), "has not ended properly") {
			t.Errorf("%s: the next job = %v, %s", name, err, log.all())
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("%s: left behind: %q", name, left)
		}
	}
}

// What a dead job has left is not touched where the container may be live on
// another node.
func TestSweepTouchesOnlyWhatThisNodeOwns(t *testing.T) {
	whole := webNode(t)
	_, _, err := run(t, whole, cmd)
	must(t, err)
	last := slices.Index(whole.calls, "unmount")
	for name, tt := range map[string]struct {
		spoil func(n *fakeNode)
		want  string
	}{
		"registered elsewhere": {func(n *fakeNode) { n.list = nil }, "is not registered on this node any more"},
		"another owner":        {func(n *fakeNode) { n.owner = "node2" }, `belongs to node "node2"`},
		"owner unknown": {func(n *fakeNode) {
			n.fault = func(step string) error {
				if step == "owns" {
					return errors.New("unreadable")
				}
				return nil
			}
		}, "unreadable"},
	} {
		n := webNode(t)
		crashAt(t, n, last)
		list, fault := n.list, n.fault
		before := n.left(t)
		tt.spoil(n)
		j, _ := n.job(t, bareos)
		n.calls = nil
		stuck, err := j.cleaner().Sweep(context.Background(), false)
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(stuck) == 0 {
			t.Errorf("%s: Sweep = %v, %v, want %q", name, stuck, err, tt.want)
		}
		for _, call := range n.calls {
			if call != "list" && call != "owns" {
				t.Errorf("%s: %s was called", name, call)
			}
		}
		if left := n.left(t); len(left) != len(before) {
			t.Errorf("%s: left %q, before %q", name, left, before)
		}
		n.list, n.owner, n.fault = list, "", fault
		if _, err := j.cleaner().Sweep(context.Background(), true); err != nil || len(n.left(t)) != len(before) {
			t.Errorf("%s: a dry sweep = %v, left %q, before %q", name, err, n.left(t), before)
		}
		if _, err := j.cleaner().Sweep(context.Background(), false); err != nil {
			t.Errorf("%s: Sweep when it is back = %v", name, err)
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("%s: left behind: %q", name, left)
		}
	}
}

// A node that was renamed has another name in .owner than its own, where vzctl does
// not look at that: on local storage. What it said before the snapshot is no reason
// to leave it for ever.
func TestSweepKnowsTheOwnerOfBefore(t *testing.T) {
	whole := webNode(t)
	_, _, err := run(t, whole, cmd)
	must(t, err)
	n := webNode(t)
	n.owner = "oldname"
	crashAt(t, n, slices.Index(whole.calls, "unmount"))
	j, log := n.job(t, bareos)
	if _, err := j.cleaner().Sweep(context.Background(), false); err != nil || len(n.left(t)) > 0 {
		t.Errorf("Sweep = %v, left %q\n%s", err, n.left(t), log.all())
	}
}
