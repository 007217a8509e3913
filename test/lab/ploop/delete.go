// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

func (t *Tool) cmdDelete(args []string) code {
	o, ok := t.parse("snapshot-delete", args, "u:", nil)
	if !ok {
		t.raw(usageDelete)
		return cParam
	}
	guid := ""
	if o.has('u') {
		if guid, ok = t.guid(o.set['u']); !ok {
			return cParam
		}
	}
	if len(o.rest) != 1 || guid == "" || !isXML(o.rest[0]) {
		t.raw(usageDelete)
		return cParam
	}
	d, c := t.open(o.rest[0])
	if c != 0 {
		return c
	}
	if c := d.acquire(); c != 0 {
		return c
	}
	defer d.release()
	if c := d.delete(guid); c != 0 {
		return c
	}
	d.mergeTemporary()
	return 0
}

func (t *Tool) cmdMerge(args []string) code {
	o, ok := t.parse("snapshot-merge", args, "u:An:", nil)
	if !ok || len(o.rest) != 1 || !isXML(o.rest[0]) || o.has('n') {
		t.raw(usageMerge)
		return cParam
	}
	if o.has('u') && o.has('A') {
		t.raw("Options -u and -A can't be used together")
		t.raw(usageMerge)
		return cParam
	}
	guid := ""
	if o.has('u') {
		if guid, ok = t.guid(o.set['u']); !ok {
			return cParam
		}
	}
	d, c := t.open(o.rest[0])
	if c != 0 {
		return c
	}
	if c := d.acquire(); c != 0 {
		return c
	}
	defer d.release()
	if !o.has('A') {
		if guid == "" {
			guid = d.Top
		}
		return d.mergeChild(guid)
	}
	for len(d.Shots) > 1 {
		if c := d.mergeChild(d.Top); c != 0 {
			return c
		}
	}
	return 0
}

// delete removes a snapshot: one without children with its file, one with a child by merging the child into it.
func (d *disk) delete(guid string) code {
	t := d.t
	w := func(vz7, vz9 string) at { return at{"do_delete_snapshot", vz7, vz9} }
	shot := d.Shot(guid)
	if shot == nil {
		t.fail(w("snapshot.c:71", "snapshot.c:54"), nil, "Can't find snapshot by uuid %s", guid)
		return cNoSnap
	}
	dev, c := d.device("")
	if c != 0 {
		return c
	}
	top := strings.EqualFold(d.Top, guid)
	if dev != nil && top {
		t.fail(w("snapshot.c:80", "snapshot.c:63"), nil, "Unable to delete active snapshot %s", guid)
		return cParam
	}
	children := d.Children(guid)
	switch {
	case len(children) == 1:
		return d.mergeChild(children[0])
	case len(children) > 1:
		if shot.Temporary {
			return 0
		}
		t.say("Warning: Unable to delete snapshot %s as there are %d references to it; marking it as temporary instead",
			guid, len(children))
		shot.Temporary = true
		return d.store(d.path)
	case shot.Parent == descriptor.NoParent:
		t.fail(w("snapshot.c:90", "snapshot.c:73"), nil, "Unable to delete base image")
		return cParam
	}
	if p := d.Shot(shot.Parent); top && p != nil && p.Temporary {
		t.fail(w("snapshot.c:104", "snapshot.c:87"), nil, "Unable to delete top delta, parent snapshot is temporary")
		return cParam
	}
	if c := d.checkMounted(guid, guid, d.Image(guid).File, shot.Temporary); c != 0 {
		return c
	}
	t.say("del snapshot %s", guid)
	file, err := d.Remove(guid)
	if err != nil {
		t.fail(at{"ploop_di_remove_image", "di.c:504", "di.c:722"}, nil, "Unable to find image by uuid %s", guid)
		return cParam
	}
	if c := d.store(d.path); c != 0 {
		return c
	}
	t.say("Removing %s", file)
	if err := os.Remove(file); err != nil {
		t.fail(w("snapshot.c:133", "snapshot.c:116"), err, "unlink %s", file)
		return cUnlink
	}
	t.say("ploop snapshot %s has been successfully deleted", guid)
	return 0
}

// mergeTemporary merges temporary snapshots nobody uses. The first failure ends it; callers do not look at the outcome.
func (d *disk) mergeTemporary() {
	for i := 0; i < len(d.Shots); {
		s := d.Shots[i]
		if !s.Temporary || d.inUse(s.GUID) {
			i++
			continue
		}
		n := len(d.Shots)
		if d.delete(s.GUID) != 0 {
			return
		}
		if len(d.Shots) != n {
			i = 0
			continue
		}
		i++
	}
}

// inUse says whether a device whose top is the snapshot's file counts as in use.
func (d *disk) inUse(guid string) bool {
	im := d.Image(guid)
	if im == nil {
		return true
	}
	list, err := d.withTop(im.File)
	if errors.Is(err, unix.ENOENT) {
		return false
	}
	if err != nil {
		return true
	}
	for i := range list {
		if d.t.deviceInUse(&list[i]) {
			return true
		}
	}
	return false
}

// deviceInUse follows the real rule: the mark of a temporary snapshot means no; two openers mean yes; one that is not the
// mount means yes.
func (t *Tool) deviceInUse(dev *server.Device) bool {
	if strings.HasPrefix(dev.Cookie, tempMark) {
		return false
	}
	points, err := mountsOf(dev)
	if err != nil {
		return true
	}
	openers := t.openers(dev)
	return len(points)+openers >= 2 || openers > 0
}

// checkMounted refuses to work on a snapshot that a device shows. Devices of temporary snapshots are taken down instead.
// told is the GUID the message names.
func (d *disk) checkMounted(guid, told, file string, temporary bool) code {
	t := d.t
	if strings.EqualFold(guid, d.Top) {
		return 0
	}
	list, err := d.withTop(file)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return t.broken(err)
	}
	if len(list) == 0 {
		return 0
	}
	busy := func(w at) code {
		var names strings.Builder
		for _, dev := range list {
			names.WriteString(t.node(dev.Name) + " ")
		}
		t.fail(w, nil, "Snapshot %s is busy by device(s): %s", told, names.String())
		return cBusy
	}
	if !temporary {
		return busy(at{"check_snapshot_mount", "ploop.c:4434", "ploop.c:4572"})
	}
	for len(list) > 0 {
		dev := list[0]
		c := cBusy
		for try := 0; ; try++ {
			if !t.deviceInUse(&dev) {
				c = t.umountDevice(&dev, nil)
				break
			}
			if try == 3 {
				break
			}
			time.Sleep(time.Second)
		}
		if c != 0 {
			t.lsof(t.out, t.node(dev.Name))
			_ = busy(at{"check_snapshot_mount", "ploop.c:4457", "ploop.c:4594"})
			return c
		}
		list = list[1:]
	}
	return 0
}
