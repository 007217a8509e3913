// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/lock"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// restoreCT is a restore of a whole container from its beginning to its end.
func restoreCT(t *testing.T, n *fakeNode, options string, list []saved) *jobLog {
	t.Helper()
	j, log := n.job(t, bareos)
	j.AddOptions("vz7ct:start=yes" + options)
	err := play(j, cmd, "", list)
	if err != nil {
		j.EndRestore(Failed)
	} else {
		j.EndRestore(Good)
	}
	j.Close()
	return log
}

// Every step of a restore fails in turn. The job ends with an error that names
// it, and nothing of the container is left; a second try brings it.
func TestRestoreContainerFailsAtEveryStep(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := emptyNode(t)
	if log := restoreCT(t, n, "", list); len(n.started) != 1 {
		t.Fatal(log.all())
	}
	says := map[string]string{
		"list": "restore=ct: list containers: ", "private": "restore=ct: planted", "root": "restore=ct: planted", "init": "restore=ct: make disk /",
		"mount": "restore=ct: mount new disk /", "unmount": "restored container web: unmount: ", "register": "register restored container web: ",
		"start": "container web is restored and registered, but does not start: ",
	}
	for at, step := range n.calls {
		for _, late := range []bool{false, true} {
			n := emptyNode(t)
			n.failAt, n.late = at+1, late
			log := restoreCT(t, n, "", list)
			got := log.all("fatal", "error")
			if !strings.Contains(got, says[step]) || !strings.Contains(got, "planted fault in "+step) {
				t.Errorf("step %d (%s, late %v): the job ends with %q, want %q", at+1, step, late, got, says[step])
			}
			if left := n.left(t); len(left) > 0 {
				t.Errorf("step %d (%s, late %v): left behind: %q\n%s", at+1, step, late, left, log.all())
			}
			stays := step == "start" || step == "register" && late
			private, err := os.ReadDir(n.path("private"))
			must(t, err)
			if stays != (len(private) == 1) || stays != (len(n.list) == 1) {
				t.Errorf("step %d (%s, late %v): private areas %q, containers %q", at+1, step, late, private, n.list)
			}
			said := log.all("warning")
			if step == "register" && (strings.Contains(said, "is removed") == late || strings.Contains(said, " stays, see above") != late) {
				t.Errorf("step %d (%s, late %v): the operator is told %s", at+1, step, late, said)
			}
			if stays {
				continue
			}
			n.failAt = 0
			if log := restoreCT(t, n, "", list); len(n.started) != 1 || log.all("fatal", "error") != "" {
				t.Errorf("step %d (%s, late %v): the second try: %s", at+1, step, late, log.all())
			}
		}
	}
}

// What cannot be taken back stays in the journal, with the commands that help,
// and the next job of any kind takes it back.
func TestRestoreIsSweptByTheNextJob(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for _, tt := range []struct{ step, want, byHand string }{
		{"unmount", "unmount: ", "ploop umount -m "},
		{"list", "is container " + webID + " registered? ", "rm -rf "},
	} {
		n := emptyNode(t)
		j, log := n.job(t, bareos)
		for _, s := range list {
			if s.Kind == Object {
				j.AddObject(s.Name, 1, s.Data)
			}
		}
		must(t, j.StartRestore(cmd))
		if _, err := j.CreateFile(&Restored{Kind: Regular, Name: "/mnt/bareos/" + webID + "/f"}); err != nil {
			t.Fatal(err, log.all())
		}
		// The call of that name that comes first from here on fails.
		n.at = func(c int) {
			if n.failAt == 0 && n.calls[c-1] == tt.step {
				n.failAt = c
			}
		}
		j.EndRestore(Failed)
		got := log.all("error")
		for _, want := range []string{"not all could be taken back: ", tt.want, tt.byHand, n.path("state/journal")} {
			if !strings.Contains(got, want) {
				t.Errorf("undo fails at %s: said %q, want %q", tt.step, got, want)
			}
		}
		if said := log.all("warning"); !strings.Contains(said, "when what is left, see above, is taken back") || strings.Contains(said, "is removed") {
			t.Errorf("undo fails at %s: the operator is told %q", tt.step, said)
		}
		if len(n.left(t)) == 0 {
			t.Errorf("undo fails at %s: no journal is left", tt.step)
		}
		n.at, n.failAt = nil, -1
		if log := restoreCT(t, n, "", list); len(n.started) != 1 || !strings.Contains(log.all("warning"), "has not ended properly") {
			t.Errorf("undo failed at %s: the next job: %s", tt.step, log.all())
		}
		if left := n.left(t); len(left) > 0 {
			t.Errorf("undo failed at %s: left behind after the next job: %q", tt.step, left)
		}
	}
}

