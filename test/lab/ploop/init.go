// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/gpt"
	"github.com/bareos-contrib/vz7ct/test/lab/image"
	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

func (t *Tool) cmdInit(args []string) code {
	bad := func() code {
		t.raw(usageInit)
		return cParam
	}
	o, ok := t.parse("init", args, "s:b:B:f:t:L:v:nSk:P", map[string]byte{"nolazy": 'n', "sparse": 'S'})
	if !ok || len(o.rest) != 1 {
		return bad()
	}
	s := image.Spec{Blocksize: image.DefaultBlocksize, Version: 2}
	if s.Sectors, ok = size(o.set['s']); !ok || s.Sectors == 0 {
		return bad()
	}
	if o.has('b') {
		n, err := strconv.ParseUint(o.set['b'], 0, 32)
		if err != nil {
			return bad()
		}
		s.Blocksize = uint32(n)
	}
	if o.has('v') {
		v, err := strconv.Atoi(o.set['v'])
		if err != nil || v < 1 || v > 2 {
			t.raw("Invalid -v argument: %s", o.set['v'])
			return bad()
		}
		s.Version = v
	}
	switch o.set['f'] {
	case "", "ploop1", "expanded":
	case "preallocated":
		s.Mode = image.Preallocated
	case "raw":
		s.Mode = image.Raw
	default:
		return bad()
	}
	fs := "ext4"
	if o.has('t') {
		fs = o.set['t']
	}
	if fs != "none" && fs != "ext3" && fs != "ext4" {
		t.raw("Incorrect file system type specified: %s", fs)
		return cParam
	}
	return t.createDisk(o.rest[0], s, fs, o)
}

// createDisk makes image and descriptor, and a file system unless fs is "none". On failure nothing is left.
func (t *Tool) createDisk(name string, s image.Spec, fs string, o options) (c code) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(name))
	if err != nil {
		t.fail(at{"ploop_create", "ploop.c:947", "ploop.c:929"}, unwrap(err), "Can't resolve %s", filepath.Dir(name)+"/")
		return cCreat
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return t.broken(err)
	}
	xml := filepath.Join(dir, descriptor.Name)
	if _, err := os.Lstat(xml); err == nil {
		t.fail(at{"init_dd", "ploop.c:844", "ploop.c:822"}, unix.EEXIST, "Can't create %s", xml)
		if t.vz9 {
			return cBusy
		}
		return cParam
	}
	if !image.ValidBlocksize(s.Blocksize) {
		t.fail(at{"init_dd", "ploop.c:865", "ploop.c:843"}, nil, "Incorrect blocksize specified: %d", s.Blocksize)
		return cParam
	}
	s.Sectors = image.RoundUp(s.Sectors, s.Blocksize)
	if _, err := os.Lstat(name); err == nil {
		t.fail(at{"create_image", "ploop.c:636", "ploop.c:630"}, unix.EEXIST, "Can't create %s", name)
		return cParam
	}
	switch s.Mode {
	case image.Raw:
		t.say("Creating raw delta %s size=%d sectors", name, s.Sectors)
	case image.Preallocated:
		t.say("Creating preallocated delta %s bs=%d size=%d sectors v%d", name, s.Blocksize, s.Sectors, s.Version)
		t.say("Opening delta %s", name)
	case image.Expanded:
		t.say("Creating delta %s bs=%d size=%d sectors v%d", name, s.Blocksize, s.Sectors, s.Version)
	}
	if err := image.Create(name, s); err != nil {
		t.fail(at{"do_create_delta", "ploop.c:404", "ploop.c:403"}, unwrap(err), "Can't open %s", name)
		return cCreat
	}
	defer func() {
		if c != 0 {
			_ = os.Remove(name)
			_ = os.Remove(xml)
			_ = os.Remove(xml + ".lck")
		}
	}()
	real, err := filepath.EvalSymlinks(name)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return t.broken(err)
	}
	d := &disk{t: t, path: xml, Descriptor: newDescriptor(dir, real, s)}
	d.KeyID = o.set['k']
	t.say("Adding snapshot %s", descriptor.TopGUID)
	if c := d.store(xml); c != 0 {
		return c
	}
	if fs == "none" {
		return 0
	}
	if c := d.acquire(); c != 0 {
		return c
	}
	defer d.release()
	return d.format(fs, o)
}

