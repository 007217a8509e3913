// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/run"
)

// hiding are settings with which systemd gives a service a mount namespace of its
// own (systemd.exec(5)): what is mounted there is not seen outside.
var hiding = []string{
	"PrivateMounts", "PrivateTmp", "PrivateDevices", "PrivateIPC", "ProtectSystem", "ProtectHome", "ProtectProc", "ProtectKernelTunables",
	"ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "DynamicUser", "MountFlags", "MountAPIVFS", "RootDirectory", "RootImage",
	"ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "ExecPaths", "NoExecPaths", "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem",
	"ReadWriteDirectories", "ReadOnlyDirectories", "InaccessibleDirectories", "LogNamespace",
}

// service looks at the systemd unit of a daemon, and at the daemon if it runs.
func (c *checker) service(family string) {
	names := []string{"bareos-fd", "bareos-filedaemon"} // the second is an alias, or that of old packages
	if family == "bacula" {
		names = []string{"bacula-fd"}
	}
	var u unit
	for _, n := range names {
		var err error
		if u, err = readUnit(c.root, n); err != nil {
			c.warn("see whether systemd can read it", "systemd unit: %v", err)
		}
		if u.path != "" {
			break
		}
	}
	if u.path != "" {
		c.unit(u)
	} else {
		c.ok("the %s File Daemon has no systemd unit, or a masked one", family)
	}
	c.namespace(names[0])
}

func (c *checker) unit(u unit) {
	drop := fmt.Sprintf("in a drop-in (systemctl edit %s): ", u.name)
	before := len(c.found)
	if user := u.last("User"); user != "" && user != "root" && user != "0" {
		c.fail(drop+"User=root", "%s: the daemon runs as User=%s, the plugin needs root", u.path, user)
	}
	for _, key := range []string{"PrivateDevices", "DynamicUser"} {
		if on(u.last(key)) {
			c.fail(drop+key+"=no", "%s: %s=%s keeps the ploop devices away", u.path, key, u.last(key))
		}
	}
	if p := u.last("DevicePolicy"); p != "" && p != "auto" || len(u.settings["DeviceAllow"]) > 0 {
		c.fail(drop+"DevicePolicy=auto and an empty DeviceAllow=", "%s: DevicePolicy=%s, DeviceAllow=%s keep the ploop devices away",
			u.path, p, strings.Join(u.settings["DeviceAllow"], " "))
	}
	if p := u.last("ProtectSystem"); p == "full" || p == "strict" {
		c.fail(drop+"ProtectSystem=no", "%s: ProtectSystem=%s: a restore cannot write to /etc/vz", u.path, p)
	}
	if caps := u.last("CapabilityBoundingSet"); caps != "" && caps != "~" {
		c.warn(drop+"CapabilityBoundingSet=~", "%s: CapabilityBoundingSet=%s: mounting and restoring need nearly all of root's rights", u.path, caps)
	}
	var set []string
	for _, key := range hiding {
		if v := u.last(key); v != "" && !slices.Contains([]string{"no", "false", "off", "0", "n", "f", "default", "shared"}, strings.ToLower(v)) {
			set = append(set, key+"="+v)
		}
	}
	if len(set) > 0 {
		c.warn(drop+"switch them off", "%s: with %s the daemon has mounts of its own: those of its jobs are not seen outside, and it may keep mounts of containers busy",
			u.path, strings.Join(set, ", "))
	}
	if len(c.found) == before {
		c.ok("%s: nothing in it hides mounts or devices", u.path)
	}
	c.killMode(u, drop)
}

// killMode looks what becomes of a running ploop when the service is stopped.
func (c *checker) killMode(u unit, drop string) {
	mode := u.last("KillMode")
	if mode == "" {
		mode = "control-group"
	}
	_, booted := os.Stat(c.root + "/run/systemd/system")
	_, err := run.Find(c.root+"/usr/bin/systemd-run", c.root+"/bin/systemd-run")
	switch {
	case mode == "process" || mode == "none":
		c.ok("%s: KillMode=%s: a restart of the service does not end a ploop at work", u.path, mode)
	case booted != nil:
		c.ok("%s: KillMode=%s; systemd does not run here", u.path, mode)
	case err == nil:
		c.ok("%s: KillMode=%s; a ploop at work is in a scope of its own, which a restart of the service does not end", u.path, mode)
	default:
		c.warn(drop+"KillMode=process", "%s: KillMode=%s, and there is no systemd-run to start ploop in a scope of its own: a restart of the service ends a ploop at work",
			u.path, mode)
	}
}

// namespace looks whether a running daemon sees the mounts that everybody sees.
// Daemons inside containers, whose processes a node sees too, are their own affair.
func (c *checker) namespace(program string) {
	space := func(pid, kind string) string {
		name, _ := os.Readlink(c.root + "/proc/" + pid + "/ns/" + kind)
		return name // "": it has ended, or is somebody else's
	}
	comms, _ := filepath.Glob(c.root + "/proc/[0-9]*/comm")
	for _, comm := range comms {
		b, err := os.ReadFile(comm)
		if err != nil || strings.TrimSpace(string(b)) != program {
			continue
		}
		pid := filepath.Base(filepath.Dir(comm))
		switch mounts := space(pid, "mnt"); {
		case mounts == "" || space(pid, "pid") != space("self", "pid"):
		case mounts != space("self", "mnt"):
			c.warn("see its systemd unit, and how it was started", "%s (process %s) runs in a mount namespace of its own: what its jobs mount is not seen here", program, pid)
		default:
			c.ok("%s runs (process %s), in the node's mount namespace", program, pid)
		}
	}
}

// on reads systemd's words for a boolean.
func on(v string) bool {
	return slices.Contains([]string{"yes", "true", "on", "1", "y", "t"}, strings.ToLower(v))
}
