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

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/prlctl"
)

// rootDisk is the descriptor of the node's root disk.
func rootDisk(n *fakeNode) string {
	return filepath.Join(n.place.Private, "root.hdd/DiskDescriptor.xml")
}

// leftWithout is a node on which a job has died at a step, and that has no journal
// of it: it is another node, or has lost them.
func leftWithout(t *testing.T, step string) *fakeNode {
	t.Helper()
	whole := webNode(t)
	if _, _, err := run(t, whole, cmd); err != nil {
		t.Fatal(err)
	}
	n := webNode(t)
	crashAt(t, n, slices.Index(whole.calls, step))
	must(t, os.RemoveAll(n.path("state")))
	n.calls = nil
	return n
}

func records(t *testing.T, n *fakeNode) []string {
	t.Helper()
	found, err := filepath.Glob(n.path("private/*/*/" + recordPrefix + "*"))
	must(t, err)
	return found
}

// A container has failed over while a job of its node had a snapshot of it.
func TestSnapshotOfAnotherNodeIsTakenBack(t *testing.T) {
	n := leftWithout(t, "unmount")
	if got := records(t, n); len(got) != 2 {
		t.Fatalf("records of a job at work: %q, want one a disk", got)
	}
	j, log := n.job(t, bareos)
	if _, err := j.cleaner().Sweep(context.Background(), true); err != nil || len(n.shots) != 2 || len(records(t, n)) != 2 {
		t.Errorf("a dry sweep = %v with snapshots %v", err, n.shots)
	}
	if got := log.all("warning"); strings.Count(got, "would be taken back") != 2 {
		t.Errorf("a dry sweep says %q", got)
	}
	if stuck, err := j.cleaner().Sweep(context.Background(), false); err != nil || len(stuck) > 0 {
		t.Errorf("Sweep = %v, %v", stuck, err)
	}
	host, err := os.Hostname()
	must(t, err)
	if got := log.all("warning"); strings.Count(got, "on node "+host+" has left snapshot {") != 4 {
		t.Errorf("said %q, want whose snapshots they were", got)
	}
	if len(n.shots)+len(n.mounts) > 0 || len(records(t, n)) > 0 {
		t.Errorf("left: %v %v %q", n.shots, n.mounts, records(t, n))
	}
}

// Nothing is touched, and nothing said, where it is not this node's matter.
func TestSnapshotOfAnotherNodeStays(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, n *fakeNode) func(){
		"container of another node": func(_ *testing.T, n *fakeNode) func() { n.list = nil; return func() {} },
		"another owner":             func(_ *testing.T, n *fakeNode) func() { n.owner = "node2"; return func() {} },
		"its job lives": func(t *testing.T, n *fakeNode) func() {
			var open []*os.File
			for _, r := range records(t, n) {
				f, err := os.Open(r)
				must(t, err)
				must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
				open = append(open, f)
			}
			return func() {
				for _, f := range open {
					f.Close()
				}
			}
		},
	} {
		n := leftWithout(t, "unmount")
		end := spoil(t, n)
		j, log := n.job(t, bareos)
		if stuck, err := j.cleaner().Sweep(context.Background(), false); err != nil || len(stuck) > 0 {
			t.Errorf("%s: Sweep = %v, %v", name, stuck, err)
		}
		if len(n.shots) != 2 || len(n.mounts) != 2 || len(records(t, n)) != 2 || log.all("warning", "error") != "" {
			t.Errorf("%s: snapshots %v, mounts %v, records %q, said %q", name, n.shots, n.mounts, records(t, n), log.all("warning", "error"))
		}
		end()
	}
}

// The state directory is lost while a job is at work: its journal and its locks are not
// to be seen. Another job makes no snapshot over that one's.
func TestNoSnapshotBesideThatOfAJobWithoutJournal(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	must(t, os.Rename(n.path("state"), n.path("lost")))
	calls := len(n.calls)
	_, log, err := run(t, n, cmd)
	if err == nil || !strings.Contains(log.all("fatal"), "is held by job job.1 on node ") || slices.Contains(n.calls[calls:], "snapshot") {
		t.Errorf("job = %v, calls %q\n%s", err, n.calls[calls:], log.all("fatal"))
	}
	if len(n.shots) != 2 || len(records(t, n)) != 2 {
		t.Errorf("of the job at work there are snapshots %v, records %q", n.shots, records(t, n))
	}
}

