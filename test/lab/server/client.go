// SPDX-License-Identifier: AGPL-3.0-only

package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Client gives orders to the server of one lab. A zero Client with Dir set is ready.
type Client struct {
	Dir string // folder of the lab
}

// call sends one order on a connection of its own. The server reads a closed connection as the caller's death.
func (c Client) call(r request, files []*os.File) (*Answer, error) {
	conn, err := dial(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("image server: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is buffered
	if err := send(conn, r, files); err != nil {
		return nil, fmt.Errorf("image server: %s: %w", r.Op, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		return nil, err
	}
	var a Answer
	if _, err := receive(conn, &a); err != nil {
		return nil, fmt.Errorf("image server: %s: %w", r.Op, err)
	}
	return &a, a.Err()
}

// List names all devices. It changes nothing, so where no answer came it asks again.
func (c Client) List() ([]Device, error) {
	a, err := c.call(request{Op: "list"}, nil)
	if errors.Is(err, io.EOF) {
		a, err = c.call(request{Op: "list"}, nil)
	}
	if err != nil {
		return nil, err
	}
	return a.Devices, nil
}

// Add makes a device. files are its images, base first, the top open for writing unless the device is read-only.
func (c Client) Add(d Device, files []*os.File) error {
	_, err := c.call(request{Op: "add", Device: d}, files)
	return err
}

// Attach tells the server which loop devices were made for a device.
func (c Client) Attach(name string, loop, part int) error {
	_, err := c.call(request{Op: "attach", Device: Device{Name: name, Loop: loop, Part: part}}, nil)
	return err
}

// Remove ends a device: its top is closed cleanly. EBUSY if it is still open.
func (c Client) Remove(name string) (*Answer, error) {
	return c.call(request{Op: "remove", Device: Device{Name: name}}, nil)
}

// Snapshot lets further writes go to file, an empty image.
func (c Client) Snapshot(name, path string, file *os.File) (*Answer, error) {
	return c.call(request{Op: "snapshot", Device: Device{Name: name, Levels: []Level{{Path: path}}}}, []*os.File{file})
}

// Grow makes a device's disk larger, to so many sectors.
func (c Client) Grow(name string, sectors uint64) error {
	_, err := c.call(request{Op: "grow", Device: Device{Name: name, Sectors: sectors}}, nil)
	return err
}

// Merge moves level down into the one below, whose file is given open for writing; with up the level below comes up into
// the top. If a merge is under way it is waited for instead. paceMS slows it down, for tests.
func (c Client) Merge(name string, level int, up bool, below *os.File, paceMS int) (*Answer, error) {
	var files []*os.File
	if below != nil {
		files = append(files, below)
	}
	return c.call(request{Op: "merge", Device: Device{Name: name}, Level: level, Up: up, PaceMS: paceMS}, files)
}

// Alive asks for a sign of life.
func (c Client) Alive() error {
	_, err := c.call(request{Op: "ping"}, nil)
	return err
}
