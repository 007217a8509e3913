// SPDX-License-Identifier: AGPL-3.0-only

// Package prlctl is a stand-in for the prlctl command of Virtuozzo 7, as far as backup and restore of containers need it.
// Virtual machines, clones, migration and most settings are not there.
package prlctl

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/test/lab/container"
	"github.com/bareos-contrib/vz7ct/test/lab/node"
	"github.com/bareos-contrib/vz7ct/test/lab/ploop"
	"github.com/bareos-contrib/vz7ct/test/lab/workload"
)

// Exit statuses: 1 for wrong use, 255 for what the dispatcher refuses.
const (
	badUse  = 1
	refused = 255
)

// Tool is one call of the command.
type Tool struct {
	lab      node.Lab
	out, err io.Writer
}

// record is the line of DIR/log/prlctl.jsonl that a call leaves.
type record struct {
	Time time.Time `json:"time"`
	Mono int64     `json:"mono"`
	Argv []string  `json:"argv"`
	Exit int       `json:"exit"`
	MS   float64   `json:"ms"`
}

// Main runs the command with the arguments after its name, and gives its exit status.
func Main(lab node.Lab, args []string, out, errw io.Writer) int {
	t := &Tool{lab: lab, out: out, err: errw}
	r := record{Time: time.Now(), Mono: workload.Now(), Argv: args}
	conf, err := lab.Config()
	if err != nil {
		_, _ = fmt.Fprintln(errw, "lab:", err)
		return refused
	}
	r.Exit = lab.Call(conf.Fault, "prlctl "+strings.Join(args, " "), refused, func(func(string)) int { return t.run(args) })
	r.MS = float64(time.Since(r.Time).Microseconds()) / 1000
	if err := lab.Append("log/prlctl.jsonl", r); err != nil {
		_, _ = fmt.Fprintln(errw, "lab:", err)
	}
	return r.Exit
}

func (t *Tool) say(format string, a ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", a...) }

func (t *Tool) fail(code int, format string, a ...any) int {
	_, _ = fmt.Fprintf(t.err, format+"\n", a...)
	return code
}

const usage = `Usage: prlctl ACTION <CT_ID | CT_NAME> [OPTIONS]
Supported actions are:
  backup, destroy, delete, exec, list, mount, register, resume, set, snapshot, snapshot-delete, snapshot-list,
  start, status, stop, suspend, umount, unregister`

func (t *Tool) run(args []string) int {
	if len(args) == 0 {
		return t.fail(badUse, "%s", usage)
	}
	action, rest := args[0], args[1:]
	switch action {
	case "list":
		return t.list(rest)
	case "register":
		return t.register(rest)
	}
	actions := map[string]func(*container.Container, []string) int{
		"status": nil, "start": t.start, "stop": t.stop, "mount": t.mount, "umount": t.umount, "suspend": t.suspend,
		"resume": t.resume, "exec": t.exec, "unregister": t.unregister, "destroy": t.destroy, "delete": t.destroy,
		"set": t.set, "backup": t.backup, "snapshot": t.snapshot, "snapshot-list": t.snapshotList, "snapshot-delete": t.snapshotDelete,
	}
	do, ok := actions[action]
	if !ok {
		return t.fail(badUse, "Unknown action: %s\n%s", action, usage)
	}
	if action != "list" && action != "exec" {
		// From update 17 on the real tool says so at almost every call.
		_, _ = fmt.Fprintln(t.err, "WARNING: You are using a deprecated CLI component that won't be installed by default "+
			"in the next major release. Please use virsh instead")
	}
	if len(rest) == 0 || strings.HasPrefix(rest[0], "-") {
		return t.fail(badUse, "%s", usage)
	}
	c, err := container.Find(t.lab, rest[0])
	if errors.Is(err, container.ErrUnknown) && action == "status" {
		t.say("VM %s deleted", rest[0])
		return 0
	}
	if errors.Is(err, container.ErrUnknown) {
		return t.fail(refused, "Failed to get VM config: The virtual machine could not be found. "+
			"The virtual machine is not registered in the virtual machine directory on your server. "+
			"Contact your Virtuozzo administrator for assistance.")
	}
	if err != nil {
		return t.fail(refused, "lab: %v", err)
	}
	if action == "status" {
		t.say("CT %s exist %s", rest[0], c.Status())
		return 0
	}
	return do(c, rest[1:])
}

// locked runs fn with the container's lock held.
func (t *Tool) locked(c *container.Container, status string, fn func() int) int {
	unlock, err := c.Lock(status)
	if errors.Is(err, container.ErrLocked) {
		return t.fail(refused, "Operation %q failed: %v", status, container.ErrLocked)
	}
	if err != nil {
		return t.fail(refused, "lab: %v", err)
	}
	defer unlock()
	return fn()
}

// ploop runs the ploop command in this process. What it says is shown if it fails.
func (t *Tool) ploop(args ...string) int {
	var said strings.Builder
	c := ploop.Main(t.lab, args, &said, &said)
	if c != 0 {
		_ = t.fail(0, "ploop %s: exit status %d\n%s", strings.Join(args, " "), c, said.String())
	}
	return c
}
