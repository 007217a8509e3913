// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// container is one of the node's, and what it holds.
type container struct {
	name, uuid string
	Count
}

// mount is where the native contestant finds the container's snapshot on the node.
func (c *container) mount() string { return "/run/bench/" + c.name }

func (c *container) descriptor() string {
	return "/vz/private/" + c.uuid + "/root.hdd/DiskDescriptor.xml"
}

// snapshot is the UUID of the snapshot for the native contestant.
const snapshot = "{7c5a3f10-9f3e-4bb5-9a31-3f1a7a1f0b55}"

// makeContainers makes those that the cases need.
func (w *world) makeContainers() error {
	if err := os.Mkdir(filepath.Join(w.dir, "empty"), 0o755); err != nil {
		return err
	}
	if len(w.cfg.Memory) > 0 {
		for n, files := range w.cfg.Memory {
			if err := w.makeContainer(fmt.Sprintf("memory%d", files), n, "_empty", fmt.Sprint(files)); err != nil {
				return err
			}
		}
		return nil
	}
	seed, err := w.seed()
	if err != nil {
		return err
	}
	for n, c := range []struct {
		name string
		fill []string
	}{
		{"control", []string{"_fill", seed, fmt.Sprint(controlFiles)}},
		{"tree", []string{"_fill", seed, fmt.Sprint(w.cfg.Files)}},
		{"slow", []string{"_fill", seed, fmt.Sprint(w.cfg.SlowFiles)}},
		{"large", []string{"_large", fmt.Sprint(w.cfg.LargeMiB)}},
	} {
		if !w.needs(c.name) {
			continue
		}
		if err := w.makeContainer(c.name, n, c.fill...); err != nil {
			return err
		}
	}
	return nil
}

// needs reports whether a case that is to be played is about a container.
func (w *world) needs(name string) bool {
	for _, c := range w.chosen() {
		if c.container == name {
			return true
		}
	}
	return name == "control"
}

// seed returns the folder that trees are made of.
func (w *world) seed() (string, error) {
	tree, err := filepath.Abs(w.cfg.Tree)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(tree); err != nil || info.IsDir() {
		return tree, err
	}
	seed := filepath.Join(w.dir, "seed")
	if err := os.Mkdir(seed, 0o755); err != nil {
		return "", err
	}
	// What is there to be hard for a backup is not what is fast or slow.
	cmd := exec.CommandContext(w.ctx, "tar", "-C", seed, "-xf", tree, "--exclude=./nasty", "--exclude=./dev/*")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack %s: %w: %s", w.cfg.Tree, err, out)
	}
	return seed, nil
}

// makeContainer makes a stopped container whose root is filled by one of this program's own commands, which gets the
// mounted root as its last argument.
func (w *world) makeContainer(name string, n int, fill ...string) error {
	c := &container{name: name, uuid: fmt.Sprintf("6c9a5ad5-7c1d-4f43-9a0f-5a8e4d6b2f%02d", n)}
	size := "24G"
	if strings.HasPrefix(name, "memory") {
		size = "64G" // for the number of inodes
	}
	if err := w.node.Create(rig.Container{Name: name, UUID: c.uuid, Size: size, Tree: filepath.Join(w.dir, "empty")}); err != nil {
		return err
	}
	if _, err := w.node.Must("prlctl", "mount", name); err != nil {
		return err
	}
	root := "/vz/root/" + c.uuid
	if err := w.self(nil, append(fill, root)...); err != nil {
		return fmt.Errorf("fill container %s: %w", name, err)
	}
	if err := w.self(&c.Count, "_count", root); err != nil {
		return fmt.Errorf("count container %s: %w", name, err)
	}
	if _, err := w.node.Must("sync", "-f", root); err != nil {
		return err
	}
	if _, err := w.node.Must("prlctl", "umount", name); err != nil {
		return err
	}
	w.cts[name] = c
	w.say("container %s: %d entries, %d regular files, %.1f MiB", name, c.Entries, c.Files, float64(c.Bytes)/(1<<20))
	return nil
}

// selfLimit is how long one of this program's own commands may take on the node.
const selfLimit = 15 * time.Minute

// self runs one of this program's own commands on the node; it prints what goes into out.
func (w *world) self(out any, args ...string) error {
	ctx, cancel := context.WithTimeout(w.ctx, selfLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, rig.Build("lab"), append([]string{"exec", w.node.Dir, "--", rig.Build("bench")}, args...)...)
	var said, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &complaint, 5*time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("bench %s: %w: %s", strings.Join(args, " "), errors.Join(err, ctx.Err()), complaint.String())
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(said.Bytes(), out); err != nil {
		return fmt.Errorf("bench %s: %w: %q", strings.Join(args, " "), err, said.String())
	}
	return nil
}

// mountNative takes a snapshot of a container and mounts it where the native contestant reads it.
func (w *world) mountNative(c *container) error {
	_, err := w.node.Must("sh", "-ec", `mkdir -p "$3"; ploop snapshot -u "$2" "$1"; ploop mount -r -u "$2" -c bench -m "$3" "$1"`,
		"sh", c.descriptor(), snapshot, c.mount())
	return err
}

// umountNative takes it away again.
func (w *world) umountNative(c *container) error {
	_, err := w.node.Must("sh", "-ec", `ploop umount -c bench "$1"; ploop snapshot-delete -u "$2" "$1"`, "sh", c.descriptor(), snapshot)
	return err
}
