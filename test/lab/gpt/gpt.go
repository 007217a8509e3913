// SPDX-License-Identifier: AGPL-3.0-only

// Package gpt writes and reads the partition table of a container disk: one partition that begins at the first cluster.
// It knows nothing of other tables, and repairs none.
package gpt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	sector     = 512
	signature  = "EFI PART"
	entries    = 128
	entrySize  = 128
	headerLen  = 92
	tableBytes = entries * entrySize
)

// linux is the type GUID "Linux filesystem data", as stored.
var linux = []byte{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}

// ErrNone says that the disk has no such table.
var ErrNone = errors.New("no partition table")

// Partition is a run of sectors, both ends included.
type Partition struct{ First, Last uint64 }

// Whole is the partition the tool makes on a disk of size sectors: from the first cluster on, whole clusters, with room
// for the second table at the end.
func Whole(size uint64, blocksize uint32) Partition {
	b := uint64(blocksize)
	return Partition{First: b, Last: (size-b)/b*b - 1}
}

// Write puts a table with partition p on a disk of size sectors.
func Write(w io.WriterAt, size uint64, p Partition) error {
	table := make([]byte, tableBytes)
	copy(table, linux)
	var disk [16]byte
	for _, id := range [][]byte{table[16:32], disk[:]} {
		if _, err := rand.Read(id); err != nil {
			return err
		}
		id[7], id[8] = id[7]&0x0f|0x40, id[8]&0x3f|0x80
	}
	binary.LittleEndian.PutUint64(table[32:], p.First)
	binary.LittleEndian.PutUint64(table[40:], p.Last)

	tableSectors := uint64(tableBytes / sector)
	front := make([]byte, 2*sector+tableBytes)
	protect(front[:sector], size)
	header(front[sector:2*sector], disk, table, 1, size-1, 2, size)
	copy(front[2*sector:], table)
	if _, err := w.WriteAt(front, 0); err != nil {
		return fmt.Errorf("write partition table: %w", err)
	}
	back := make([]byte, tableBytes+sector)
	copy(back, table)
	header(back[tableBytes:], disk, table, size-1, 1, size-1-tableSectors, size)
	if _, err := w.WriteAt(back, int64(size-1-tableSectors)*sector); err != nil {
		return fmt.Errorf("write second partition table: %w", err)
	}
	return nil
}

// protect writes the old-style table that keeps old tools off the disk.
func protect(b []byte, size uint64) {
	e := b[446:]
	e[1], e[2], e[3] = 0, 2, 0
	e[4] = 0xee
	e[5], e[6], e[7] = 0xff, 0xff, 0xff
	binary.LittleEndian.PutUint32(e[8:], 1)
	binary.LittleEndian.PutUint32(e[12:], uint32(min(size-1, 0xffffffff)))
	b[510], b[511] = 0x55, 0xaa
}

// header fills one header sector: its own place, the other's, and where its table begins.
func header(b []byte, disk [16]byte, table []byte, own, other, at, size uint64) {
	le := binary.LittleEndian
	copy(b, signature)
	le.PutUint32(b[8:], 0x00010000)
	le.PutUint32(b[12:], headerLen)
	le.PutUint64(b[24:], own)
	le.PutUint64(b[32:], other)
	le.PutUint64(b[40:], 2+tableBytes/sector)      // first usable
	le.PutUint64(b[48:], size-2-tableBytes/sector) // last usable
	copy(b[56:], disk[:])
	le.PutUint64(b[72:], at)
	le.PutUint32(b[80:], entries)
	le.PutUint32(b[84:], entrySize)
	le.PutUint32(b[88:], crc32.ChecksumIEEE(table))
	le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:headerLen]))
}

// Read finds the first partition. ErrNone is returned in one case: the disk does not begin with such a table.
func Read(r io.ReaderAt) (Partition, error) {
	b := make([]byte, sector)
	if _, err := r.ReadAt(b, sector); err != nil {
		return Partition{}, fmt.Errorf("read partition table: %w", err)
	}
	if !bytes.HasPrefix(b, []byte(signature)) {
		return Partition{}, ErrNone
	}
	le := binary.LittleEndian
	sum := le.Uint32(b[16:])
	le.PutUint32(b[16:], 0)
	if n := le.Uint32(b[12:]); n < headerLen || n > sector || crc32.ChecksumIEEE(b[:n]) != sum {
		return Partition{}, fmt.Errorf("partition table: checksum of the header is wrong: %w", ErrNone)
	}
	e := make([]byte, entrySize)
	if _, err := r.ReadAt(e, int64(le.Uint64(b[72:]))*sector); err != nil {
		return Partition{}, fmt.Errorf("read partition entry: %w", err)
	}
	p := Partition{First: le.Uint64(e[32:]), Last: le.Uint64(e[40:])}
	if p.First == 0 || p.Last < p.First {
		return Partition{}, fmt.Errorf("partition %d to %d: %w", p.First, p.Last, ErrNone)
	}
	return p, nil
}
