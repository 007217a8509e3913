// SPDX-License-Identifier: AGPL-3.0-only

// Package node makes, describes and takes down stand-in Virtuozzo 7 nodes: a folder, a mount namespace, an image server.
// It does not know what ploop and prlctl do in it.
package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// State is what must survive the death of every process of a lab.
type State struct {
	Server   Process  `json:"server"`
	Holder   Process  `json:"holder"`
	Medium   Process  `json:"medium"` // of a node with a disk of its own
	Watch    Process  `json:"watch"`
	Conn     uint32   `json:"fuse_connection"`
	MadeHere []string `json:"made_here,omitempty"` // mount points this lab made on the machine
}

// Config is what a test may change on a lab at work; ploop and prlctl read it at every call.
type Config struct {
	Dialect     string `json:"dialect"`      // vz7 or vz9
	BusySeconds int    `json:"busy_seconds"` // how long a busy umount is tried
	LockSeconds int    `json:"lock_seconds"` // how long a descriptor's lock is waited for
	MergePaceMS int    `json:"merge_pace_ms"`
	// Pause names a point at which ploop says so in DIR/paused and waits for a minute, or for the file to go:
	// "frozen", "switched", "merge-marked", "offline-merge", "mounted".
	Pause string `json:"pause,omitempty"`
	// Fault is planted in one call of ploop or prlctl: see Call.
	Fault string `json:"fault,omitempty"`
	// Cgroup is how containers can be frozen from their next start on: v1, v2, none; "" is what the machine has, v1 before v2.
	Cgroup string `json:"cgroup,omitempty"`
	// DiskMiB is the size of the node's own disk, 0 if its files lie in the lab's folder.
	DiskMiB int `json:"disk_mib,omitempty"`
	// Workload: operations a second of each writer.
	Rate int `json:"rate"`
	// Lockstep is how often a second a counter is written to all disks of a container, one after another, durably.
	Lockstep int `json:"lockstep,omitempty"`
}

// DefaultConfig is a lab as `up` makes it.
func DefaultConfig() Config {
	return Config{Dialect: "vz7", BusySeconds: 60, LockSeconds: 60, Rate: 50}
}

// Lab is one lab's folder.
type Lab struct{ Dir string }

// Below names a file of the lab.
func (l Lab) Below(name ...string) string { return filepath.Join(append([]string{l.Dir}, name...)...) }

// Open takes an existing lab. The folder's name is made absolute and free of links: it is compared with the kernel's.
func Open(dir string) (Lab, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Lab{}, err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return Lab{}, fmt.Errorf("lab %s: %w", dir, err)
	}
	return Lab{Dir: real}, nil
}

// Mine finds the lab that the running program belongs to, by the place it was started from: inside a node ploop and prlctl
// are links to DIR/bin/lab. No variable is needed, so a caller may clear its environment.
func Mine() (Lab, error) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return Lab{}, err
	}
	dir, ok := strings.CutSuffix(exe, "/bin/lab")
	if !ok {
		return Lab{}, fmt.Errorf("%s is not the program of a lab", exe)
	}
	if _, err := os.Stat(filepath.Join(dir, configName)); err != nil {
		return Lab{}, fmt.Errorf("%s is not the program of a lab: %w", exe, err)
	}
	return Lab{Dir: dir}, nil
}

const (
	stateName  = "state.json"
	configName = "config.json"
)

// State reads the lab's state; a lab that is down has an empty one.
func (l Lab) State() (State, error) {
	var s State
	err := load(l.Below(stateName), &s)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return s, err
}

func (l Lab) store(s State) error { return save(l.Below(stateName), s) }

// Config reads the settings.
func (l Lab) Config() (Config, error) {
	c := DefaultConfig()
	err := load(l.Below(configName), &c)
	if d := os.Getenv("LAB_DIALECT"); d != "" {
		c.Dialect = d
	}
	if err == nil && c.Dialect != "vz7" && c.Dialect != "vz9" {
		err = fmt.Errorf("dialect %q: there is vz7 and vz9", c.Dialect)
	}
	return c, err
}

// SetConfig writes the settings.
func (l Lab) SetConfig(c Config) error { return save(l.Below(configName), c) }

func load(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// save replaces a file as a whole.
func save(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// Append adds a line to one of the lab's logs, in JSON.
func (l Lab) Append(name string, v any) (err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(l.Below(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(append(b, '\n'))
	return err
}
