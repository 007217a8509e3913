// SPDX-License-Identifier: AGPL-3.0-only

package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/mounts"
	"github.com/bareos-contrib/vz7ct/test/lab/node"
)

// Places on a node.
const (
	ConfDir    = "/etc/vz/conf"
	NamesDir   = "/etc/vz/names"
	PrivateDir = "/vz/private"
	RootDir    = "/vz/root"
	LockDir    = "/vz/lock"
)

// ErrUnknown says that no container has this id or name.
var ErrUnknown = errors.New("no such container")

// Container is one registered container.
type Container struct {
	CTID string // name of the private area: a UUID, or a number
	UUID string
	Name string
	Conf *Conf

	lab node.Lab
}

// All lists the registered containers by CTID.
func All(lab node.Lab) ([]*Container, error) {
	files, err := filepath.Glob(ConfDir + "/*.conf")
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	var l []*Container
	for _, f := range files {
		c, err := load(lab, strings.TrimSuffix(filepath.Base(f), ".conf"))
		if errors.Is(err, os.ErrNotExist) {
			continue // a dangling link: the private area is gone
		}
		if err != nil {
			return nil, err
		}
		l = append(l, c)
	}
	return l, nil
}

func load(lab node.Lab, ctid string) (*Container, error) {
	conf, err := ReadConf(filepath.Join(ConfDir, ctid+".conf"))
	if err != nil {
		return nil, err
	}
	return &Container{CTID: ctid, UUID: conf.Get("UUID"), Name: conf.Get("NAME"), Conf: conf, lab: lab}, nil
}

// Find takes a UUID or CTID, with or without braces, or a name; ids are tried first.
func Find(lab node.Lab, arg string) (*Container, error) {
	all, err := All(lab)
	if err != nil {
		return nil, err
	}
	id := strings.TrimSuffix(strings.TrimPrefix(arg, "{"), "}")
	for _, c := range all {
		if strings.EqualFold(c.UUID, id) || strings.EqualFold(c.CTID, id) {
			return c, nil
		}
	}
	for _, c := range all {
		if c.Name == arg {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", arg, ErrUnknown)
}

// Private is the private area.
func (c *Container) Private() string { return c.path("VE_PRIVATE", PrivateDir) }

// Root is where the root disk is mounted.
func (c *Container) Root() string { return c.path("VE_ROOT", RootDir) }

func (c *Container) path(key, dir string) string {
	v := c.Conf.Get(key)
	if v == "" {
		return filepath.Join(dir, c.CTID)
	}
	return strings.NewReplacer("$VEID", c.CTID, "${VEID}", c.CTID).Replace(v)
}

// EnvID is the id by which vzctl knows the container (prlctl vz7-u22 calls vzctl with what it prints here).
func (c *Container) EnvID() string { return c.CTID }

// Disks lists the disks, the root disk first. It is implicit unless DISK says otherwise.
func (c *Container) Disks() []Disk {
	l := parseDisks(c.Conf.Get("DISK"), c.Private())
	for i, d := range l {
		if d.Mount == "/" {
			return append([]Disk{d}, append(append([]Disk(nil), l[:i]...), l[i+1:]...)...)
		}
	}
	root := Disk{
		UUID: "{00000000-0000-0000-0000-000000000000}", Enabled: true, Mount: "/", Image: filepath.Join(c.Private(), "root.hdd"),
	}
	if d, err := descriptor.Read(root.Descriptor()); err == nil {
		root.SizeKiB = d.Size / 2
	}
	return append([]Disk{root}, l...)
}

// running is what the lab remembers of a container's processes, outside the node's own folders.
type running struct {
	Init  node.Process `json:"init"`
	Group string       `json:"group,omitempty"` // control group of its processes; "" = none
}

func (c *Container) stateFile() string { return c.lab.Below("containers", c.CTID+".json") }

func (c *Container) running() (r running) {
	if b, err := os.ReadFile(c.stateFile()); err != nil || json.Unmarshal(b, &r) != nil {
		return running{}
	}
	return r
}

// Init is the first process of a running container; ok is false if there is none.
func (c *Container) Init() (p node.Process, ok bool) {
	p = c.running().Init
	return p, p.Alive()
}

// Group is the control group of a running container's processes, "" if they have none.
func (c *Container) Group() string { return c.running().Group }

// runDir is where libvzctl records the pid of a container's init (VZCTL_VE_RUN_DIR of vz7-u22).
const runDir = "/run/ve"

// SetInit remembers the first process and its control group, for the lab and where the node's own tools look for it.
func (c *Container) SetInit(p node.Process, group string) error {
	if err := os.MkdirAll(c.lab.Below("containers"), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(runDir, c.CTID+".init.pid"), []byte(strconv.Itoa(p.PID)), 0o644); err != nil {
		return err
	}
	b, err := json.Marshal(running{Init: p, Group: group})
	if err != nil {
		return err
	}
	return os.WriteFile(c.stateFile(), b, 0o644)
}

// Dump is the memory image of a suspended container.
func (c *Container) Dump() string { return filepath.Join(c.Private(), "dump", "Dump") }

// Status is the word prlctl shows.
func (c *Container) Status() string {
	if _, err := os.Stat(filepath.Join(c.Private(), "ve.conf")); err != nil {
		return "invalid"
	}
	if _, ok := c.Init(); ok {
		return "running"
	}
	if list, err := mounts.Of(0); err == nil {
		for _, m := range list {
			if m.Point == c.Root() {
				return "mounted"
			}
		}
	}
	if _, err := os.Stat(c.Dump()); err == nil {
		return "suspended"
	}
	return "stopped"
}
