// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// mountOptions are those of one mount.
type mountOptions struct {
	guid     string // "" = the top
	readOnly bool
	target   string
	data     string
	fs       string
	fsck     bool
}

func (t *Tool) cmdMount(args []string) code {
	o, ok := t.parse("mount", args, "nrFf:d:m:t:u:o:b:c:", nil)
	if !ok {
		t.raw(usageMount)
		return cParam
	}
	m := mountOptions{readOnly: o.has('r'), target: o.set['m'], data: o.set['o'], fs: o.set['t'], fsck: o.has('F')}
	if o.has('u') {
		if m.guid, ok = t.guid(o.set['u']); !ok {
			return cParam
		}
	}
	// The form with image files instead of a descriptor is not there.
	if len(o.rest) != 1 || !isXML(o.rest[0]) {
		t.raw(usageMount)
		return cParam
	}
	if t.vz9 {
		t.raw("load ddxml") // a left-over of 9.0.30
	}
	d, c := t.open(o.rest[0])
	if c != 0 {
		return c
	}
	d.cookie = cut(o.set['c'])
	if c := d.acquire(); c != 0 {
		return c
	}
	defer d.release()
	dev, c := d.device(d.cookie)
	if c != 0 {
		return c
	}
	if dev != nil {
		t.fail(at{"ploop_mount_image", "ploop.c:2674", "ploop.c:2815"}, nil, "Image %s already used by device %s",
			d.base(), t.node(dev.Name))
		return cMount
	}
	c = d.mount(m)
	if c == 0 && d.cookie == "" {
		d.mergeTemporary()
	}
	return c
}

// mount brings a device up and mounts it. In 9.0.30 a missing folder is found too late, and the device stays.
func (d *disk) mount(m mountOptions) code {
	t := d.t
	guid := m.guid
	if guid == "" {
		guid = d.Top
	}
	if d.Image(guid) == nil {
		w := at{"mount_image", "ploop.c:2552", ""}
		if t.vz9 {
			w = at{"ploop_mount", "", "ploop.c:2476"}
		}
		t.fail(w, nil, "Uuid %s not found", guid)
		return cNoSnap
	}
	chain := d.Chain(guid)
	if chain == nil {
		return cMalloc
	}
	if !t.vz9 {
		if !m.readOnly && m.guid == "" && d.cookie == "" {
			t.convert(chain)
		}
		if c := t.checkTarget(m.target); c != 0 {
			return c
		}
	}
	if c := d.checkDeltas(chain, checkOptions{dropInUse: true, detailed: true}); c != 0 {
		return c
	}
	dev, c := d.addDevice(chain, m.readOnly)
	if c != 0 {
		return c
	}
	if t.vz9 {
		if c := t.checkTarget(m.target); c != 0 {
			return c
		}
	}
	if m.target == "" && !m.fsck {
		t.register(dev)
		return 0
	}
	if c := d.mountFS(dev, m, true); c != 0 {
		_ = t.stopDevice(dev, nil, false)
		return c
	}
	t.register(dev)
	if m.target != "" {
		t.pause("mounted")
	}
	if d.cookie == "" && m.target != "" {
		_ = os.Remove(statfsName(d.base()))
	}
	return 0
}

// register prints what 9.0.30 says when it notes a component name.
func (t *Tool) register(dev *server.Device) {
	if t.vz9 && dev.Cookie != "" {
		t.say("Register /var/run/ploop/%s:%s", dev.Name, dev.Cookie)
	}
}

func (t *Tool) checkTarget(target string) code {
	if target == "" {
		return 0
	}
	st, err := os.Stat(target)
	if err != nil {
		t.fail(at{"ploop_mount", "ploop.c:2467", "ploop.c:2566"}, unwrap(err), "Failed to stat mount point %s", target)
		return cParam
	}
	if !st.IsDir() {
		t.fail(at{"ploop_mount", "ploop.c:2471", "ploop.c:2570"}, nil, "Mount point %s not a directory", target)
		return cParam
	}
	return 0
}

// unwrap finds the system's number in a path error.
func unwrap(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

// mountFS mounts a device's file system.
func (d *disk) mountFS(dev *server.Device, m mountOptions, needBalloon bool) code {
	t := d.t
	part := t.partition(dev)
	fs := m.fs
	if fs == "" {
		fs = "ext4"
	}
	if m.fsck {
		if c := t.e2fsck(part); c != 0 {
			return c
		}
	}
	if m.target == "" {
		return 0
	}
	if t.vz9 && dev.Part < 0 {
		t.say("Unmounting device %s", t.node(dev.Name))
		t.fail(at{"get_mnt_info", "", "fsutils.c:824"}, nil, "blkid: %s has an unsupported type, missing filesystem?", part)
		return cMinusOne
	}
	var flags uintptr
	ro := ""
	if m.readOnly {
		flags, ro = unix.MS_RDONLY, "ro"
	}
	data := m.data
	if t.vz9 {
		data = strings.TrimPrefix(data+",lazytime", ",")
	}
	err := unix.Mount(part, m.target, fs, flags|lazy(t.vz9), m.data)
	if errors.Is(err, unix.EROFS) && t.vz9 && m.readOnly {
		// The top of a running disk needs its journal replayed, which a read-only device refuses. The device of 9.0.30 does
		// not look read-only to the kernel, and mounts.
		err = unix.Mount(part, m.target, fs, flags|lazy(true), strings.TrimPrefix(m.data+",noload", ","))
	}
	if err == nil && needBalloon && !t.vz9 {
		var ino string
		if ino, err = balloonInode(m.target); err != nil {
			t.fail(at{"ploop_mount_fs", "ploop.c:1523", ""}, unwrap(err), "Can't stat balloon file %s/%s", m.target, balloon)
			_ = unix.Unmount(m.target, 0)
		}
		// The kernel of Virtuozzo hides the balloon file by a mount option that no other kernel has.
		data += ",balloon_ino=" + ino
	}
	if err != nil {
		t.fail(at{"ploop_mount_fs", "ploop.c:1542", "ploop.c:1470"}, unwrap(err),
			"Can't mount file system (dev=%s target=%s fstype=%s flags=%x data=%s)", part, m.target, fs, flags, data)
		return cMount
	}
	t.say("Mounted %s at %s fstype=%s data='%s' %s", part, m.target, fs, data, ro)
	return 0
}

func lazy(on bool) uintptr {
	if on {
		return unix.MS_LAZYTIME
	}
	return 0
}

// convert brings images to version 2, as 7.0.280 does whenever it mounts a disk for writing. It refuses an unclean image,
// and nobody looks at that.
func (t *Tool) convert(chain []descriptor.Image) {
	old := false
	for _, i := range chain {
		if i.Raw {
			t.say("Opening delta %s", i.File)
			return
		}
		h, c := t.header(i.File, false)
		if c != 0 {
			return
		}
		old = old || h.Version < 2
	}
	if !old {
		return
	}
	for _, i := range chain {
		t.say("Converting %s to version %d", i.File, 2)
		m, err := openImage(i.File, false, 0)
		if err == nil {
			err = errors.Join(m.Convert(2), m.Close())
		}
		if err != nil {
			t.raw("lab: convert %s: %v", i.File, err)
			return
		}
	}
	t.say("ploop image has been successfully converted")
}
