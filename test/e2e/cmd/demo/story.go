// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
	"github.com/bareos-contrib/vz7ct/test/lab/nasty"
)

const (
	uuid = "6c9a5ad5-7c1d-4f43-9a0f-5a8e4d6b2f10"
	root = "/vz/root/" + uuid
	lost = "etc/debian_version"
)

// minEntries is how many entries the comparison must have at least.
const minEntries = 10000

// disks are the container's, by the folder of the private area, with the place
// at which it sees them.
var disks = []struct{ folder, mount string }{{"root.hdd", "."}, {"disk-1.hdd", "data"}}

// story is the demo's run.
type story struct {
	began     time.Time
	dir, tree string
	node      *rig.Node
	sys       *rig.System

	saved                map[string]compare.Tree // by mount, as the snapshot had them
	backup               rig.Result
	entries, differences int
	bytes                int64
	controls             string
	freezeMS, mergeMS    float64
	durableBefore        string
}

// say tells what happens, with the seconds since the beginning.
func (s *story) say(format string, args ...any) {
	fmt.Printf("demo: %5.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// show prints what the plugin has written into a job's log.
func (s *story) show(r rig.Result) {
	for line := range strings.SplitSeq(r.Ours(), "\n") {
		fmt.Println("        |", line)
	}
}

// play is the story from the beginning to the end.
func (s *story) play() error {
	for _, step := range []func() error{
		s.makeContainer, s.startDaemons, s.save, s.destroy, s.restore, s.compare, s.plant, s.start, s.restoreLost, s.leave,
	} {
		if err := step(); err != nil {
			if s.sys != nil {
				s.sys.Stop()
			}
			return err
		}
	}
	return nil
}

func (s *story) makeContainer() error {
	s.say("container web with a Debian system and a second disk at /data is made and started")
	if err := s.node.Create(rig.Container{
		Name: "web", UUID: uuid, Size: "2G", Disks: []string{"mnt=/data,size=512M"}, Tree: s.tree,
	}); err != nil {
		return err
	}
	if _, err := s.node.Must("prlctl", "start", "web"); err != nil {
		return err
	}
	// Until its programs have written for a while.
	_, err := s.node.Must("sh", "-c", fmt.Sprintf(
		`for i in $(seq 600); do [ "$(wc -l < %s/ledger/%s)" -ge 50 ] && exit 0; sleep 0.1; done; exit 1`, s.node.Dir, uuid))
	return err
}

func (s *story) startDaemons() (err error) {
	s.sys, err = rig.Start(s.node, filepath.Join(s.dir, "daemons"), rig.Config{Jobs: []rig.Job{
		{Name: "web", Slow: true, Plugin: []string{"blocker=tmp/backup_blocker"}, Options: "name=web"},
	}})
	if err == nil {
		s.say("Director, Storage Daemon and File Daemon are up, the File Daemon on the node with the plugin")
	}
	return err
}

// save runs a full backup. The volume is full in the midst of it: while the
// daemon waits for another one the snapshot is read once more, by the judge.
func (s *story) save() error {
	var err error
	if s.durableBefore, err = s.node.Lab("now"); err != nil {
		return err
	}
	s.say("full backup while the container writes")
	id, err := s.sys.Begin("web")
	if err != nil {
		return err
	}
	if err := s.sys.WaitLog(id, "Cannot find any appendable volumes"); err != nil {
		return err
	}
	s.say("the first volume is full; the mounted snapshot is scanned, to be compared with later")
	if err := s.scanSnapshot(); err != nil {
		return err
	}
	if err := s.sys.Label("V1", 0); err != nil {
		return err
	}
	s.say("another volume is there, the backup goes on")
	if s.backup, err = s.sys.Wait(id); err != nil {
		return err
	}
	s.show(s.backup)
	if !s.backup.OK() {
		return fmt.Errorf("the backup has ended with %q:\n%s", s.backup.Termination, s.backup.Log)
	}
	s.say("%s, %d files", s.backup.Termination, s.backup.Files)
	if err := s.nothingLeft(); err != nil {
		return err
	}
	return s.figures()
}

// scanSnapshot reads what the plugin has mounted. The second disk's mounts end
// in the number of the disk.
func (s *story) scanSnapshot() error {
	s.saved = map[string]compare.Tree{}
	for n, d := range disks {
		dir, err := s.node.Must("sh", "-c", fmt.Sprintf("ls -d /mnt/bareos/%s.*.%d", uuid, n))
		if err != nil {
			return err
		}
		if s.saved[d.mount], err = s.scan(strings.TrimSpace(dir)); err != nil {
			return err
		}
	}
	return nil
}

// scan reads a tree on the node.
func (s *story) scan(dir string) (compare.Tree, error) {
	out := filepath.Join(s.dir, "tree")
	if err := s.node.Scan(dir, out); err != nil {
		return nil, err
	}
	return compare.Load(out)
}

// figures reads how long the container stood still and how long merges took.
func (s *story) figures() error {
	calls, err := s.node.PloopCalls()
	if err != nil {
		return err
	}
	for _, c := range calls {
		s.freezeMS = max(s.freezeMS, c.FreezeMS)
		s.mergeMS += c.MergeMS
	}
	if s.freezeMS == 0 || s.mergeMS == 0 {
		return errors.New("the node's log tells of no freeze or no merge")
	}
	return nil
}

func (s *story) destroy() error {
	s.say("the container is destroyed: images, configuration and registration")
	for _, cmd := range [][]string{{"prlctl", "stop", "web"}, {"prlctl", "destroy", "web"}} {
		if _, err := s.node.Must(cmd...); err != nil {
			return err
		}
	}
	if out, err := s.node.Must("prlctl", "list", "-a", "-H", "-o", "name"); err != nil || strings.TrimSpace(out) != "" {
		return fmt.Errorf("the node still has %q, %w", out, err)
	}
	if out, err := s.node.Run("ls", "/vz/private/"+uuid); err == nil {
		return fmt.Errorf("the private area is still there: %s", out)
	}
	return nil
}

func (s *story) restore() error {
	s.say("restore=ct")
	r, err := s.sys.Restore(rig.Restore{JobIDs: []int{s.backup.ID}, Options: "restore=ct"})
	if err != nil {
		return err
	}
	s.show(r)
	if !r.OK() {
		return fmt.Errorf("the restore has ended with %q:\n%s", r.Termination, r.Log)
	}
	s.say("%s, %d files", r.Termination, r.Files)
	return s.nothingLeft()
}

// compare compares every disk with the snapshot, and asks the container's own
// programs whether all is there that they had made durable before.
func (s *story) compare() error {
	s.say("the restored disks are compared with the snapshot, attribute by attribute")
	for _, d := range disks {
		dir := "/run/demo-" + d.folder
		descriptor := "/vz/private/" + uuid + "/" + d.folder + "/DiskDescriptor.xml"
		if _, err := s.node.Must("sh", "-c", fmt.Sprintf("mkdir -p %s && ploop mount -r -m %[1]s %s", dir, descriptor)); err != nil {
			return err
		}
		got, err := s.scan(dir)
		if _, down := s.node.Must("ploop", "umount", "-m", dir); err == nil {
			err = down
		}
		if err != nil {
			return err
		}
		s.judge(d.mount, s.saved[d.mount], got)
	}
	if s.differences > 0 {
		return fmt.Errorf("%d differences", s.differences)
	}
	if s.entries < minEntries {
		return fmt.Errorf("%d entries were compared, %d are the least", s.entries, minEntries)
	}
	if _, err := s.node.Must("prlctl", "mount", "web"); err != nil {
		return err
	}
	for _, ledger := range []string{uuid, uuid + "@data"} {
		out, err := s.node.Must(rig.Build("lab"), "workload-verify", "--ledger", filepath.Join(s.node.Dir, "ledger", ledger),
			"--before", strings.TrimSpace(s.durableBefore), root)
		if err != nil || !strings.Contains(out, "missing=0 wrong=0") || strings.Contains(out, "files=0 ") {
			return fmt.Errorf("what was durable before the snapshot: %s %w", out, err)
		}
		s.say("what the container had made durable before the snapshot: %s", strings.TrimSpace(out))
	}
	if _, err := s.node.Must("prlctl", "umount", "web"); err != nil {
		return err
	}
	if out, err := s.node.Lab("check", s.node.Dir); err != nil {
		return fmt.Errorf("ploop check, qemu-img or e2fsck: %w: %s", err, out)
	}
	return nil
}

// judge counts what is not the same. The root disk's directory at which another
// disk is mounted is left out: a backup has that disk's own root in its place.
func (s *story) judge(mount string, want, got compare.Tree) {
	for _, d := range disks {
		if mount == "." && d.mount != "." {
			delete(want, d.mount)
			delete(got, d.mount)
		}
	}
	diffs := compare.Diff(want, got, compare.Documented)
	for n, d := range diffs {
		if n < 20 {
			fmt.Println("        difference:", d)
		}
	}
	for _, e := range want {
		s.bytes += e.Size
	}
	s.entries += len(want)
	s.differences += len(diffs)
}

// plant sees to it that the comparison would have noticed: in a copy of what was
// restored one alteration after another is planted.
func (s *story) plant() error {
	scratch := filepath.Join(s.dir, "controls")
	if err := os.Mkdir(scratch, 0o755); err != nil {
		return err
	}
	if _, err := s.node.Must("prlctl", "mount", "web"); err != nil {
		return err
	}
	out, err := s.node.Must(rig.Build("compare"), "controls", filepath.Join(root, nasty.Name), scratch)
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`controls=(\d+/\d+)`).FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("the comparer's controls: %s", out)
	}
	s.controls = m[1]
	s.say("planted alterations that the comparison has reported: %s", s.controls)
	_, err = s.node.Must("prlctl", "umount", "web")
	return err
}

