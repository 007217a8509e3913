// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/fdconf"
)

// daemons looks whether a File Daemon would load the plugin, and whether its
// service lets it work. One daemon that does is enough: with another one that
// does not, nothing need be wrong.
func (c *checker) daemons() {
	list := fdconf.Daemons(c.root + "/")
	if len(list) == 0 {
		c.fail("install a File Daemon on this node", "no configuration of a File Daemon in /etc/bareos, /etc/bacula and /opt/bacula/etc")
		return
	}
	var each [][]finding
	ready := false
	for _, d := range list {
		of := *c
		of.found = nil
		of.daemon(d)
		of.service(d.Family)
		each = append(each, of.found)
		ready = ready || !slices.ContainsFunc(of.found, func(f finding) bool { return f.grade == fault })
	}
	for _, found := range each {
		for _, f := range found {
			if ready && f.grade == fault {
				f.grade = doubt
				f.cure += " (another File Daemon of this node is ready)"
			}
			c.found = append(c.found, f)
		}
	}
}

func (c *checker) daemon(d fdconf.Daemon) {
	const name = fdplugin.PluginName
	if d.Err != nil {
		c.warn("see whether the daemon can read it", "%s could not be read as a whole: %v", d.Path, d.Err)
	}
	directives := fmt.Sprintf("add it to the Client resource, as in README.md, and restart the %s File Daemon when no job runs", d.Family)
	if d.Family == "bacula" {
		directives = "add it to the FileDaemon resource, and restart the Bacula File Daemon when no job runs"
	}
	switch {
	case d.PluginDirectory == "":
		c.fail(directives, "%s has no Plugin Directory: the daemon loads no plugins", d.Path)
		return
	case len(d.PluginNames) > 0 && !slices.Contains(d.PluginNames, name):
		c.fail("add "+name+" to it, and restart the daemon when no job runs",
			"%s: Plugin Names = %q has no %s: it is not loaded", d.Path, strings.Join(d.PluginNames, ","), name)
	case !filepath.IsAbs(d.PluginDirectory):
		c.fail("write it with a slash in front", "%s: Plugin Directory = %s is no absolute path", d.Path, d.PluginDirectory)
		return
	default:
		c.ok("%s: Plugin Directory = %s, Plugin Names = %s", d.Path, d.PluginDirectory, loaded(d))
	}
	c.object(d.PluginDirectory, name+"-fd.so")
}

// loaded says which plugins a daemon loads.
func loaded(d fdconf.Daemon) string {
	if len(d.PluginNames) == 0 {
		return "(not set: all are loaded)"
	}
	return strings.Join(d.PluginNames, ",")
}

// object looks at the file that the daemon would load. The daemons take a
// regular file only, and say nothing of what they have passed over (lib/plugins.cc).
func (c *checker) object(dir, name string) {
	path := filepath.Join(c.root+dir, name)
	install := fmt.Sprintf("install -m 0755 -o root -g root %s %s/", name, dir)
	for _, p := range []string{filepath.Dir(path), path} {
		st, err := os.Lstat(p)
		switch {
		case err != nil:
			c.fail(install, "plugin: %v", err)
			return
		case p == path && st.Mode()&fs.ModeSymlink != 0:
			c.fail("rm it, and "+install, "%s is a symbolic link: the daemons pass it over without a word", p)
			return
		case p == path && !st.Mode().IsRegular():
			c.fail("rm it, and "+install, "%s is no regular file: the daemons pass it over without a word", p)
			return
		}
		if st, err = os.Stat(p); err != nil {
			c.fail(install, "plugin: %v", err)
			return
		}
		if uid := ownerOf(st); uid != c.owner {
			c.fail("chown root: "+p, "%s belongs to user %d, who could have root run anything", p, uid)
		}
		switch perm := st.Mode().Perm(); {
		case perm&0o002 != 0:
			c.fail("chmod go-w "+p, "%s is writable by everybody (mode %04o)", p, perm)
		case perm&0o020 != 0:
			c.warn("chmod g-w "+p, "%s is writable by its group (mode %04o)", p, perm)
		case p == path && st.Size() == 0:
			c.fail(install, "%s is empty", p)
		case p == path:
			c.ok("%s is a regular file (mode %04o)", p, perm)
		}
	}
}
