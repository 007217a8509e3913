// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
)

func (t *Tool) cmdList(args []string) code {
	o, ok := t.parse("list", args, "af", nil)
	if !ok || len(o.rest) > 0 {
		t.raw(usageList)
		return cParam
	}
	all, err := t.srv.List()
	if err != nil {
		return t.broken(err)
	}
	for i := range all {
		dev := &all[i]
		if t.vz9 {
			line := dev.Name + "\t" + dev.Levels[0].Path
			if dev.Cookie != "" {
				line += "\t" + dev.Cookie
			}
			t.say("%s", line)
			continue
		}
		mnt := ""
		if points, err := mountsOf(dev); o.has('a') && err == nil && len(points) > 0 {
			mnt = points[0]
		}
		t.say("%-12s %s %s %s", dev.Name, dev.Levels[0].Path, mnt, dev.Cookie)
	}
	return 0
}

func (t *Tool) cmdStat(args []string) code {
	if o, ok := t.parse("stat", args, "cld:", nil); !ok || !o.has('d') {
		t.raw(usageStat)
		return cParam
	}
	t.raw("lab: stat of a device is not there")
	return cSys
}

func (t *Tool) cmdInfo(args []string) code {
	o, ok := t.parse("info", args, "sdb", nil)
	if !ok || len(o.rest) != 1 {
		t.raw(usageInfo)
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
	dev, c := d.device("")
	if c != 0 {
		return c
	}
	if !o.has('s') && !o.has('d') {
		return d.fsInfo()
	}
	if o.has('s') {
		version := 0
		if h, err := readHeader(d.Image(d.Top).File); err == nil {
			version = h.Version
		}
		t.say("size:\t\t%d", d.Size)
		t.say("blocksize:\t%d", d.Blocksize)
		t.say("fmt_version:\t%d", version)
	}
	if o.has('d') {
		node, part := "", ""
		if dev != nil {
			node, part = t.node(dev.Name), t.partition(dev)
		}
		t.say("device:\t\t%s", node)
		t.say("partition:\t%s", part)
	}
	return 0
}

// fsInfo prints sizes of the file system: of the mounted one, or as remembered at the last unmount.
func (d *disk) fsInfo() code {
	t := d.t
	var bsize, blocks, bfree, files, ffree uint64
	dev, c := d.device("")
	if c != 0 {
		return c
	}
	var points []string
	if dev != nil {
		var err error
		if points, err = mountsOf(dev); err != nil {
			return t.broken(err)
		}
	}
	if len(points) > 0 {
		var s unix.Statfs_t
		if err := unix.Statfs(points[0], &s); err != nil {
			return t.broken(err)
		}
		bsize, blocks, bfree, files, ffree = uint64(s.Bsize), s.Blocks, s.Bfree, s.Files, s.Ffree
	} else {
		b, err := os.ReadFile(statfsName(d.base()))
		if err != nil || len(b) != 40 {
			return d.infoByMount()
		}
		le := binary.LittleEndian
		bsize, blocks, bfree = le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:])
		files, ffree = le.Uint64(b[24:]), le.Uint64(b[32:])
	}
	t.say("%11s %14s %14s", "resource", "Size", "Used")
	t.say("%11s %14d %14d", "1k-blocks", blocks*bsize>>10, (blocks-bfree)*bsize>>10)
	t.say("%11s %14d %14d", "inodes", files, files-ffree)
	return 0
}

// infoByMount mounts the disk for a moment, for writing: that is what the real tool does when nothing is remembered.
func (d *disk) infoByMount() code {
	mnt := d.base() + ".mnt"
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		return cMkdir
	}
	if c := d.mount(mountOptions{target: mnt}); c != 0 {
		_ = os.Remove(mnt)
		return cMinusOne
	}
	c := d.fsInfo()
	dev, e := d.device("")
	if e == 0 && dev != nil {
		e = d.t.umountDevice(dev, d)
	}
	return max(c, e)
}

// listFields are the columns of snapshot-list: name, heading, width.
var listFields = []struct {
	name, heading string
	width         int
}{{"uuid", "UUID", -38}, {"parent_uuid", "PARENT_UUID", -38}, {"current", "C", 1}, {"fname", "FNAME", -32}}

func (t *Tool) cmdSnapshotList(args []string) code {
	o, ok := t.parse("snapshot-list", args, "Hho:u:s",
		map[string]byte{"no-header": 'H', "output": 'o', "help": 'h', "uuid": 'u', "id": 'u'})
	if !ok || len(o.rest) < 1 {
		t.raw("%s", usageSnapshotList)
		return 1
	}
	if o.has('h') {
		t.raw("%s", usageSnapshotList)
		return 0
	}
	guid := ""
	if o.has('u') {
		if guid, ok = t.guid(o.set['u']); !ok {
			return cParam
		}
	}
	d, c := t.open(o.rest[0])
	if c == 0 {
		c = d.read() // without the lock
	}
	if c != 0 {
		t.raw("failed to read %s: %s", o.rest[0], t.last)
		return 1
	}
	fields := "parent_uuid,current,uuid,fname"
	if o.has('o') {
		fields = o.set['o']
	}
	var cols []int
	for f := range strings.SplitSeq(fields, ",") {
		k := -1
		for i := range listFields {
			if strings.EqualFold(listFields[i].name, f) {
				k = i
			}
		}
		if k < 0 {
			t.raw("Unknown field: %s", f)
			return 1
		}
		cols = append(cols, k)
	}
	return d.printShots(cols, guid, o.has('H'), o.has('s'))
}

func (d *disk) printShots(cols []int, guid string, bare, snapshots bool) code {
	t := d.t
	shots := d.Shots
	if guid != "" {
		shots = nil
		for g := guid; g != descriptor.NoParent; {
			s := d.Shot(g)
			if s == nil {
				t.raw("Can't find snapshot by uuid %s", g)
				return 1
			}
			if len(shots) == len(d.Shots) {
				t.raw("Inconsistency detected, base image not found")
				return 1
			}
			shots, g = append(shots, *s), s.Parent
		}
	}
	if !bare {
		var b strings.Builder
		for _, k := range cols {
			b.WriteString(pad(listFields[k].heading, listFields[k].width) + " ")
		}
		t.say("%s", b.String())
	}
	star := d.Top
	if snapshots {
		star = d.Shot(d.Top).Parent
	}
	for _, s := range shots {
		if snapshots && strings.EqualFold(s.GUID, d.Top) {
			continue
		}
		var b strings.Builder
		for i, k := range cols {
			v := ""
			switch listFields[k].name {
			case "uuid":
				v = s.GUID
			case "parent_uuid":
				v = s.Parent
			case "current":
				if strings.EqualFold(s.GUID, star) {
					v = "*"
				}
			case "fname":
				if im := d.Image(s.GUID); im != nil {
					v = im.File
				}
			}
			if i == len(cols)-1 {
				b.WriteString(v)
			} else {
				b.WriteString(pad(v, listFields[k].width) + " ")
			}
		}
		t.say("%s", b.String())
	}
	return 0
}

// pad fills to a width; a negative one fills on the right.
func pad(s string, width int) string {
	n := max(width, -width) - len(s)
	switch {
	case n <= 0:
		return s
	case width < 0:
		return s + strings.Repeat(" ", n)
	}
	return strings.Repeat(" ", n) + s
}

// balloonInode finds the number of the balloon file.
func balloonInode(mnt string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(mnt, balloon), &st); err != nil {
		return "", err
	}
	return strconv.FormatUint(st.Ino, 10), nil
}
