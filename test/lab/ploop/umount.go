// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/mounts"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

func (t *Tool) cmdUmount(args []string) code {
	usage := usageUmount7
	if t.vz9 {
		usage = usageUmount9
	}
	o, ok := t.parse("umount", args, "d:m:c:", nil)
	// 9.0.30 takes neither a descriptor nor an image, whatever its usage says.
	if !ok || !o.has('d') && !o.has('m') && (len(o.rest) != 1 || t.vz9) {
		t.raw("%s", usage)
		return cParam
	}
	switch {
	case o.has('d'):
		return t.umountByName(o.set['d'])
	case o.has('m'):
		dev, c := t.deviceAt(o.set['m'])
		if c != 0 {
			return c
		}
		return t.umountDevice(dev, nil)
	case isXML(o.rest[0]):
		return t.umountDisk(o.rest[0], cut(o.set['c']))
	}
	return t.umountImage(o.rest[0], cut(o.set['c']))
}

// umountByName takes a device, or a partition of it, by its path.
func (t *Tool) umountByName(arg string) code {
	if base, ok := strings.CutSuffix(arg, "p1"); ok && base != "" && base[len(base)-1] >= '0' && base[len(base)-1] <= '9' {
		arg = base
	}
	all, err := t.srv.List()
	if err != nil {
		return t.broken(err)
	}
	for i := range all {
		if t.node(all[i].Name) == arg || all[i].Name == arg && !t.vz9 {
			return t.umountDevice(&all[i], nil)
		}
		if all[i].Name == arg {
			return t.umountHalf(&all[i])
		}
	}
	if t.vz9 {
		t.say("Umount %s", arg)
		t.raw("Device %s not found", arg)
		t.raw("Failed to get image names: %s", arg)
		t.fail(at{"ploop_umount", "", "ploop.c:2924"}, nil, "failed to create ddxml from device")
		return cMalloc
	}
	t.fail(at{"get_dir_entry", "util.c:438", ""}, unix.ENOENT, "Can't opendir /sys/block/%s", strings.TrimPrefix(arg, "/dev/"))
	return cMinusOne
}

// umountHalf is what 9.0.30 does with a device's bare name: the partition goes, the rest stays.
func (t *Tool) umountHalf(dev *server.Device) code {
	t.say("Umount %s", dev.Name)
	for range dev.Levels {
		t.say("Adding snapshot %s", descriptor.TopGUID)
	}
	if c := t.umountFS(dev, nil); c != 0 {
		return c
	}
	if dev.Part >= 0 {
		_ = os.Remove(t.node(dev.Name) + "p1")
		_ = t.detach(dev.Part)
		if err := t.srv.Attach(dev.Name, dev.Loop, -1); err != nil {
			return t.broken(err)
		}
	}
	t.say("Opening delta %s", dev.Levels[len(dev.Levels)-1].Path)
	t.fail(at{"save_cbt", "", "ploop.c:2875"}, unix.ENOENT, "Can't open dev %s", dev.Name)
	return cDevice
}

// deviceAt finds the device that is mounted at a folder.
func (t *Tool) deviceAt(dir string) (*server.Device, code) {
	notFound := func() (*server.Device, code) {
		t.raw("Unable to find ploop device by %s", dir)
		return nil, cParam
	}
	if _, err := os.Stat(dir); err != nil {
		t.fail(at{"get_dev_by_mnt", "ploop.c:1327", "ploop.c:1248"}, unwrap(err), "Can't stat %s", dir)
		return notFound()
	}
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return nil, t.broken(err)
	}
	list, err := mounts.Of(0)
	if err != nil {
		return nil, t.broken(err)
	}
	all, err := t.srv.List()
	if err != nil {
		return nil, t.broken(err)
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Point != abs {
			continue
		}
		for k := range all {
			if m := int(list[i].Minor); list[i].Major == loopdev.Major && (m == all[k].Part || m == all[k].Loop) {
				return &all[k], 0
			}
		}
	}
	return notFound()
}

func (t *Tool) umountDisk(name, cookie string) code {
	d, c := t.open(name)
	if c != 0 {
		return c
	}
	d.cookie = cookie
	if c := d.acquire(); c != 0 {
		return c
	}
	defer d.release()
	dev, c := d.device(cookie)
	if c != 0 {
		return c
	}
	if dev == nil {
		t.fail(at{"ploop_umount_image", "ploop.c:2822", ""}, nil, "Image %s is not mounted", d.base())
		return cNotMount
	}
	if c := d.completeRunning(dev); c != 0 {
		return c
	}
	return t.umountDevice(dev, d)
}

func (t *Tool) umountImage(name, cookie string) code {
	all, err := t.srv.List()
	if err != nil {
		return t.broken(err)
	}
	id, err := identify(name)
	for i := range all {
		if l := all[i].Levels[0]; err == nil && l.Dev == id.dev && l.Ino == id.ino && all[i].Cookie == cookie {
			return t.umountDevice(&all[i], nil)
		}
	}
	t.raw("Image %s is not mounted", name)
	return cParam
}

