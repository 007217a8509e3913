// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/mounts"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// Up makes a node in dir, or starts the one that was there again, as after a power cut. dialect may be empty.
// diskMiB is the size of a disk of the node's own, 0 for none; one that was there stays as it is.
func Up(dir, dialect string, diskMiB int) (l Lab, err error) {
	if os.Geteuid() != 0 {
		return l, errors.New("a lab needs root")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return l, err
	}
	if l, err = Open(dir); err != nil {
		return l, err
	}
	for _, no := range []string{"/vz", "/etc/vz", "/mnt/bareos", "/var/lib/vz7ct", "/run", "/dev", "/proc", "/sys", "/usr"} {
		if l.Dir == no || strings.HasPrefix(l.Dir, no+"/") {
			return l, fmt.Errorf("lab %s: %s looks different inside a node: take another folder", l.Dir, no)
		}
	}
	release, err := l.claim()
	if err != nil {
		return l, err
	}
	defer release()
	s, err := l.State()
	if err != nil {
		return l, err
	}
	if s.Server.Alive() || s.Holder.Alive() {
		return l, fmt.Errorf("lab %s is up", l.Dir)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Down(true))
		}
	}()
	if err := l.furnish(dialect, diskMiB); err != nil {
		return l, err
	}
	err = locked(func() error {
		if err := save(l.registered(), entry(l)); err != nil {
			return err
		}
		return makeMountPoints()
	})
	if err != nil {
		return l, err
	}
	return l, l.start()
}

// furnish makes the lab's own folders, the programs, the settings and the node's disk.
func (l Lab) furnish(dialect string, diskMiB int) error {
	for _, d := range []string{"bin", server.MountName, "ctl", "log", "ledger", "overlay/sbin", "overlay/bin", "node"} {
		if err := os.MkdirAll(l.Below(d), 0o755); err != nil {
			return err
		}
	}
	if err := install(l.Self()); err != nil {
		return fmt.Errorf("install the program: %w", err)
	}
	for _, link := range []string{"overlay/sbin/ploop", "overlay/bin/prlctl"} {
		if err := os.Symlink(l.Self(), l.Below(link)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	c, err := l.Config()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if dialect != "" {
		c.Dialect = dialect
	}
	if !c.Disk() {
		c.DiskMiB = diskMiB
	}
	if err := l.SetConfig(c); err != nil {
		return err
	}
	if _, err := l.Config(); err != nil || !c.Disk() {
		return err
	}
	return l.makeMedium(c.DiskMiB)
}

// furnishNode makes the node's folders, where the node sees them.
func (l Lab) furnishNode() error {
	for _, d := range []string{
		"run/lock", "run/ploop", "etc-vz/conf", "etc-vz/names", "vz/private", "vz/root", "vz/lock", "vz/template/centos/7/x86_64",
		"vz/tmp", "vz/dump", "mnt-bareos", "var-lib-vz7ct", "tmp",
	} {
		if err := os.MkdirAll(l.Below("node", d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(l.Below("node", "tmp"), 0o1777); err != nil {
		return err
	}
	// A node that starts has no locks and an empty /run.
	locks, err := filepath.Glob(l.Below("node/vz/lock/*.lck"))
	if err != nil {
		return err
	}
	for _, f := range locks {
		_ = os.Remove(f)
	}
	return os.WriteFile(l.Below("node/etc-vz/vz.conf"), []byte(vzConf), 0o644)
}

// vzConf is what a Virtuozzo 7 node has, as far as anybody reads it.
const vzConf = `## Global parameters
VIRTUOZZO=yes
LOCKDIR=/vz/lock
VE0CPUUNITS=1000

## Logging parameters
LOGGING=yes
LOGFILE=/var/log/vzctl.log
LOG_LEVEL=0
VERBOSE=0

## Disk quota parameters
DISK_QUOTA=yes

## Template parameters
TEMPLATE=/vz/template

## Defaults for containers
VE_ROOT=/vz/root/$VEID
VE_PRIVATE=/vz/private/$VEID
DUMPDIR=/vz/dump
CONFIGFILE="vswap.1024MB"
DEF_OSTEMPLATE=".centos-7"
VE_LAYOUT=5
`

// install puts the running program at path.
func install(path string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	tmp := path + ".new"
	_ = os.Remove(tmp)
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if e := out.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// start starts server and namespace.
func (l Lab) start() error {
	var s State
	c, err := l.Config()
	if err != nil {
		return err
	}
	if c.Disk() {
		if err := l.plugIn(c, &s); err != nil {
			return err
		}
	}
	p, err := l.spawn("_server", 0)
	if err != nil {
		return fmt.Errorf("image server: %w", err)
	}
	s.Server = p
	if err := l.store(s); err != nil {
		return err
	}
	list, err := mounts.Of(0)
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.Point == l.Below(server.MountName) {
			s.Conn = m.Minor
		}
	}
	if s.Conn == 0 {
		return fmt.Errorf("image server: nothing is mounted at %s", l.Below(server.MountName))
	}
	if err := unix.Mount("vz7ct-lab", l.Below("ctl"), "fusectl", 0, ""); err != nil {
		return fmt.Errorf("mount fusectl: %w", err)
	}
	if err := l.store(s); err != nil {
		return err
	}
	if p, err = l.spawn("_hold", unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	s.Holder = p
	if err := l.store(s); err != nil || !c.Disk() {
		return err
	}
	if s.Watch, err = l.spawn("_watch", 0); err != nil {
		return fmt.Errorf("watch of the journal: %w", err)
	}
	return l.store(s)
}

// spawn starts one of the lab's own processes and waits until it says that it is ready.
func (l Lab) spawn(what string, flags uintptr) (Process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return Process{}, err
	}
	defer r.Close() //nolint:errcheck // only read
	log, err := os.OpenFile(l.Below("log", strings.TrimPrefix(what, "_")+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		_ = w.Close()
		return Process{}, err
	}
	defer log.Close() //nolint:errcheck // the child's
	c := exec.Command(l.Self(), what, l.Dir)
	c.Dir, c.Stdout, c.Stderr, c.ExtraFiles = "/", log, log, []*os.File{w}
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true, Cloneflags: flags}
	if err := c.Start(); err != nil {
		_ = w.Close()
		return Process{}, err
	}
	_ = w.Close()
	p, err := Identify(c.Process.Pid)
	go c.Wait() //nolint:errcheck // it outlives us, or its end is seen by Alive
	if err != nil {
		return p, err
	}
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return p, err
	}
	b, err := io.ReadAll(r)
	if err == nil && string(b) != "ready\n" {
		err = fmt.Errorf("%s did not start: %s", what, lastLine(log.Name()))
	}
	if err != nil {
		p.Signal(unix.SIGKILL)
	}
	return p, err
}

// Ready tells spawn, in the parent, that all is well.
func Ready() error {
	f := os.NewFile(3, "ready")
	if _, err := f.WriteString("ready\n"); err != nil {
		return err
	}
	return f.Close()
}

func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
