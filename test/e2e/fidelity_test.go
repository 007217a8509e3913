// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
	"github.com/bareos-contrib/vz7ct/test/lab/nasty"
)

// full is the folder of the container that has what ext4 and the daemons make hard.
const full = "srv/" + nasty.FullName

// fidelity is the score of TestFidelity.
type fidelity struct {
	*world
	entries, differences, documented int
	planted, reported                int
	// concerned and found count, by the documented kinds, the entries that have what
	// the kind is about, and the differences of it.
	concerned, found map[string]int
}

// TestFidelity is `make fidelity`: containers with everything that a tree can have are
// saved and restored, and judged entry by entry, by a daemon and in every layout. The
// last line that it prints has the figures.
func TestFidelity(t *testing.T) {
	f := &fidelity{world: &world{T: t}, concerned: map[string]int{}, found: map[string]int{}}
	f.newNode()
	f.create(rig.Container{Name: "web", UUID: webUUID, Size: "6G", Tree: smallTree})
	f.create(rig.Container{Name: "torn", UUID: oldUUID, Size: "2G", Tree: smallTree})
	f.start(rig.Config{Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}, {Name: "torn", Plugin: []string{"name=torn"}}}})
	f.whole()
	f.torn()
	f.run("prlctl", "destroy", "web")
	f.run("prlctl", "destroy", "torn")
	f.layouts()
	f.kinds()
	fmt.Printf("fidelity: entries=%d differences=%d documented=%d controls=%d/%d\n", f.entries, f.differences, f.documented, f.reported, f.planted)
	if f.differences > 0 || f.reported < f.planted || f.planted < 20 || f.entries < 100000 {
		t.Error("the restores are not exact, or too little was judged")
	}
}

// ended tells by which daemon a job ran and how it ended.
func (f *fidelity) ended(what string, r rig.Result) {
	for line := range strings.SplitSeq(r.Log, "\n") {
		if _, daemon, ok := strings.Cut(line, "vz7ct: vz7ct "); ok {
			daemon, _, _ = strings.Cut(daemon, ": ")
			fmt.Printf("fidelity: %s: vz7ct %s: %s\n", what, daemon, r.Termination)
		}
	}
}