// A container is moved on its node before what a dead job has left is taken back: the
// journal names the old place, the record has gone to the new one.
func TestContainerIsMovedAfterTheCrash(t *testing.T) {
	whole := webNode(t)
	if _, _, err := run(t, whole, cmd); err != nil {
		t.Fatal(err)
	}
	for _, recorded := range []bool{true, false} {
		n := webNode(t)
		crashAt(t, n, slices.Index(whole.calls, "merge"))
		old := n.place.Private
		n.place.Private = n.path("private/" + webID + ".moved")
		must(t, os.Rename(old, n.place.Private))
		shots := map[string]string{}
		for d, s := range n.shots {
			shots[n.place.Private+strings.TrimPrefix(d, old)] = s
		}
		n.shots = shots
		if !recorded { // the storage is not there just now, say
			must(t, os.Rename(n.place.Private, n.path("away")))
		}
		j, log := n.job(t, bareos)
		j.Node.Snapshots = missing{n}
		_, err := j.cleaner().Sweep(context.Background(), false)
		if recorded != (err == nil) {
			t.Errorf("recorded %v: Sweep = %v\n%s", recorded, err, log.all())
		}
		if left := n.left(t); recorded != (len(left) == 0) {
			t.Errorf("recorded %v: left behind: %q", recorded, left)
		}
	}
}

// missing are the snapshots of a node, with the error of ploop.Client.Merge for a disk
// that is not there.
type missing struct{ *fakeNode }

func (m missing) Merge(ctx context.Context, descriptor, uuid string) error {
	if _, err := os.Stat(descriptor); err != nil {
		return err
	}
	return m.fakeNode.Merge(ctx, descriptor, uuid)
}

// A record that its job removes just before it would be locked is not made anew.
func TestClaimMakesNoRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), recordPrefix+"x")
	if _, err := (record{path: path}).claim(); !errors.Is(err, os.ErrNotExist) || exists(path) {
		t.Errorf("claim = %v, a record is there: %v", err, exists(path))
	}
}

// A record that is not understood keeps jobs from its disk, and what it names is
// never touched.
func TestBadRecords(t *testing.T) {
	const id = "11111111-1111-4111-8111-111111111111"
	good := `{"vz7ct_snapshot":1,"snapshot":"` + id + `","container":"` + webID + `","journal":"x","node":"n","job":"j","started":"s","mount":"/etc"}`
	for name, content := range map[string]string{
		"empty":            "",
		"cut":              good[:60],
		"future":           strings.Replace(good, ":1,", ":2,", 1),
		"another snapshot": strings.Replace(good, id, webID, 1),
		"no container":     strings.Replace(good, webID, "../..", 1),
		"no journal":       strings.Replace(good, `"x"`, `""`, 1),
		"journal is path":  strings.Replace(good, `"x"`, `"../x"`, 1),
		"link":             "",
	} {
		n := webNode(t)
		path := filepath.Join(filepath.Dir(rootDisk(n)), recordPrefix+id)
		if name == "link" {
			must(t, os.Symlink("/etc/passwd", path))
		} else {
			must(t, os.WriteFile(path, []byte(content), 0o600))
		}
		_, log, err := run(t, n, cmd)
		if err == nil || !strings.Contains(log.all("fatal"), recordPrefix+id) || slices.Contains(n.calls, "snapshot") {
			t.Errorf("%s: job = %v, %s", name, err, log.all("fatal"))
		}
	}
	// The mount point that a record names is used only where jobs have theirs.
	n := webNode(t)
	n.shots[rootDisk(n)] = id
	must(t, n.write(rootDisk(n), id))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(rootDisk(n)), recordPrefix+id), []byte(good), 0o600))
	if _, log, err := run(t, n, cmd); err != nil || n.calls[len(n.calls)-1] != "merge" {
		t.Errorf("job = %v, %v\n%s", err, n.calls, log.all())
	}
	if i := slices.Index(n.calls, "merge"); slices.Contains(n.calls[:i], "unmount") {
		t.Errorf("calls = %v, want no unmount of /etc", n.calls)
	}
}

