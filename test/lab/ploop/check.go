// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/image"
)

// checkOptions are the switches of a check.
type checkOptions struct {
	force, hard, detailed, readOnly, dropInUse, talk bool
}

func (t *Tool) cmdCheck(args []string) code {
	o, ok := t.parse("check", args, "fFcrsdRb:Su:Dv", map[string]byte{
		"force": 'f', "verbose": 'v', "hard-force": 'F', "check": 'c', "drop-inuse": 'd', "ro": 'r', "silent": 's', "raw": 'R',
		"blocksize": 'b', "repair-sparse": 'S', "uuid": 'u', "defrag": 'D',
	})
	if !ok || len(o.rest) != 1 {
		t.raw(usageCheck)
		return cParam
	}
	guid := ""
	if o.has('u') {
		if guid, ok = t.guid(o.set['u']); !ok {
			return cParam
		}
	}
	c := checkOptions{
		force: o.has('f') || o.has('F'), hard: o.has('F'), detailed: o.has('c'), readOnly: o.has('r'), dropInUse: o.has('d'),
		talk: !o.has('s'),
	}
	if !isXML(o.rest[0]) {
		if guid != "" {
			t.raw("Option -u is only applicable to DiskDescriptor.xml syntax")
			return cParam
		}
		if o.has('R') {
			if _, err := strconv.ParseUint(o.set['b'], 0, 32); err != nil {
				t.fail(at{"ploop_check", "check.c:513", "check.c:521"}, nil, "Cluster blocksize required for raw image")
				return cParam
			}
			return 0
		}
		return t.checkImage(o.rest[0], c)
	}
	d, rc := t.open(o.rest[0])
	if rc != 0 {
		return rc
	}
	if rc := d.acquire(); rc != 0 {
		return rc
	}
	defer d.release()
	devs, err := d.devices()
	if err != nil {
		return t.broken(err)
	}
	if len(devs) > 0 {
		t.fail(at{"check_dd", "check.c:869", "check.c:842"}, nil, "Can't check, in use by device: %s", t.node(devs[0].Name))
		return cInUse
	}
	if guid == "" {
		guid = d.Top
	}
	chain := d.Chain(guid)
	if chain == nil {
		return cDescr
	}
	c.detailed = true
	return d.checkDeltas(chain, c)
}

// checkDeltas checks a chain. Only the last image may be repaired.
func (d *disk) checkDeltas(chain []descriptor.Image, o checkOptions) code {
	t := d.t
	for i, im := range chain {
		if im.Raw {
			continue
		}
		one, kind := o, "rw"
		if i < len(chain)-1 {
			one.readOnly, kind = true, "ro"
		}
		if c := t.checkImage(im.File, one); c != 0 {
			t.fail(at{"check_deltas", "check.c:807", "check.c:773"}, nil, "%s : irrecoverable errors (%s)", im.File, kind)
			return c
		}
	}
	return 0
}

