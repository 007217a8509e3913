// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/regular"
)

// Config holds the assignments of a vz.conf or ve.conf: shell syntax, one
// KEY="value" a line. The file is read, not executed.
type Config struct{ values map[string]string }

// Get returns the value of key, "" if it is not set. The last assignment counts.
func (c Config) Get(key string) string { return c.values[key] }

// LockDir returns where Virtuozzo's tools lock containers by what vz.conf says, ""
// if that is no absolute path.
func (c Config) LockDir() string {
	switch dir := c.Get("LOCKDIR"); {
	case dir == "":
		return "/vz/lock" // which the vz.conf of the package has
	case !filepath.IsAbs(dir):
		return ""
	default:
		return filepath.Clean(dir)
	}
}

// maxConfig bounds what is read of a configuration file.
const maxConfig = 1 << 20

// ReadConfig reads a configuration file.
func ReadConfig(path string) (Config, error) {
	f, err := regular.Follow(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := regular.Read(f, maxConfig)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %s %w", path, err)
	}
	c, err := parseConfig(string(data))
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// parseConfig fails for what is no text: a crash leaves zeros in place of what was
// just written, and with them disks would be missing that are there.
func parseConfig(text string) (Config, error) {
	if strings.ContainsRune(text, 0) {
		return Config{}, errors.New("holds zero bytes: it is damaged")
	}
	c := Config{values: map[string]string{}}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		key = strings.TrimPrefix(strings.TrimSpace(key), "export ")
		c.values[key] = unquote(strings.TrimSpace(value))
	}
	return c, nil
}

// unquote takes a value out of its quotes, and cuts a comment behind it.
func unquote(v string) string {
	if v == "" {
		return v
	}
	if q := v[0]; q == '"' || q == '\'' {
		if end := strings.IndexByte(v[1:], q); end >= 0 {
			return v[1 : 1+end]
		}
		return v[1:]
	}
	if i := strings.IndexAny(v, " \t#"); i >= 0 {
		v = v[:i]
	}
	return v
}

func expand(path, ctid string) string {
	return strings.NewReplacer("${VEID}", ctid, "$VEID", ctid).Replace(path)
}

// ConfiguredDisk is one disk of a container as ve.conf names it.
type ConfiguredDisk struct {
	// UUID is without braces; the root disk's is all zeros.
	UUID string
	// Dir is the absolute path of the directory with the descriptor.
	Dir string
	// Mount is the mount point inside the container, "/" for the root disk, ""
	// for a disk that is not mounted.
	Mount   string
	Enabled bool
	// Size is in KiB, 0 if not given.
	Size uint64
	// External names what is no ploop image of the node: a block device or a
	// storage URL.
	External string
	// Line is the disk's part of the DISK line.
	Line string
}

// RootDisk is the UUID by which ve.conf means the root disk (libvzctl: the null UUID).
const RootDisk = "00000000-0000-0000-0000-000000000000"

// Disks lists the disks of a container, the root disk first. The root disk need
// not be named in ve.conf: it is root.hdd in the private area.
func (c Config) Disks(private string) ([]ConfiguredDisk, error) {
	disks := []ConfiguredDisk{{UUID: RootDisk, Dir: filepath.Join(private, "root.hdd"), Mount: "/", Enabled: true}}
	for line := range strings.SplitSeq(c.Get("DISK"), ";") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		d, err := parseDisk(line, private)
		if err != nil {
			return nil, fmt.Errorf("DISK of ve.conf: %q: %w", line, err)
		}
		if d.UUID == RootDisk {
			disks[0].Line, disks[0].Size = d.Line, d.Size
			if d.Dir != "" {
				disks[0].Dir = d.Dir
			}
			continue
		}
		if d.Dir == "" && d.External == "" {
			return nil, fmt.Errorf("DISK of ve.conf: %q: neither image nor device", line)
		}
		disks = append(disks, d)
	}
	return disks, distinct(disks)
}

// distinct refuses disks that are told apart by nothing: what is done to one of them
// would be done to the other one.
func distinct(disks []ConfiguredDisk) error {
	ids, dirs := map[string]bool{}, map[string]string{}
	for _, d := range disks {
		if ids[d.UUID] {
			return fmt.Errorf("DISK of ve.conf: two disks have the uuid {%s}", d.UUID)
		}
		ids[d.UUID] = true
		if other := dirs[d.Dir]; other != "" && d.External == "" {
			return fmt.Errorf("DISK of ve.conf: the disks {%s} and {%s} have the same image %s", other, d.UUID, d.Dir)
		}
		dirs[d.Dir] = d.UUID
	}
	return nil
}

func parseDisk(line, private string) (ConfiguredDisk, error) {
	d := ConfiguredDisk{Enabled: true, Line: line}
	for field := range strings.SplitSeq(line, ",") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "uuid":
			id, ok := ParseUUID(value)
			if !ok {
				return d, fmt.Errorf("uuid %q", value)
			}
			d.UUID = id
		case "enabled":
			d.Enabled = value != "no"
		case "mnt":
			d.Mount = value
		case "size":
			n, err := strconv.ParseUint(strings.TrimSuffix(value, "K"), 10, 64)
			if err != nil {
				return d, fmt.Errorf("size %q", value)
			}
			d.Size = n
		case "image":
			switch {
			case value == "":
			case filepath.IsAbs(value):
				d.Dir = filepath.Clean(value)
			case !filepath.IsLocal(value) || filepath.Clean(value) == ".":
				return d, fmt.Errorf("image %q leads out of the private area, or is no directory in it", value)
			default:
				d.Dir = filepath.Join(private, value)
			}
		case "device", "storage_url":
			if value != "" {
				d.External = value
			}
		}
	}
	if d.UUID == "" {
		return d, fmt.Errorf("no uuid")
	}
	return d, nil
}
