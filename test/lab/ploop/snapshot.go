// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"crypto/rand"
	"os"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/image"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

func (t *Tool) cmdSnapshot(args []string) code {
	o, ok := t.parse("snapshot", args, "Fd:u:b:o", nil)
	if !ok || len(o.rest) != 1 {
		t.raw(usageSnapshot)
		return cParam
	}
	guid := ""
	if o.has('u') {
		if guid, ok = t.guid(o.set['u']); !ok {
			return cParam
		}
	}
	if !isXML(o.rest[0]) {
		t.raw(usageSnapshot) // the form with a device and an image file is not there
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
	_, c = d.snapshot(guid, false)
	return c
}

func (t *Tool) cmdTsnapshot(args []string) code {
	o, ok := t.parse("tsnapshot", args, "u:c:m:", nil)
	if !ok {
		t.raw(usageTsnapshot)
		return cParam
	}
	guid := ""
	if o.has('u') {
		if guid, ok = t.guid(o.set['u']); !ok {
			return cParam
		}
	}
	if len(o.rest) != 1 || !isXML(o.rest[0]) || guid == "" || !o.has('c') {
		t.raw(usageTsnapshot)
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
	if _, c := d.snapshot(guid, true); c != 0 {
		return c
	}
	d.cookie = cut(tempMark + o.set['c'])
	c = d.mount(mountOptions{guid: guid, readOnly: true, target: o.set['m']})
	if c != 0 {
		_ = d.mergeChild(d.Top) // the real tool does not look at the outcome either
	}
	return c
}

// cut shortens a component name to what the driver keeps.
func cut(s string) string { return s[:min(len(s), cookieSize-1)] }

// snapshot gives the top the name guid, or one made up, and puts a new top on it. It follows the real tool step by step;
// that a failed clean-up of temporary snapshots leaves a descriptor in memory without the old top, which is then written,
// is a fault of the original that loses data, and is kept.
func (d *disk) snapshot(guid string, temporary bool) (string, code) {
	t := d.t
	d.mergeTemporary()
	if guid != "" && d.Shot(guid) != nil {
		t.fail(at{"do_create_snapshot", "snapshot.c:414", "snapshot.c:349"}, nil, "The snapshot %s already exist", guid)
		return "", cParam
	}
	file, err := uuid()
	if err != nil {
		return "", t.broken(err)
	}
	if guid == "" {
		if guid, err = uuid(); err != nil {
			return "", t.broken(err)
		}
	}
	if n := len(d.Chain(d.Top)); n > maxSnap {
		t.fail(at{"do_create_snapshot", "snapshot.c:427", "snapshot.c:366"}, nil,
			"Unable to create a snapshot. The maximum number of snapshots (%d) has been reached", n-1)
		return "", cParam
	}
	dev, c := d.device("")
	if c != 0 {
		return "", c
	}
	old := d.Image(d.Top)
	if old == nil {
		t.fail(at{"do_create_snapshot", "snapshot.c:490", "snapshot.c:412"}, nil, "Unable to find image by uuid %s", d.Top)
		return "", cParam
	}
	spec, c := d.newTopSpec(dev, old)
	if c != 0 {
		return "", c
	}
	name, prev := d.base()+"."+file, old.File
	d.Rename(d.Top, guid)
	if temporary {
		d.Shot(guid).Temporary = true
	}
	t.say("Adding snapshot %s", descriptor.TopGUID)
	d.Add(name, descriptor.TopGUID, guid)
	tmp := d.path + ".tmp"
	if c := d.store(tmp); c != 0 {
		return "", c
	}
	if dev == nil {
		c = d.newTopOffline(name, prev, spec)
	} else {
		c = d.newTopOnline(dev, name, spec)
	}
	if c != 0 {
		_ = os.Remove(tmp)
		return "", c
	}
	if err := os.Rename(tmp, d.path); err != nil {
		t.fail(at{"do_create_snapshot", "snapshot.c:537", "snapshot.c:455"}, err, "Can't rename %s %s", tmp, d.path)
		return "", cRename
	}
	kind := "snapshot"
	if temporary {
		kind = "temporary snapshot"
	}
	t.say("ploop %s %s has been successfully created", kind, guid)
	return guid, 0
}

// newTopSpec says what the new top must look like.
func (d *disk) newTopSpec(dev *server.Device, old *descriptor.Image) (image.Spec, code) {
	t := d.t
	if dev != nil {
		if c := d.completeRunning(dev); c != 0 {
			return image.Spec{}, c
		}
		version := dev.Version
		if version == 0 {
			version = 2 // a raw top: the delta on it gets the default
		}
		return image.Spec{Sectors: dev.Sectors, Blocksize: dev.Blocksize, Version: version}, 0
	}
	if old.Raw && strings.EqualFold(d.Base(), old.GUID) {
		st, err := os.Stat(old.File)
		if err != nil {
			t.fail(at{"get_image_param_offline", "ploop.c:2881", "ploop.c:3062"}, err, "Failed to stat %s", old.File)
			return image.Spec{}, 15
		}
		return image.Spec{Sectors: uint64(st.Size()) / image.SectorSize, Blocksize: d.Blocksize, Version: 2}, 0
	}
	h, c := t.header(old.File, true)
	if c != 0 {
		return image.Spec{}, cOpen
	}
	return image.Spec{Sectors: uint64(h.Clusters) * uint64(h.Blocksize), Blocksize: h.Blocksize, Version: h.Version}, 0
}

func (d *disk) create(name string, s image.Spec) code {
	d.t.say("Creating delta %s bs=%d size=%d sectors v%d", name, s.Blocksize, s.Sectors, s.Version)
	if err := image.Create(name, s); err != nil {
		d.t.fail(at{"do_create_delta", "ploop.c:404", "ploop.c:403"}, err, "Can't open %s", name)
		return cCreat
	}
	return 0
}

func (d *disk) newTopOffline(name, prev string, s image.Spec) code {
	if c := d.create(name, s); c != 0 {
		return c
	}
	if !d.Raw() {
		d.t.say("Move CBT %s -> %s", prev, name)
		_, _ = d.t.header(prev, true)
	}
	return 0
}

// newTopOnline switches a device at work: freeze, switch, thaw.
func (d *disk) newTopOnline(dev *server.Device, name string, s image.Spec) code {
	t := d.t
	if c := d.create(name, s); c != 0 {
		if c == cCreat {
			c = cOpen
		}
		return c
	}
	t.rec.Device = dev.Name
	t.say("Creating snapshot dev=%s img=%s", t.node(dev.Name), name)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return t.broken(err)
	}
	defer f.Close() //nolint:errcheck // the server has its own
	if t.vz9 {
		prev := dev.Levels[len(dev.Levels)-1].Path
		t.say("Update inuse state %s state=%d", name, inUseState)
		t.say("Opening delta %s", name)
		t.say("Update inuse state %s state=0", prev)
		t.say("Opening delta %s", prev)
		for _, l := range dev.Levels {
			t.say("Adding delta dev=%s img=%s (ro)", t.node(dev.Name), l.Path)
		}
		t.say("Adding delta dev=%s img=%s (rw)", t.node(dev.Name), name)
	}
	if err := t.switchFrozen(dev, name, f); err != nil {
		t.fail(at{"create_image_snapshot", "snapshot.c:233", "dm.c:940"}, err, "PLOOP_IOC_SNAPSHOT")
		_ = os.Remove(name)
		return cDevioc
	}
	return 0
}

// header opens an image as open_delta does, with its messages; the code is that of the caller to choose.
func (t *Tool) header(path string, dirty bool) (image.Header, code) {
	t.say("Opening delta %s", path)
	h, err := readHeader(path)
	switch {
	case err != nil && os.IsNotExist(err):
		t.fail(at{"open_delta_simple", "delta_read.c:91", "delta_read.c:91"}, err, "open %s", path)
		return h, cOpen
	case err != nil:
		t.fail(at{"open_delta", "delta_read.c:148", "delta_read.c:148"}, nil, "Invalid image header %s", path)
		return h, cOpen
	case h.Dirty() && !dirty:
		t.fail(at{"open_delta", "delta_read.c:168", "delta_read.c:168"}, nil, "Image is in use %s", path)
		return h, cOpen
	}
	return h, 0
}

func readHeader(path string) (image.Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return image.Header{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	b := make([]byte, 64)
	if _, err := f.ReadAt(b, 0); err != nil {
		return image.Header{}, err
	}
	return image.ParseHeader(b)
}

// uuid makes a random UUID in braces.
func uuid() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return formatUUID(b), nil
}
