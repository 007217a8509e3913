// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// disk is one DiskDescriptor.xml at work.
type disk struct {
	*descriptor.Descriptor

	t      *Tool
	path   string
	lock   *os.File
	cookie string // component name given with -c
}

// open finds a descriptor. In Virtuozzo 9 it reads it too.
func (t *Tool) open(name string) (*disk, code) {
	abs, err := filepath.Abs(name)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		if t.vz9 {
			t.fail(at{"ploop_open_dd", "", "di.c:403"}, err, "Can't open %s", name)
			return nil, cOpen
		}
		t.fail(at{"ploop_open_dd", "di.c:364", ""}, err, "Can't resolve %s", name)
		return nil, cDescr
	}
	return &disk{t: t, path: abs}, 0
}

// read loads the descriptor.
func (d *disk) read() code {
	dd, err := descriptor.Read(d.path)
	if err != nil {
		d.t.fail(at{"ploop_read_dd", "xml.c:546", "xml.c:555"}, nil, "Can't parse %s", d.path)
		return cDescr
	}
	d.Descriptor = dd
	return 0
}

// acquire takes the descriptor's lock and then reads it, as 7.0.280 does. (9.0.30 reads first: facts say that it then works
// on an old descriptor. Calls are to be serialised by the caller in any case.)
func (d *disk) acquire() code {
	name := d.path + ".lck"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		d.t.fail(at{"do_lock", "lock.c:132", "lock.c:132"}, err, "Can't open lock file %s", name)
		return cLock
	}
	end := time.Now().Add(time.Duration(d.t.conf.LockSeconds) * time.Second)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			d.t.fail(at{"do_lock", "lock.c:160", "lock.c:160"}, unix.EAGAIN, "The %s is locked", name)
			_ = f.Close()
			return cLock
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.lock = f
	if d.read() != 0 {
		d.release()
		return cLock // the real tool says so too: reading is part of locking
	}
	return 0
}

func (d *disk) release() {
	if d.lock != nil {
		_ = d.lock.Close()
		d.lock = nil
	}
}

// store writes the descriptor to path, with a message.
func (d *disk) store(path string) code {
	d.t.say("Storing %s", path)
	if err := d.Store(path); err != nil {
		w := at{"store_diskdescriptor", "xml.c:1002", "xml.c:1029"}
		if errors.Is(err, unix.ENOSPC) {
			w = at{"store_diskdescriptor", "xml.c:1008", "xml.c:1035"}
			d.t.raw("I/O error : No space left on device")
			d.t.fail(w, nil, "Error at xmlDocFormatDump %s.tmp", path)
			return cDescr
		}
		d.t.fail(w, err, "Can't open %s.tmp", path)
		return cDescr
	}
	return 0
}

// ident is what tells two files apart.
type ident struct{ dev, ino uint64 }

func identify(path string) (ident, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return ident{}, err
	}
	return ident{st.Dev, st.Ino}, nil
}

// base is the file of the bottom image.
func (d *disk) base() string { return d.Images[0].File }

// devices lists the devices that stand on this disk's base image.
func (d *disk) devices() ([]server.Device, error) {
	base := d.Image(d.Base())
	if base == nil {
		return nil, nil
	}
	id, err := identify(base.File)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := d.t.srv.List()
	if err != nil {
		return nil, err
	}
	var l []server.Device
	for _, dev := range all {
		if dev.Levels[0].Dev == id.dev && dev.Levels[0].Ino == id.ino {
			l = append(l, dev)
		}
	}
	return l, nil
}

// device finds the device with a component name; "" is the container's own. nil if there is none.
func (d *disk) device(cookie string) (*server.Device, code) {
	l, err := d.devices()
	if err != nil {
		return nil, d.t.broken(err)
	}
	for i := range l {
		if l[i].Cookie == cookie {
			return &l[i], 0
		}
	}
	return nil, 0
}

// withTop lists the devices whose top is the given file.
func (d *disk) withTop(file string) ([]server.Device, error) {
	l, err := d.devices()
	if err != nil {
		return nil, err
	}
	id, err := identify(file)
	if err != nil {
		return nil, err
	}
	var found []server.Device
	for _, dev := range l {
		if top := dev.Levels[len(dev.Levels)-1]; top.Dev == id.dev && top.Ino == id.ino {
			found = append(found, dev)
		}
	}
	return found, nil
}

// node is the name of a device, /dev/ploopN or /dev/mapper/ploopN.
func (t *Tool) node(name string) string {
	if t.vz9 {
		return "/dev/mapper/" + name
	}
	return "/dev/" + name
}

func isXML(name string) bool { return strings.HasSuffix(name, xmlSuffix) }
