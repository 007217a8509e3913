// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// finish completes a container: its trees are closed and synced, its disks
// unmounted, its configuration put in order, then it is registered, and started
// if that is asked for.
func (c *newContainer) finish() error {
	j := c.job
	j.phase("completing the container")
	if err := c.closeTrees(); err != nil {
		return err
	}
	unmount := func(s undo.Step) bool {
		return (s.Do == undo.Mounted || s.Do == undo.MadeDir) && c.mountedAt(s.Dir)
	}
	if err := j.journal.UndoOnly(unmount, j.undo); err != nil {
		return fmt.Errorf("restored container %s: %w", c.m.title(), err)
	}
	if err := c.configure(); err != nil {
		return fmt.Errorf("configuration of restored container %s: %w", c.m.title(), err)
	}
	scripts, err := c.scripts()
	if err != nil {
		return fmt.Errorf("action scripts of restored container %s: %w", c.m.title(), err)
	}
	if err := c.register(); err != nil {
		return fmt.Errorf("register restored container %s: %w", c.m.title(), err)
	}
	c.registered = true
	c.install(scripts)
	// Last, so that the scripts are there still if this comes to a bad end.
	if err := os.RemoveAll(filepath.Join(c.private, ownFolder)); err != nil {
		j.Log.Warnf("private area of restored container %s: %v", c.m.title(), err)
	}
	// A power cut must not bring back what the journal has forgotten.
	if err := syncDir(c.private); err != nil {
		j.Log.Warnf("private area of restored container %s: %v", c.m.title(), err)
	}
	if err := j.journal.Forget(func(s undo.Step) bool { return s.Do == undo.MadeTree && s.Dir == c.private }); err != nil {
		return err
	}
	j.Log.Infof("container %s (%s) restored and registered in %s", c.m.title(), c.m.UUID, text.Duration(time.Since(c.started)))
	if !c.opts.Start {
		return nil
	}
	if c.incomplete {
		j.Log.Warnf("container %s is not started, since not all of it was restored: see above, then prlctl start %s", c.m.title(), c.m.UUID)
		return nil
	}
	if err := j.call(func(ctx context.Context) error { return j.Node.Registry.Start(ctx, c.m.UUID) }, c.private); err != nil {
		j.Log.Errorf("container %s is restored and registered, but does not start: %v; see why, then prlctl start %s", c.m.title(), err, c.m.UUID)
		return nil
	}
	j.Log.Infof("container %s started", c.m.title())
	return nil
}

// register hands the private area over to the node.
func (c *newContainer) register() error {
	if err := c.job.call(func(ctx context.Context) error { return c.job.Node.Registry.Register(ctx, c.private) }, c.private); err != nil {
		return err
	}
	// A power cut must not leave an area without its mark that is not registered.
	c.job.Node.syncRegistered(c.job.Log.Warnf, c.private)
	if err := os.Remove(filepath.Join(c.private, markName)); err != nil {
		c.job.Log.Warnf("private area of restored container %s: %v", c.m.title(), err)
	}
	return nil
}

// judge looks for signs that not all of the backup has come: a daemon ends a
// restore without an error if its Storage Daemon has gone between two files.
func (c *newContainer) judge(failed int64) {
	for _, d := range c.disks {
		if !d.top {
			c.incomplete = true
			c.job.Log.Warnf("the directory that disk %s begins with has not come, which is the last of a disk in a backup: either it was not selected, or the restore has ended early; compare the number of files with that of the backup",
				text.Name("/"+d.Catalogue))
		}
	}
	c.incomplete = c.incomplete || failed > 0
}

