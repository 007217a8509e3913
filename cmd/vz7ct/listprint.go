// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"fmt"
	"io"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// printContainers writes the list for people.
func printContainers(w io.Writer, all []container) {
	if len(all) == 0 {
		fmt.Fprintln(w, "this node has no containers")
	}
	for _, c := range all {
		name := c.Name
		if name == "" {
			name = "-"
		}
		fmt.Fprintf(w, "%s  %s  %s\n", text.Name(name), c.UUID, c.State)
		if c.Error != "" {
			fmt.Fprintf(w, "    cannot be read: %s\n", text.Name(c.Error))
		}
		for _, d := range c.Disks {
			printDisk(w, d)
		}
	}
}

func printDisk(w io.Writer, d disk) {
	mount := d.Mount
	if mount == "" {
		mount = "{" + d.UUID + "}, not mounted"
	}
	fmt.Fprintf(w, "    disk %s  %s  %s\n", text.Name(mount), text.Size(int64(d.Size)), text.Name(d.Image))
	for _, s := range d.Snapshots {
		temporary := ""
		if s.Temporary {
			temporary = ", marked temporary"
		}
		fmt.Fprintf(w, "        snapshot {%s}  %s%s\n", s.UUID, s.words(), temporary)
	}
	for _, o := range d.Orphans {
		fmt.Fprintf(w, "        belongs to no snapshot, and may hold data: %s\n", text.Name(o))
	}
	if d.Unsafe != "" {
		fmt.Fprintf(w, "        NOT SAFE TO SNAPSHOT: %s\n", text.Name(d.Unsafe))
	}
	if d.Error != "" {
		fmt.Fprintf(w, "        cannot be read: %s\n", text.Name(d.Error))
	}
}

// words says whose the snapshot is.
func (s snapshot) words() string {
	switch {
	case s.JobState != "":
		return fmt.Sprintf("ours (job %s, %s)", text.Name(s.Job), s.JobState)
	case s.Whose == "ours":
		return "ours, no job"
	case s.Whose == "other":
		return "other"
	default:
		return "not known whose: " + text.Name(s.Why)
	}
}
