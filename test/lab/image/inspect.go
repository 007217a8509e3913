// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Kind is what is wrong with a BAT entry.
type Kind int

// The kinds a check tells apart.
const (
	BeyondDisk Kind = iota // describes a cluster the disk does not have
	Misaligned             // v1: not at a cluster's beginning
	BeyondEOF              // points behind the file's end
	UsedTwice              // points where another entry points
)

// Problem is one bad entry.
type Problem struct {
	Kind Kind
	Slot uint32 // the entry
	At   uint32 // the file cluster it points at
}

// Report is an image as it lies on disk, read without any trust.
type Report struct {
	Header Header
	Size   int64    // of the file
	Table  []uint32 // BAT entries as stored, the unused ones behind the disk's end too
}

// Inspect reads header and table.
func Inspect(f File) (*Report, error) {
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	h, err := ParseHeader(b)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	t := make([]byte, int64(h.First)*SectorSize-headerSize)
	if n, err := f.ReadAt(t, headerSize); err != nil {
		return nil, fmt.Errorf("read allocation table, %d of %d bytes: %w", n, len(t), err)
	}
	r := &Report{Header: h, Size: size, Table: make([]uint32, len(t)/4)}
	for i := range r.Table {
		r.Table[i] = binary.LittleEndian.Uint32(t[4*i:])
	}
	return r, nil
}

// place turns a stored entry into a file cluster; ok is false for a v1 entry inside a cluster.
func (r *Report) place(e uint32) (n uint32, ok bool) {
	if r.Header.Version == 1 {
		return e / r.Header.Blocksize, e%r.Header.Blocksize == 0
	}
	return e, true
}

// Problems lists the bad entries; doubles only if asked for.
func (r *Report) Problems(doubles bool) []Problem {
	var l []Problem
	used := map[uint32]bool{}
	for i, e := range r.Table {
		if e == 0 {
			continue
		}
		slot := uint32(i)
		n, ok := r.place(e)
		switch {
		case slot > r.Header.Clusters: // sic: the real tool lets the first one behind the end pass
			l = append(l, Problem{BeyondDisk, slot, n})
		case !ok:
			l = append(l, Problem{Misaligned, slot, n})
		case int64(n+1)*r.Header.Cluster() > r.Size:
			l = append(l, Problem{BeyondEOF, slot, n})
		case doubles && (used[n] || n < r.Header.slots()):
			l = append(l, Problem{UsedTwice, slot, n})
		}
		used[n] = true
	}
	return l
}

// End is where the file may end: behind the last cluster in use.
func (r *Report) End() int64 {
	last := r.Header.slots() - 1
	for _, e := range r.Table {
		if n, ok := r.place(e); e != 0 && ok && int64(n+1)*r.Header.Cluster() <= r.Size {
			last = max(last, n)
		}
	}
	return int64(last+1) * r.Header.Cluster()
}

// ClearSlot drops one entry.
func (r *Report) ClearSlot(f File, i uint32) error {
	_, err := f.WriteAt(make([]byte, 4), 4*int64(headerSlot+i))
	if err == nil {
		r.Table[i] = 0
	}
	return err
}

// Close marks the image as closed, and syncs.
func (r *Report) Close(f File) error {
	r.Header.InUse, r.Header.Flags, r.Header.Ext = 0, 0, 0
	if r.End() == int64(r.Header.First)*SectorSize {
		r.Header.Flags = flagEmpty // Debian's check insists
	}
	if _, err := f.WriteAt(r.Header.Marshal(), 0); err != nil {
		return err
	}
	return f.Sync()
}

// Convert rewrites a closed image as version 1 or 2: signature and table; the data stays where it is.
func (m *Image) Convert(version int) error {
	if m.hdr.Version == version {
		return nil
	}
	to := m.hdr
	to.Version = version
	b := make([]byte, 4*len(m.bat))
	for i := range m.bat {
		binary.LittleEndian.PutUint32(b[4*i:], to.entry(m.bat[i].Load()))
	}
	m.hdr = to
	m.hdr.Flags |= flagConverting
	m.hdr.InUse = inUse
	if err := m.writeHeader(); err != nil {
		return err
	}
	if _, err := m.f.WriteAt(b, headerSize); err != nil {
		return err
	}
	m.hdr.Flags &^= flagConverting
	return m.MarkInUse(false)
}