// closeTrees gives directories their times. A time that cannot be set is a
// warning, data that cannot be written an error.
func (c *newContainer) closeTrees() error {
	for _, d := range c.disks {
		tree := d.tree
		d.tree = nil
		if err := tree.Sync(); err != nil {
			tree.Abandon()
			return fmt.Errorf("write disk %s: %w", d.Mount, err)
		}
		if err := tree.Close(); err != nil {
			c.job.Log.Warnf("not restored exactly: %v", err)
		}
	}
	area := c.area
	c.area = nil
	if err := area.Sync(); err != nil {
		area.Abandon()
		return fmt.Errorf("write private area %s: %w", c.private, err)
	}
	if err := area.Close(); err != nil {
		c.job.Log.Warnf("not restored exactly: %v", err)
	}
	return nil
}

func (c *newContainer) mountedAt(dir string) bool {
	for _, d := range c.disks {
		if d.dir == dir {
			return true
		}
	}
	return false
}

// configure makes the private area one that can be registered.
func (c *newContainer) configure() error {
	// Layout 5 is the one with ploop disks; the link's target is its number.
	layout := filepath.Join(c.private, ".ve.layout")
	if _, err := os.Lstat(layout); errors.Is(err, os.ErrNotExist) {
		if err := os.Symlink("5", layout); err != nil {
			return err
		}
	}
	path := filepath.Join(c.private, "ve.conf")
	conf, err := readRegular(path)
	if errors.Is(err, os.ErrNotExist) {
		if conf = c.m.Config; len(conf) == 0 {
			return fmt.Errorf("ve.conf is neither among the restored files nor in the restore object: select %s%s/ve.conf too, or %[1]s%[2]s/%s",
				privateRoot, c.m.UUID, manifestName)
		}
		c.job.Log.Infof("ve.conf was not among the restored files, or not all of it; it is taken from the manifest")
	} else if err != nil {
		return err
	}
	changed := c.rewrite(string(conf))
	if changed == string(conf) && err == nil {
		return nil
	}
	return replaceFile(path, changed)
}

// rewrite changes the DISK line where disks are not where they were.
func (c *newContainer) rewrite(conf string) string {
	lines := strings.Split(conf, "\n")
	for n, line := range lines {
		if !strings.HasPrefix(strings.TrimSpace(line), "DISK=") {
			continue
		}
		for _, d := range c.disks {
			was := filepath.Dir(d.Image)
			if !filepath.IsAbs(was) && c.m.Private != c.private {
				was = filepath.Join(c.m.Private, was) // written in full, of a node that has its areas elsewhere
			}
			if filepath.IsAbs(was) {
				old := "image=" + was
				for _, end := range []string{",", ";", `"`, "'"} {
					line = strings.ReplaceAll(line, old+end, "image="+filepath.Dir(d.image)+end)
				}
			}
		}
		lines[n] = line
	}
	return strings.Join(lines, "\n")
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

// scripts reads the action scripts that were put aside in the private area.
func (c *newContainer) scripts() (map[string]script, error) {
	found := map[string]script{}
	dir := filepath.Join(c.private, scriptFolder)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || !strings.HasPrefix(name, c.m.CTID+".") || strings.HasSuffix(name, ".conf") {
			c.job.Log.Warnf("not restored: %s is no action script", text.Name(name))
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		data, err := readRegular(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		found[name] = script{data, info.Mode().Perm()}
	}
	return found, nil
}

// script is a program that the node runs as root when the container is mounted,
// started or stopped.
type script struct {
	data []byte
	mode os.FileMode
}

// install puts the action scripts where the node looks for them. One that is
// there already is kept.
func (c *newContainer) install(scripts map[string]script) {
	for name, s := range scripts {
		path := filepath.Join(c.job.Node.Scripts, name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, s.mode)
		if errors.Is(err, os.ErrExist) {
			c.job.Log.Warnf("not restored: action script %s exists and is kept", path)
			continue
		}
		if err == nil {
			_, err = f.Write(s.data)
			err = errors.Join(err, f.Chmod(s.mode), f.Sync(), f.Close(), syncDir(c.job.Node.Scripts))
		}
		if err != nil {
			c.job.Log.Warnf("not restored exactly: action script %s: %v", path, err)
			continue
		}
		c.job.Log.Infof("action script %s restored: the node runs it as root for this container", path)
	}
}
