// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// toReplace is a node with the container web, in a state, that is to be rolled back. The
// old one has a file in its private area by which it is known.
func toReplace(t *testing.T, state string) *fakeNode {
	t.Helper()
	n := webNode(t)
	n.web().State, n.owners = state, true
	put(t, n.path("private/"+webID+"/old"), "the old one")
	conf := n.path("private/" + webID + "/ve.conf")
	b, err := os.ReadFile(conf)
	must(t, err)
	put(t, conf, string(b)+"UUID=\""+webID+"\"\nNAME=\"web\"\n")
	return n
}

// rollBack restores web over itself.
func rollBack(t *testing.T, n *fakeNode, options string, list []saved, end Health) *jobLog {
	t.Helper()
	j, log := n.job(t, bareos)
	j.AddOptions("vz7ct:replace_ct=yes" + options)
	if err := play(j, cmd, "", list); err != nil {
		end = Failed
	}
	j.EndRestore(end)
	j.Close()
	return log
}

// oneOfBoth checks that the node has one container called web, complete, the old one or
// the new one, in the state given, and nothing else of a replacement.
func oneOfBoth(t *testing.T, n *fakeNode, what, state string) (isNew bool) {
	t.Helper()
	home := n.path("private/" + webID)
	isNew = !exists(home + "/old")
	for _, f := range []string{"ve.conf", ".ve.layout", "root.hdd/DiskDescriptor.xml", "scripts/start"} {
		if !exists(filepath.Join(home, f)) {
			t.Errorf("%s: %s is missing (new: %v)", what, f, isNew)
		}
	}
	if !hasOwner(home) {
		t.Errorf("%s: it has no owner (new: %v)", what, isNew)
	}
	if k := n.web(); k == nil || k.State != state || len(n.list) != 2 {
		t.Errorf("%s: containers %+v, want web %s", what, n.list, state)
	}
	areas, err := os.ReadDir(n.path("private"))
	must(t, err)
	if len(areas) != 1 || exists(filepath.Join(home, markName)) || exists(filepath.Join(home, ownFolder)) {
		t.Errorf("%s: private areas %v, mark there: %v", what, areas, exists(filepath.Join(home, markName)))
	}
	// What a process that is played dead has open, a dead one has not.
	if left := slices.DeleteFunc(n.left(t), func(l string) bool { return strings.HasSuffix(l, "(deleted)") }); len(left) > 0 {
		t.Errorf("%s: left behind %q", what, left)
	}
	if isNew && exists(home+"/dump/Dump") || !isNew && !exists(home+"/dump/Dump") {
		t.Errorf("%s: a mixture of both (new: %v)", what, isNew)
	}
	return isNew
}

// The old container runs until everything was restored; then the new one is there and in
// the state that the old one was in.
func TestContainerIsRolledBack(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for _, tt := range []struct {
		state, options, want string
		calls                []string
	}{
		{"running", "", "running", []string{"stop", "unregister", "openers", "openers", "register", "start", "list"}},
		{"stopped", "", "stopped", []string{"unregister", "openers", "openers", "register"}},
		{"stopped", ":start=yes", "running", []string{"unregister", "openers", "openers", "register", "start"}},
		{"suspended", "", "stopped", []string{"unregister", "openers", "openers", "register"}},
	} {
		n := toReplace(t, tt.state)
		put(t, n.path("private/"+webID+"/Snapshots.xml"), `<SavedStateItem guid="{`+oldID+`}">`)
		n.at = func(c int) {
			if k := n.web(); k != nil && k.State != tt.state && slices.Contains([]string{"init", "mount", "unmount"}, n.calls[c-1]) {
				t.Errorf("%s: at %s the container is %s", tt.state, n.calls[c-1], k.State)
			}
		}
		log := rollBack(t, n, tt.options, list, Good)
		if !oneOfBoth(t, n, tt.state+tt.options, tt.want) {
			t.Errorf("%s: it is the old one\n%s", tt.state, log.all())
		}
		after := n.calls[slices.Index(n.calls, "unregister"):]
		want := tt.calls[slices.Index(tt.calls, "unregister"):]
		after = slices.DeleteFunc(slices.Clone(after), func(c string) bool { return c == "owns" || c == "list" })
		want = slices.DeleteFunc(slices.Clone(want), func(c string) bool { return c == "list" })
		if os.Geteuid() == 0 && !slices.Equal(after, want) || slices.Contains(n.calls, "stop") != (tt.state == "running") {
			t.Errorf("%s%s: calls %q, want them to end with %q", tt.state, tt.options, n.calls, want)
		}
		if log.all("fatal", "error") != "" || !strings.Contains(log.all("warning"), "the snapshots of container web") ||
			!strings.Contains(log.all("info"), "is "+tt.state+", and stays so until everything was restored") {
			t.Errorf("%s: said %s", tt.state, log.all())
		}
		if got := n.path("tree-root.hdd/etc/hostname"); !exists(got) {
			t.Errorf("%s: the new disk has no %s", tt.state, got)
		}
	}
	// Without such a container the option says nothing.
	n := emptyNode(t)
	if log := rollBack(t, n, ":restore_trust_config=yes", list, Good); len(n.registered) != 1 || log.all("fatal", "error", "warning") != "" {
		t.Errorf("without an old one: %s", log.all())
	}
}

