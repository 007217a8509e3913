// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/container"
	"github.com/bareos-contrib/vz7ct/test/lab/node"
)

// mountDisks mounts all enabled disks, the root first; on failure none stays.
func (t *Tool) mountDisks(c *container.Container) int {
	var done []string
	for _, d := range c.Disks() {
		if !d.Enabled {
			continue
		}
		at := filepath.Join(c.Root(), d.Mount)
		err := os.MkdirAll(at, 0o755)
		if err == nil && t.ploop("mount", "-m", at, d.Descriptor()) == 0 {
			done = append(done, at)
			continue
		}
		if err != nil {
			_ = t.fail(0, "lab: %v", err)
		}
		slices.Reverse(done)
		for _, m := range done {
			_ = t.ploop("umount", "-m", m)
		}
		return refused
	}
	return 0
}

// umountDisks unmounts the disks, the root last.
func (t *Tool) umountDisks(c *container.Container) int {
	disks := slices.Clone(c.Disks())
	slices.Reverse(disks)
	for _, d := range disks {
		code := 0
		if t.vz9() {
			code = t.ploop("umount", "-m", filepath.Join(c.Root(), d.Mount))
		} else {
			code = t.ploop("umount", d.Descriptor())
		}
		if code != 0 && code != 40 && d.Enabled { // 40: it was not mounted
			return refused
		}
	}
	return 0
}

func (t *Tool) vz9() bool {
	c, err := t.lab.Config()
	return err == nil && c.Dialect == "vz9"
}

