// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// plan is one merge: child goes into parent's file.
type plan struct {
	child, parent  string // GUIDs
	childFile      string
	parentFile     string
	dev            *server.Device // nil: offline
	level          int            // of the child in dev
	rawParent      bool
	wasTemporary   bool
	online, byTop  bool
	gone, tmp      string
	childTemporary bool
}

// mergeChild merges a snapshot into its parent.
func (d *disk) mergeChild(child string) code {
	t := d.t
	fn := "ploop_merge_snapshot_by_guid"
	s, im := d.Shot(child), d.Image(child)
	if s == nil || im == nil {
		t.fail(at{fn, "merge.c:778", "merge.c:848"}, nil, "Can't find snapshot by uuid %s", child)
		return cParam
	}
	if s.Parent == descriptor.NoParent {
		t.fail(at{fn, "merge.c:793", "merge.c:793"}, nil, "Unable to merge base image")
		return cParam
	}
	ps, pi := d.Shot(s.Parent), d.Image(s.Parent)
	if ps == nil || pi == nil {
		t.fail(at{fn, "merge.c:799", "merge.c:854"}, nil, "Can't find image by uuid %s", s.Parent)
		return cParam
	}
	if n := len(d.Children(s.Parent)); n > 1 {
		t.fail(at{fn, "merge.c:813", "merge.c:881"}, nil, "Can't merge to snapshot %s: it has %d children", s.Parent, n)
		return cParam
	}
	p := &plan{
		child: s.GUID, parent: s.Parent, childFile: im.File, parentFile: pi.File, wasTemporary: ps.Temporary,
		childTemporary: s.Temporary, tmp: d.path + ".tmp",
	}
	dev, c := d.device("")
	if c != 0 {
		return c
	}
	if dev != nil {
		if c := d.completeRunning(dev); c != 0 {
			return c
		}
		if c := d.place(p, dev.Name); c != 0 {
			return c
		}
	}
	p.rawParent = pi.Raw && ps.Parent == descriptor.NoParent
	if t.vz9 && p.byTop && p.level == 1 {
		return d.mergeReverse(p)
	}
	if c := d.checkMounted(p.parent, p.parent, p.parentFile, p.wasTemporary); c != 0 {
		return c
	}
	told := p.child
	if t.vz9 {
		told = p.parent // 9.0.30 names the snapshot to delete, 7.0.280 the one that is mounted
	}
	if c := d.checkMounted(p.child, told, p.childFile, p.childTemporary); c != 0 {
		return c
	}
	return d.mergeMarked(p)
}

// place finds child and parent among the levels of the container's device.
func (d *disk) place(p *plan, name string) code {
	t := d.t
	dev, c := d.device("")
	if c != 0 || dev == nil || dev.Name != name {
		return max(c, 0)
	}
	if len(dev.Levels) == 1 && !t.vz9 {
		t.fail(at{"get_delta_info", "merge.c:232", ""}, nil, "Single delta, nothing to merge")
		return cParam
	}
	find := func(file string) (int, error) {
		id, err := identify(file)
		for i, l := range dev.Levels {
			if err == nil && l.Dev == id.dev && l.Ino == id.ino {
				return i, nil
			}
		}
		return -1, err
	}
	ci, err := find(p.childFile)
	if err != nil {
		t.fail(at{"ploop_merge_snapshot_by_guid", "merge.c:830", "merge.c:897"}, err, "Can't stat %s", p.childFile)
		return 15
	}
	pi, err := find(p.parentFile)
	if err != nil {
		t.fail(at{"ploop_merge_snapshot_by_guid", "merge.c:836", "merge.c:902"}, err, "Can't stat %s", p.parentFile)
		return 15
	}
	switch {
	case ci < 0 && pi < 0:
		return 0 // the device runs on another branch
	case ci != pi+1 || pi < 0:
		t.fail(at{"ploop_merge_snapshot_by_guid", "merge.c:881", "merge.c:947"}, nil,
			"Inconsistency detected %s [%d] %s [%d]", p.parentFile, ci, p.childFile, pi)
		return cParam
	}
	p.dev, p.level, p.online, p.byTop = dev, ci, true, ci == len(dev.Levels)-1
	return 0
}