// Every step fails in turn, before and after it has done its work, or the job is
// cancelled there: there is one container, complete, and it runs as it did.
func TestRollBackAtEveryStep(t *testing.T) {
	list, _ := backedUp(t, bareos)
	whole := toReplace(t, "running")
	rollBack(t, whole, "", list, Good)
	for at, step := range whole.calls {
		for _, how := range []string{"fails", "fails late", "cancelled"} {
			n := toReplace(t, "running")
			what := step + " " + how
			var log *jobLog
			if how == "cancelled" {
				j, l := n.job(t, bareos)
				log = l
				j.AddOptions("vz7ct:replace_ct=yes")
				n.at = func(c int) {
					if c == at+1 {
						j.Cancel()
					}
				}
				_ = play(j, cmd, "", list)
				j.EndRestore(Good)
				j.Close()
			} else {
				n.failAt, n.late = at+1, how == "fails late"
				log = rollBack(t, n, "", list, Good)
			}
			n.at, n.failAt = nil, 0
			// What one call could not do, the next sweep does.
			l, _ := newLog()
			if _, err := (Cleaner{Node: n.node(), Log: l}).Sweep(context.Background(), false); err != nil {
				t.Errorf("step %d (%s): the sweep: %v", at+1, what, err)
			}
			isNew := oneOfBoth(t, n, what, "running")
			said := log.all("fatal", "error", "warning")
			if isNew && strings.Contains(said, "what was made of it is removed") {
				t.Errorf("step %d (%s): it is the new one, and is told %s", at+1, what, said)
			}
			if how != "cancelled" && said == "" {
				t.Errorf("step %d (%s): said nothing", at+1, what)
			}
			if log := rollBack(t, n, "", list, Good); log.all("fatal", "error") != "" || !oneOfBoth(t, n, what+", again", "running") {
				t.Errorf("step %d (%s): the second try: %s", at+1, what, log.all())
			}
		}
	}
}

// The daemon dies before each call, so after all that was done since the one before:
// whoever sweeps finds one container, complete, and starts it if it ran. A sweep may die
// as well.
func TestRollBackDiesAtEveryStep(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for _, state := range []string{"running", "stopped"} {
		whole := toReplace(t, state)
		rollBack(t, whole, "", list, Good)
		// Until everything was restored it is as without the option, and the old one as it was.
		for at := slices.Index(whole.calls, "unmount"); at < len(whole.calls); at++ {
			for second := range 9 {
				n := toReplace(t, state)
				dieAt(t, n, at+1, list)
				if second > 0 { // the first sweep dies, too
					sweepAndDie(t, n, len(n.calls)+second)
				}
				log, said := newLog()
				if _, err := (Cleaner{Node: n.node(), Log: log}).Sweep(context.Background(), false); err != nil {
					t.Errorf("%s, before %s: Sweep = %v", state, whole.calls[at], err)
				}
				oneOfBoth(t, n, state+", death before "+whole.calls[at], state)
				if t.Failed() {
					t.Fatalf("second %d\n%s", second, said.all())
				}
			}
		}
	}
}

// dieAt restores until a call, at which the daemon dies.
func dieAt(t *testing.T, n *fakeNode, call int, list []saved) {
	t.Helper()
	j, _ := n.job(t, bareos)
	j.AddOptions("vz7ct:replace_ct=yes")
	n.at = func(c int) {
		if c == call {
			panic("death")
		}
	}
	func() {
		defer func() { _ = recover() }()
		if play(j, cmd, "", list) == nil {
			j.EndRestore(Good)
		}
	}()
	n.at = nil
	j.Abandon()
}

