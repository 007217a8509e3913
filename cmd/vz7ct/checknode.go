// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/run"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// tools looks whether prlctl and ploop are there and answer.
func (c *checker) tools() {
	ctx := context.Background()
	if path, err := run.Find(c.root+"/usr/bin/prlctl", c.root+"/usr/sbin/prlctl"); err != nil {
		c.fail("install the package prlctl of Virtuozzo 7 or OpenVZ 7", "prlctl: %v", err)
	} else if list, err := (prlctl.Client{Runner: c.runner, Path: path}).List(ctx); err != nil {
		c.fail("see systemctl status prl-disp", "prlctl does not answer: %v", err)
	} else {
		c.ok("%s (%s) answers, containers: %d", path, packaged(c.version(ctx, path)), len(list))
	}
	path, err := run.Find(c.root+"/usr/sbin/ploop", c.root+"/sbin/ploop")
	if err != nil {
		c.fail("install the package ploop of Virtuozzo 7 or OpenVZ 7", "ploop: %v", err)
		return
	}
	devices, err := ploop.Client{Runner: c.runner, Path: path}.Devices(ctx)
	if err != nil {
		c.fail("see whether it is the ploop of Virtuozzo 7 or OpenVZ 7", "ploop does not answer: %v", err)
		return
	}
	pkg := c.version(ctx, path)
	c.ok("%s (%s) answers, open devices: %d", path, packaged(pkg), len(devices))
	// vz7-u12 is the first release that marks a merge on disk before it begins.
	if v := strings.TrimPrefix(pkg, "ploop-"); v != pkg && older(v, "7.0.163") {
		c.warn("update ploop", "%s is older than 7.0.163: it does not mark a merge that was interrupted", pkg)
	}
}

// version returns the package that a program came in, "" where rpm does not know:
// ploop has no word of its own for its version.
func (c *checker) version(ctx context.Context, program string) string {
	rpm, err := run.Find(c.root+"/usr/bin/rpm", c.root+"/bin/rpm")
	if err != nil {
		return ""
	}
	res, err := c.runner.Run(ctx, run.Command{Path: rpm, Args: []string{"-q", "--queryformat", "%{NAME}-%{VERSION}-%{RELEASE}", "-f", program}})
	if err != nil {
		return ""
	}
	return strings.TrimSpace(res.Stdout)
}

func packaged(pkg string) string {
	if pkg == "" {
		return "version not known to rpm"
	}
	return pkg
}

// older compares the numbers that two versions begin with.
func older(version, than string) bool {
	v, t := numbers(version), numbers(than)
	for i := range t {
		if i >= len(v) || v[i] != t[i] {
			return i >= len(v) || v[i] < t[i]
		}
	}
	return false
}

func numbers(version string) (out []int) {
	version, _, _ = strings.Cut(version, "-")
	for word := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(word)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}

func (c *checker) kernel() {
	vz := strings.Contains(c.release, "vz") || strings.Contains(c.release, "ovz")
	switch {
	case len(numbers(c.release)) < 2 || older(c.release, "3.10"):
		c.fail("boot the kernel of Virtuozzo 7", "kernel %q is older than 3.10", c.release)
	case !vz:
		c.warn("boot the kernel of Virtuozzo 7", "kernel %s is not one of Virtuozzo or OpenVZ", c.release)
	default:
		c.ok("kernel %s", c.release)
	}
	for _, module := range []string{"ploop", "dm_ploop"} {
		if _, err := os.Stat(c.root + "/sys/module/" + module); err == nil {
			c.ok("the kernel's driver %s is loaded", module)
			return
		}
	}
	c.warn("modprobe ploop, or see systemctl status vz", "the kernel's ploop driver is not loaded")
}

// nodeConf looks for what a job needs of vz.conf.
func (c *checker) nodeConf() {
	client := prlctl.Client{Conf: c.root + "/etc/vz/vz.conf"}
	const some = prlctl.RootDisk // a UUID
	private, err := client.PrivateFor(some)
	root := ""
	if err == nil {
		root, err = client.RootFor(some)
	}
	if err != nil {
		c.fail("set VE_PRIVATE=/vz/private/$VEID and VE_ROOT=/vz/root/$VEID in it, as the packages do", "%v", err)
		return
	}
	c.ok("vz.conf: private areas below %s, roots below %s", filepath.Dir(private), filepath.Dir(root))
	node, err := client.Node()
	if err != nil {
		return // it has just been read
	}
	dir := node.LockDir()
	if st, err := os.Stat(c.root + dir); dir == "" || err != nil || !st.IsDir() {
		c.warn("set LOCKDIR=/vz/lock in it and make that directory, as the package vzctl does",
			"vz.conf: LOCKDIR %q is no directory: nothing keeps prlctl and vzctl from a container while it is saved", dir)
		return
	}
	c.ok("vz.conf: containers are locked in %s", dir)
}

func (c *checker) stateDir() {
	c.dir(fdplugin.StateDir, "state directory", 0o077, "0700")
}

func (c *checker) mountDir() {
	c.dir(fdplugin.MountDir, "mount directory", 0o022, "0755")
}

// dir looks at a directory that jobs make and write to. Nobody but its owner may
// have one of the forbidden bits.
func (c *checker) dir(path, what string, forbidden fs.FileMode, mode string) {
	path = c.root + path
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		up := existing(path)
		if info, err := os.Stat(up); err != nil || !info.IsDir() {
			c.fail("make "+up+" a directory", "%s %s cannot be made: %s is no directory", what, path, up)
		} else if err := unix.Access(up, unix.W_OK); err != nil {
			c.fail("make it by hand with mode "+mode, "%s %s cannot be made: %s: %v", what, path, up, err)
		} else {
			c.ok("%s %s will be made by the first job", what, path)
		}
		return
	}
	if err == nil && st.Mode()&fs.ModeSymlink != 0 {
		c.warn("make it a directory", "%s %s is a symbolic link", what, path)
		st, err = os.Stat(path)
	}
	if err != nil {
		c.fail("see whether it can be reached", "%s: %v", what, err)
		return
	}
	if !st.IsDir() {
		c.fail("remove it", "%s %s is no directory", what, path)
		return
	}
	before := len(c.found)
	if uid := ownerOf(st); uid != c.owner {
		c.fail(fmt.Sprintf("chown root: %s", path), "%s %s belongs to user %d", what, path, uid)
	}
	if wrong := st.Mode().Perm() & forbidden; wrong&0o022 != 0 {
		c.fail(fmt.Sprintf("chmod %s %s", mode, path), "%s %s is writable by others (mode %04o)", what, path, st.Mode().Perm())
	} else if wrong != 0 {
		c.warn(fmt.Sprintf("chmod %s %s", mode, path), "%s %s can be read by others (mode %04o)", what, path, st.Mode().Perm())
	}
	if err := unix.Access(path, unix.W_OK); err != nil {
		c.fail("see whether its file system is mounted read-only", "%s %s cannot be written to: %v", what, path, err)
	}
	if len(c.found) == before {
		c.ok("%s %s (mode %04o)", what, path, st.Mode().Perm())
	}
}

// ownerOf returns the user that a file belongs to.
func ownerOf(st fs.FileInfo) int {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(sys.Uid)
	}
	return -1
}
