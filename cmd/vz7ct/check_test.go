// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/run"
)

// tools answers as prlctl, ploop and rpm of a node do.
type tools struct {
	ploop string // its package
	fail  string // the program that fails
}

func (f tools) Run(_ context.Context, c run.Command) (run.Result, error) {
	name := filepath.Base(c.Path)
	if name == f.fail {
		return run.Result{}, &run.Error{Command: c.String(), Exit: 1, Err: errors.New("planted")}
	}
	out := map[string]string{"prlctl": `[{"uuid":"` + webID + `","status":"running"}]`, "ploop": "ploop1\t/x/root.hds\n"}[name]
	if name == "rpm" {
		out = "prlctl-7.0.226-1.vz7"
		if strings.HasSuffix(c.Args[len(c.Args)-1], "ploop") {
			out = f.ploop
		}
	}
	return run.Result{Stdout: out}, nil
}

const bareosConf = "etc/bareos/bareos-fd.d/client/myself.conf"

// readyNode is a directory that looks like a node that is ready.
func readyNode(t *testing.T) *checker {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"usr/bin/prlctl": "", "usr/sbin/ploop": "", "usr/bin/rpm": "", "usr/bin/systemd-run": "", "usr/bin/vz7ct": "",
		"proc/self/mountinfo": "37 25 0:34 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n",
		"etc/vz/vz.conf":      "VE_PRIVATE=/vz/private/$VEID\nVE_ROOT=\"/vz/root/$VEID\"\nLOCKDIR=/vz/lock\n",
		"vz/lock/x":           "",
		bareosConf:            "Client {\n  Plugin Directory = /plugins\n  Plugin Names = \"vz7ct\"\n}\n",
		"plugins/vz7ct-fd.so": "x",
		"usr/lib/systemd/system/bareos-fd.service": "[Service]\nUser=root\nExecStart=/usr/sbin/bareos-fd -f\n",
		"sys/module/ploop/x":                       "",
		"run/systemd/system/x":                     "",
		"proc/4711/comm":                           "bareos-fd\n",
	} {
		put(t, filepath.Join(root, name), content)
	}
	for _, p := range []string{"usr/bin/prlctl", "usr/sbin/ploop", "usr/bin/rpm", "usr/bin/systemd-run", "usr/bin/vz7ct", "plugins/vz7ct-fd.so"} {
		must(t, os.Chmod(filepath.Join(root, p), 0o755))
	}
	must(t, os.MkdirAll(filepath.Join(root, "var/lib/vz7ct"), 0o700))
	must(t, os.MkdirAll(filepath.Join(root, "mnt"), 0o755))
	c := &checker{root: root, owner: os.Getuid(), release: "3.10.0-1160.90.1.vz7.200.7", runner: tools{ploop: "ploop-7.0.280-1.vz7"}}
	installUnits(t, c)
	for _, pid := range []string{"self", "4711"} {
		must(t, os.MkdirAll(filepath.Join(root, "proc", pid, "ns"), 0o755))
		must(t, os.Symlink("mnt:[1]", filepath.Join(root, "proc", pid, "ns/mnt")))
		must(t, os.Symlink("pid:[1]", filepath.Join(root, "proc", pid, "ns/pid")))
	}
	return c
}

func (c *checker) path(name string) string { return filepath.Join(c.root, name) }

func TestCheckOfAReadyNode(t *testing.T) {
	var out bytes.Buffer
	if status := readyNode(t).report(&out); status != done {
		t.Errorf("check = %d, want 0", status)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(out.String()), "\n") {
		if !strings.HasPrefix(line, "ok   ") {
			t.Errorf("check of a node that is ready: %s", line)
		}
	}
	has(t, "check", out.String(), "(prlctl-7.0.226-1.vz7) answers, containers: 1", "(ploop-7.0.280-1.vz7) answers, open devices: 1", "kernel 3.10.0",
		"private areas below /vz/private, roots below /vz/root", "containers are locked in /vz/lock", "state directory ", "/mnt/bareos will be made", "Plugin Names = vz7ct", "is a regular file (mode 0755)",
		"nothing in it hides mounts", "KillMode=control-group; a ploop at work is in a scope of its own", "bareos-fd runs (process 4711), in the node's mount namespace",
		"vz7ct-boot.service is enabled and starts /usr/bin/vz7ct recover --boot", "vz7ct-recover.timer is enabled and starts /usr/bin/vz7ct recover")
}

// edit puts a node out of order. It is told of by a line that begins with want.
type edit struct {
	name string
	make func(t *testing.T, c *checker)
	want grade
	word string
}

