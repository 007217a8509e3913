// SPDX-License-Identifier: AGPL-3.0-only

// Package rig puts up what the end-to-end scenarios run on: a stand-in node with
// containers (test/lab) and a real Director, Storage Daemon and File Daemon on
// loopback, of which the File Daemon runs on the node with the built plugin.
// Scenarios are written once: Debian's Bacula and a Bareos installation are
// driven through the same functions.
//
// It judges nothing. Everything that it starts has a limit of time and is taken
// down again, also after a failure.
package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Build returns the path of a built file: the plugin, the lab, fdhost.
func Build(name string) string {
	if dir := os.Getenv("VZ7CT_BUILD"); dir != "" {
		return filepath.Join(dir, name)
	}
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../../../build", name)
}

// Node is a stand-in Virtuozzo 7 node.
type Node struct {
	// Dir is the lab's directory.
	Dir string
}

// UpNode puts up a node in dir, with the companion command in its place, and that
// which compares. words are further ones for `lab up`.
func UpNode(dir string, words ...string) (*Node, error) {
	n := &Node{dir}
	if err := n.installCommand(); err != nil {
		return nil, fmt.Errorf("install vz7ct: %w", err)
	}
	if out, err := lab(append([]string{"up", dir}, words...)...); err != nil {
		return nil, fmt.Errorf("lab up: %w: %s", err, out)
	}
	return n, nil
}

// CommandFile is where the node's /usr/bin/vz7ct lies outside. The lab lays the
// folder over the machine's /usr/bin when it goes up, and removes it when it goes
// down; what is put there must not change in between.
func (n *Node) CommandFile() string { return filepath.Join(n.Dir, "overlay/bin/vz7ct") }

// installCommand copies the command, and that which compares: a build may replace
// their files under a test.
func (n *Node) installCommand() error {
	if err := os.MkdirAll(filepath.Dir(n.CommandFile()), 0o755); err != nil {
		return err
	}
	if out, err := command(time.Minute, "install", "-m", "0755", Build("vz7ct"), Build("compare"), filepath.Dir(n.CommandFile())); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Down takes the node away.
func (n *Node) Down() error {
	if out, err := lab("down", n.Dir); err != nil {
		return fmt.Errorf("lab down: %w: %s", err, out)
	}
	return nil
}

func lab(args ...string) (string, error) {
	return command(3*time.Minute, Build("lab"), args...)
}

// Lab runs one of the lab's own commands.
func (n *Node) Lab(args ...string) (string, error) { return lab(args...) }

// command runs a program with a limit of time and returns all that it printed.
func command(limit time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("no end within %s: %w", limit, err)
	}
	return out.String(), err
}

// Container describes a container to be made.
type Container struct {
	Name, UUID, CTID string
	Size             string
	// Disks are further disks as "mnt=/data,size=256M".
	Disks []string
	// Tree is a tar file or a directory.
	Tree string
	// More are further words for `lab create`.
	More []string
}

// Create makes a container.
func (n *Node) Create(c Container) error {
	args := []string{"create", n.Dir, "--name", c.Name, "--uuid", c.UUID, "--size", c.Size, "--tree", c.Tree}
	if c.CTID != "" {
		args = append(args, "--ctid", c.CTID)
	}
	for _, d := range c.Disks {
		args = append(args, "--disk", d)
	}
	if out, err := lab(append(args, c.More...)...); err != nil {
		return fmt.Errorf("lab create: %w: %s", err, out)
	}
	return nil
}

// Run runs a command on the node and returns what it printed.
func (n *Node) Run(args ...string) (string, error) {
	return lab(append([]string{"exec", n.Dir, "--"}, args...)...)
}

