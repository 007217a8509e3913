// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// score counts what has come of the points. Nodes at work at the same time have one.
type score struct {
	mu    sync.Mutex
	calls []string
	rows  []row
	// recovered are the points from which the node has come back, leftover those at
	// which something was left, lost the pieces of a container's data that were gone.
	points, recovered, leftover, lost, skipped int
	// controls: how often the look for leftovers has found what must have been there,
	// of the points at which nobody had recovered yet.
	controls, planted int
}

// row is a line of the table.
type row struct {
	op, place, kind   string
	points, recovered int
}

func (s *score) played(p point, recovered, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := slices.IndexFunc(s.rows, func(r row) bool { return r.op == p.op.name && r.place == p.place() && r.kind == p.kind })
	if n < 0 {
		n = len(s.rows)
		s.rows = append(s.rows, row{op: p.op.name, place: p.place(), kind: p.kind})
	}
	s.points++
	s.rows[n].points++
	if recovered {
		s.recovered++
		s.rows[n].recovered++
	}
	if left {
		s.leftover++
	}
}

// control counts a look at a node on which something was planted.
func (s *score) control(seen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planted++
	if seen {
		s.controls++
	}
}

func (s *score) loses(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost += n
}

// String is the last line of `make faults`.
func (s *score) String() string {
	return fmt.Sprintf("faults: points=%d recovered=%d lost=%d leftover=%d skipped=%d controls=%d/%d",
		s.points, s.recovered, s.lost, s.leftover, s.skipped, s.controls, s.planted)
}

// bad says what is wrong with the whole, "" if nothing is.
func (s *score) bad() string {
	switch {
	case s.points == 0:
		return "nothing was played"
	case s.recovered != s.points || s.leftover > 0:
		return "the node has not come back everywhere"
	case s.lost > 0:
		return "a container has lost data that was synced"
	case s.skipped > 0:
		return "points were skipped"
	case s.planted == 0 || s.controls != s.planted:
		return "the look for leftovers does not see what was planted"
	}
	return ""
}

// table is what stands in docs/crash-safety.md.
func (s *score) table() string {
	var b strings.Builder
	b.WriteString("| operation | stopped at | by | points | recovered |\n|--|--|--|--:|--:|\n")
	rows := slices.Clone(s.rows)
	slices.SortFunc(rows, func(a, b row) int {
		return strings.Compare(a.op+"\x00"+a.place+"\x00"+a.kind, b.op+"\x00"+b.place+"\x00"+b.kind)
	})
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d |\n", r.op, r.place, r.kind, r.points, r.recovered)
	}
	fmt.Fprintf(&b, "| all | | | %d | %d |\n", s.points, s.recovered)
	return b.String()
}

// The score's own control: everything that can go wrong is called bad.
func TestScore(t *testing.T) {
	good := score{points: 3, recovered: 3, controls: 2, planted: 2}
	if why := good.bad(); why != "" {
		t.Errorf("bad() = %q of a run in which all is well", why)
	}
	for name, s := range map[string]*score{
		"nothing":     {},
		"unrecovered": {points: 3, recovered: 2, controls: 2, planted: 2},
		"leftover":    {points: 3, recovered: 3, leftover: 1, controls: 2, planted: 2},
		"lost":        {points: 3, recovered: 3, lost: 1, controls: 2, planted: 2},
		"skipped":     {points: 3, recovered: 3, skipped: 1, controls: 2, planted: 2},
		"blind":       {points: 3, recovered: 3, controls: 1, planted: 2},
		"unplanted":   {points: 3, recovered: 3},
	} {
		if s.bad() == "" {
			t.Errorf("bad() says nothing of a run with the flaw %q", name)
		}
	}
}
