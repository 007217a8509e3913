// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/ploop"
)

// A recorded configuration is not trusted, but that of the container which it is to
// replace is the node's own: what both have, nobody gets by a restore.

// presentConfig returns the configuration that the container has by now which is rolled
// back, "" if none is.
func (c *newContainer) presentConfig() string {
	if c.old == nil {
		return ""
	}
	b, err := readRegular(filepath.Join(c.old.home, "ve.conf"))
	if err != nil {
		c.job.Log.Warnf("container %s, as it is now: %v; so nothing of the recorded configuration is trusted because of it", c.title(), err)
	}
	return string(b)
}

// hasKey reports whether the container that is replaced has this disk encrypted as it
// was saved.
func (o *oldContainer) hasKey(d *newDisk) bool {
	if o == nil || o.descriptors[d.UUID] == "" {
		return false
	}
	now, err := ploop.Read(o.descriptors[d.UUID])
	return err == nil && now.KeyID == d.KeyID
}

// present reports whether a script is there as it was saved.
func present(path string, s script) bool {
	data, err := readRegular(path)
	if err != nil || !bytes.Equal(data, s.data) {
		return false
	}
	st, err := os.Lstat(path)
	return err == nil && st.Mode().Perm() == s.mode
}

// keep gives a private area a script that the one which it replaces has; one of the
// node's stays where it is.
func (c *newContainer) keep(folder, name string, s script) error {
	if folder != heldScripts {
		return nil
	}
	dir := filepath.Join(c.private, areaScripts)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(s.data)
	return errors.Join(err, f.Chmod(s.mode), f.Sync(), f.Close())
}

// leaveThere takes those action scripts out that the node has. The folder in the private
// area holds those then that are to be installed: what goes back removes them again.
func (c *newContainer) leaveThere(scripts map[string]script) error {
	for name, s := range scripts {
		path := filepath.Join(c.job.Node.Scripts, name)
		if !exists(path) {
			continue
		}
		if !present(path, s) {
			c.job.Log.Warnf("not restored: action script %s exists and is kept", path)
		}
		delete(scripts, name)
		if err := os.Remove(filepath.Join(c.private, scriptFolder, name)); err != nil {
			return fmt.Errorf("action script %s: %w", text.Name(name), err)
		}
	}
	return nil
}

// uninstall removes the action scripts of container ctid that a replacement has installed
// out of the private area at dir, which does not stay.
func (c Cleaner) uninstall(ctid, dir string) error {
	folder := filepath.Join(dir, scriptFolder)
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(c.Node.Scripts, e.Name())
		data, err := readRegular(filepath.Join(folder, e.Name()))
		if _, is := scriptOf(e.Name(), ctid); !is || err != nil {
			continue // it was not installed
		}
		if there, err := readRegular(path); err != nil || !bytes.Equal(there, data) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove action script: %w", err)
		}
		c.Log.Infof("action script %s, which came with the restore, is removed", path)
	}
	if len(entries) == 0 {
		return nil
	}
	return syncDir(c.Node.Scripts)
}
