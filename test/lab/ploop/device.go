// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/gpt"
	"github.com/bareos-contrib/vz7ct/test/lab/image"
	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// addDevice brings a chain up as a device, with block devices for the disk and its partition.
func (d *disk) addDevice(chain []descriptor.Image, readOnly bool) (*server.Device, code) {
	t := d.t
	name := fmt.Sprintf("ploop%d", 10000+rand.IntN(55000)) //nolint:gosec // a name, no secret
	t.rec.Device = name
	node := t.node(name)
	if t.vz9 {
		if !readOnly {
			t.say("Opening delta %s", chain[len(chain)-1].File) // reads a stored bitmap of changed blocks
		}
		t.say("Opening delta %s", chain[len(chain)-1].File)
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close() // the server has its own
		}
	}()
	dev := server.Device{Name: name, Cookie: d.cookie, ReadOnly: readOnly, Blocksize: d.Blocksize}
	for i, im := range chain {
		top := i == len(chain)-1
		mode, kind := os.O_RDONLY, "ro"
		if top && !readOnly {
			mode, kind = os.O_RDWR, "rw"
		}
		if t.vz9 {
			t.say("Adding delta dev=%s img=%s (%s)", node, im.File, kind)
		} else {
			t.say("Opening delta %s", im.File)
			if kind == "rw" && !im.Raw {
				t.say("Opening delta %s", im.File)
			}
			t.say("Adding delta dev=%s img=%s (%s) type=0", node, im.File, kind)
		}
		f, err := os.OpenFile(im.File, mode, 0)
		if err != nil {
			t.fail(at{"add_delta", "ploop.c:1567", "dm.c:940"}, unwrap(err), "Can't open file %s", im.File)
			return nil, cOpen
		}
		files = append(files, f)
		dev.Levels = append(dev.Levels, server.Level{Path: im.File, Raw: im.Raw})
	}
	top := chain[len(chain)-1]
	if t.vz9 && !top.Raw {
		t.say("Update inuse state %s state=%d", top.File, inUseState)
		t.say("Opening delta %s", top.File)
		if readOnly {
			t.markInUse(top.File, true) // 9.0.30 does so also for a read-only device
		}
	}
	if err := t.srv.Add(dev, files); err != nil {
		t.fail(at{"add_delta", "ploop.c:1577", "dm.c:940"}, nil, "Can't add image %s: %v", top.File, err)
		return nil, cDevioc
	}
	if t.vz9 {
		t.say("Running: partprobe %s ", node)
	}
	if err := t.blockDevices(&dev); err != nil {
		_, e := t.srv.Remove(name)
		return nil, t.broken(errors.Join(err, e))
	}
	if t.vz9 {
		t.say("Set untrusted %s", t.partition(&dev))
	}
	return &dev, 0
}

// markInUse sets or clears the flag in a file's header.
func (t *Tool) markInUse(path string, on bool) {
	m, err := openImage(path, false, 0)
	if err == nil {
		err = errors.Join(m.MarkInUse(on), m.Close())
	}
	if err != nil {
		t.raw("lab: mark %s: %v", path, err)
	}
}

// blockDevices makes loop devices and nodes for what the server shows.
func (t *Tool) blockDevices(dev *server.Device) error {
	f, err := os.OpenFile(t.lab.Below(server.MountName, dev.Name), mode(dev.ReadOnly), 0)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // the loop devices have their own
	dev.Part = -1
	if dev.Loop, err = t.attach(f, dev.Name, loopdev.Window{ReadOnly: dev.ReadOnly}); err != nil {
		return err
	}
	p, err := gpt.Read(f)
	switch {
	case err == nil:
		w := loopdev.Window{
			Offset: p.First * image.SectorSize, Size: (p.Last - p.First + 1) * image.SectorSize, ReadOnly: dev.ReadOnly,
		}
		if dev.Part, err = t.attach(f, dev.Name, w); err != nil {
			return errors.Join(err, t.detach(dev.Loop))
		}
	case !errors.Is(err, gpt.ErrNone):
		return errors.Join(err, t.detach(dev.Loop))
	}
	if err := t.srv.Attach(dev.Name, dev.Loop, dev.Part); err != nil {
		return err
	}
	return t.makeNodes(dev)
}

// attach makes a loop device and notes it for whoever cleans up after us.
func (t *Tool) attach(f *os.File, name string, w loopdev.Window) (int, error) {
	n, err := loopdev.Attach(f, w)
	if err != nil {
		return -1, err
	}
	return n, t.lab.NoteLoop(n, name)
}

// detach takes a loop device away, and waits for that.
func (t *Tool) detach(n int) error {
	err := errors.Join(loopdev.Detach(n), loopdev.Gone(n, 30*time.Second))
	if err == nil {
		t.lab.ForgetLoop(n)
	}
	return err
}

func mode(readOnly bool) int {
	if readOnly {
		return os.O_RDONLY
	}
	return os.O_RDWR
}

// makeNodes makes /dev/ploopN and /dev/ploopNp1: other names of the loop devices.
func (t *Tool) makeNodes(dev *server.Device) error {
	for _, n := range []struct {
		name string
		loop int
	}{{t.node(dev.Name), dev.Loop}, {t.node(dev.Name) + "p1", dev.Part}} {
		if n.loop < 0 {
			continue
		}
		err := unix.Mknod(n.name, unix.S_IFBLK|0o600, int(unix.Mkdev(loopdev.Major, uint32(n.loop))))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make %s: %w", n.name, err)
		}
	}
	return nil
}

// partition is the device that carries the file system.
func (t *Tool) partition(dev *server.Device) string {
	if dev.Part < 0 {
		return t.node(dev.Name)
	}
	return t.node(dev.Name) + "p1"
}

// openers counts the open descriptors of a device, apart from mounts. The kernel counts them for the real tool.
func (t *Tool) openers(dev *server.Device) int {
	names := map[string]bool{
		t.node(dev.Name): true, t.node(dev.Name) + "p1": true, loopdev.Path(dev.Loop): true, loopdev.Path(dev.Part): true,
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0
	}
	n := 0
	own := "/proc/" + strconv.Itoa(os.Getpid()) + "/"
	for _, fd := range fds {
		if strings.HasPrefix(fd, own) {
			continue
		}
		if to, err := os.Readlink(fd); err == nil && names[to] && t.sameDevice(fd, dev) {
			n++
		}
	}
	return n
}

// sameDevice tells whether an open descriptor is of this device: another lab may use the same name.
func (t *Tool) sameDevice(fd string, dev *server.Device) bool {
	var st unix.Stat_t
	if unix.Stat(fd, &st) != nil || unix.Major(st.Rdev) != loopdev.Major {
		return false
	}
	m := int(unix.Minor(st.Rdev))
	return m == dev.Loop || m == dev.Part
}
