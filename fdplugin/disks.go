// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// volume is one disk of the container that is saved.
type volume struct {
	conf prlctl.ConfiguredDisk
	disk *ploop.Disk
	// image is the header of the base image; its version is 0 for a raw one.
	image ploop.Header
	// catalogue is where its names begin, relative to the container's root, ""
	// for the root disk.
	catalogue string
	// snapshot is the UUID of our snapshot, dir where it is mounted.
	snapshot, dir string
	// root is what the mounted snapshot's root directory was when it was measured.
	root struct{ dev, ino uint64 }
	// What the file system holds.
	usedBytes, usedInodes uint64
	// groups are its files with several names, in a partial job.
	groups *groups
	// elsewhere is the directory found last that was at another place, if anew is set.
	elsewhere string
	anew      bool
}

// mountName names the disk for messages.
func (v *volume) mountName() string {
	if v.conf.Mount != "" {
		return v.conf.Mount
	}
	return "{" + v.conf.UUID + "}"
}

// readDisks finds the container's disks and says which are not saved.
func (b *backup) readDisks() error {
	conf, err := b.place.Config.Disks(b.place.Private)
	if err != nil {
		return err
	}
	if len(conf) > maxDisks {
		return fmt.Errorf("container %s has %d disks: %d can be restored at most", b.container.Title(), len(conf), maxDisks)
	}
	if err := b.opts.Choice.Disks.check(conf); err != nil {
		return fmt.Errorf("container %s: %w", b.container.Title(), err)
	}
	// A second time, what the first has counted is no more.
	b.volumes, b.leftDisks, b.left.by = nil, nil, [reasons]tally{}
	taken := map[string]string{}
	for _, c := range conf {
		if c.External != "" {
			if c.UUID == prlctl.RootDisk {
				return fmt.Errorf("the root disk of container %s is %s, no ploop image", b.container.Title(), c.External)
			}
			b.job.Log.Warnf("not saved: disk {%s} at %q is %s, no ploop image", c.UUID, c.Mount, c.External)
			continue
		}
		v, err := readVolume(c)
		if err != nil {
			return fmt.Errorf("disk %q of container %s: %w", c.Mount, b.container.Title(), err)
		}
		if other, twice := taken[v.catalogue]; twice {
			return fmt.Errorf("disks {%s} and {%s} of container %s have the same mount point %q", other, c.UUID, b.container.Title(), c.Mount)
		}
		taken[v.catalogue] = c.UUID
		if why := b.withoutDisk(v); why != notLeft {
			b.leaveDisk(why, v)
			b.leftDisks = append(b.leftDisks, v)
			if v.catalogue == "" {
				b.job.Log.Warnf("disks= leaves out the root disk: restore=ct cannot make the container from this backup, restore=file and restore=dir can restore what is in it")
			}
			continue
		}
		for _, f := range v.disk.Orphans() {
			b.job.Log.Warnf("%s belongs to no snapshot of its disk: an interrupted operation has left it; it takes up room and is not saved", f)
		}
		if v.disk.KeyID != "" {
			b.job.Log.Warnf("disk %s is encrypted (key %s); its files leave this node in clear unless the File Daemon encrypts them", v.mountName(), v.disk.KeyID)
		}
		b.volumes = append(b.volumes, v)
	}
	if len(b.volumes) == 0 {
		return fmt.Errorf("container %s: all of its disks are left out: %s", b.container.Title(), strings.Join(b.leftNames(), ", "))
	}
	return nil
}

