// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

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