// umountDevice unmounts a device's file system and takes the device down. d is nil if no descriptor was given.
func (t *Tool) umountDevice(dev *server.Device, d *disk) code {
	t.rec.Device = dev.Name
	if t.vz9 {
		t.say("Umount %s", t.node(dev.Name))
		for range dev.Levels {
			if d == nil {
				t.say("Adding snapshot %s", descriptor.TopGUID) // a descriptor made up from the device
			}
		}
	}
	if c := t.umountFS(dev, d); c != 0 {
		return c
	}
	if t.vz9 {
		t.say("Opening delta %s", dev.Levels[len(dev.Levels)-1].Path)
	}
	t.say("Unmounting device %s", t.node(dev.Name))
	return t.stopDevice(dev, d, true)
}

// umountFS unmounts one mount of the device, and tries for a minute.
func (t *Tool) umountFS(dev *server.Device, d *disk) code {
	points, err := mountsOf(dev)
	if err != nil {
		return t.broken(err)
	}
	if len(points) == 0 {
		return 0
	}
	mnt := points[0]
	if (d != nil && d.cookie == "") || (t.vz9 && dev.Cookie == "") {
		storeStatfs(mnt, dev.Levels[0].Path)
	}
	t.say("Unmounting file system at %s", mnt)
	end := time.Now().Add(time.Duration(t.conf.BusySeconds) * time.Second)
	wait := 10 * time.Millisecond
	for {
		err := unix.Unmount(mnt, 0)
		if err == nil {
			return 0
		}
		if !errors.Is(err, unix.EBUSY) {
			t.fail(at{"do_umount", "ploop.c:1123", "ploop.c:1078"}, err, "Failed to umount %s", mnt)
			return cUmount
		}
		if time.Now().After(end) {
			t.lsof(t.err, mnt)
			return cUmntBusy
		}
		time.Sleep(wait)
		wait = min(2*wait, 500*time.Millisecond)
	}
}

// stopDevice takes a device down that is not mounted here. Whoever has it open, or mounted elsewhere, keeps it up.
// told is false where the real tool says nothing of the header.
func (t *Tool) stopDevice(dev *server.Device, d *disk, told bool) code {
	end := time.Now().Add(time.Duration(t.conf.BusySeconds) * time.Second)
	for t.claimed(dev) {
		if time.Now().After(end) {
			t.fail(at{"ploop_stop", "ploop.c:1180", "dm.c:180"}, unix.EBUSY, "PLOOP_IOC_STOP")
			return cUmntBusy
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, n := range []int{dev.Part, dev.Loop} {
		if n < 0 {
			continue
		}
		if err := t.detach(n); err != nil {
			return t.broken(err)
		}
	}
	node := t.node(dev.Name)
	_ = os.Remove(node + "p1")
	_ = os.Remove(node)
	top := dev.Levels[len(dev.Levels)-1]
	h, headerErr := readHeader(top.Path)
	if _, err := t.srv.Remove(dev.Name); err != nil {
		return t.broken(err)
	}
	if t.vz9 {
		if dev.Cookie != "" {
			t.say("Unregister /var/run/ploop/%s:%s", dev.Name, dev.Cookie)
		}
		if headerErr == nil && h.Dirty() {
			if told {
				t.say("Clear inuse state")
			}
			if dev.ReadOnly {
				t.markInUse(top.Path, false)
			}
		}
	}
	if d != nil {
		_ = os.Remove(d.base() + ".mnt") // only if empty
	}
	return 0
}

// claimed says whether somebody has the device open, or mounted in whatever namespace, or a merge runs on it.
func (t *Tool) claimed(dev *server.Device) bool {
	if all, err := t.srv.List(); err == nil {
		for i := range all {
			if all[i].Name == dev.Name && all[i].Merging {
				return true
			}
		}
	}
	for _, n := range []int{dev.Part, dev.Loop} {
		if n < 0 {
			continue
		}
		fd, err := unix.Open(loopdev.Path(n), unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EBUSY) {
			return true
		}
		if err == nil {
			_ = unix.Close(fd)
		}
	}
	return t.openers(dev) > 0
}

// lsof prints who is there.
func (t *Tool) lsof(w io.Writer, what string) {
	out, err := exec.Command("lsof", what).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return
	}
	_, _ = w.Write([]byte("--- lsof " + what + " output ---\n"))
	_, _ = w.Write(out)
	_, _ = w.Write([]byte("--- lsof finished ---\n"))
}

func statfsName(base string) string { return filepath.Join(filepath.Dir(base), ".statfs") }

// storeStatfs keeps the figures of a file system beside its image, for `info` while it is not mounted.
func storeStatfs(mnt, base string) {
	var s unix.Statfs_t
	if unix.Statfs(mnt, &s) != nil {
		return
	}
	b := make([]byte, 40)
	for i, v := range []uint64{uint64(s.Bsize), s.Blocks, s.Bfree, s.Files, s.Ffree} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	_ = os.WriteFile(statfsName(base), b, 0o644)
}
