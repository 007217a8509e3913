// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/veconf"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// asideFolder is where in the private area lies what was not trusted, for an operator
// to look at. No tool of the node looks there.
const asideFolder = ownPrefix + "aside"

// configure makes the private area one that can be registered.
func (c *newContainer) configure() error {
	// Layout 5 is the one with ploop disks; the link's target is its number.
	layout := filepath.Join(c.private, ".ve.layout")
	if to, err := os.Readlink(layout); err != nil || to != "5" {
		if !errors.Is(err, os.ErrNotExist) {
			c.job.Log.Warnf("container %s: .ve.layout was not that of a container with ploop disks: it is now", c.title())
		}
		if err := os.RemoveAll(layout); err != nil {
			return err
		}
		if err := os.Symlink("5", layout); err != nil {
			return err
		}
	}
	path := filepath.Join(c.private, "ve.conf")
	recorded, err := readRegular(path)
	missing := errors.Is(err, os.ErrNotExist)
	if missing {
		if recorded = c.m.Config; len(recorded) == 0 {
			return fmt.Errorf("ve.conf is neither among the restored files nor in the restore object: select %s%s/ve.conf too, or %[1]s%[2]s/%s",
				privateRoot, c.m.UUID, manifestName)
		}
		c.job.Log.Infof("ve.conf was not among the restored files, or not all of it; it is taken from the manifest")
	} else if err != nil {
		return err
	}
	to, err := c.target()
	if err != nil {
		return err
	}
	conf, warnings, err := veconf.Judge(string(recorded), to)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		c.job.Log.Warnf("ve.conf of container %s: %s", c.title(), w)
	}
	if len(warnings) > 0 {
		if err := c.putAside("ve.conf", recorded); err != nil {
			return err
		}
		c.job.Log.Warnf("ve.conf of container %s: as it was recorded it is in %s; restore_trust_config=yes keeps what a configuration may say that is trusted",
			c.title(), filepath.Join(c.home(), asideFolder, "ve.conf"))
	}
	c.template(conf)
	if conf == string(recorded) && !missing {
		return nil
	}
	return replaceFile(path, conf)
}

// target describes the container to package veconf.
func (c *newContainer) target() (veconf.Target, error) {
	seed, err := newUUID()
	if err != nil {
		return veconf.Target{}, err
	}
	n := 0
	t := veconf.Target{
		UUID: c.id.uuid, CTID: c.id.ctid, Name: c.id.name, Private: c.home(), Root: c.root,
		WasCTID: c.m.CTID, WasPrivate: c.m.Private, WasRoot: c.m.Root,
		Copy: c.id.copied, Addresses: c.addresses(), Trust: c.opts.Anywhere.Trust, Present: c.presentConfig(),
		// The first three bytes are Virtuozzo's (VZ_OUI in lib/veth.h of libvzctl).
		MAC: func() string {
			n++
			sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, n))
			return fmt.Sprintf("C4:37:72:%02X:%02X:%02X", sum[0], sum[1], sum[2])
		},
	}
	if t.Name != "" && !veconf.CanBeName(t.Name) {
		c.job.Log.Warnf("container %s is restored without its name, which cannot be that of a container: prlctl set %s --name NAME gives it another one", c.title(), c.id.uuid)
		t.Name = ""
	}
	for _, d := range c.disks {
		v := veconf.Disk{UUID: d.UUID, Mount: d.Mount, Image: filepath.Dir(d.image)}
		if d.UUID == prlctl.RootDisk && c.opts.DiskSize > 0 {
			v.KiB = d.Size * ploop.SectorSize / 1024
		}
		t.Disks = append(t.Disks, v)
	}
	return t, nil
}

// template warns if the node has not the OS template that the configuration names.
func (c *newContainer) template(conf string) {
	for line := range strings.SplitSeq(conf, "\n") {
		s, ok := veconf.Parse(line)
		if !ok || s.Key != "OSTEMPLATE" || s.Value == "" {
			continue
		}
		has, err := c.job.Node.Registry.HasTemplate(s.Value)
		name := strings.TrimPrefix(s.Value, ".")
		switch {
		case err != nil:
			c.job.Log.Warnf("OS template %s of container %s: %v", text.Name(name), c.title(), err)
		case !has:
			c.job.Log.Warnf("OS template %s of container %s is not on this node: the container runs without it; to reinstall it, or to add applications, vzpkg install template %s",
				text.Name(name), c.title(), text.Shell(name))
		}
	}
}

// putAside writes a file where no tool of the node looks for it.
func (c *newContainer) putAside(name string, data []byte) error {
	path := filepath.Join(c.private, asideFolder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("put %s aside: %w", text.Name(name), err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("put %s aside: %w", text.Name(name), err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("put %s aside: %w", text.Name(name), err)
	}
	return nil
}

// readRegular reads a file that came with the backup, never through a link.
func readRegular(path string) ([]byte, error) { return regular.ReadFile(path, 16<<20) }

// replaceFile writes a file of the private area anew.
func replaceFile(path, content string) (err error) {
	tmp := path + ".vz7ct"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