func TestRestoreContainerIsCancelledAtEveryStep(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := emptyNode(t)
	restoreCT(t, n, "", list)
	steps := n.calls
	for at, step := range steps[:len(steps)-2] { // then it is registered
		n := emptyNode(t)
		j, log := n.job(t, bareos)
		n.at = func(c int) {
			if c == at+1 {
				j.Cancel()
			}
		}
		_ = play(j, cmd, "", list)
		j.EndRestore(Good)
		j.Close()
		private, err := os.ReadDir(n.path("private"))
		must(t, err)
		if left := n.left(t); len(left) > 0 || len(private) > 0 || log.all("fatal", "error") != "" {
			t.Errorf("cancel at step %d (%s): left behind %q, private areas %q, said %s", at+1, step, left, private, log.all())
		}
	}
}

// What is in the way on the node is found before anything is touched.
func TestRestoreContainerIsRefused(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for name, tt := range map[string]struct {
		spoil   func(n *fakeNode)
		options string
		want    string
	}{
		"same uuid":         {func(n *fakeNode) { n.list = []prlctl.Container{{UUID: webID, Name: "x", State: "running"}} }, "", `this node has container "x" (` + webID + "), which is running: nothing was touched"},
		"same name":         {func(n *fakeNode) { n.list = []prlctl.Container{{UUID: oldID, Name: "web", State: "stopped"}} }, "", `this node has container "web" (` + oldID + ")"},
		"private area":      {func(n *fakeNode) { put(t, n.path("private/"+webID+"/x"), "") }, "", "exists and is not empty: nothing was touched"},
		"root":              {func(n *fakeNode) { put(t, n.path("root/"+webID+"/x"), "") }, "", "exists and is not empty: nothing was touched"},
		"private is a file": {func(n *fakeNode) { put(t, n.path("private/"+webID), "") }, "", "look at "},
		"configuration":     {func(n *fakeNode) { must(t, os.Symlink("/none", n.path("conf/"+webID+".conf"))) }, "", ".conf exists"},
		"other uuid":        {func(*fakeNode) {}, ":uuid=" + oldID, "uuid=" + oldID + " is asked for, but the backup is of container web"},
		"other name":        {func(*fakeNode) {}, ":name=old", "name=old is asked for, but the backup is of container web"},
		"small disk":        {func(*fakeNode) {}, ":disk=64M", "disk_size of 64.0 MiB is too small"},
		"bad option":        {func(*fakeNode) {}, ":disk=huge", "option disk=huge (restore options): is no size"},
		"state is a file":   {func(n *fakeNode) { put(t, n.path("state"), "") }, "", "state directory"},
	} {
		n := emptyNode(t)
		tt.spoil(n)
		before, calls := look(t, n.dir), n.calls
		log := restoreCT(t, n, tt.options, list)
		if got := log.all("fatal"); !strings.Contains(got, tt.want) {
			t.Errorf("%s: said %q, want %q", name, got, tt.want)
		}
		after := look(t, n.dir)
		for _, own := range []string{"state", "state/journal", "state/locks", "state/progress", "."} {
			delete(after, own)
			delete(before, own)
		}
		for path, what := range after {
			if before[path] != what {
				t.Errorf("%s: %s is %q, was %q", name, path, what, before[path])
			}
		}
		if strings.Contains(log.all("warning"), "what was made of it") {
			t.Errorf("%s: nothing was touched, and said %s", name, log.all())
		}
		if slices.Contains(n.calls[len(calls):], "init") || len(openBelow(n.dir)) > 0 {
			t.Errorf("%s: calls %q, open %q", name, n.calls, openBelow(n.dir))
		}
	}
	// An empty private area and root are no obstacle: vzctl leaves them.
	n := emptyNode(t)
	must(t, os.Mkdir(n.path("private/"+webID), 0o700))
	must(t, os.Mkdir(n.path("root/"+webID), 0o700))
	if log := restoreCT(t, n, "", list); len(n.started) != 1 {
		t.Errorf("a restore over empty directories: %s", log.all())
	}
}

