// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// What an old container must be like to be replaced, and what is lost with it.

// savedDisks returns the old container's disks. One in its private area that the backup
// has not would be removed with it.
func (c *newContainer) savedDisks(place prlctl.Place) ([]prlctl.ConfiguredDisk, error) {
	disks, err := place.Config.Disks(place.Private)
	if err != nil {
		return nil, fmt.Errorf("has disks that are not understood: %w", err)
	}
	for _, d := range disks {
		saved := slices.ContainsFunc(c.m.Disks, func(m manifestDisk) bool { return m.UUID == d.UUID })
		if !saved && d.External == "" && liesIn(d.Dir, place.Private) {
			return nil, fmt.Errorf("has disk %s ({%s}), which is not in this backup and would be lost: detach it first and take %s out of the private area, or restore beside the container with restore_uuid=new",
				text.Name(d.Mount), d.UUID, d.Dir)
		}
	}
	return disks, nil
}

// liesIn reports whether a disk's directory lies in a private area, whatever links lead
// to it, and so is removed with that.
func liesIn(dir, private string) bool {
	for _, p := range []*string{&dir, &private} {
		if real, err := filepath.EvalSymlinks(*p); err == nil {
			*p = real
		}
	}
	return strings.HasPrefix(dir, private+"/")
}

// add notes one disk of the old container.
func (o *oldContainer) add(j *Job, d prlctl.ConfiguredDisk) error {
	if d.External != "" {
		j.Log.Warnf("replace_ct=yes: disk %s of container %s is %s: it is neither restored nor removed", text.Name(d.Mount), o.Title(), d.External)
		return nil
	}
	descriptor := filepath.Join(d.Dir, "DiskDescriptor.xml")
	if err := j.stuck[descriptor]; err != nil {
		return fmt.Errorf("has a disk on which an earlier job has left something: %w", err)
	}
	if !liesIn(d.Dir, o.home) {
		j.Log.Warnf("replace_ct=yes: disk %s of container %s is in %s, outside of its private area: it stays there when the container is replaced", text.Name(d.Mount), o.Title(), d.Dir)
	}
	o.descriptors[d.UUID] = descriptor
	return nil
}

// hasSnapshots reports whether a user has made snapshots of a container: each is called
// by a GUID in Snapshots.xml, the root of all by none.
func hasSnapshots(private string) bool {
	b, err := regular.ReadFile(filepath.Join(private, "Snapshots.xml"), 1<<20)
	return err == nil && bytes.Contains(b, []byte(`guid="{`)) || err != nil && !errors.Is(err, os.ErrNotExist)
}

// canBeReplaced refuses a container in a state out of which it cannot be brought back.
func canBeReplaced(c prlctl.Container) error {
	switch c.State {
	case stateRunning, stateStopped, stateSuspended:
		return nil
	}
	return fmt.Errorf("is %q: it must be running, stopped or suspended", c.State)
}

// plainDirectory refuses a private area that cannot be renamed: a link, a mount point, or
// one that chattr has locked.
func plainDirectory(path string) error {
	var here, above unix.Stat_t
	if err := errors.Join(unix.Lstat(path, &here), unix.Lstat(filepath.Dir(path), &above)); err != nil {
		return fmt.Errorf("has a private area that cannot be looked at: %w", err)
	}
	if here.Mode&unix.S_IFMT != unix.S_IFDIR || here.Dev != above.Dev {
		return fmt.Errorf("has the private area %s, which is a link or a file system of its own", path)
	}
	return unlocked(path)
}
