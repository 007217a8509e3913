// SPDX-License-Identifier: AGPL-3.0-only

// Package attacks plays a tenant who has root in a container, and what a hostile
// backup could hold, against the code that restores into it and looks into it. Each
// attack has a flag outside of the root that must neither be altered nor read, and a
// control: the same attack has to succeed against a restorer that works with paths,
// as many do. It is no test of what a restore writes where nobody attacks.
//
// The tenant is a process with process and mount namespaces of its own, locked into
// the root; the restore is another process, which enters by /proc/PID/root. So both
// can be killed when something hangs, and all mounts go with the tenant.
package attacks

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// attack is one attack. Its functions are called in different processes, so they
// share nothing but the ground.
type attack struct {
	name string
	// prepare is done on the node before the tenant begins; what it returns undoes it.
	prepare func(g *ground) func()
	// plant is done by the tenant, for whom / is the root.
	plant func(g *ground)
	// race is what processes of the tenant repeat while the restore runs; mounts what
	// the one that may mount does; outsider a process of the node that is not locked
	// into the root. Each reports whether it has changed anything.
	race, mounts, outsider func(g *ground) bool
	// items are restored, again and again if somebody races.
	items []item
	// stream are names of a hostile backup, of a whole container or of files for a
	// running one; blocker is looked for by a backup. Then the product is package
	// fdplugin.
	stream  []streamed
	whole   bool
	blocker string
	// hangs: the attack is to hang the restore; denies: to keep the item called
	// "after" from being restored. Else it is to change something outside.
	hangs, denies bool
	// seen judges what else the attack may have reached.
	seen func(g *ground) []string
	// foreign: the tenant makes and loses further names of the flag, as one can in a
	// file system without protected_hardlinks; their number does not count then.
	foreign bool
	// naive says how the control works, "" is by plain paths.
	naive string
}

func (a *attack) racing() bool { return a.race != nil || a.mounts != nil || a.outsider != nil }

// all are the attacks.
func all() []*attack {
	var list []*attack
	for _, part := range [][]*attack{planted(), objects(), denials(), mounted(), hanging(), racing(), streams(), wholes(), blockers()} {
		list = append(list, part...)
	}
	return list
}

func find(name string) *attack {
	for _, a := range all() {
		if a.name == name {
			return a
		}
	}
	panic("no attack is called " + name)
}

func TestMain(m *testing.M) {
	if role := os.Getenv("VZ7CT_ATTACK_ROLE"); role != "" {
		play(role)
		return
	}
	os.Exit(m.Run())
}

// ways are how paths are resolved: by openat2, and as kernel 3.10 can.
var ways = []string{"openat2", "walk"}

// raceTime is how long a racing attack is tried, each way.
func raceTime(t *testing.T) time.Duration {
	d, err := time.ParseDuration(cmp.Or(os.Getenv("VZ7CT_RACE_TIME"), "5s"))
	if err != nil {
		t.Fatalf("VZ7CT_RACE_TIME: %v", err)
	}
	return d
}

func TestAttacks(t *testing.T) {
	switch asked := os.Getenv("VZ7CT_ROOT_TESTS") != ""; {
	case !asked:
		t.Skip("run only with VZ7CT_ROOT_TESTS=1 (make attacks)")
	case os.Getuid() != 0:
		t.Fatal("the attacks need root: namespaces, mounts, owners")
	case runtime.GOARCH != "amd64":
		t.Skip("the filter that hides new system calls is for x86-64")
	}
	begin, limit := time.Now(), raceTime(t)
	list, names, races := all(), map[string]bool{}, 0
	var tried, escaped, controls atomic.Int64
	t.Run("attack", func(t *testing.T) {
		for _, a := range list {
			if names[a.name] {
				t.Errorf("two attacks are called %s", a.name)
			}
			names[a.name] = true
			if a.racing() {
				races++
			}
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				for _, way := range ways {
					tried.Add(1)
					faults, r := against(t, a, way, "product", limit)
					if testing.Verbose() && len(r.Errors) > 0 {
						t.Logf("told: %s: %.300q", way, r.Errors[0])
					}
					if len(faults) > 0 {
						escaped.Add(1)
						t.Errorf("%s: %s", way, strings.Join(faults, "; "))
					}
				}
				if faults, r := against(t, a, ways[0], "naive", max(limit, 20*time.Second)); len(faults) == 0 {
					t.Errorf("the attack does not succeed against a naive restorer either, so it proves nothing: %q", r.Errors)
				} else {
					controls.Add(1)
					t.Logf("control: %s", strings.Join(faults, "; "))
				}
			})
		}
	})
	if len(list) < 25 {
		t.Errorf("%d attacks only", len(list))
	}
	fmt.Printf("%d named attacks, each with %s; %d of them racing, %s each time; %s in all\n",
		len(list), strings.Join(ways, " and with "), races, limit, time.Since(begin).Round(time.Second))
	fmt.Printf("attacks: tried=%d escaped=%d controls=%d/%d\n", tried.Load(), escaped.Load(), controls.Load(), len(list))
}

// against plays one attack once and returns what it has reached.
func against(t *testing.T, a *attack, way, restorer string, limit time.Duration) ([]string, result) {
	t.Helper()
	g := newGround(t, a, way, restorer)
	if a.prepare != nil {
		if undo := a.prepare(g); undo != nil {
			t.Cleanup(undo)
		}
	}
	g.startTenant(t)
	before := survey(t, g)
	r := g.restore(t, limit, func() bool { return restorer == "naive" && len(survey(t, g).differences(before)) > 0 })
	faults := survey(t, g).differences(before)
	switch {
	case r.Hung:
		faults = append(faults, "it hangs")
	case r.Host != "untouched":
		faults = append(faults, fmt.Sprintf("the node's name is %q", r.Host))
	}
	faults = append(faults, r.Faults...)
	if a.denies && !r.Hung {
		faults = append(faults, g.denied()...)
	}
	if a.seen != nil && !r.Hung {
		faults = append(faults, a.seen(g)...)
	}
	g.end(t, r, limit)
	return faults, r
}