// Another job on the same container is waited for as long as the options say.
func TestRestoreContainerBesideAnotherJob(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := emptyNode(t)
	must(t, os.MkdirAll(n.path("state/locks"), 0o700))
	held, err := lock.Exclusive(n.path("state/locks/"+webID), true)
	must(t, err)
	log := restoreCT(t, n, ":lock_wait=1ns", list)
	if got := log.all("fatal"); !strings.Contains(got, "another job on container "+webID) || len(n.calls) > 0 {
		t.Errorf("said %q after calls %q", got, n.calls)
	}
	must(t, held.Release())
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A container that cannot be registered has left its owner in its private area: another
// node may have it, so it stays, and that is said, and nothing else.
func TestPrivateAreaWithAnOwnerStays(t *testing.T) {
	list, _ := backedUp(t, bareos)
	n := emptyNode(t)
	area := n.path("private/" + webID)
	n.fault = func(step string) error {
		if step != "register" {
			return nil
		}
		put(t, filepath.Join(area, ownerName), "node1\n")
		return errors.New("no memory")
	}
	log := restoreCT(t, n, "", list)
	if said := log.all("warning"); !exists(area) || !strings.Contains(said, "it stays; remove it if no node uses it, then the restore can be run again") || strings.Contains(said, "is removed") {
		t.Errorf("the area is there: %v, said %s", exists(area), log.all())
	}
}

// A manifest may name an image where the node's tools, or the end of a restore, look for
// something else: a directory there would keep what a failed restore has made.
func TestDiskInThePlaceOfTheNodesFiles(t *testing.T) {
	for _, dir := range []string{ownerName, "ve.conf", ".ve.layout", areaScripts, "dump/x", ".lck", "Snapshots.xml", asideFolder, ".cluster_service_name", "templates"} {
		n := emptyNode(t)
		j, log := n.job(t, bareos)
		m := webManifest()
		m.Disks[0].Image = dir + "/root.hds"
		c := anew(t, j, m, n.path("private/"+webID))
		must(t, c.fits())
		if got := c.disks[1].image; got != "root.hdd/root.hds" || !strings.Contains(log.all("warning"), "is restored to root.hdd/root.hds in it") {
			t.Errorf("an image in %s: %s, said %s", dir, got, log.all())
		}
	}
}

// The container has come to this node by another way while its restore ran, with a private
// area of its own: that of the restore is nobody's.
func TestContainerOfAnotherAreaWasRegistered(t *testing.T) {
	t.Setenv("TMPDIR", "/tmp") // /dev/shm is one of the places that are refused
	list, _ := backedUp(t, bareos)
	n := emptyNode(t)
	must(t, os.Mkdir(n.path("second"), 0o755))
	n.fault = func(step string) error {
		if step == "register" {
			n.list = []prlctl.Container{{UUID: webID, CTID: webID, Name: "web", State: "running"}}
			n.place = prlctl.Place{Private: n.path("private/" + webID)}
			must(t, os.MkdirAll(n.place.Private, 0o700))
			return errors.New("it is registered already")
		}
		return nil
	}
	log := restoreCT(t, n, ":restore_private="+n.path("second"), list)
	left, err := os.ReadDir(n.path("second"))
	must(t, err)
	if len(left) > 0 || strings.Contains(log.all(), "stays") || !strings.Contains(log.all("warning"), "what was made of it is removed") {
		t.Errorf("left %v, said %s", left, log.all())
	}
}

// What a restore begins to make, and does not bring to its first file, is said to be
// removed; what it has open is closed by whoever ends the job, also after a fault.
func TestRestoreContainerEndsInItsPreparation(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for how, fault := range map[string]func() error{
		"fails": func() error { return errors.New("no room") },
		"panic": func() error { panic("planted") },
	} {
		n := emptyNode(t)
		inits := 0
		n.fault = func(step string) error {
			if step == "init" {
				if inits++; inits == 2 {
					return fault()
				}
			}
			return nil
		}
		j, log := n.job(t, bareos)
		func() {
			defer func() {
				if recover() != nil {
					j.Cancel() // as package cgo does
				}
			}()
			_ = play(j, cmd, "", list)
		}()
		j.EndRestore(Good)
		j.Close()
		private, err := os.ReadDir(n.path("private"))
		must(t, err)
		if left := n.left(t); len(left) > 0 || len(private) > 0 || log.all("error") != "" {
			t.Errorf("%s: left %q and %v, said %s", how, left, private, log.all())
		}
		if !strings.Contains(log.all("warning"), "what was made of it is removed, and it can be run again") {
			t.Errorf("%s: said %s", how, log.all())
		}
	}
}

// Errors that the daemon has counted keep the container from being started, and
// a failed job takes it back, however far it had come.
func TestDaemonsOpinionCounts(t *testing.T) {
	list, _ := backedUp(t, bareos)
	for health, want := range map[Health]string{Good: "registered started", Errors: "registered", Failed: ""} {
		n := emptyNode(t)
		j, log := n.job(t, bareos)
		j.AddOptions("vz7ct:start=yes")
		must(t, play(j, cmd, "", list))
		j.EndRestore(health)
		j.EndRestore(Good) // the daemon may call again
		j.Close()
		got := ""
		if len(n.registered) > 0 {
			got = "registered"
		}
		if len(n.started) > 0 {
			got += " started"
		}
		if left := n.left(t); got != want || len(left) > 0 {
			t.Errorf("EndRestore(%v): %q and left %q, want %q\n%s", health, got, left, want, log.all())
		}
		if health == Failed && !strings.Contains(log.all("warning"), "the restore of container web ("+webID+") was not completed") {
			t.Errorf("EndRestore(Failed): said %s", log.all())
		}
	}
}