// The private area is restored without records of the node that it comes from.
func TestRecordsAreNotSaved(t *testing.T) {
	n := webNode(t)
	put(t, n.path("private/"+webID+"/root.hdd/"+ownPrefix+"snapshot-x.new"), "x")
	j, _ := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	list, err := save(j)
	must(t, err)
	for _, s := range list {
		if strings.Contains(s.Name, ownPrefix) {
			t.Errorf("saved: %s", s.Name)
		}
	}
	c := &newContainer{}
	for path, never := range map[string]bool{"root.hdd/" + recordPrefix + "x": true, ownPrefix + "restore": true, "a": false} {
		if got := c.neverPutBack(path); got != never {
			t.Errorf("neverPutBack(%s) = %v", path, got)
		}
	}
}

func TestDescriptorsAreKept(t *testing.T) {
	n := webNode(t)
	if _, _, err := run(t, n, cmd); err != nil {
		t.Fatal(err)
	}
	dir := n.path("state/descriptors")
	copies := func() (names []string) {
		list, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names
	}
	got := copies()
	if len(got) != 4 {
		t.Fatalf("copies after a backup of two disks: %q", got)
	}
	// root.hdd, in the order of time: without and with the snapshot.
	for i, snapshots := range []int{1, 2} {
		b, err := os.ReadFile(filepath.Join(dir, got[2+i]))
		must(t, err)
		if strings.Count(string(b), "<Shot>") != snapshots || !strings.HasPrefix(got[2+i], webID+".root.hdd.") {
			t.Errorf("%s has %d snapshots, want %d", got[2+i], strings.Count(string(b), "<Shot>"), snapshots)
		}
	}
	// The same state is not kept twice in a row.
	must(t, n.node().keepDescriptor(rootDisk(n), webID, "x"))
	must(t, n.node().keepDescriptor(rootDisk(n), webID, "y"))
	if now := copies(); len(now) != 5 {
		t.Errorf("copies: %q, want one more", now)
	}
	for range 10 {
		must(t, os.WriteFile(rootDisk(n), []byte(strings.Repeat("x", len(copies())+1)+recordPrefix), 0o600))
		must(t, n.node().keepDescriptor(rootDisk(n), webID, "z"))
		must(t, os.WriteFile(rootDisk(n), nil, 0o600))
		must(t, n.node().keepDescriptor(rootDisk(n), webID, "z"))
	}
	if now := copies(); len(now) != 2+keepDescriptors {
		t.Errorf("%d copies are kept, want 2 of the one disk and %d of the other", len(now), keepDescriptors)
	}
}

// What is taken for a record names nothing but its own disk's snapshot.
func FuzzRecord(f *testing.F) {
	const id = "11111111-1111-4111-8111-111111111111"
	good := `{"vz7ct_snapshot":1,"snapshot":"` + id + `","container":"` + webID + `","journal":"x","node":"n","job":"j","started":"s","mount":"/mnt/bareos/` + webID + `.11111111.0"}`
	f.Add([]byte(good))
	f.Add([]byte(good[:90]))
	f.Add([]byte(strings.Replace(good, `"x"`, `"../x"`, 1)))
	f.Add([]byte(good + good))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := "/p/root.hdd/" + recordPrefix + id
		r, err := parseRecord(path, data)
		if err != nil {
			return
		}
		if c, ok := prlctl.ParseUUID(r.Container); !ok || c != r.Container || r.Snapshot != id || r.path != path || strings.ContainsAny(r.Journal, "/\x00") ||
			r.descriptor() != "/p/root.hdd/DiskDescriptor.xml" {
			t.Errorf("parseRecord(%q) = %+v", data, r)
		}
		if r.mountedIn("/mnt/bareos") && !strings.HasPrefix(r.Mount, "/mnt/bareos/"+r.Container+".11111111.") {
			t.Errorf("parseRecord(%q) has the mount %q", data, r.Mount)
		}
	})
}
