// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// dropin adds settings to the unit of a ready node.
func dropin(settings string) func(*testing.T, *checker) {
	return write("etc/systemd/system/bareos-fd.service.d/x.conf", "[Service]\n"+settings+"\n")
}

func TestCheckOfTheUnit(t *testing.T) {
	const service = "usr/lib/systemd/system/bareos-fd.service"
	for _, e := range []edit{
		{"no unit", remove(service), fine, "no systemd unit"},
		{"masked", link(os.DevNull, "etc/systemd/system/bareos-fd.service"), fine, "no systemd unit"},
		{"old package", func(t *testing.T, c *checker) {
			must(t, os.Rename(c.path(service), c.path("usr/lib/systemd/system/bareos-filedaemon.service")))
		}, fine, "bareos-filedaemon.service: KillMode="},
		{"overridden", write("etc/systemd/system/bareos-fd.service", "[Service]\nUser=bareos\n"), fault, "User=bareos"},
		{"user", dropin("User=bareos"), fault, "User=bareos, the plugin needs root"},
		{"root by number", dropin("User=0"), fine, "nothing in it hides"},
		{"no devices", dropin("PrivateDevices=true"), fault, "PrivateDevices=true keeps the ploop devices away"},
		{"device policy", dropin("DevicePolicy=closed"), fault, "DevicePolicy=closed"},
		{"devices", dropin("DeviceAllow=/dev/null rw"), fault, "DeviceAllow=/dev/null rw"},
		{"system is read-only", dropin("ProtectSystem=strict"), fault, "a restore cannot write to /etc/vz"},
		{"capabilities", dropin("CapabilityBoundingSet=CAP_DAC_READ_SEARCH"), doubt, "CAP_DAC_READ_SEARCH"},
		{"all capabilities", dropin("CapabilityBoundingSet=~"), fine, "nothing in it hides"},
		{"private mounts", dropin("PrivateMounts=yes"), doubt, "with PrivateMounts=yes the daemon has mounts of its own"},
		{"private tmp", dropin("PrivateTmp=1\nProtectHome=read-only"), doubt, "PrivateTmp=1, ProtectHome=read-only"},
		{"switched off", dropin("PrivateTmp=no\nProtectSystem=false\nMountFlags=shared"), fine, "nothing in it hides"},
		{"taken back", func(t *testing.T, c *checker) {
			write("usr/lib/systemd/system/bareos-fd.service.d/a.conf", "[Service]\nReadOnlyPaths=/vz\nDeviceAllow=/dev/null\n")(t, c)
			dropin("ReadOnlyPaths=\nDeviceAllow=")(t, c)
		}, fine, "nothing in it hides"},
		{"another section", write("etc/systemd/system/bareos-fd.service.d/x.conf", "[Unit]\nUser=x\n[Service]\n# User=y\n"), fine, "nothing in it hides"},
		{"kill mode", dropin("KillMode=process"), fine, "KillMode=process: a restart of the service does not end"},
		{"no systemd-run", remove("usr/bin/systemd-run"), doubt, "KillMode=control-group, and there is no systemd-run"},
		{"no systemd-run, kill mode", func(t *testing.T, c *checker) {
			remove("usr/bin/systemd-run")(t, c)
			dropin("KillMode=process")(t, c)
		}, fine, "KillMode=process"},
		{"no systemd", remove("run/systemd"), fine, "systemd does not run here"},
		{"namespace", link("mnt:[2]", "proc/4711/ns/mnt"), doubt, "runs in a mount namespace of its own"},
		{"daemon of a container", func(t *testing.T, c *checker) {
			link("mnt:[2]", "proc/4711/ns/mnt")(t, c)
			link("pid:[2]", "proc/4711/ns/pid")(t, c)
		}, fine, "nothing in it hides"},
		{"other program", func(t *testing.T, c *checker) {
			link("mnt:[2]", "proc/4711/ns/mnt")(t, c)
			write("proc/4711/comm", "cron\n")(t, c)
		}, fine, "nothing in it hides"},
	} {
		e.try(t)
	}
}

func TestReadUnit(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"lib/systemd/system/x.service":                 "[Service]\nUser=old\n",
		"usr/lib/systemd/system/x.service":             "[Service]\nUser = root\nBindPaths=/a \\\n  /b\nExecStart=x -c a=b\n",
		"usr/lib/systemd/system/x.service.d/10.conf":   "[Service]\nUser=hidden\n",
		"etc/systemd/system/x.service.d/10.conf":       "[Service]\nUser=ten\n",
		"run/systemd/system/x.service.d/20.conf":       "[Service]\nUser=twenty\n",
		"etc/systemd/system/x.service.d/99.conf.saved": "[Service]\nUser=no\n",
	} {
		put(t, filepath.Join(root, name), content)
	}
	u, err := readUnit(root, "x")
	want := map[string][]string{"User": {"root", "ten", "twenty"}, "BindPaths": {"/a    /b"}, "ExecStart": {"x -c a=b"}}
	if err != nil || u.path != filepath.Join(root, "usr/lib/systemd/system/x.service") || !reflect.DeepEqual(u.settings, want) {
		t.Errorf("readUnit = %+v, %v, want %v", u, err, want)
	}
	if u.last("User") != "twenty" || u.last("none") != "" {
		t.Errorf("last = %q, %q", u.last("User"), u.last("none"))
	}
	must(t, os.MkdirAll(filepath.Join(root, "etc/systemd/system/y.service"), 0o755))
	if u, err := readUnit(root, "y"); err == nil || u.path != "" {
		t.Errorf("readUnit of a directory = %+v, nil", u)
	}
	if u, err := readUnit(root, "none"); err != nil || u.path != "" {
		t.Errorf("readUnit of nothing = %+v, %v", u, err)
	}
}

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		version string
		want    bool
	}{{"7.0.162", true}, {"7.0.163", false}, {"7.0.163-1.vz7", false}, {"7.0", true}, {"6.9.999", true}, {"7.1", false}, {"10.0.1", false}, {"x", true}, {"", true}} {
		if got := older(tt.version, "7.0.163"); got != tt.want {
			t.Errorf("older(%q) = %v, want %v", tt.version, got, tt.want)
		}
	}
}
