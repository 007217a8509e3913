// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// areaScripts is the folder of a private area that libvzctl runs programs from, heldScripts
// where they are put before they are judged (get_action_script_path in lib/util.c, vz7-u22).
const (
	areaScripts = "scripts"
	heldScripts = ownFolder + "/" + areaScripts
)

// script is a program that the node runs as root when the container is mounted,
// started or stopped.
type script struct {
	data []byte
	mode os.FileMode
}

// hold returns where a name of the private area goes if it is not trusted: what lies in
// scripts the node runs as root, but for start and stop, which are run in the container.
func (c *newContainer) hold(path string) string {
	rest, in := strings.CutPrefix(path, areaScripts+"/")
	if c.opts.Anywhere.Trust || !in || rest == "start" || rest == "stop" {
		return path
	}
	return heldScripts + "/" + rest
}

// scripts reads the action scripts that were put aside in the private area, and returns
// those that are to be installed, by the names that this node knows them by.
func (c *newContainer) scripts() (map[string]script, error) {
	if err := c.distrust(heldScripts, filepath.Join(c.home(), areaScripts), func(name string) string { return name }); err != nil {
		return nil, err
	}
	// They are called after the container, which may have another CTID by now.
	named := func(name string) string {
		rest, ok := scriptOf(name, c.m.CTID)
		if !ok {
			c.job.Log.Warnf("not restored: %s is no action script", text.Name(name))
			return ""
		}
		return c.id.ctid + "." + rest
	}
	if !c.opts.Anywhere.Trust {
		if err := c.distrust(scriptFolder, c.job.Node.Scripts, named); err != nil {
			return nil, err
		}
		return nil, os.RemoveAll(filepath.Join(c.private, ownFolder)) // whoever finds it would take them for scripts to be put in place
	}
	found := map[string]script{}
	return found, c.eachScript(scriptFolder, named, func(name string, s script) error { found[name] = s; return nil })
}

// scriptOf returns what of the name of an action script is behind the container's id.
func scriptOf(name, ctid string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(name, ctid+".")
	return rest, ok && rest != "conf" && !strings.HasSuffix(rest, ".conf")
}

// distrust puts the scripts of a folder aside and says where they would belong. One that
// is there as it was saved stays.
func (c *newContainer) distrust(folder, home string, named func(string) string) error {
	return c.eachScript(folder, named, func(name string, s script) error {
		if present(filepath.Join(home, name), s) {
			return c.keep(folder, name, s)
		}
		at := filepath.Join(filepath.Base(folder), name)
		if err := c.putAside(at, s.data); err != nil {
			return err
		}
		c.job.Log.Warnf("action script %s is not restored, since this node would run it as root: it is in %s, with mode %04o in the backup; if it is good, move it to %s, or restore with restore_trust_config=yes",
			text.Name(name), text.Shell(filepath.Join(c.home(), asideFolder, at)), s.mode, text.Shell(filepath.Join(home, name)))
		return nil
	})
}

// eachScript reads the files of a folder that was restored. What has no name is left out.
func (c *newContainer) eachScript(folder string, named func(string) string, do func(string, script) error) error {
	dir := filepath.Join(c.private, folder)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			c.job.Log.Warnf("not restored: %s is no action script", text.Name(e.Name()))
			continue
		}
		name := named(e.Name())
		if name == "" {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		data, err := readRegular(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if err := do(name, script{data, info.Mode().Perm()}); err != nil {
			return err
		}
	}
	return nil
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