// sweepAndDie sweeps until a call, at which whoever sweeps dies. The journals are put
// under new names: this process still has the locks of the old ones.
func sweepAndDie(t *testing.T, n *fakeNode, call int) {
	t.Helper()
	journals, err := filepath.Glob(n.path("state/journal/*"))
	must(t, err)
	died := false
	n.at = func(c int) {
		if died = c == call; died {
			panic("death")
		}
	}
	func() {
		defer func() { n.at = nil; n.kept = nil; _ = recover() }()
		log, _ := newLog()
		_, _ = Cleaner{Node: n.node(), Log: log}.Sweep(context.Background(), false)
	}()
	for _, path := range journals {
		b, err := os.ReadFile(path)
		if !died || errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		must(t, os.Remove(path))
		must(t, os.WriteFile(n.path("state/journal/"+webID+undo.Suffix), b, 0o600))
	}
}

// Between two calls are renames. Wherever the power went, one of both is there.
func TestRollBackIsCutBetweenRenames(t *testing.T) {
	mark := oldID
	for name, tt := range map[string]struct {
		registered, aside, home, gone bool // the new one is at home with home, else beside it
		isNew                         bool
		owner                         string // of what is at home; "" is none
	}{
		"nothing done":               {registered: true, owner: "node1\n"},
		"unregistered":               {},
		"set aside":                  {aside: true},
		"set aside, unregister lost": {aside: true, registered: true},
		"new one in place":           {aside: true, home: true},
		"new one registered":         {aside: true, home: true, registered: true, isNew: true, owner: "node1\n"},
		"new one half registered":    {aside: true, home: true, registered: true},
		"owner without content":      {aside: true, home: true, registered: true, owner: "empty"},
		"old one half unregistered":  {registered: true},
		"given up, register lost":    {gone: true, home: true, isNew: true},
		"given up, half registered":  {gone: true, home: true, registered: true, isNew: true, owner: "empty"},
		"given up":                   {gone: true, home: true, registered: true, isNew: true, owner: "node1\n"},
	} {
		for _, state := range []string{"running", "stopped"} {
			n := toReplace(t, "stopped")
			at := swapOf(n.path("private/"+webID), mark)
			for _, f := range []string{"ve.conf", "scripts/start", "root.hdd/DiskDescriptor.xml"} {
				b, err := os.ReadFile(filepath.Join(at.home, f))
				must(t, err)
				put(t, filepath.Join(at.made, f), string(b))
			}
			must(t, os.Symlink("5", filepath.Join(at.made, ".ve.layout")))
			put(t, filepath.Join(at.made, markName), mark)
			if tt.aside {
				must(t, os.Rename(at.home, at.aside))
			}
			if tt.gone {
				must(t, os.Rename(at.home, at.gone))
			}
			if tt.home {
				must(t, os.Rename(at.made, at.home))
			}
			_ = os.Remove(filepath.Join(at.aside, ownerName)) // as prlctl unregister does
			_ = os.Remove(filepath.Join(at.home, ownerName))
			if tt.owner != "" {
				put(t, filepath.Join(at.home, ownerName), strings.TrimPrefix(tt.owner, "empty"))
			}
			if !tt.registered {
				n.list = slices.DeleteFunc(n.list, func(k prlctl.Container) bool { return k.UUID == webID })
			}
			must(t, os.MkdirAll(n.path("state/journal"), 0o700))
			must(t, os.Chmod(n.path("state"), 0o700))
			j, err := undo.Create(n.path("state/journal"), "x", undo.Head{Job: "restore", Container: "web"})
			must(t, err)
			must(t, j.Intend(undo.Step{Do: undo.MadeTree, Dir: at.made, Container: webID, Mark: mark}))
			must(t, j.Intend(undo.Step{Do: undo.Replaced, Dir: at.home, Container: webID, Mark: mark, State: state}))
			j.Abandon()
			// At boot it is left for later: prlctl does not answer yet.
			log, said := newLog()
			n.calls = nil
			if _, err := (Cleaner{Node: n.node(), Log: log, Boot: true}).Sweep(context.Background(), false); err != nil || len(n.calls) > 0 || !strings.Contains(said.all(), "left for later: replacement of container "+webID) {
				t.Errorf("%s: the sweep at boot = %v, calls %q, %s", name, err, n.calls, said.all())
			}
			if _, err := (Cleaner{Node: n.node(), Log: log}).Sweep(context.Background(), false); err != nil {
				t.Errorf("%s: Sweep = %v", name, err)
			}
			want := "stopped"
			if state == "running" && (!tt.gone || tt.owner != "node1\n") {
				want = "running" // given up, it was started before
			}
			if got := oneOfBoth(t, n, name, want); got != tt.isNew {
				t.Errorf("%s: the new one: %v, want %v\n%s", name, got, tt.isNew, said.all())
			}
		}
	}
}

