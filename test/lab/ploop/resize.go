// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/gpt"
	"github.com/bareos-contrib/vz7ct/test/lab/image"
	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

const usageResize = `Usage: ploop resize -s NEW_SIZE DiskDescriptor.xml
       NEW_SIZE := NUMBER[KMGT]`

// cmdResize makes a disk larger, whether a container uses it or not, with its partition and its file system. The real tool
// does so too while there are snapshots: the top becomes larger than what is below it (ploop_resize_image of vz7-u22).
func (t *Tool) cmdResize(args []string) code {
	o, ok := t.parse("resize", args, "s:", nil)
	sectors, valid := size(o.set['s'])
	if !ok || !valid || len(o.rest) != 1 || !isXML(o.rest[0]) {
		t.raw(usageResize)
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
	if dev == nil {
		if dev, c = d.addDevice(d.Chain(d.Top), false); c != 0 {
			return c
		}
		c = d.grow(dev, sectors)
		return max(c, t.stopDevice(dev, nil, false))
	}
	return d.grow(dev, sectors)
}

// grow makes the device, its partition and its file system larger, in this order.
func (d *disk) grow(dev *server.Device, sectors uint64) code {
	t := d.t
	sectors = image.RoundUp(sectors, dev.Blocksize)
	if sectors < d.Size {
		return t.broken(errors.New("disks are made larger only"))
	}
	t.say("Growing dev=%s size=%d sectors (new size=%d)", t.node(dev.Name), d.Size, sectors)
	if err := t.growDevice(dev, sectors); err != nil {
		return t.broken(err)
	}
	mounts, err := mountsOf(dev)
	if err != nil {
		return t.broken(err)
	}
	part := t.partition(dev)
	if len(mounts) == 0 {
		// It refuses a file system that was not checked since it was mounted.
		_ = exec.Command("e2fsck", "-f", "-p", part).Run()
	}
	out, err := exec.Command("resize2fs", part).CombinedOutput()
	switch {
	case err == nil:
	case len(mounts) > 0 && strings.Contains(string(out), "Permission denied"):
		// The kernel wants CAP_SYS_RESOURCE, which root may lack where the lab runs.
		t.raw("lab: the disk is larger, its file system stays as it is: %s", strings.TrimSpace(string(out)))
	default:
		t.raw("%s", strings.TrimSpace(string(out)))
		return 26 // RESIZE_FS
	}
	d.Size = sectors
	d.Cylinders, d.Heads, _ = image.Geometry(sectors)
	d.Sectors = uint32(sectors / (uint64(d.Cylinders) * uint64(d.Heads)))
	return d.store(d.path)
}

func (t *Tool) growDevice(dev *server.Device, sectors uint64) error {
	if err := t.srv.Grow(dev.Name, sectors); err != nil {
		return err
	}
	f, err := os.OpenFile(t.lab.Below(server.MountName, dev.Name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // synced
	// Looked at, so that the kernel learns the file's new size.
	if _, err := f.Stat(); err != nil {
		return err
	}
	p := gpt.Whole(sectors, dev.Blocksize)
	if dev.Part >= 0 {
		if err := errors.Join(gpt.Write(f, sectors, p), f.Sync()); err != nil {
			return err
		}
		if err := loopdev.Resize(dev.Part, (p.Last-p.First+1)*image.SectorSize); err != nil {
			return err
		}
	}
	return loopdev.Resize(dev.Loop, 0)
}
