// SPDX-License-Identifier: AGPL-3.0-only

package judge

import (
	"fmt"
	"io"
	"sort"
	"strings"
)

// Print writes the status for people: what is there, a line each.
func (s *Status) Print(w io.Writer) error {
	var b strings.Builder
	state := "down"
	if s.Up {
		state = "up"
	}
	fmt.Fprintf(&b, "node: %s\n", state)
	if s.Connection != 0 {
		fmt.Fprintf(&b, "fuse connection: %d\n", s.Connection)
	}
	for _, d := range s.Devices {
		mode := "rw"
		if d.ReadOnly {
			mode = "ro"
		}
		fmt.Fprintf(&b, "device: %s %s cookie=%q top=%s images=%d merging=%v\n",
			d.Name, mode, d.Cookie, d.Images[len(d.Images)-1], len(d.Images), d.Merging)
	}
	var dds []string
	for dd := range s.Snapshots {
		dds = append(dds, dd)
	}
	sort.Strings(dds)
	for _, dd := range dds {
		for _, g := range s.Snapshots[dd] {
			fmt.Fprintf(&b, "snapshot: %s of %s\n", g, dd)
		}
	}
	for _, l := range []struct {
		name string
		list []string
	}{
		{"mount", s.Mounts},
		{"loop", s.Loops},
		{"left over", s.Leftovers},
		{"lock", s.Locks},
		{"flock", s.Flocks},
		{"in /mnt/bareos", s.Bareos},
		{"in /var/lib/vz7ct", s.Var},
		{"process", s.Processes},
		{"frozen", s.Frozen},
		{"left control group", s.Groups},
	} {
		for _, v := range l.list {
			fmt.Fprintf(&b, "%s: %s\n", l.name, v)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