func newDescriptor(dir, file string, s image.Spec) *descriptor.Descriptor {
	cyl, heads, _ := image.Geometry(s.Sectors)
	dd := &descriptor.Descriptor{
		Dir: dir, Size: s.Sectors, Cylinders: cyl, Heads: heads, Sectors: uint32(s.Sectors / uint64(cyl*heads)),
		Blocksize: s.Blocksize, Preallocated: s.Mode == image.Preallocated,
	}
	dd.Add(file, descriptor.TopGUID, descriptor.NoParent)
	dd.Images[0].Raw = s.Mode == image.Raw
	return dd
}

// format brings the disk up, partitions it, makes the file system and the balloon file, and takes it down again.
func (d *disk) format(fs string, o options) (c code) {
	t := d.t
	if !t.vz9 {
		t.convert(d.Chain(d.Top)) // sic: a file system is made on version 2 images only
	}
	if c := d.checkDeltas(d.Chain(d.Top), checkOptions{dropInUse: true, detailed: true}); c != 0 {
		return c
	}
	dev, c := d.addDevice(d.Chain(d.Top), false)
	if c != 0 {
		return c
	}
	defer func() {
		if e := t.umountDevice(dev, d); c == 0 && e != 0 {
			c = cUmount
		}
	}()
	if !o.has('P') {
		if c := t.makePartition(dev); c != 0 {
			return c
		}
	}
	if c := t.makeFS(t.partition(dev), fs, o); c != 0 {
		return c
	}
	t.say("Creating balloon file %s", balloon)
	mnt := d.base() + ".mnt"
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		return cMkdir
	}
	defer os.Remove(mnt) //nolint:errcheck // not empty if unmounting failed, which is reported
	if c := d.mountFS(dev, mountOptions{target: mnt, fs: fs}, false); c != 0 {
		return c
	}
	f, err := os.OpenFile(filepath.Join(mnt, balloon), os.O_CREATE|os.O_RDONLY|os.O_TRUNC, 0o600)
	if err != nil {
		t.fail(at{"create_balloon_file", "ploop.c:673", "ploop.c:667"}, unwrap(err), "Can't create balloon file %s/%s", mnt, balloon)
		c = cCreat
	} else {
		_ = f.Close()
	}
	if err := unix.Unmount(mnt, 0); err != nil {
		return t.broken(err)
	}
	return c
}

// makePartition writes the table and makes the partition's device.
func (t *Tool) makePartition(dev *server.Device) code {
	node := t.node(dev.Name)
	f, err := os.OpenFile(t.lab.Below(server.MountName, dev.Name), os.O_RDWR, 0)
	if err != nil {
		return t.broken(err)
	}
	defer f.Close() //nolint:errcheck // synced below
	st, err := f.Stat()
	if err != nil {
		return t.broken(err)
	}
	sectors := uint64(st.Size()) / image.SectorSize
	p := gpt.Whole(sectors, dev.Blocksize)
	t.say("Running: parted -s %s mklabel gpt ", node)
	if t.vz9 {
		t.say("Running: sgdisk -n 1:%d:%d %s ", p.First, p.Last, node)
		t.say("Running: partprobe %s ", node)
	} else {
		t.say("Running: parted -s %s mkpart primary %db %db ", node, p.First*image.SectorSize, (p.Last+1)*image.SectorSize-1)
	}
	if err := errors.Join(gpt.Write(f, sectors, p), f.Sync()); err != nil {
		return t.broken(err)
	}
	w := loopdev.Window{Offset: p.First * image.SectorSize, Size: (p.Last - p.First + 1) * image.SectorSize}
	if dev.Part, err = t.attach(f, dev.Name, w); err != nil {
		return t.broken(err)
	}
	if err := errors.Join(t.srv.Attach(dev.Name, dev.Loop, dev.Part), t.makeNodes(dev)); err != nil {
		return t.broken(err)
	}
	return 0
}

