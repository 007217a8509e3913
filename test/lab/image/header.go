// SPDX-License-Identifier: AGPL-3.0-only

// Package image reads and writes ploop image files: header, block allocation table (BAT), chains of deltas, online and
// offline merges. It does not know DiskDescriptor.xml, devices or mounts, and it does not store bitmaps of changed blocks.
package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Sizes and magic values of the format. Everything in a header counts 512-byte sectors and is little endian.
const (
	SectorSize = 512
	headerSize = 64
	headerSlot = headerSize / 4 // BAT entry i sits at 4-byte slot headerSlot+i

	sigV1 = "WithoutFreeSpace"
	sigV2 = "WithouFreSpacExt"

	typeCompressed = 2

	inUse = 0x746F6E59 // "Ynot": open, or not closed

	flagEmpty      = 1 // nothing was ever allocated
	flagConverting = 2 // a change from v1 to v2 is under way

	// DefaultBlocksize is the cluster size the tool uses unless told otherwise: 1 MiB.
	DefaultBlocksize = 2048
)

// What a header can be refused for.
var (
	ErrSignature = errors.New("wrong signature")
	ErrType      = errors.New("wrong type")
	ErrCluster   = errors.New("wrong cluster size")
	ErrFirst     = errors.New("wrong first block offset")
)

// Header is the first 64 bytes of an image.
type Header struct {
	Version   int    // 1 or 2
	Heads     uint32 // geometry, for information
	Cylinders uint32
	Blocksize uint32 // cluster size in sectors
	Clusters  uint32 // BAT entries
	Sectors   uint64 // size of the disk
	InUse     uint32
	First     uint32 // sectors before the first data cluster
	Flags     uint32
	Ext       uint64 // place of the format extension, 0 = none
}

// ValidBlocksize says whether a cluster of n sectors is allowed: a power of two from 32 KiB to 64 MiB.
func ValidBlocksize(n uint32) bool {
	return n >= 64 && n <= 131072 && bits.OnesCount32(n) == 1
}

// RoundUp rounds a disk of n sectors up to whole clusters.
func RoundUp(n uint64, blocksize uint32) uint64 {
	b := uint64(blocksize)
	return (n + b - 1) / b * b
}

// Geometry makes up cylinders, heads and sectors for a disk, as the tool writes them in headers and descriptors.
func Geometry(size uint64) (cyl, heads, sectors uint32) {
	if size > 1032192 && size < 16777216 {
		return uint32(size / (16 * 63)), 16, 63
	}
	pick := func(n uint64, from ...uint32) (uint32, bool) {
		for _, v := range from {
			if n%uint64(v) == 0 {
				return v, true
			}
		}
		return 1, false
	}
	s, ok := pick(size, 63, 32, 16, 8)
	if !ok {
		return uint32(size), 1, 1
	}
	h, _ := pick(size/uint64(s), 16, 8, 4, 2)
	return uint32(size / uint64(s) / uint64(h)), h, s
}

// NewHeader describes an empty image. The caller has rounded sectors.
func NewHeader(sectors uint64, blocksize uint32, version int) Header {
	c, h, _ := Geometry(sectors)
	n := uint32(sectors / uint64(blocksize))
	table := (headerSize + 4*uint64(n) + SectorSize - 1) / SectorSize
	return Header{
		Version: version, Heads: h, Cylinders: c, Blocksize: blocksize, Clusters: n, Sectors: sectors,
		First: uint32(RoundUp(table, blocksize)), Flags: flagEmpty,
	}
}

// Marshal gives the 64 bytes on disk.
func (h *Header) Marshal() []byte {
	b := make([]byte, headerSize)
	le := binary.LittleEndian
	sig := sigV2
	if h.Version == 1 {
		sig = sigV1
	}
	copy(b, sig)
	le.PutUint32(b[16:], typeCompressed)
	le.PutUint32(b[20:], h.Heads)
	le.PutUint32(b[24:], h.Cylinders)
	le.PutUint32(b[28:], h.Blocksize)
	le.PutUint32(b[32:], h.Clusters)
	if h.Version == 1 {
		le.PutUint32(b[36:], uint32(h.Sectors))
	} else {
		le.PutUint64(b[36:], h.Sectors)
	}
	le.PutUint32(b[44:], h.InUse)
	le.PutUint32(b[48:], h.First)
	le.PutUint32(b[52:], h.Flags)
	le.PutUint64(b[56:], h.Ext)
	return b
}

// ParseHeader reads the 64 bytes on disk. The errors wrap ErrSignature, ErrType, ErrCluster or ErrFirst.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if len(b) < headerSize {
		return h, fmt.Errorf("header of %d bytes: %w", len(b), ErrSignature)
	}
	le := binary.LittleEndian
	switch string(b[:16]) {
	case sigV1:
		h.Version = 1
		h.Sectors = uint64(le.Uint32(b[36:]))
	case sigV2:
		h.Version = 2
		h.Sectors = le.Uint64(b[36:])
	default:
		return h, fmt.Errorf("%w %q", ErrSignature, b[:16])
	}
	if t := le.Uint32(b[16:]); t != typeCompressed {
		return h, fmt.Errorf("%w %d", ErrType, t)
	}
	h.Heads, h.Cylinders, h.Blocksize = le.Uint32(b[20:]), le.Uint32(b[24:]), le.Uint32(b[28:])
	h.Clusters, h.InUse, h.First = le.Uint32(b[32:]), le.Uint32(b[44:]), le.Uint32(b[48:])
	h.Flags, h.Ext = le.Uint32(b[52:]), le.Uint64(b[56:])
	if !ValidBlocksize(h.Blocksize) {
		return h, fmt.Errorf("%w %d", ErrCluster, h.Blocksize)
	}
	if h.First == 0 || h.First%h.Blocksize != 0 {
		return h, fmt.Errorf("%w %d", ErrFirst, h.First)
	}
	return h, nil
}

// Dirty says whether the image is open or was not closed.
func (h *Header) Dirty() bool { return h.InUse == inUse }

// Converting says whether the image was caught in a change of its version.
func (h *Header) Converting() bool { return h.Flags&flagConverting != 0 }

// Cluster is the cluster size in bytes.
func (h *Header) Cluster() int64 { return int64(h.Blocksize) * SectorSize }

// slots is the number of clusters that header and BAT take.
func (h *Header) slots() uint32 { return h.First / h.Blocksize }

// entry is the BAT entry that points at file cluster n, as stored: sectors in v1, clusters in v2.
func (h *Header) entry(n uint32) uint32 {
	if h.Version == 1 {
		return n * h.Blocksize
	}
	return n
}
