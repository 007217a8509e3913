// SPDX-License-Identifier: AGPL-3.0-only

// Package container knows how a Virtuozzo 7 container lies on a node: private area, ve.conf, registration, disks, lock and
// state. It works inside a node's namespace. It does not start processes: see package prlctl.
package container

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Conf is a ve.conf: lines KEY="value" in their order.
type Conf struct {
	lines []line
}

type line struct{ key, value, text string } // text is a line that is no setting

// ReadConf loads a file.
func ReadConf(path string) (*Conf, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseConf(string(b)), nil
}

// ParseConf reads the text of a ve.conf. What is not a setting is kept as it is.
func ParseConf(text string) *Conf {
	c := &Conf{}
	for s := range strings.Lines(text) {
		s = strings.TrimSuffix(s, "\n")
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" || strings.ContainsAny(k, " \t#\"") {
			c.lines = append(c.lines, line{text: s})
			continue
		}
		if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			v = v[1 : len(v)-1]
		}
		c.lines = append(c.lines, line{key: k, value: v})
	}
	return c
}

// Get finds a setting, the last one if there are several.
func (c *Conf) Get(key string) string {
	for i := len(c.lines) - 1; i >= 0; i-- {
		if c.lines[i].key == key {
			return c.lines[i].value
		}
	}
	return ""
}

// Set changes a setting or adds it.
func (c *Conf) Set(key, value string) {
	for i := range c.lines {
		if c.lines[i].key == key {
			c.lines[i].value = value
			return
		}
	}
	c.lines = append(c.lines, line{key: key, value: value})
}

// String is the text of the file.
func (c *Conf) String() string {
	var b strings.Builder
	for _, l := range c.lines {
		if l.key == "" {
			b.WriteString(l.text + "\n")
		} else {
			fmt.Fprintf(&b, "%s=\"%s\"\n", l.key, l.value)
		}
	}
	return b.String()
}

// Store writes the file as a whole.
func (c *Conf) Store(path string) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(c.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// Disk is one disk of a container.
type Disk struct {
	UUID    string
	Enabled bool
	SizeKiB uint64
	Mount   string // inside the container
	Image   string // folder with the DiskDescriptor.xml, absolute
}

// Descriptor is the disk's DiskDescriptor.xml.
func (d Disk) Descriptor() string { return d.Image + "/DiskDescriptor.xml" }

// parseDisks reads the DISK setting: entries divided by ";", fields by ",".
func parseDisks(s, private string) []Disk {
	var l []Disk
	for e := range strings.SplitSeq(s, ";") {
		if strings.TrimSpace(e) == "" {
			continue
		}
		d := Disk{Enabled: true}
		for f := range strings.SplitSeq(e, ",") {
			k, v, _ := strings.Cut(f, "=")
			switch strings.TrimSpace(k) {
			case "uuid":
				d.UUID = v
			case "enabled":
				d.Enabled = v == "yes"
			case "size":
				d.SizeKiB, _ = strconv.ParseUint(v, 10, 64) // none: 0
			case "mnt":
				d.Mount = v
			case "image":
				d.Image = v
			}
		}
		if d.Image == "" {
			continue // a host's device, or storage elsewhere
		}
		if !strings.HasPrefix(d.Image, "/") {
			d.Image = private + "/" + d.Image
		}
		l = append(l, d)
	}
	return l
}