// maxFS is the size up to which a file system can be grown: 50 TiB.
const maxFS = 50 << 40

// makeFS runs mkfs and tune2fs with the real tool's options.
func (t *Tool) makeFS(part, fs string, o options) code {
	block := uint64(4096)
	if n, err := strconv.ParseUint(o.set['B'], 0, 32); err == nil && n > 0 {
		block = n
	}
	lazy := "1"
	if o.has('n') {
		lazy = "0"
	}
	b := strconv.FormatUint(block, 10)
	mkfs := []string{"mkfs", "-t", fs, "-j"}
	if o.has('L') {
		mkfs = append(mkfs, "-L", o.set['L'])
	}
	mkfs = append(mkfs, "-b"+b, "-Elazy_itable_init="+lazy+",resize="+strconv.FormatUint(maxFS/block, 10), "-Jsize=128", part)
	for _, argv := range [][]string{mkfs, {"/sbin/tune2fs", "-ouser_xattr,acl", "-c0", "-i0", "-eremount-ro", part}} {
		t.say("Running: %s ", strings.Join(argv, " "))
		// A new image is all zeros: that the journal is written once more would be half
		// of what tests write.
		for i, a := range argv {
			if strings.HasPrefix(a, "-E") {
				argv[i] += ",lazy_journal_init=1"
			}
		}
		cmd := exec.Command(argv[0], argv[1:]...)
		var out, errw bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errw
		err := cmd.Run()
		_, _ = t.out.Write(out.Bytes())
		_, _ = t.err.Write(errw.Bytes())
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.fail(at{"run_prg_rc", "util.c:340", "util.c:309"}, nil, "Command %s  exited with code %d", strings.Join(argv, " "), exit.ExitCode())
			return cMkfs
		}
		if err != nil {
			return t.broken(err)
		}
	}
	return 0
}

// e2fsck checks a file system before it is mounted.
func (t *Tool) e2fsck(part string) code {
	t.say("Running: /sbin/e2fsck -p %s ", part)
	err := exec.Command("/sbin/e2fsck", "-p", part).Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 4 {
		t.fail(at{"e2fsck", "fsutils.c:250", "fsutils.c:250"}, nil, "e2fsck failed (exit code %d)", exit.ExitCode())
		return cFsck
	}
	return 0
}

// cmdRestore writes a descriptor for an image that has none.
func (t *Tool) cmdRestore(args []string) code {
	o, ok := t.parse("restore-descriptor", args, "f:b:", nil)
	if !ok || len(o.rest) != 2 {
		t.raw(usageRestore)
		return cParam
	}
	dir, err := filepath.Abs(o.rest[0])
	if err != nil {
		return t.broken(err)
	}
	file, err := filepath.EvalSymlinks(o.rest[1])
	if err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		t.fail(at{"open_delta_simple", "delta_read.c:91", "delta_read.c:91"}, unwrap(err), "open %s", o.rest[1])
		return cOpen
	}
	s := image.Spec{Mode: image.Expanded}
	if o.set['f'] == "raw" {
		st, err := os.Stat(file)
		if err != nil {
			return cOpen
		}
		n, err := strconv.ParseUint(o.set['b'], 0, 32)
		if err != nil || n == 0 {
			n = 64
		}
		s = image.Spec{Mode: image.Raw, Blocksize: uint32(n), Sectors: uint64(st.Size()) / image.SectorSize}
	} else {
		h, c := t.header(file, true)
		if c != 0 {
			return c
		}
		s.Blocksize, s.Sectors, s.Version = h.Blocksize, uint64(h.Clusters)*uint64(h.Blocksize), h.Version
	}
	xml := filepath.Join(dir, descriptor.Name)
	if _, err := os.Lstat(xml); err == nil {
		t.fail(at{"init_dd", "ploop.c:844", "ploop.c:822"}, unix.EEXIST, "Can't create %s", xml)
		return cParam
	}
	d := &disk{t: t, path: xml, Descriptor: newDescriptor(dir, file, s)}
	t.say("Adding snapshot %s", descriptor.TopGUID)
	return d.store(xml)
}