func readVolume(c prlctl.ConfiguredDisk) (*volume, error) {
	d, err := ploop.Read(filepath.Join(c.Dir, "DiskDescriptor.xml"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: only ploop disks can be saved (container layout 5)", err)
	}
	if err != nil {
		return nil, err
	}
	v := &volume{conf: c, disk: d}
	if !d.Raw {
		chain, err := d.Chain()
		if err != nil {
			return nil, err
		}
		if v.image, err = ploop.ReadHeader(chain[0].File); err != nil {
			return nil, err
		}
	}
	switch {
	case c.UUID == prlctl.RootDisk:
	case c.Mount == "":
		// It has no place in the container, but it is its data.
		v.catalogue = ownFolder + "-disk-" + c.UUID
	default:
		v.catalogue = strings.Trim(filepath.Clean("/"+c.Mount), "/")
		if v.catalogue == "" {
			return nil, fmt.Errorf("mount point %q is that of the root disk", c.Mount)
		}
	}
	return v, nil
}

// measure checks that the disk is really mounted and reads how full it is.
func (v *volume) measure(mounts string) error {
	var here, above unix.Stat_t
	if err := unix.Stat(v.dir, &here); err != nil {
		return fmt.Errorf("look at mounted snapshot: %w", err)
	}
	if err := unix.Stat(mounts, &above); err != nil {
		return fmt.Errorf("look at mount directory: %w", err)
	}
	if here.Dev == above.Dev {
		return fmt.Errorf("ploop says that it has mounted the snapshot at %s, but nothing is mounted there", v.dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(v.dir, &st); err != nil {
		return fmt.Errorf("measure mounted snapshot: %w", err)
	}
	v.root.dev, v.root.ino = here.Dev, here.Ino
	v.usedBytes = (st.Blocks - st.Bfree) * uint64(st.Bsize)
	v.usedInodes = st.Files - st.Ffree
	return nil
}

// excluded reports whether an option leaves the path out.
func (b *backup) excluded(path string) bool {
	_, yes := b.opts.Excludes.Match(path)
	return yes
}

// manifest describes the container as it is saved.
func (b *backup) manifest() *manifest {
	m := &manifest{
		Plugin: b.job.Version, Job: b.job.Name, Created: b.started.UTC(),
		Selection: b.opts.selection(),
		UUID:      b.container.UUID, CTID: b.place.CTID, Name: b.container.Name, State: b.container.State,
		Private: b.place.Private, Root: b.place.Root,
	}
	if conf, err := os.ReadFile(filepath.Join(b.place.Private, "ve.conf")); err == nil {
		m.Config = conf
	}
	for _, v := range b.volumes {
		base := v.disk.Images[0].File
		if chain, err := v.disk.Chain(); err == nil {
			base = chain[0].File
		}
		if rel, err := filepath.Rel(b.place.Private, base); err == nil && filepath.IsLocal(rel) {
			base = rel
		}
		m.Disks = append(m.Disks, manifestDisk{
			UUID: v.conf.UUID, Mount: v.conf.Mount, Catalogue: v.catalogue, Image: base,
			Size: v.disk.Size, Cluster: v.disk.Cluster, Version: v.image.Version,
			Preallocated: v.disk.Preallocated, Raw: v.disk.Raw, KeyID: v.disk.KeyID,
			UsedBytes: v.usedBytes, UsedInodes: v.usedInodes,
		})
	}
	return m
}

// hiddenBelowMounts finds content that the mount point of a disk hides: the container
// does not see it, and it is not saved.
func (b *backup) hiddenBelowMounts() {
	all := slices.Concat(b.volumes, b.leftDisks)
	for _, v := range all {
		if v.conf.Mount == "" || v.catalogue == "" {
			continue
		}
		around := v.around(all)
		if around == nil || around.dir == "" {
			continue // that disk is not saved, and not mounted
		}
		at := strings.TrimPrefix(strings.TrimPrefix(v.catalogue, around.catalogue), "/")
		dir, err := openInRoot(around.dir, at)
		if err != nil {
			continue // there is no mount point in the image
		}
		names, err := dir.Readdirnames(2)
		dir.Close()
		if err == nil && len(names) > 0 && len(b.left.hidden) < maxListed {
			b.left.hidden = append(b.left.hidden, fmt.Sprintf("%s (such as %s)", short(v.conf.Mount), short(names[0])))
		}
	}
	if len(b.left.hidden) > 0 {
		b.job.Log.Warnf("not saved: what lies below the mount points of disks, and is hidden by them: %s", strings.Join(b.left.hidden, ", "))
	}
}

// foundByCheck warns of what a check of the file system has put into lost+found: it is
// somebody's, but nobody knows whose, and it is not saved.
func (b *backup) foundByCheck(v *volume) {
	dir, err := openInRoot(v.dir, "lost+found")
	if err != nil {
		return
	}
	defer dir.Close()
	if names, err := dir.Readdirnames(1); err == nil && len(names) > 0 {
		b.job.Log.Warnf("not saved: what a check of the file system has put into lost+found of disk %s (such as %s): move to elsewhere in the container what is wanted of it", text.Name(v.mountName()), short(names[0]))
	}
}

// around is the disk that has the mount point of v, nil if none has it.
func (v *volume) around(all []*volume) (found *volume) {
	for _, o := range all {
		below := o.catalogue == "" || strings.HasPrefix(v.catalogue, o.catalogue+"/")
		if o != v && below && (found == nil || len(o.catalogue) > len(found.catalogue)) {
			found = o
		}
	}
	return found
}

// images is the room that the disk's images take.
func (v *volume) images() (bytes int64) {
	for _, i := range v.disk.Images {
		var st unix.Stat_t
		if unix.Stat(i.File, &st) == nil {
			bytes += st.Blocks * 512
		}
	}
	return bytes
}

// leftNames are the disks that are not saved.
func (b *backup) leftNames() (names []string) {
	for _, v := range b.leftDisks {
		names = append(names, text.Name(v.mountName()))
	}
	return names
}

// diskName is what a disk is called in the option disks.
func diskName(d prlctl.ConfiguredDisk) string {
	switch {
	case d.UUID == prlctl.RootDisk:
		return "root"
	case d.Mount == "":
		return "{" + d.UUID + "}"
	default:
		return filepath.Clean("/" + d.Mount)
	}
}

// means reports whether the name is that of the disk.
func means(name string, d prlctl.ConfiguredDisk) bool {
	return name == diskName(d) || name == "{"+d.UUID+"}"
}

// has reports whether a disk is to be saved.
func (c DiskChoice) has(d prlctl.ConfiguredDisk) bool {
	named := slices.ContainsFunc(c.Names, func(name string) bool { return means(name, d) })
	return named != c.Not || len(c.Names) == 0
}

// check refuses a disk that the container has not.
func (c DiskChoice) check(have []prlctl.ConfiguredDisk) error {
	for _, name := range c.Names {
		if slices.ContainsFunc(have, func(d prlctl.ConfiguredDisk) bool { return means(name, d) }) {
			continue
		}
		var names []string
		for _, d := range have {
			names = append(names, text.Name(diskName(d)))
		}
		return fmt.Errorf("disks: it has no disk %s; it has %s", text.Name(name), strings.Join(names, ", "))
	}
	return nil
}
