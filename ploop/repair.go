// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Users names who works on a disk besides its container: a ploop command, devices
// of backups. The container's own device is not among them. None is nil.
func (c Client) Users(ctx context.Context, descriptor string) ([]string, error) {
	return c.users(ctx, descriptor, false)
}

// Openers is Users of a disk that nobody should have open: a device that could be its
// container's is named too.
func (c Client) Openers(ctx context.Context, descriptor string) ([]string, error) {
	return c.users(ctx, descriptor, true)
}

func (c Client) users(ctx context.Context, descriptor string, all bool) ([]string, error) {
	d, err := Read(descriptor)
	if err != nil {
		return nil, err
	}
	var users []string
	busy, err := Busy(descriptor)
	if err != nil {
		return nil, err
	}
	if busy {
		users = append(users, "a ploop command")
	}
	open, err := c.opened(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, dev := range open {
		switch {
		case dev.Component != "":
			users = append(users, fmt.Sprintf("device %s of %s", dev.Name, dev.Component))
		case all:
			users = append(users, "device "+dev.Name)
		}
	}
	return users, nil
}

// opened lists the devices that are open on a disk's images.
func (c Client) opened(ctx context.Context, d *Disk) ([]Device, error) {
	list, err := c.Devices(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(dev Device) bool {
		return !slices.ContainsFunc(d.Images, func(i Image) bool { return i.File == dev.Image })
	}), nil
}

// ErrNoRepair is returned by Repair where it does nothing.
var ErrNoRepair = errors.New("not in a state that is known to be repaired without loss")

// Repair completes a merge that was cut off, of a disk that nobody has open: it
// drops the in-use mark from the images and deletes the snapshot anew. The content
// was found identical to that before the merge (7.0.280, run on images of a stopped
// container). uuid names the snapshot if it is known to be the caller's; "" means
// the one that is marked temporary, of which there must be one, below the newest
// image. In all other states it returns ErrNoRepair. The caller keeps the container
// from being started meanwhile.
func (c Client) Repair(ctx context.Context, descriptor, uuid string) error {
	d, err := Read(descriptor)
	if err != nil {
		return err
	}
	shot, err := d.cutOff(uuid)
	if err != nil {
		return err
	}
	open, err := c.opened(ctx, d)
	if err != nil {
		return err
	}
	if len(open) > 0 {
		return fmt.Errorf("%w: %s is open on device %s", ErrNoRepair, descriptor, open[0].Name)
	}
	if _, err := c.run(ctx, true, "check", "-d", descriptor); err != nil {
		return err
	}
	_, err = c.run(ctx, true, "snapshot-delete", "-u", shot, descriptor)
	after, readErr := Read(descriptor)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if _, still := after.Shot(shot); still || len(after.Images) != len(d.Images)-1 {
		return errors.Join(err, fmt.Errorf("%s has %d images after the repair, %d before", descriptor, len(after.Images), len(d.Images)))
	}
	return nil
}

// cutOff returns the snapshot whose merge was cut off.
func (d *Disk) cutOff(uuid string) (string, error) {
	var marked []string
	for _, s := range d.Shots {
		if s.Temporary {
			marked = append(marked, s.GUID)
		}
	}
	shot := guid(uuid)
	switch {
	case uuid == "" && len(marked) == 1:
		shot = marked[0]
	case uuid == "" || len(marked) > 1 || len(marked) == 1 && marked[0] != shot:
		return "", fmt.Errorf("%w: temporary snapshots %s", ErrNoRepair, strings.Join(marked, ", "))
	}
	if top, ok := d.Shot(d.Top); !ok || top.Parent != shot || d.children(shot) != 1 {
		return "", fmt.Errorf("%w: snapshot %s is not the one below the newest image alone", ErrNoRepair, shot)
	}
	return shot, nil
}

// children counts the images that rest on a snapshot.
func (d *Disk) children(shot string) int {
	n := 0
	for _, s := range d.Shots {
		if s.Parent == shot {
			n++
		}
	}
	return n
}