// boot starts the container's first process.
func (t *Tool) boot(c *container.Container) error {
	conf, err := t.lab.Config()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(t.lab.Below("log", "workload-"+c.CTID+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child's
	mounts := []string{}
	for _, d := range c.Disks() {
		if d.Enabled && d.Mount != "" {
			mounts = append(mounts, d.Mount)
		}
	}
	cmd := exec.Command(t.lab.Self(), append([]string{"workload", c.Root(), t.lab.Below("ledger"), c.UUID, strconv.Itoa(conf.Rate), strconv.Itoa(conf.Lockstep)}, mounts...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWPID}
	if err := cmd.Start(); err != nil {
		return err
	}
	p, err := node.Identify(cmd.Process.Pid)
	if err != nil {
		return err
	}
	group, err := t.lab.MakeGroup(c.CTID)
	if err == nil && group != "" {
		err = node.Join(group, p.PID) // with all its threads; it has no children
	}
	if err != nil {
		p.Signal(unix.SIGKILL)
		return err
	}
	return c.SetInit(p, group)
}

func (t *Tool) start(c *container.Container, _ []string) int {
	return t.locked(c, "starting", func() int {
		switch c.Status() {
		case "running":
			return t.fail(refused, "Failed to start the CT: The virtual machine is already running.")
		case "suspended":
			return t.resumed(c)
		}
		t.say("Starting the CT...")
		if c.Status() != "mounted" {
			if code := t.mountDisks(c); code != 0 {
				return t.fail(code, "Failed to start the CT: PRL_ERR_VZCTL_OPERATION_FAILED")
			}
		}
		if err := t.boot(c); err != nil {
			return t.fail(refused, "Failed to start the CT: %v", err)
		}
		t.say("The CT has been successfully started.")
		return 0
	})
}

// halt kills everything that runs in the container. Its first process takes the others along. None of them dies while
// they are frozen.
func (t *Tool) halt(c *container.Container) error {
	if p, ok := c.Init(); ok {
		p.Signal(unix.SIGKILL)
		if !p.Wait(20 * time.Second) {
			return fmt.Errorf("process %d does not end", p.PID)
		}
	}
	return t.lab.DropGroups(c.CTID)
}

func (t *Tool) stop(c *container.Container, _ []string) int {
	return t.locked(c, "stopping", func() int {
		status := c.Status()
		if status == "stopped" {
			return 0
		}
		t.say("Stopping the CT...")
		if err := t.halt(c); err != nil {
			return t.fail(refused, "Failed to stop the CT: %v", err)
		}
		_ = os.Remove(c.Dump())
		if code := t.umountDisks(c); code != 0 {
			return t.fail(code, "Failed to stop the CT: PRL_ERR_VZCTL_OPERATION_FAILED")
		}
		t.say("The CT has been successfully stopped.")
		return 0
	})
}

func (t *Tool) mount(c *container.Container, _ []string) int {
	return t.locked(c, "mounting", func() int {
		if s := c.Status(); s != "stopped" && s != "suspended" {
			return t.fail(refused, "Failed to mount the CT: it is %s.", s)
		}
		t.say("Mounting the CT...")
		if code := t.mountDisks(c); code != 0 {
			return t.fail(code, "Failed to mount the CT: PRL_ERR_VZCTL_OPERATION_FAILED")
		}
		t.say("The CT has been successfully mounted.")
		return 0
	})
}

func (t *Tool) umount(c *container.Container, _ []string) int {
	return t.locked(c, "unmounting", func() int {
		if s := c.Status(); s != "mounted" {
			return t.fail(refused, "Failed to unmount the CT: it is %s.", s)
		}
		if code := t.umountDisks(c); code != 0 {
			return t.fail(code, "Failed to unmount the CT: PRL_ERR_VZCTL_OPERATION_FAILED")
		}
		t.say("The CT has been successfully unmounted.")
		return 0
	})
}

func (t *Tool) suspend(c *container.Container, _ []string) int {
	return t.locked(c, "suspending", func() int {
		if s := c.Status(); s != "running" {
			return t.fail(refused, "Failed to suspend the CT: it is %s.", s)
		}
		t.say("Suspending the CT...")
		err := os.MkdirAll(filepath.Dir(c.Dump()), 0o755)
		if err == nil {
			err = t.halt(c)
		}
		if err == nil {
			err = os.WriteFile(c.Dump(), []byte(strings.Repeat("memory of "+c.Name+"\n", 1000)), 0o600)
		}
		if err != nil {
			return t.fail(refused, "Failed to suspend the CT: %v", err)
		}
		if code := t.umountDisks(c); code != 0 {
			return t.fail(code, "Failed to suspend the CT: PRL_ERR_VZCTL_OPERATION_FAILED")
		}
		t.say("The CT has been successfully suspended.")
		return 0
	})
}

func (t *Tool) resume(c *container.Container, _ []string) int {
	return t.locked(c, "resuming", func() int {
		if s := c.Status(); s != "suspended" {
			return t.fail(refused, "Failed to resume the CT: it is %s.", s)
		}
		return t.resumed(c)
	})
}

func (t *Tool) resumed(c *container.Container) int {
	t.say("Resuming the CT...")
	if code := t.mountDisks(c); code != 0 {
		return t.fail(code, "Failed to resume the CT: PRL_ERR_VZCTL_OPERATION_FAILED")
	}
	if err := errors.Join(os.Remove(c.Dump()), t.boot(c)); err != nil {
		return t.fail(refused, "Failed to resume the CT: %v", err)
	}
	t.say("The CT has been successfully resumed.")
	return 0
}

// exec runs a command in the container: in its process namespace, locked into its root.
func (t *Tool) exec(c *container.Container, args []string) int {
	p, ok := c.Init()
	if !ok {
		return t.fail(refused, "Failed to execute the command: the CT is not running.")
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return t.fail(badUse, "%s", usage)
	}
	runtime.LockOSThread()
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/pid", p.PID), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Setns(fd, unix.CLONE_NEWPID)
	}
	if err != nil {
		return t.fail(refused, "Failed to execute the command: %v", err)
	}
	// The shell finds the command by the container's own paths.
	line := args
	if len(args) > 1 {
		line = []string{"/bin/sh", "-c", `exec "$@"`, "sh"}
		line = append(line, args...)
	} else {
		line = []string{"/bin/sh", "-c", args[0]}
	}
	cmd := &exec.Cmd{Path: line[0], Args: line, Dir: "/", Stdin: os.Stdin, Stdout: t.out, Stderr: t.err}
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=linux"}
	cmd.SysProcAttr = &unix.SysProcAttr{Chroot: c.Root()}
	if group := c.Group(); group != "" {
		// Before the command is there: no child of it may be outside.
		cmd.Path, cmd.SysProcAttr = t.lab.Self(), nil
		cmd.Args = append([]string{"lab", "_join", group, c.Root()}, line...)
	}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	case err != nil:
		return t.fail(refused, "Failed to execute the command: %v", err)
	}
	return 0
}