// checkImage checks one image as the real tool does. It repairs what an unclean end leaves, also in the image of a disk
// that runs if it is told to look at one: that is the original's way too.
func (t *Tool) checkImage(path string, o checkOptions) code {
	w := func(vz7, vz9 string) at { return at{"ploop_check", vz7, vz9} }
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.fail(w("check.c:507", "check.c:515"), unwrap(err), "ploop_check: can't open %s", path)
		return cOpen
	}
	defer f.Close() //nolint:errcheck // written parts are synced
	r, err := image.Inspect(image.OS(f))
	switch {
	case errors.Is(err, image.ErrSignature):
		t.fail(w("check.c:541", "check.c:549"), nil, "Wrong signature in image %s", path)
		return cFormat
	case errors.Is(err, image.ErrType):
		t.fail(w("check.c:545", "check.c:553"), nil, "Wrong type in image %s", path)
		return cFormat
	case errors.Is(err, image.ErrCluster):
		t.fail(w("check.c:549", "check.c:557"), nil, "Wrong cluster size in image %s", path)
		return cFormat
	case errors.Is(err, image.ErrFirst):
		t.fail(w("check.c:556", "check.c:564"), nil, "Wrong first block offset in image %s", path)
		return cFormat
	case err != nil:
		t.fail(w("check.c:533", "check.c:541"), unwrap(err), "read PVD header")
		return cRead
	}
	dirty := r.Header.Dirty()
	cluster := r.Header.Cluster()
	if r.Size%cluster != 0 {
		t.fail(w("check.c:580", "check.c:588"), nil, "Image size %d is not aligned to cluster %d", r.Size, cluster)
		if !dirty && (!o.force || o.readOnly) {
			return cFormat
		}
		r.Size = (r.Size + cluster - 1) / cluster * cluster
		t.say("Truncate image %s up to %d", path, r.Size)
		if err := f.Truncate(r.Size); err != nil {
			t.fail(w("check.c:594", "check.c:600"), unwrap(err), "ftruncate")
			return cTruncate
		}
	}
	if !dirty && !o.force {
		if o.talk {
			t.say("Image is clean, check is skipped")
		}
		return 0
	}
	if dirty && r.Header.Converting() {
		t.fail(w("check.c:606", "check.c:612"), nil, "Image %s is in the changing version state", path)
		return cBusy
	}
	if !o.readOnly {
		t.say("Reopen rw %s", path)
	}
	clean, fatal, err := t.checkSlots(f, r, o)
	if err != nil {
		return cWrite
	}
	if fatal {
		msg := "not"
		t.fail(w("check.c:686", "check.c:681"), nil, "Fatal errors were found, image %s was %s repaired", path, msg)
		return cFormat
	}
	return t.checkEnd(f, path, r, o, clean)
}

// checkSlots looks at every entry of the table.
func (t *Tool) checkSlots(f *os.File, r *image.Report, o checkOptions) (clean, fatal bool, err error) {
	clean = true
	fix := func(i uint32, hard bool) {
		skip := o.readOnly || hard && !o.hard
		switch {
		case skip && hard:
			clean, fatal = false, true
			t.say("FATAL")
		case skip:
			clean = false
			t.say("Skipped")
		default:
			err = errors.Join(err, r.ClearSlot(image.OS(f), i))
			t.say("Fixed")
		}
	}
	for _, p := range r.Problems(o.detailed) {
		switch p.Kind {
		case image.BeyondDisk:
			t.say("Data cluster (%d) is beyond block device size... ", p.Slot)
			fix(p.Slot, false)
		case image.Misaligned:
			t.say("L2 slot (%d) corrupted... ", p.Slot)
			fix(p.Slot, true)
		case image.BeyondEOF:
			t.say("Data cluster %d is beyond EOF, image size=%d vsec=%d... ", p.At, r.Size, p.Slot)
			fix(p.Slot, true)
		case image.UsedTwice:
			t.say("Block %d is used more than once, vsec=%d... ", p.At, p.Slot)
			fatal = true
		}
	}
	return clean, fatal, err
}

// checkEnd trims the tail and closes the header of an unclean image.
func (t *Tool) checkEnd(f *os.File, path string, r *image.Report, o checkOptions, clean bool) code {
	w := func(vz7, vz9 string) at { return at{"ploop_check", vz7, vz9} }
	dirty := r.Header.Dirty()
	if end := r.End(); dirty && end < r.Size {
		if o.readOnly && !t.vz9 {
			t.fail(w("check.c:711", ""), nil, "Want to trim tail")
		}
		if !o.readOnly {
			if !t.vz9 {
				t.say("Max cluster: %d (image size %d) trimming tail", end/r.Header.Cluster()-1, r.Size)
			}
			if err := f.Truncate(end); err != nil {
				t.fail(w("check.c:707", "check.c:684"), unwrap(err), "ftruncate")
				return cTruncate
			}
		}
	}
	if dirty {
		t.fail(w("check.c:716", "check.c:690"), nil, "Dirty flag is set")
		if !o.dropInUse {
			return cInUse
		}
	}
	if !clean {
		return cFormat
	}
	if !dirty {
		return 0
	}
	if o.readOnly && t.vz9 {
		t.say("Reopen rw %s", path)
	}
	if err := r.Close(image.OS(f)); err != nil {
		t.raw("%s", fmt.Sprintf("write PVD header: %s", strings.TrimSpace(err.Error())))
		return cWrite
	}
	return 0
}
