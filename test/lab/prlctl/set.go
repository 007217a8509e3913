// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/container"
)

const usageSet = `Usage: prlctl set <CT_ID> --name <NAME> | --device-set hddN --size <MB> | --device-add hdd --size <MB> --mnt <PATH>`

// set changes a container: its name, the size of a disk, a further disk. Nothing else of the real command is there.
func (t *Tool) set(c *container.Container, args []string) int {
	return t.locked(c, "setting", func() int {
		name, disk, added := option(args, "--name"), option(args, "--device-set"), option(args, "--device-add")
		mb, err := strconv.ParseUint(option(args, "--size"), 10, 32)
		switch {
		case name != "":
			err = t.rename(c, name)
		case disk != "" && err == nil:
			err = t.resize(c, disk, mb)
		case added == "hdd" && err == nil:
			err = t.addDisk(c, option(args, "--mnt"), mb)
		default:
			return t.fail(badUse, "%s", usageSet)
		}
		if err != nil {
			return t.fail(refused, "Failed to configure the CT: %v", err)
		}
		t.say("The CT has been successfully configured.")
		return 0
	})
}

// store writes ve.conf.
func store(c *container.Container) error { return c.Conf.Store(filepath.Join(c.Private(), "ve.conf")) }

func (t *Tool) rename(c *container.Container, name string) error {
	at := filepath.Join(container.NamesDir, name)
	if _, err := os.Lstat(at); err == nil {
		return fmt.Errorf("container name %s is already in use", name)
	}
	c.Conf.Set("NAME", name)
	return errors.Join(store(c), os.Rename(filepath.Join(container.NamesDir, c.Name), at))
}

func (t *Tool) resize(c *container.Container, disk string, mb uint64) error {
	n, err := strconv.Atoi(strings.TrimPrefix(disk, "hdd"))
	if err != nil || n < 0 || n >= len(c.Disks()) {
		return fmt.Errorf("no disk %s", disk)
	}
	d := c.Disks()[n]
	if code := t.ploop("resize", "-s", fmt.Sprintf("%dM", mb), d.Descriptor()); code != 0 {
		return fmt.Errorf("ploop resize: exit status %d", code)
	}
	old := fmt.Sprintf("size=%d,mnt=%s,", d.SizeKiB, d.Mount)
	c.Conf.Set("DISK", strings.Replace(c.Conf.Get("DISK"), old, fmt.Sprintf("size=%d,mnt=%s,", mb<<10, d.Mount), 1))
	return store(c)
}

func (t *Tool) addDisk(c *container.Container, mnt string, mb uint64) error {
	id, err := newUUID()
	if err != nil {
		return err
	}
	folder := "disk-" + id[:8] + ".hdd"
	dir := filepath.Join(c.Private(), folder)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if code := t.ploop("init", "-s", fmt.Sprintf("%dM", mb), "-t", "ext4", filepath.Join(dir, "root.hds")); code != 0 {
		return fmt.Errorf("ploop init: exit status %d", code)
	}
	entry := fmt.Sprintf("uuid={%s},enabled=yes,size=%d,mnt=%s,mnt_opts=,autocompact=yes,image=%s", id, mb<<10, mnt, folder)
	c.Conf.Set("DISK", strings.TrimPrefix(c.Conf.Get("DISK")+";"+entry, ";"))
	if err := store(c); err != nil {
		return err
	}
	if s := c.Status(); s != "running" && s != "mounted" {
		return nil
	}
	at := filepath.Join(c.Root(), mnt)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if code := t.ploop("mount", "-m", at, filepath.Join(dir, "DiskDescriptor.xml")); code != 0 {
		return fmt.Errorf("ploop mount: exit status %d", code)
	}
	return nil
}
