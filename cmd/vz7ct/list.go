// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// container is one container of the node as `vz7ct list` shows it.
type container struct {
	Name  string `json:"name"`
	UUID  string `json:"uuid"`
	State string `json:"state"`
	Disks []disk `json:"disks"`
	// Error tells why there is no more to be said.
	Error string `json:"error,omitempty"`
}

type disk struct {
	// Mount is the mount point in the container, "" if there is none.
	Mount string `json:"mount"`
	UUID  string `json:"uuid"`
	// Size is in bytes.
	Size uint64 `json:"size"`
	// Image is the base image, or what the disk is if it is no image.
	Image     string     `json:"image"`
	Snapshots []snapshot `json:"snapshots"`
	// Unsafe tells why no snapshot may be made now, and what to do.
	Unsafe string `json:"unsafe,omitempty"`
	// Orphans are image files that no snapshot uses.
	Orphans []string `json:"orphans,omitempty"`
	Error   string   `json:"error,omitempty"`
}

type snapshot struct {
	UUID      string `json:"uuid"`
	Temporary bool   `json:"temporary"`
	// Whose is "ours", "other" or "unknown".
	Whose string `json:"whose"`
	// Job and JobState are those of the journal that names it, if one does.
	Job      string `json:"job,omitempty"`
	JobState string `json:"job_state,omitempty"`
	// Why tells what is missing where it is not known whose it is.
	Why string `json:"why,omitempty"`
}

// traces are what jobs of ours leave on a node to be known by.
type traces struct {
	journals []undo.Entry
	devices  []ploop.Device
	mounts   []string
	// missing are the traces that could not be looked at.
	missing error
	// again reads the journals anew: a step is in its journal before it is taken,
	// so that a job that has begun since is found for what it has just made.
	again func() []undo.Entry
}

// list is `vz7ct list`.
func (a app) list(asJSON bool) int {
	ctx := context.Background()
	known, err := a.node.Containers.List(ctx)
	if err != nil {
		a.log.Errorf("list containers: %v", err)
		return failed
	}
	t := a.traces(ctx)
	a.complain(t.missing)
	all := []container{}
	whole := t.missing == nil
	for _, k := range known {
		c := a.describe(ctx, k, t)
		whole = whole && c.Error == "" && !slices.ContainsFunc(c.Disks, func(d disk) bool { return d.Error != "" })
		all = append(all, c)
	}
	if asJSON {
		a.json(all)
	} else {
		printContainers(a.stdout, all)
	}
	if !whole {
		return failed
	}
	return done
}

func (a app) traces(ctx context.Context) traces {
	t := traces{again: func() []undo.Entry {
		list, _ := undo.List(a.journals())
		return list
	}}
	var err1, err2, err3 error
	t.journals, err1 = undo.List(a.journals())
	if t.devices, err2 = a.devices(ctx); err2 != nil {
		err2 = fmt.Errorf("list devices: %w", err2)
	}
	names, err3 := os.ReadDir(a.node.Mounts)
	if errors.Is(err3, os.ErrNotExist) {
		err3 = nil
	}
	for _, n := range names {
		t.mounts = append(t.mounts, n.Name())
	}
	t.missing = errors.Join(err1, err2, err3)
	return t
}

func (a app) describe(ctx context.Context, k prlctl.Container, t traces) container {
	c := container{Name: k.Name, UUID: k.UUID, State: k.State, Disks: []disk{}}
	place, err := a.node.Containers.Describe(ctx, k.UUID)
	if err != nil {
		c.Error = err.Error()
		return c
	}
	conf, err := place.Config.Disks(place.Private)
	if err != nil {
		c.Error = err.Error()
		return c
	}
	for _, d := range conf {
		c.Disks = append(c.Disks, describeDisk(k.UUID, d, t))
	}
	return c
}

func describeDisk(uuid string, conf prlctl.ConfiguredDisk, t traces) disk {
	out := disk{Mount: conf.Mount, UUID: conf.UUID, Size: conf.Size * 1024, Image: conf.Dir, Snapshots: []snapshot{}}
	if conf.External != "" {
		out.Image = conf.External + ", which is no ploop image"
		return out
	}
	d, err := ploop.Read(filepath.Join(conf.Dir, "DiskDescriptor.xml"))
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.Size = d.Size * ploop.SectorSize
	if chain, err := d.Chain(); err == nil && len(chain) > 0 {
		out.Image = chain[0].File
	}
	for _, s := range d.Shots {
		if s.GUID != d.Top {
			out.Snapshots = append(out.Snapshots, t.judge(uuid, d, s))
		}
	}
	out.Orphans = d.Orphans()
	out.Unsafe, out.Error = unsafe(d.Descriptor, t)
	return out
}

// unsafe says why a disk is not safe to snapshot. While a job of ours is at work
// on it, this is its work: then the commands that repair would do harm.
func unsafe(descriptor string, t traces) (why, problem string) {
	err := ploop.Safe(descriptor)
	var state *ploop.UnsafeError
	if !errors.As(err, &state) {
		if err != nil {
			problem = err.Error()
		}
		return "", problem
	}
	e, ours := t.naming(func(s undo.Step) bool { return s.Descriptor == descriptor })
	switch {
	case ours && e.Live:
		return fmt.Sprintf("%s; job %s of this plugin is at work on it: wait for its end", state.What, e.Head.Job), ""
	case ours:
		return fmt.Sprintf("%s; job %s of this plugin has left it so: run vz7ct recover; if that does not help, %s", state.What, e.Head.Job, state.Cure), ""
	default:
		return state.What + "; " + state.Cure, ""
	}
}

// naming finds the journal with a pending step that matches.
func (t traces) naming(match func(undo.Step) bool) (undo.Entry, bool) {
	for _, read := range []func() []undo.Entry{func() []undo.Entry { return t.journals }, t.again} {
		for _, e := range read() {
			if slices.ContainsFunc(e.Pending, match) {
				return e, true
			}
		}
	}
	return undo.Entry{}, false
}

// judge finds out whose a snapshot is. A journal knows; without one the record
// beside the images, and the names that a mounted snapshot of ours has: those of its
// device (ploop.Mount) and of its mount point (fdplugin, UUID of the container,
// digits of the snapshot).
func (t traces) judge(container string, d *ploop.Disk, s ploop.Shot) snapshot {
	id := strings.Trim(s.GUID, "{}")
	out := snapshot{UUID: id, Temporary: s.Temporary, Whose: "ours"}
	if e, ok := t.naming(func(step undo.Step) bool {
		return step.Descriptor == d.Descriptor && strings.EqualFold(strings.Trim(step.Snapshot, "{}"), id)
	}); ok {
		out.Job, out.JobState = e.Head.Job, stateOf(e)
		return out
	}
	ofDisk := func(dev ploop.Device) bool {
		return dev.Snapshot() == id && slices.ContainsFunc(d.Images, func(i ploop.Image) bool { return i.File == dev.Image })
	}
	place := container + "." + id[:min(len(id), 8)] + "."
	switch {
	case fdplugin.Recorded(d.Descriptor, id),
		slices.ContainsFunc(t.devices, ofDisk),
		slices.ContainsFunc(t.mounts, func(m string) bool { return strings.HasPrefix(m, place) }):
	case t.missing != nil:
		out.Whose, out.Why = "unknown", strings.ReplaceAll(t.missing.Error(), "\n", "; ")
	default:
		out.Whose = "other"
	}
	return out
}
