// SPDX-License-Identifier: AGPL-3.0-only

package server

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// spoilt is a part of a disk that cannot be read. The disk is known by its base image: a snapshot is spoilt with it.
type spoilt struct {
	dev, ino uint64
	from, to int64
}

// spoil makes a part of a device's disk unreadable.
func (s *disks) spoil(d *device, from, length int64) error {
	if from < 0 || length <= 0 || from+length > d.chain.Size() {
		return fmt.Errorf("spoil %d bytes at %d: %w", length, from, unix.EINVAL)
	}
	base := d.base()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = append(s.bad, spoilt{base.Dev, base.Ino, from, from + length})
	return nil
}

// heal makes all disks readable again.
func (s *disks) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = nil
}

// unreadable reports whether a part of a disk touches a spoilt one.
func (s *disks) unreadable(d *device, from, to int64) bool {
	s.mu.Lock()
	bad := s.bad
	s.mu.Unlock()
	if len(bad) == 0 {
		return false
	}
	base := d.base()
	return slices.ContainsFunc(bad, func(b spoilt) bool {
		return b.dev == base.Dev && b.ino == base.Ino && b.from < to && from < b.to
	})
}

func (d *device) base() Level {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info.Levels[0]
}

// Spoil makes a part of a device's disk unreadable, on all devices with its base image, until Heal.
func (c Client) Spoil(name string, offset, length int64) error {
	_, err := c.call(request{Op: "spoil", Device: Device{Name: name}, Offset: offset, Length: length}, nil)
	return err
}

// Heal makes all that is spoilt readable again.
func (c Client) Heal() error {
	_, err := c.call(request{Op: "heal"}, nil)
	return err
}