// What is in the way of a replacement is said before anything is restored, or nothing of
// the old container is touched.
func TestRollBackIsRefused(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for name, tt := range map[string]struct {
		spoil   func(n *fakeNode)
		options string
		end     Health
		want    string
	}{
		"mounted":        {func(n *fakeNode) { n.web().State = "mounted" }, "", Good, `is "mounted": it must be running, stopped or suspended: nothing was touched`},
		"another node's": {func(n *fakeNode) { n.owner = "node2" }, "", Good, `belongs to node "node2" by its file .owner`},
		"area elsewhere": {func(n *fakeNode) {
			must(t, os.Rename(n.place.Private, n.path("private/odd")))
			n.place.Private = n.path("private/odd")
		}, "", Good, "has its private area in "},
		"area is a link": {func(n *fakeNode) {
			must(t, os.Rename(n.place.Private, n.path("elsewhere")))
			must(t, os.Symlink(n.path("elsewhere"), n.place.Private))
		}, "", Good, "which is a link or a file system of its own"},
		"same name":  {func(n *fakeNode) { n.list[0].Name = "web" }, "", Good, `this node has container "web" (` + oldID + ")"},
		"as another": {func(*fakeNode) {}, ":replace_ct=yes:restore_uuid=new", Good, "restore_uuid=new makes another one beside it: leave one of both out; nothing was touched"},
		"elsewhere":  {func(*fakeNode) {}, ":replace_ct=yes:restore_private=/pool", Good, "restore_private=/pool asks for another directory: leave one of both out: nothing was touched"},
		"no room":    {func(n *fakeNode) { n.free = 1 << 20 }, "", Good, "has 1.0 MiB free, and the new container takes "},
		"errors":     {func(*fakeNode) {}, "", Errors, "not all of it was restored, see above: the old one is not replaced"},
		"failed":     {func(*fakeNode) {}, "", Failed, ""},
		"no":         {func(*fakeNode) {}, ":replace_ct=no", Good, ""},
	} {
		n := toReplace(t, "running")
		tt.spoil(n)
		j, log := n.job(t, bareos)
		if tt.options == "" {
			tt.options = ":replace_ct=yes"
		}
		j.AddOptions("vz7ct" + tt.options)
		if err := play(j, cmd, "", list); err != nil {
			tt.end = Failed
		}
		j.EndRestore(tt.end)
		if got := log.all("fatal"); !strings.Contains(got, tt.want) {
			t.Errorf("%s: said %s, want %q", name, log.all(), tt.want)
		}
		for _, call := range []string{"stop", "unregister", "register", "start"} {
			if slices.Contains(n.calls, call) {
				t.Errorf("%s: %s was called", name, call)
			}
		}
		areas, err := os.ReadDir(n.path("private"))
		must(t, err)
		if left := n.left(t); len(left) > 0 || len(areas) != 1 {
			t.Errorf("%s: left %q, areas %v", name, left, areas)
		}
	}
}