// whole is a container with the whole of it, through the daemons, before all judges.
func (f *fidelity) whole() {
	f.fill("web", webUUID, "full")
	want := f.scan(descriptor(webUUID, "root.hdd"))
	r := f.backup("web")
	f.nothingLeft()
	// The original stays, for judges that look at both trees.
	f.run("prlctl", "unregister", "web")
	f.run("mv", "/vz/private/"+webUUID, "/vz/source")
	back := f.restore(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=ct"})
	f.says(back, "0 not restored exactly")
	f.ended("backup", r)
	f.ended("restore", back)
	f.judge(f.family(), "the daemons", want, f.scan(descriptor(webUUID, "root.hdd")), nil)
	judge(f.T, f.world)
	f.others()
	f.controls()
}

// fill adds to the tree of a stopped container.
func (w *world) fill(name, uuid string, what ...string) {
	w.Helper()
	w.run("prlctl", "mount", name)
	for _, extent := range what {
		w.run(rig.Build("lab"), "nasty", "/vz/root/"+uuid+"/srv", extent)
	}
	w.run("prlctl", "umount", name)
}

// judge compares two trees, of a job of this family of daemons. expected, if set, says
// which differences belong to the case, beside the documented ones.
func (f *fidelity) judge(family, where string, want, got compare.Tree, expected func(compare.Difference) bool) {
	f.Helper()
	f.entries += len(want)
	for _, e := range want {
		for _, k := range compare.Kinds {
			if k.Has(e) && (k.Family == "" || k.Family == family) {
				f.concerned[k.Name]++
			}
		}
	}
	shown := 0
	for _, d := range compare.Diff(want, got, nil) {
		k := compare.KindOf(d)
		switch {
		case expected != nil && expected(d):
			f.documented++
		case k != nil && (k.Family == "" || k.Family == family):
			f.documented++
			f.found[k.Name]++
		default:
			f.differences++
			if shown++; shown <= 20 {
				f.Errorf("difference after %s: %v", where, d)
			}
		}
	}
}

// family is that of the daemons.
func (f *fidelity) family() string {
	if rig.IsBareos() {
		return compare.Bareos
	}
	return ""
}

// kinds tells of each documented kind how often it was met. One that nothing differs
// by any more is carried now, and must not be excused any longer.
func (f *fidelity) kinds() {
	for _, k := range compare.Kinds {
		switch {
		case f.concerned[k.Name] == 0:
			fmt.Printf("fidelity: not tried: %s: no file system here has them\n", k.Name)
		case f.found[k.Name] == 0:
			f.Errorf("%d entries have %s, and no restore has lost any: delete the kind's line in test/compare/documented.go", f.concerned[k.Name], k.Name)
		default:
			fmt.Printf("fidelity: documented: %s: %d of %d, since %s\n", k.Name, f.found[k.Name], f.concerned[k.Name], k.Reason)
		}
	}
}

// torn is a container with a file that cannot be read as a whole, and with paths that
// no daemon takes: the job names both, and all else is exact.
func (f *fidelity) torn() {
	f.fill("torn", oldUUID, "small", "too-long")
	want := f.scan(descriptor(oldUUID, "root.hdd"))
	const victim = full + "/" + nasty.Unread
	f.run("prlctl", "mount", "torn")
	if out, err := f.node.Lab("spoil", f.node.Dir, "/vz/root/"+oldUUID+"/"+victim, strconv.Itoa(512<<10), "4096"); err != nil {
		f.Fatalf("spoil: %v: %s", err, out)
	}
	f.run("prlctl", "umount", "torn")
	r, err := f.sys.Backup("torn")
	f.must(err)
	if r.OK() || !strings.HasPrefix(r.Termination, "Backup OK") {
		f.Errorf("a backup of a file that cannot be read has ended with %q, want warnings", r.Termination)
	}
	f.says(r, victim, "Input/output error", full+"/"+nasty.TooLong+"/tttt", "path too long for the daemon")
	f.nothingLeft()
	if out, err := f.node.Lab("heal", f.node.Dir); err != nil {
		f.Fatalf("heal: %v: %s", err, out)
	}
	f.run("prlctl", "destroy", "torn")
	res, err := f.sys.Restore(rig.Restore{JobIDs: []int{r.ID}, Options: "restore=ct"})
	f.must(err)
	f.says(res, victim, "1 not restored exactly")
	f.ended("backup of an unreadable file", r)
	f.ended("restore of an unreadable file", res)
	f.nothingLeft()
	f.judge(f.family(), "a backup of an unreadable file", want, f.scan(descriptor(oldUUID, "root.hdd")), func(d compare.Difference) bool {
		return d.Path == victim && (d.What == compare.Size || d.What == compare.Content || d.What == compare.Holes)
	})
	judge(f.T, f.world)
}

// layouts is a smaller container in the layout of every release.
func (f *fidelity) layouts() {
	f.create(rig.Container{Name: "web", UUID: webUUID, Size: "1500M", Tree: smallTree})
	f.fill("web", webUUID, "small")
	want := f.scan(descriptor(webUUID, "root.hdd"))
	store := func(layout string) string { return filepath.Join(f.dir, "exact-"+layout) }
	for _, layout := range layouts {
		f.host("fdhost", 0, "--layout", layout, "backup", "--fileset", "vz7ct:name=web", "--store", store(layout))
	}
	for _, layout := range layouts {
		f.run("prlctl", "destroy", "web")
		f.host("fdhost", 0, "--layout", layout, "restore", "--store", store(layout))
		family := ""
		if strings.HasPrefix(layout, "bareos") {
			family = compare.Bareos
		}
		f.judge(family, "layout "+layout, want, f.scan(descriptor(webUUID, "root.hdd")), nil)
		f.nothingLeft()
	}
	judge(f.T, f.world)
}

// controls plants alterations in copies of what was restored. The disk has a place for
// all but projects, for which ext4 wants a kernel with CONFIG_QFMT_V2: XFS has them.
func (f *fidelity) controls() {
	f.run("prlctl", "mount", "web")
	defer f.run("prlctl", "umount", "web")
	root := "/vz/root/" + webUUID
	f.run("mkdir", root+"/tmp/controls")
	out := f.run("/usr/bin/compare", "controls", root+"/srv/"+nasty.Name, root+"/tmp/controls")
	m := regexp.MustCompile(`controls=(\d+)/(\d+)`).FindStringSubmatch(out)
	if m == nil {
		f.Fatalf("the comparer's controls: %s", out)
	}
	reported, _ := strconv.Atoi(m[1])
	planted, _ := strconv.Atoi(m[2])
	f.reported, f.planted = f.reported+reported, f.planted+planted
	if strings.Contains(out, "not planted: the project of a file") {
		r := f.projectControl()
		f.reported, f.planted = f.reported+r.Planted-len(r.Missed), f.planted+1
	}
	if n := strings.Count(out, "not planted:"); n > 1 {
		f.Errorf("alterations were not planted:\n%s", out)
	}
}

func (f *fidelity) projectControl() compare.Report {
	image, mnt := filepath.Join(f.dir, "xfs"), filepath.Join(f.dir, "mnt")
	for _, argv := range [][]string{{"truncate", "-s", "300M", image}, {"mkfs.xfs", "-q", image}, {"mkdir", mnt}, {"mount", "-o", "loop", image, mnt}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			f.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	defer func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			f.Errorf("unmount %s: %v", mnt, err)
		}
	}()
	r, err := compare.Controls(filepath.Join(smallTree, "etc"), mnt, compare.Project)
	f.must(err)
	if len(r.Missed)+len(r.NotPlanted) > 0 {
		f.Errorf("the project of a file, altered: missed %q, not planted %q", r.Missed, r.NotPlanted)
	}
	return r
}