// mergeMarked marks the parent temporary, so that a crash is repaired by the next call, merges, and writes the descriptor.
// What a failure leaves behind is what the real tool leaves: the mark, the .tmp file, and in memory a disk without child.
func (d *disk) mergeMarked(p *plan) code {
	t := d.t
	online := p.online
	if t.vz9 {
		online = p.byTop // 9.0.30 calls a merge below the top of a running disk offline
	}
	kind, on, raw := "snapshot", "Off", ""
	if p.wasTemporary {
		kind = "temporary snapshot"
	}
	if online {
		on = "On"
	}
	if p.rawParent {
		raw = " (raw)"
	}
	t.say("%sline %s merge %s -> %s%s", on, kind, p.child, p.parent, raw)
	into := p.parentFile
	if t.vz9 && p.online {
		into = p.dev.Levels[0].Path // sic: 9.0.30 names the base, whatever the parent is
	}
	t.say("Merging image: %s -> %s", d.short(p.childFile), d.short(into))
	d.Shot(p.parent).Temporary = true
	if c := d.store(d.path); c != 0 {
		return c
	}
	up := t.vz9 && p.byTop
	gone, err := d.Merge(p.child, up)
	if err != nil {
		t.fail(at{"ploop_di_merge_image", "di.c:552", "di.c:770"}, nil, "Can't find snapshot by uuid %s", p.child)
		return cParam
	}
	p.gone = gone
	if c := d.store(p.tmp); c != 0 {
		return c
	}
	t.pause("merge-marked")
	start := time.Now()
	c := d.mergeData(p, up)
	t.rec.MergeMS = since(start)
	if c != 0 {
		return c
	}
	if err := os.Rename(p.tmp, d.path); err != nil {
		t.fail(at{"ploop_merge_snapshot_by_guid", "merge.c:995", "merge.c:1069"}, err, "Can't rename %s %s", p.tmp, d.path)
		return cRename
	}
	t.say("Removing %s", p.gone)
	if err := os.Remove(p.gone); err != nil {
		t.fail(at{"ploop_merge_snapshot_by_guid", "merge.c:1003", "merge.c:1077"}, err, "unlink %s", p.gone)
		t.say("failed to merge ploop snapshot")
		return cUnlink
	}
	t.say("ploop snapshot merged")
	return 0
}

// completeRunning ends a merge whose tool was killed, as every later command does. The disk's own descriptor loses the
// merged snapshot on the way.
func (d *disk) completeRunning(dev *server.Device) code {
	t := d.t
	if !dev.Merging {
		return 0
	}
	t.say("Completing an on-going operation MERGE for device %s", t.node(dev.Name))
	t.say("Process PLOOP_MNTN_MERGE state on '%s'", d.path)
	top := d.Image(d.Top)
	gone, err := d.Merge(d.Top, t.vz9 && len(dev.Levels) > 2)
	if err != nil || top == nil {
		t.fail(at{"ploop_di_merge_image", "di.c:552", "di.c:770"}, nil, "Can't find snapshot by uuid %s", d.Top)
		return cParam
	}
	t.say("Repair %s: merge top delta %s", d.path, gone)
	tmp := d.path + ".tmp"
	if c := d.store(tmp); c != 0 {
		return c
	}
	a, err := t.srv.Merge(dev.Name, len(dev.Levels)-1, false, nil, 0)
	if err != nil {
		t.fail(at{"ioctl_device", "util.c:270", "dm.c:270"}, err, "PLOOP_IOC_MERGE")
		return cDevioc
	}
	t.rec.Merged = a.Merge.Clusters
	if err := os.Rename(tmp, d.path); err != nil {
		t.fail(at{"do_mntn_merge", "balloon.c:1683", "balloon.c:1683"}, err, "Can't rename %s %s", tmp, d.path)
		return cRename
	}
	_ = os.Remove(gone)
	return 0
}

// short names a file relative to the descriptor's folder.
func (d *disk) short(file string) string {
	return strings.TrimPrefix(file, filepath.Dir(d.path)+"/")
}