// What happens to the old container while the restore runs counts.
func TestRollBackOfOneThatHasChanged(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for name, tt := range map[string]struct {
		change func(n *fakeNode)
		want   string
	}{
		"destroyed": {func(n *fakeNode) {
			n.list = slices.DeleteFunc(n.list, func(k prlctl.Container) bool { return k.UUID == webID })
		}, "is not on this node any more"},
		"mounted":        {func(n *fakeNode) { n.web().State = "mounted" }, `the old one is "mounted"`},
		"failed over":    {func(n *fakeNode) { n.owner = "node2" }, `belongs to node "node2" by its file .owner by now`},
		"odd descriptor": {func(n *fakeNode) { spoilDescriptors(t, n) }, "names its images by their whole path"},
		"moved": {func(n *fakeNode) {
			// Its area is elsewhere by now; unregistered, nothing would bring it back.
			must(t, os.Rename(n.place.Private, n.path("elsewhere")))
			n.place.Private = n.path("elsewhere")
		}, "the old one has its private area in "},
		"link by now": {func(n *fakeNode) {
			must(t, os.Rename(n.place.Private, n.path("elsewhere")))
			must(t, os.Symlink(n.path("elsewhere"), n.place.Private))
		}, "which is a link or a file system of its own"},
		"stopped": {func(n *fakeNode) { n.web().State = "stopped" }, ""},
	} {
		n := toReplace(t, "running")
		j, log := n.job(t, bareos)
		j.AddOptions("vz7ct:replace_ct=yes")
		must(t, play(j, cmd, "", list))
		tt.change(n)
		j.EndRestore(Good)
		if got := log.all("fatal"); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: said %s, want %q", name, log.all(), tt.want)
		}
		if tt.want == "" {
			if !oneOfBoth(t, n, name, "stopped") {
				t.Errorf("%s: it is the old one", name)
			}
			continue
		}
		areas, err := os.ReadDir(n.path("private"))
		must(t, err)
		home, left := n.path("private/"+webID), n.left(t)
		if exists(n.path("elsewhere")) {
			home = n.path("elsewhere")
			areas = append(slices.DeleteFunc(areas, func(e os.DirEntry) bool { return e.Name() == webID }), nil)
		}
		if len(left) > 0 || len(areas) != 1 || !exists(home+"/old") || slices.Contains(n.calls, "unregister") {
			t.Errorf("%s: left %q, areas %v, calls %q", name, left, areas, n.calls)
		}
	}
}

// spoilDescriptors lets the new disks' descriptors name their images by whole paths.
func spoilDescriptors(t *testing.T, n *fakeNode) {
	t.Helper()
	files, err := filepath.Glob(n.path("private/*" + newSuffix + "*/*/DiskDescriptor.xml"))
	must(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		put(t, f, strings.ReplaceAll(string(b), "<File>", "<File>"+filepath.Dir(f)+"/"))
	}
}

// Somebody has a disk of the old container open although it is stopped: he would write to
// it under its new name.
func TestRollBackBesideAUser(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := toReplace(t, "running")
	n.users = func() []string { return []string{"device ploop9 of backup"} }
	log := rollBack(t, n, "", list, Good)
	if oneOfBoth(t, n, "in use", "running") || !strings.Contains(log.all("fatal"), "is in use, although that is stopped: device ploop9 of backup") {
		t.Errorf("said %s", log.all())
	}
	if !strings.Contains(log.all("info"), "the old container "+webID+" is back in its place, and registered") || !strings.Contains(log.all("info"), "started again") {
		t.Errorf("said %s", log.all("info"))
	}
}

// A new container that does not start leaves the place to the old one, and its action
// scripts too.
func TestRollBackToOneThatDoesNotStart(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := toReplace(t, "running")
	must(t, os.Remove(n.path("conf/"+webID+".mount")))
	starts, installed := 0, false
	n.fault = func(step string) error {
		if step == "start" {
			if starts++; starts == 1 {
				installed = exists(n.path("conf/" + webID + ".mount"))
				return errors.New("no such template")
			}
		}
		return nil
	}
	log := rollBack(t, n, ":restore_trust_config=yes", list, Good)
	if oneOfBoth(t, n, "does not start", "running") || !strings.Contains(log.all("fatal"), "start: no such template") || starts != 2 {
		t.Errorf("%d starts, said %s", starts, log.all())
	}
	if !installed || exists(n.path("conf/"+webID+".mount")) {
		t.Errorf("its action script was there: %v, and stays", installed)
	}
	// The old one, that does not start again either, is said so.
	n = toReplace(t, "running")
	n.fault = func(step string) error {
		if step == "start" {
			return errors.New("no memory")
		}
		return nil
	}
	log = rollBack(t, n, "", list, Good)
	if oneOfBoth(t, n, "none starts", "stopped") || !strings.Contains(log.all("error"), "is not started again: no memory; see why, then prlctl start "+webID) {
		t.Errorf("said %s", log.all())
	}
}
