// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// UnsafeError tells that a disk is in a state in which a snapshot would lose
// data: with a temporary snapshot or an unclosed lower image on disk, `ploop
// snapshot` returns 0 and drops the newest image from the descriptor (vz7-u22,
// run on real images). Nothing may be done to the disk before it is repaired.
type UnsafeError struct {
	Descriptor string
	// What is wrong, and Cure, the commands that put it right.
	What, Cure string
	// Passing: it may pass by itself when others are done with the disk, see Users,
	// or be a matter for Repair.
	Passing bool
}

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("disk %s is not safe to snapshot: %s; %s", e.Descriptor, e.What, e.Cure)
}

// Safe reports whether a snapshot may be taken, as an *UnsafeError if not. It
// reads the descriptor anew.
func Safe(descriptor string) error {
	d, err := Read(descriptor)
	if err != nil {
		return err
	}
	for _, s := range d.Shots {
		if s.Temporary {
			return &UnsafeError{
				Descriptor: descriptor,
				Passing:    true,
				What:       "snapshot " + s.GUID + " is marked temporary: another backup is at work, or a merge was interrupted",
				Cure: fmt.Sprintf("see `ploop list` for a device of another backup and wait for it; if there is none: %s",
					repair(descriptor, s.GUID)),
			}
		}
	}
	chain, err := d.Chain()
	if err != nil {
		return fmt.Errorf("%s: %w", descriptor, err)
	}
	if len(chain) >= maxChain {
		return &UnsafeError{
			Descriptor: descriptor,
			What:       fmt.Sprintf("it has %d images already, the most that ploop allows", len(chain)),
			Cure:       "delete snapshots of the container first (prlctl snapshot-list, prlctl snapshot-delete)",
		}
	}
	for n, i := range chain {
		if n == 0 && d.Raw {
			if _, err := os.Stat(i.File); err != nil {
				return fmt.Errorf("image of %s: %w", descriptor, err)
			}
			continue
		}
		h, err := ReadHeader(i.File)
		if err != nil {
			return err
		}
		if h.InUse && n < len(chain)-1 {
			return &UnsafeError{
				Descriptor: descriptor,
				Passing:    true,
				What:       "image " + i.File + " below the newest one is marked in use: its snapshot is mounted by another backup, or a merge was interrupted",
				Cure: fmt.Sprintf("see `ploop list` for a device of another backup and wait for it; if there is none, with the container stopped: %s",
					repair(descriptor, i.GUID)),
			}
		}
	}
	for _, file := range d.Orphans() {
		if h, err := ReadHeader(file); err == nil && h.InUse {
			return &UnsafeError{
				Descriptor: descriptor,
				What:       "image " + file + " is marked in use, and the descriptor does not name it: a snapshot command was cut off or has dropped it, and what was written last may be in it",
				Cure: fmt.Sprintf("remove nothing; if %s.tmp names it and the container was not started since: mv %[1]s.tmp %[1]s; else compare `cat /sys/block/ploop*/pdelta/*/image` and the copies in /var/lib/vz7ct/descriptors with the descriptor",
					descriptor),
			}
		}
	}
	return nil
}

// repair names the documented way out of an interrupted merge: dropping the
// in-use mark, then merging again (vz7-u22, run: content identical to before).
func repair(descriptor, guid string) string {
	return fmt.Sprintf("ploop check -d %s && ploop snapshot-delete -u %s %s", descriptor, guid, descriptor)
}

// Orphans returns image files beside the descriptor that no snapshot uses: what
// an interrupted operation has left, in use by nobody, and in the worst case the
// newest data of a disk whose descriptor has lost them.
func (d *Disk) Orphans() []string {
	var known []string
	for _, i := range d.Images {
		known = append(known, i.File)
	}
	var out []string
	for _, base := range d.Images {
		if strings.HasSuffix(base.File, "}") {
			continue // a delta; deltas are named after the base
		}
		found, _ := filepath.Glob(escape(base.File) + ".{*}")
		for _, f := range found {
			if !slices.Contains(known, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// escape takes the meaning from the characters of filepath.Match's language.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
