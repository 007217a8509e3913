// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestFaults is `make faults`: jobs are stopped at every call of ploop and prlctl,
// at the points within those calls that the stand-in node knows, and at every change
// of the journal. VZ7CT_FAULTS names an operation, a kind of fault, both as
// "backup/power", or is all; without it the deaths at calls in a backup are played.
// VZ7CT_FAULT_NODES is the number of nodes that are at work at the same time.
func TestFaults(t *testing.T) {
	which := os.Getenv("VZ7CT_FAULTS")
	s := &score{}
	first := newFaults(t, s)
	var queue []point
	controlled := false
	for _, op := range operations() {
		if which == "" && op.name != "backup" {
			continue
		}
		for _, p := range first.survey(op) {
			if p.chosen(which) {
				queue = append(queue, p)
			}
			if !controlled && p.at == strings.Split(p.at, ":")[0]+":before" && strings.HasPrefix(p.what, "ploop umount") {
				controlled = true
				first.nobodyRecovers(p)
			}
		}
	}
	t.Logf("%d points: %s", len(queue), s.calls)
	if len(queue) == 0 {
		t.Fatalf("VZ7CT_FAULTS=%s names no point", which)
	}
	slices.Reverse(queue) // restores first, which have most to put up with
	points := make(chan point, len(queue))
	for _, p := range queue {
		points <- p
	}
	close(points)
	t.Run("node", func(t *testing.T) {
		for n := range min(faultNodes(), 1+len(queue)/8) {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				if n == 0 {
					s.work(t, first, points)
				} else {
					s.work(t, nil, points)
				}
			})
		}
	})
	for range points {
		s.skipped++ // nobody was left to play them
	}
	t.Logf("\n%s", s.table())
	if file := os.Getenv("VZ7CT_FAULTS_TABLE"); file != "" {
		first.must(os.WriteFile(file, []byte(s.table()), 0o644))
	}
	t.Log(s)
	if why := s.bad(); why != "" {
		t.Error(why)
	}
}

// faultNodes is how many nodes are at work. More than the machine has processors:
// most of the time is waiting.
func faultNodes() int {
	if n, err := strconv.Atoi(os.Getenv("VZ7CT_FAULT_NODES")); err == nil && n > 0 {
		return n
	}
	if os.Getenv("VZ7CT_FAULTS") == "" {
		return 1 // in make test time counts less than that nothing disturbs
	}
	return 4
}

// judgeEvery is after how many points the container is stopped and its data judged,
// renewEvery after how many a new node takes the place of one that has filled up with
// what the container's programs and the Director have written.
const (
	judgeEvery = 12
	renewEvery = 5 * judgeEvery
)

// work plays points on one node after the other. A node that does not come back is
// put aside.
func (s *score) work(t *testing.T, first *faults, points <-chan point) {
	for spoiled := 0; len(points) > 0; {
		if spoiled == 8 {
			t.Fatal("eight nodes have not come back: the remaining points are left to others")
		}
		f := first
		if !t.Run("on", func(t *testing.T) {
			if f == nil {
				f = newFaults(t, s)
			}
			f.on(t).playSome(points)
		}) {
			spoiled++
		}
		first = nil
	}
}

// playSome plays points until the node is to be renewed, or does not come back.
func (f *faults) playSome(points <-chan point) {
	for n := 1; n <= renewEvery; n++ {
		p, more := <-points
		if !more {
			break
		}
		ok := f.Run(p.String(), func(t *testing.T) { f.on(t).play(p) })
		if ok && n%judgeEvery == 0 {
			ok = f.Run("data", func(t *testing.T) { f.on(t).durable() })
		}
		if !ok {
			return
		}
	}
	f.durable()
	f.run("prlctl", "stop", "web")
}

// point is one place in one operation, and what happens there.
type point struct {
	op operation
	// at is the place as the lab takes it: "7:before", "3:frozen", "journal-5:after".
	at string
	// what is the call or the change of the journal, for people.
	what string
	kind string
}

func (p point) String() string { return fmt.Sprintf("%s %s %s", p.op.name, p.at, p.kind) }

// place is where a point stands in the table.
func (p point) place() string {
	switch {
	case strings.HasPrefix(p.at, "journal-"):
		return "journal"
	case strings.HasSuffix(p.at, ":before"), strings.HasSuffix(p.at, ":after"):
		return "call"
	}
	return "within a call"
}

// chosen reports whether VZ7CT_FAULTS means this point.
func (p point) chosen(which string) bool {
	switch which {
	case "":
		return p.op.name == "backup" && p.kind == "kill" && p.place() == "call"
	case "all", p.op.name, p.kind, p.op.name + "/" + p.kind, p.op.name + "/" + p.place():
		return true
	}
	return strings.HasPrefix(p.String(), which)
}

// survey runs an operation undisturbed and returns the points that it has.
func (f *faults) survey(op operation) []point {
	f.Helper()
	op.prepare(f)
	f.set("0:-:-")
	r, err := f.sys.Wait(op.begin(f, ""))
	f.must(err)
	if !r.OK() {
		f.Fatalf("%s, undisturbed: %s", op.name, r)
	}
	var list []point
	add := func(at, what string, kinds ...string) {
		for _, k := range kinds {
			list = append(list, point{op, at, what, k})
		}
	}
	calls := f.lines("calls")
	for n, call := range calls {
		for _, when := range []string{"before", "after"} {
			at := fmt.Sprintf("%d:%s", n+1, when)
			add(at, call, "kill", "group", "fail", "full system", "full /vz", "power")
			if changes(call) {
				add(at, call, "hang")
			}
		}
	}
	for _, line := range f.lines("points") {
		var n int
		var name string
		if _, err := fmt.Sscanf(line, `{"call":%d,"point":%q}`, &n, &name); err != nil {
			f.Fatalf("points: %v: %s", err, line)
		}
		add(fmt.Sprintf("%d:%s", n, name), calls[n-1], "kill", "group", "die", "power")
	}
	steps := f.lines("journal-steps")
	for n, step := range steps {
		add(fmt.Sprintf("journal-%d:before", n+1), step, "kill", "fail", "power")
		// Between a write and its sync nothing else happens.
		if step != "write" {
			add(fmt.Sprintf("journal-%d:after", n+1), step, "kill", "power")
		}
	}
	f.set("")
	f.score.calls = append(f.score.calls, fmt.Sprintf("%s: %d calls, %d changes of the journal", op.name, len(calls), len(steps)))
	op.after(f)
	return list
}

// changes reports whether a call changes something, and so is never ended by force:
// those that only read are, after a minute.
func changes(call string) bool {
	for _, word := range []string{" list", " snapshot-list", " info", " check"} {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(call, "prlctl"), "ploop"), word) {
			return false
		}
	}
	return true
}

// lines reads one of the lab's lists.
func (f *faults) lines(name string) []string {
	f.Helper()
	b, err := os.ReadFile(filepath.Join(f.node.Dir, name))
	if os.IsNotExist(err) {
		return nil
	}
	f.must(err)
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}
