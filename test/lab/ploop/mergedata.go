// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/image"
)

// mergeData moves the clusters, in the driver or in the files.
func (d *disk) mergeData(p *plan, up bool) code {
	t := d.t
	switch {
	case p.byTop:
		t.say("Merging top delta")
		return d.mergeInServer(p, up)
	case p.online:
		// The files below the top are closed, so the tool merges them itself and tells the driver at the end.
		for _, f := range d.openOrder(p) {
			if f == p.parentFile && p.rawParent {
				t.say("Opening delta %s", f)
				continue
			}
			if _, c := t.header(f, false); c != 0 {
				return c
			}
		}
		return d.mergeInServer(p, false)
	}
	return d.mergeFiles(p)
}

// openOrder is the order in which the tool opens the images of a merge below a running top.
func (d *disk) openOrder(p *plan) []string {
	if d.t.vz9 {
		return []string{p.childFile, p.parentFile, p.parentFile, p.childFile}
	}
	return []string{p.childFile, p.parentFile}
}

func (d *disk) mergeInServer(p *plan, up bool) code {
	t := d.t
	t.rec.Device = p.dev.Name
	below, err := os.OpenFile(p.parentFile, os.O_RDWR, 0)
	if err != nil {
		return t.broken(err)
	}
	a, err := t.srv.Merge(p.dev.Name, p.level, up, below, t.conf.MergePaceMS)
	_ = below.Close() // the server has its own
	if err != nil {
		t.fail(at{"ioctl_device", "util.c:270", "dm.c:270"}, err, "PLOOP_IOC_MERGE")
		return cDevioc
	}
	t.rec.Merged = a.Merge.Clusters
	if t.vz9 && !p.byTop {
		t.say("Clear inuse state")
	}
	return 0
}

// mergeFiles merges without a driver.
func (d *disk) mergeFiles(p *plan) code {
	t := d.t
	inUse := func(path string, viaExtend bool) code {
		if _, c := t.header(path, false); c != 0 {
			if !viaExtend {
				t.fail(at{"merge_image", "merge.c:432", "merge.c:297"}, unix.EBUSY, "open_delta")
			}
			return c
		}
		return 0
	}
	order := []string{p.childFile, p.parentFile} // the parent is opened second, by hand, and an error is reported twice
	if t.vz9 {
		order = []string{p.parentFile, p.childFile}
	}
	for _, f := range order {
		if f == p.parentFile && p.rawParent {
			t.say("Opening delta %s", f)
			continue
		}
		if c := inUse(f, f == p.childFile); c != 0 {
			return c
		}
	}
	child, err := openImage(p.childFile, false, 0)
	if err != nil {
		return t.broken(err)
	}
	defer child.Close() //nolint:errcheck // only read
	parent, err := openImage(p.parentFile, p.rawParent, d.Blocksize)
	if err != nil {
		return t.broken(err)
	}
	defer parent.Close() //nolint:errcheck // synced by the merge
	if err := parent.MarkInUse(true); err != nil {
		t.fail(at{"merge_image", "merge.c:438", "merge.c:303"}, err, "dirty_delta")
		return cWrite
	}
	pace := func(int) error {
		t.pause("offline-merge")
		time.Sleep(time.Duration(t.conf.MergePaceMS) * time.Millisecond)
		return nil
	}
	s, err := image.MergeFiles(child, parent, pace)
	if err != nil {
		t.fail(at{"merge_image", "merge.c:596", "merge.c:471"}, err, "fsync")
		return cWrite
	}
	t.rec.Merged = s.Clusters
	if t.vz9 {
		t.say("Clear inuse state")
	}
	if !p.rawParent {
		t.say("Move CBT %s -> %s", p.childFile, p.parentFile)
		t.say("Opening delta %s", p.childFile)
	}
	return 0
}

func openImage(path string, raw bool, blocksize uint32) (*image.Image, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	var m *image.Image
	if raw {
		m, err = image.OpenRaw(image.OS(f), blocksize)
	} else {
		m, err = image.Open(image.OS(f), true)
	}
	if err != nil {
		_ = f.Close()
	}
	return m, err
}

// mergeReverse is how 9.0.30 merges the top of a running disk into the base: under other words, with the same outcome.
func (d *disk) mergeReverse(p *plan) code {
	t := d.t
	temporary := 0
	if p.wasTemporary {
		temporary = 1
	}
	node := t.node(p.dev.Name)
	t.say("Online reverse merge %s -> %s [%d]", p.parentFile, p.childFile, temporary)
	if _, c := t.header(p.parentFile, false); c != 0 {
		return c
	}
	t.say("Storing %s", p.tmp)
	t.say("Adding delta dev=%s img=%s (rw)", node, p.parentFile)
	t.say("Adding delta dev=%s img=%s (rw)", node, p.childFile)
	t.say("Set noresume: 1")
	t.say("Zero BAT in base %s", p.parentFile)
	t.say("Opening delta %s", p.parentFile)
	t.say("Opening delta %s", p.childFile)
	t.say("Sync cache 0")
	// A crash from here on is seen and repaired as a temporary snapshot.
	d.Shot(p.parent).Temporary = true
	if c := d.store(d.path); c != 0 {
		return c
	}
	gone, err := d.Merge(p.child, false)
	if err != nil {
		return t.broken(err)
	}
	t.say("Swap top '%s' delta with lower '%s'", p.childFile, p.parentFile)
	t.say("Flip upper delta %s", node)
	t.say("Set noresume: 0")
	t.say("Update inuse state %s state=0", p.childFile)
	t.say("Opening delta %s", p.childFile)
	if c := d.store(p.tmp); c != 0 {
		return c
	}
	t.pause("merge-marked")
	t.say("Merging top delta")
	start := time.Now()
	c := d.mergeInServer(p, false)
	t.rec.MergeMS = since(start)
	if c != 0 {
		return c
	}
	if err := os.Rename(p.tmp, d.path); err != nil {
		return cRename
	}
	if err := os.Remove(gone); err != nil {
		t.raw("Can not to unlink %s", gone)
	}
	return 0
}
