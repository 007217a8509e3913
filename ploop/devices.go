// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// Device is a disk, or a snapshot of one, that the node has open.
type Device struct {
	// Name is ploop's, such as ploop12345. Image is the base image's file.
	Name, Image string
	// Component is the name that was given with -c, "" for a container's own.
	Component string
}

// Snapshot returns the UUID of the snapshot that Mount has opened the device
// for, "" for a device of somebody else.
func (d Device) Snapshot() string {
	uuid, ours := strings.CutPrefix(d.Component, component(""))
	if !ours {
		return ""
	}
	return uuid
}

// Devices lists what is open.
func (c Client) Devices(ctx context.Context) ([]Device, error) {
	out, err := c.run(ctx, false, "list")
	if err != nil {
		return nil, err
	}
	var list []Device
	for line := range strings.SplitSeq(out, "\n") {
		if d, ok := parseDevice(line); ok {
			list = append(list, d)
		}
	}
	return list, nil
}

// parseDevice reads a line of `ploop list`: the device's name, the base image and
// perhaps the component. In release 9 there are tabs between them; in Virtuozzo 7
// it is printed as "%-12s %s %s %s", the third one empty (tools/ploop.c of
// vz7-u22). Paths may have blanks. What is no such line, a warning perhaps, which the
// tool prints there too, tells of no device.
func parseDevice(line string) (Device, bool) {
	at := strings.IndexAny(line, " \t")
	if at <= 0 || !deviceName(line[:at]) {
		return Device{}, false
	}
	d := Device{Name: line[:at]}
	rest := strings.TrimLeft(line[at:], " \t")
	if f := strings.Split(strings.TrimRight(rest, "\t\r "), "\t"); len(f) > 1 {
		d.Image = f[0]
		if last := f[len(f)-1]; !strings.HasPrefix(last, "/") { // else a mount point
			d.Component = last
		}
	} else if end := strings.LastIndex(rest, "  "); end >= 0 {
		d.Image, d.Component = rest[:end], rest[end:]
	} else {
		d.Image = rest
	}
	d.Image, d.Component = strings.TrimRight(d.Image, " \t\r"), strings.Trim(d.Component, " \t\r")
	return d, strings.HasPrefix(d.Image, "/")
}

// deviceName reports whether a word can be the name of a device, and is no path.
func deviceName(word string) bool {
	return strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// find returns the file in /dev of the device that matches, "" if none does.
func (c Client) find(ctx context.Context, match func(Device) bool) (string, error) {
	list, err := c.Devices(ctx)
	if err != nil {
		return "", err
	}
	for _, d := range list {
		if !match(d) {
			continue
		}
		for _, dir := range []string{"/dev", "/dev/mapper"} {
			if p := filepath.Join(dir, d.Name); exists(p) {
				return p, nil
			}
		}
		return "", fmt.Errorf("device %s of %s has no file in /dev", d.Name, d.Image)
	}
	return "", nil
}