// Must runs a command on the node that has to succeed.
func (n *Node) Must(args ...string) (string, error) {
	out, err := n.Run(args...)
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

// Outside returns the path under which a file of the node is seen from outside.
func (n *Node) Outside(path string) (string, error) {
	for inside, outside := range map[string]string{
		"/vz/": "vz", "/etc/vz/": "etc-vz", "/mnt/bareos/": "mnt-bareos", "/var/lib/vz7ct/": "var-lib-vz7ct", "/run/": "run",
	} {
		if rest, ok := strings.CutPrefix(path+"/", inside); ok {
			return filepath.Join(n.Dir, "node", outside, rest), nil
		}
	}
	return "", fmt.Errorf("%s is not one of the node's own folders", path)
}

// Snapshots returns all snapshots of all disks on the node, without the tops.
// A disk may just be removed.
func (n *Node) Snapshots() ([]string, error) {
	out, err := n.Must("sh", "-c", `for d in $(ls -d /vz/private/*/*.hdd/DiskDescriptor.xml 2>/dev/null); do ploop snapshot-list -H -o uuid,current "$d" || [ ! -e "$d" ] || exit 1; done`)
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.SplitSeq(out, "\n") {
		if f := strings.Fields(line); len(f) == 1 {
			found = append(found, f[0])
		}
	}
	return found, nil
}

// leftovers prints what a job may have left, a line each that begins with its kind.
const leftovers = `
grep -E ' /mnt/bareos/' /proc/self/mountinfo | sed 's/^/mount /'
ls -A /mnt/bareos | sed 's/^/directory /'
ploop list | grep vz7ct- | sed 's/^/device /'
for f in $(ls -A /vz/lock); do
	pid= doing= mark=
	{ read pid; read doing; read mark; } < /vz/lock/$f
	[ -z "$mark" ] && ! kill -0 "$pid" || echo "container lock $f"
done 2>/dev/null
find /vz/private -maxdepth 3 -name '.vz7ct-*' -not -name .vz7ct-aside | sed 's/^/record /'
find /vz/private -maxdepth 1 -name '*.vz7ct-*' | sed 's/^/area /'
cd /var/lib/vz7ct || exit 0
find . -mindepth 1 -not -type d -not -path './descriptors/*' -not -path './levels/*.json' -not -path './levels/*.places' | sed 's,^./journal/,journal &,; t; s,^./locks/,lock &,; t; s,^,state ,'
`

// Leftovers returns what a job may have left on the node: mounts and directories
// of ours, snapshots with their records, devices of ours, journals, locks, containers
// that stand still. The copies of descriptors and the memory of backups that are kept are none, nor is
// the lock of a prlctl that was killed, which the next one takes over.
func (n *Node) Leftovers() ([]string, error) {
	snaps, err := n.Snapshots()
	if err != nil {
		return nil, err
	}
	var left []string
	for _, s := range snaps {
		left = append(left, "snapshot "+s)
	}
	status, err := n.Status()
	if err != nil {
		return nil, err
	}
	for _, f := range status.Frozen {
		left = append(left, "frozen "+f)
	}
	for _, g := range status.Groups {
		left = append(left, "group "+g)
	}
	out, err := n.Must("sh", "-c", leftovers)
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		if line != "" {
			left = append(left, line)
		}
	}
	return left, nil
}

// Status is what the lab says of a node, as far as jobs can leave something.
type Status struct {
	Mounts, Loops, Leftovers, Locks, Flocks []string
	Devices                                 []struct{ Name, Cookie string }
	// Frozen are groups that stand still, "STATE GROUP", Groups those left by
	// containers that do not run.
	Frozen, Groups []string
	// Freezer is how containers can be frozen, "" if they cannot.
	Freezer string
	// Processes are the names of what runs on the node.
	Processes []string
}

// Status asks the lab.
func (n *Node) Status() (Status, error) {
	var s Status
	out, err := lab("status", n.Dir, "--json")
	// What is just being taken back may go while the lab looks at it.
	for try := 0; err != nil && strings.Contains(out, "no such file") && try < 20; try++ {
		out, err = lab("status", n.Dir, "--json")
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	if err != nil {
		return s, fmt.Errorf("lab status: %w: %s", err, out)
	}
	return s, nil
}

// PloopCall is one line of the lab's log of ploop calls.
type PloopCall struct {
	Argv     []string `json:"argv"`
	Exit     int      `json:"exit"`
	MS       float64  `json:"ms"`
	FreezeMS float64  `json:"freeze_ms"`
	MergeMS  float64  `json:"merge_ms"`
}

// PloopCalls reads the log of all ploop calls on the node.
func (n *Node) PloopCalls() ([]PloopCall, error) {
	b, err := os.ReadFile(filepath.Join(n.Dir, "log/ploop.jsonl"))
	if err != nil {
		return nil, err
	}
	var calls []PloopCall
	for line := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		var c PloopCall
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			return nil, fmt.Errorf("log of ploop calls: %w: %s", err, line)
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// Scan reads the file system mounted at dir on the node into a file.
func (n *Node) Scan(dir, out string) error {
	_, err := n.Must("/usr/bin/compare", "scan", dir, out)
	return err
}