func (s *story) start() error {
	s.say("the restored container is started")
	if _, err := s.node.Must("prlctl", "start", "web"); err != nil {
		return err
	}
	out, err := s.node.Must("prlctl", "list", "-a", "-H", "-o", "status", "web")
	if err != nil || strings.TrimSpace(out) != "running" {
		return fmt.Errorf("the container is %q, %w", out, err)
	}
	return nil
}

// restoreLost takes a file away in the running container and puts it back.
func (s *story) restoreLost() error {
	state := func() (string, error) {
		return s.node.Must("sh", "-c", fmt.Sprintf("cd %s && stat -c '%%s %%a %%u:%%g %%Y' %s && sha256sum %[2]s", root, lost))
	}
	before, err := state()
	if err != nil {
		return err
	}
	if _, err := s.node.Must("rm", filepath.Join(root, lost)); err != nil {
		return err
	}
	s.say("/%s is lost and restored into the running container", lost)
	r, err := s.sys.Restore(rig.Restore{JobIDs: []int{s.backup.ID}, Files: []string{"/mnt/bareos/" + uuid + "/" + lost}, Options: "restore=file"})
	if err != nil {
		return err
	}
	s.show(r)
	after, err := state()
	if err != nil || !r.OK() || after != before {
		return fmt.Errorf("the restored file is %q, it was %q; %s, %w", after, before, r.Termination, err)
	}
	return nil
}

// leave stops everything and looks for what is left.
func (s *story) leave() error {
	if err := s.nothingLeft(); err != nil {
		return err
	}
	s.sys.Stop()
	s.sys = nil
	if _, err := s.node.Must("prlctl", "stop", "web"); err != nil {
		return err
	}
	if out, err := s.node.Lab("check", s.node.Dir); err != nil {
		return fmt.Errorf("ploop check, qemu-img or e2fsck: %w: %s", err, out)
	}
	s.say("nothing is left on the node")
	return nil
}

func (s *story) nothingLeft() error {
	left, err := s.node.Leftovers()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left on the node: %s", strings.Join(left, "; "))
	}
	return err
}

// last is the line that the demo ends with.
func (s *story) last() string {
	return fmt.Sprintf("demo: ok entries=%d bytes=%d differences=%d controls=%s freeze_ms=%.0f merge_s=%.2f wall_s=%.0f",
		s.entries, s.bytes, s.differences, s.controls, s.freezeMS, s.mergeMS/1000, time.Since(s.began).Seconds())
}