func (e edit) try(t *testing.T) {
	t.Helper()
	c := readyNode(t)
	e.make(t, c)
	var out bytes.Buffer
	status := c.report(&out)
	found := slices.ContainsFunc(strings.Split(out.String(), "\n"), func(line string) bool {
		return strings.HasPrefix(line, string(e.want)+" ") && strings.Contains(line, e.word) && (e.want == fine || strings.Contains(line, "; "))
	})
	if !found {
		t.Errorf("%s: check says\n%swant a line %q with %q and a cure", e.name, &out, e.want, e.word)
	}
	if (status == failed) != (e.want == fault) {
		t.Errorf("%s: check = %d with %q", e.name, status, e.want)
	}
}

func remove(name string) func(*testing.T, *checker) {
	return func(t *testing.T, c *checker) { must(t, os.RemoveAll(c.path(name))) }
}

func write(name, content string) func(*testing.T, *checker) {
	return func(t *testing.T, c *checker) { put(t, c.path(name), content) }
}

func mode(name string, m os.FileMode) func(*testing.T, *checker) {
	return func(t *testing.T, c *checker) {
		must(t, os.MkdirAll(c.path(name), 0o755))
		must(t, os.Chmod(c.path(name), m))
	}
}

func link(to, name string) func(*testing.T, *checker) {
	return func(t *testing.T, c *checker) {
		must(t, os.RemoveAll(c.path(name)))
		must(t, os.MkdirAll(filepath.Dir(c.path(name)), 0o755))
		must(t, os.Symlink(to, c.path(name)))
	}
}

func with(r tools) func(*testing.T, *checker) {
	return func(_ *testing.T, c *checker) { c.runner = r }
}

func kernel(release string) func(*testing.T, *checker) {
	return func(_ *testing.T, c *checker) { c.release = release }
}

func TestCheckOfTheNode(t *testing.T) {
	for _, e := range []edit{
		{"a user", func(_ *testing.T, c *checker) { c.uid = 1000 }, fault, "run by user 1000"},
		{"no prlctl", remove("usr/bin/prlctl"), fault, "prlctl: no such program"},
		{"no ploop", remove("usr/sbin/ploop"), fault, "ploop: no such program"},
		{"prlctl fails", with(tools{fail: "prlctl"}), fault, "prlctl does not answer"},
		{"ploop fails", with(tools{fail: "ploop"}), fault, "ploop does not answer"},
		{"old ploop", with(tools{ploop: "ploop-7.0.131-1.vz7"}), doubt, "older than 7.0.163"},
		{"very old ploop", with(tools{ploop: "ploop-1.15-12"}), doubt, "older than 7.0.163"},
		{"new ploop", with(tools{ploop: "ploop-9.0.30-1.vz9"}), fine, "ploop-9.0.30"},
		{"rpm fails", with(tools{fail: "rpm"}), fine, "version not known to rpm"},
		{"no rpm", remove("usr/bin/rpm"), fine, "version not known to rpm"},
		{"old kernel", kernel("2.6.32-042stab145.3"), fault, "older than 3.10"},
		{"strange kernel", kernel("x"), fault, "older than 3.10"},
		{"other kernel", kernel("6.1.0-17-amd64"), doubt, "is not one of Virtuozzo"},
		{"no driver", remove("sys/module/ploop"), doubt, "driver is not loaded"},
		{"no vz.conf", remove("etc/vz/vz.conf"), fault, "vz.conf"},
		{"no VE_ROOT", write("etc/vz/vz.conf", "VE_PRIVATE=/vz/private/$VEID\n"), fault, "VE_ROOT"},
		{"no lock directory", remove("vz/lock"), doubt, "LOCKDIR \"/vz/lock\" is no directory"},
		{"LOCKDIR is relative", write("etc/vz/vz.conf", "VE_PRIVATE=/vz/private/$VEID\nVE_ROOT=/vz/root/$VEID\nLOCKDIR=lock\n"), doubt, "LOCKDIR \"\" is no directory"},
		{"VE_PRIVATE is the same for all", write("etc/vz/vz.conf", "VE_PRIVATE=/vz/private\nVE_ROOT=/vz/root/$VEID\n"), fault, "VE_PRIVATE"},
		{"no state", remove("var/lib/vz7ct"), fine, "will be made"},
		{"no state, no place", func(t *testing.T, c *checker) { remove("var/lib")(t, c); write("var/lib", "")(t, c) }, fault, "not a directory"},
		{"no state, a dead link", link("/none/x", "var/lib"), fault, "/var/lib is no directory"},
		{"state is readable", mode("var/lib/vz7ct", 0o755), doubt, "can be read by others (mode 0755); chmod 0700"},
		{"state is writable", mode("var/lib/vz7ct", 0o770), fault, "is writable by others"},
		{"state is a file", func(t *testing.T, c *checker) { remove("var/lib/vz7ct")(t, c); write("var/lib/vz7ct", "")(t, c) }, fault, "is no directory"},
		{"state is a link", link("/", "var/lib/vz7ct"), doubt, "is a symbolic link"},
		{"state is a dead link", link("/none/x", "var/lib/vz7ct"), fault, "no such file"},
		{"state is another's", func(_ *testing.T, c *checker) { c.owner++ }, fault, "state directory"},
		{"mounts", mode("mnt/bareos", 0o755), fine, "mount directory"},
		{"mounts are writable", mode("mnt/bareos", 0o777), fault, "is writable by others"},
		{"freezer", func(*testing.T, *checker) {}, fine, "multi_disk=freeze can be used: cgroup v1 at /sys/fs/cgroup/freezer"},
		{"no freezer", write("proc/self/mountinfo", "garbage\n"), doubt, "neither the freezer of cgroup v1 nor cgroup v2"},
		{"no mounts", remove("proc/self/mountinfo"), doubt, "multi_disk=freeze: "},
		{"no command", remove("usr/bin/vz7ct"), doubt, "multi_disk=freeze cannot be used: no such program"},
	} {
		if e.name == "state is a link" && os.Getuid() != 0 {
			continue // it leads to root's own directory
		}
		e.try(t)
	}
}

