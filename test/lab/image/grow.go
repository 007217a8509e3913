// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"fmt"
	"sync/atomic"
)

// Grow makes the disk larger, to so many sectors, whole clusters. The table must have room for it in the clusters that it
// takes: the real tool moves data out of its way, this one refuses. Nobody else may use the image meanwhile.
func (m *Image) Grow(sectors uint64) error {
	if m.raw {
		return fmt.Errorf("grow a raw image: %w", ErrSignature)
	}
	h := NewHeader(sectors, m.hdr.Blocksize, m.hdr.Version)
	if sectors < m.hdr.Sectors || sectors%uint64(h.Blocksize) != 0 || h.First > m.hdr.First {
		return fmt.Errorf("grow from %d to %d sectors: %w", m.hdr.Sectors, sectors, ErrEntry)
	}
	bat := make([]atomic.Uint32, h.Clusters)
	for i := range m.bat {
		bat[i].Store(m.bat[i].Load())
	}
	m.bat = bat
	m.mu.Lock()
	m.hdr.Clusters, m.hdr.Sectors, m.hdr.Heads, m.hdr.Cylinders = h.Clusters, h.Sectors, h.Heads, h.Cylinders
	err := m.writeHeader()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.f.Sync()
}

// Grow makes a disk larger while it is used. The images below the top stay as they are: what they lack reads as zeros.
func (c *Chain) Grow(sectors uint64) error {
	c.shape.Lock()
	defer c.shape.Unlock()
	switch {
	case c.ro:
		return ErrReadOnly
	case c.merge != nil:
		return ErrBusy
	}
	if err := c.levels[len(c.levels)-1].Grow(sectors); err != nil {
		return err
	}
	c.sectors.Store(sectors)
	return nil
}

// fit makes the image below as large as the one that is merged into it (grow_lower_delta of the real tool).
func fit(child, parent *Image) error {
	if parent.raw || parent.hdr.Sectors >= child.hdr.Sectors {
		return nil
	}
	return parent.Grow(child.hdr.Sectors)
}
