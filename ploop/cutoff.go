// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Settle completes or takes back a snapshot command that was cut off, by the
// node's end say. ploop writes the new descriptor as DiskDescriptor.xml.tmp, makes
// the new image, has the kernel switch to it, and renames the descriptor last
// (do_create_snapshot of 7.0.280). Cut off after the switch, what the container has
// written since is in an image that the descriptor does not name: the next start,
// or the next snapshot, would lose it. That the kernel has switched is seen by the
// in-use marks: it closes the old image and opens the new one
// (ploop1_complete_snapshot of the driver). Then the descriptor is renamed; else
// the new image, which is empty, is removed. It does nothing if the snapshot is
// there, or nothing of it is. It needs no tool, and must come before the container
// is started: written to since, the old image does not go with the new one.
func (c Client) Settle(descriptor, uuid string) error {
	now, err := Read(descriptor)
	if err != nil {
		return err
	}
	next, err := cutOffSnapshot(now, uuid)
	if next == nil || err != nil {
		return err
	}
	release, err := c.lockDisk(descriptor)
	if err != nil {
		return err
	}
	defer release()
	// Both anew: a tool may have had the lock.
	if now, err = Read(descriptor); err != nil {
		return err
	}
	if next, err = cutOffSnapshot(now, uuid); next == nil || err != nil {
		return err
	}
	tmp := descriptor + ".tmp"
	image := next.file(next.Top)
	switched, err := switched(now, image)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return os.Remove(tmp) // not even the image was made
	case err != nil:
		return fmt.Errorf("a snapshot of %s was cut off: %w", descriptor, err)
	case switched:
		return errors.Join(os.Rename(tmp, descriptor), syncDir(filepath.Dir(descriptor)))
	}
	if empty, err := isEmpty(image); err != nil || !empty {
		return errors.Join(fmt.Errorf("a snapshot of %s was cut off: %s has data but is not marked in use: leave it, and %s", descriptor, image, tmp), err)
	}
	return errors.Join(os.Remove(tmp), os.Remove(image))
}

// cutOffSnapshot reads the descriptor that a snapshot command has written and not
// put in place, nil if there is none, or if it is not about the snapshot.
func cutOffSnapshot(now *Disk, uuid string) (*Disk, error) {
	if _, there := now.Shot(uuid); there {
		return nil, nil
	}
	f, err := os.OpenFile(now.Descriptor+".tmp", os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	next, err := parse(f, filepath.Dir(now.Descriptor))
	if err != nil {
		return nil, nil // it was being written: nothing else has happened
	}
	if _, about := next.Shot(uuid); !about || len(next.Images) != len(now.Images)+1 || next.file(guid(uuid)) != now.file(now.Top) || !adds(now, next) {
		return nil, nil
	}
	return next, nil
}

// adds reports whether a descriptor has, over another one, a top alone, with an image
// where ploop makes it: what it names may be removed, and is no other file.
func adds(now, next *Disk) bool {
	dirs, files := map[string]bool{}, map[string]bool{}
	for _, i := range now.Images {
		dirs[filepath.Dir(i.File)], files[i.File] = true, true
	}
	for _, i := range next.Images {
		if fresh := i.GUID == next.Top; fresh == files[i.File] || fresh && !dirs[filepath.Dir(i.File)] {
			return false
		}
	}
	return true
}

// file returns the image of a GUID, "" if there is none.
func (d *Disk) file(guid string) string {
	for _, i := range d.Images {
		if i.GUID == guid {
			return i.File
		}
	}
	return ""
}

// switchSlack is how much later than the new image the old one may have been written
// to at the switch.
const switchSlack = 2 * time.Second

// switched reports whether the kernel writes, or wrote to its end, to the new image.
func switched(now *Disk, image string) (bool, error) {
	if info, err := os.Stat(image); err != nil || info.Size() < headerSize {
		return false, err // it was being made
	}
	h, err := ReadHeader(image)
	if err != nil || !h.InUse {
		return false, err
	}
	old := now.file(now.Top)
	if !now.Raw || len(now.Images) > 1 {
		before, err := ReadHeader(old)
		if err != nil {
			return false, err
		}
		if before.InUse {
			return false, fmt.Errorf("both %s and %s are marked in use: the container was started since, and what it wrote before is in the latter", old, image)
		}
	}
	was, err1 := os.Stat(old)
	is, err2 := os.Stat(image)
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	if was.ModTime().After(is.ModTime().Add(switchSlack)) {
		return false, fmt.Errorf("%s was written to after %s: the container was started since, and what it wrote before is in the latter", old, image)
	}
	return true, nil
}

// isEmpty reports whether an image has no room for data behind its tables.
func isEmpty(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() < headerSize {
		return true, nil
	}
	var b [headerSize]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return false, err
	}
	first := int64(b[48]) | int64(b[49])<<8 | int64(b[50])<<16 | int64(b[51])<<24
	return info.Size() <= first*SectorSize, nil
}

// lockDisk keeps ploop from the disk, as ploop does itself.
func (c Client) lockDisk(descriptor string) (release func(), err error) {
	f, err := os.OpenFile(descriptor+".lck", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) && n >= tries {
			f.Close()
			return nil, fmt.Errorf("a ploop command works on %s: %w", descriptor, err)
		}
		time.Sleep(c.pause() / 5)
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