func TestCheckOfPlaceWithoutRights(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	edit{"no state, no right", func(t *testing.T, c *checker) {
		remove("var/lib/vz7ct")(t, c)
		must(t, os.Chmod(c.path("var/lib"), 0o500))
		t.Cleanup(func() { _ = os.Chmod(c.path("var/lib"), 0o700) })
	}, fault, "cannot be made"}.try(t)
}

func TestCheckOfTheDaemon(t *testing.T) {
	const bacula = "etc/bacula/bacula-fd.conf"
	for _, e := range []edit{
		{"no daemon", remove("etc/bareos"), fault, "no configuration of a File Daemon"},
		{"no directory", write(bareosConf, "Client { Name = x }"), fault, "has no Plugin Directory"},
		{"all plugins", write(bareosConf, "Client { Plugin Directory = /plugins }"), fine, "not set: all are loaded"},
		{"not named", write(bareosConf, "Client { Plugin Directory = /plugins; Plugin Names = python3,vz7 }"), fault, `"python3,vz7" has no vz7ct`},
		{"relative", write(bareosConf, "Client { Plugin Directory = plugins }"), fault, "no absolute path"},
		{"no such directory", write(bareosConf, "Client { Plugin Directory = /none }"), fault, "install -m 0755 -o root -g root vz7ct-fd.so /none/"},
		{"include", write(bareosConf, "Client { Plugin Directory = /plugins }\n@/none\n"), doubt, "could not be read as a whole"},
		{"no plugin", remove("plugins/vz7ct-fd.so"), fault, "no such file"},
		{"a link", link("/bin/true", "plugins/vz7ct-fd.so"), fault, "is a symbolic link: the daemons pass it over"},
		{"a pipe", func(t *testing.T, c *checker) {
			remove("plugins/vz7ct-fd.so")(t, c)
			must(t, unix.Mkfifo(c.path("plugins/vz7ct-fd.so"), 0o600))
		}, fault, "is no regular file"},
		{"empty", write("plugins/vz7ct-fd.so", ""), fault, "is empty"},
		{"writable", func(t *testing.T, c *checker) { must(t, os.Chmod(c.path("plugins/vz7ct-fd.so"), 0o777)) }, fault, "writable by everybody"},
		{"writable by a group", func(t *testing.T, c *checker) { must(t, os.Chmod(c.path("plugins/vz7ct-fd.so"), 0o775)) }, doubt, "writable by its group"},
		{"directory is writable", mode("plugins", 0o777), fault, "writable by everybody"},
		{"another's", func(_ *testing.T, c *checker) { c.owner++ }, fault, "vz7ct-fd.so belongs to user"},
		{"bacula alone", func(t *testing.T, c *checker) {
			remove("etc/bareos")(t, c)
			write(bacula, "FileDaemon { Plugin Directory = /none }")(t, c)
		}, fault, "/none"},
		// Of two daemons one is enough.
		{"bacula is not ready", write(bacula, "FileDaemon { Name = x }"), doubt, "another File Daemon of this node is ready"},
		{"bareos is not ready", func(t *testing.T, c *checker) {
			write(bareosConf, "Client { }")(t, c)
			write(bacula, "FileDaemon { Plugin Directory = /plugins }")(t, c)
		}, doubt, "has no Plugin Directory"},
	} {
		e.try(t)
	}
}
