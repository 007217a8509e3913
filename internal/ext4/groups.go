// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"fmt"
	"slices"
)

// group is what is kept of a group's descriptor.
type group struct {
	table     uint64 // first block of its inodes
	bitmap    uint64 // block that says which are in use
	bitmapSum uint32
	used      uint32 // inodes from the first that may be in use; those behind never were
	free      uint32
	dirs      uint32
	blank     bool // its bitmap was never written
}

// Fields of a descriptor (group_descr.rst); those from 0x20 on are in long ones only.
const (
	gInodeBitmap = 0x04
	gInodeTable  = 0x08
	gFreeInodes  = 0x0e
	gDirs        = 0x10
	gFlags       = 0x12
	gBitmapCsum  = 0x1a
	gUnused      = 0x1c
	gChecksum    = 0x1e
	gHi          = 0x20
	gFreeHi      = 0x2e
	gDirsHi      = 0x30
	gUnusedHi    = 0x32
	gBitmapHi    = 0x3a

	gInodeUninit = 0x1
)

// layout says in which block descriptors are.
type layout struct {
	perBlock  uint64 // descriptors
	perGroup  uint64 // blocks
	firstData uint64
	meta      bool
	firstMeta uint64 // block of descriptors from which on each is in a group of its own
	sparse    bool
	backups   []uint64 // with sparse_super2, the groups that have copies of the superblock
}

// block returns where the n-th block of descriptors is: they follow the superblock, with
// meta_bg each is in the first of the groups that it describes (blockgroup.rst).
func (l *layout) block(n uint64) uint64 {
	if !l.meta || n < l.firstMeta {
		return l.firstData + 1 + n
	}
	group := n * l.perBlock
	at := l.firstData + group*l.perGroup
	if l.super(group) {
		at++
	}
	return at
}

// super reports whether a group begins with a copy of the superblock. Only those are asked
// about that begin a block of descriptors, whose numbers are even: powers of 3, 5 and 7,
// which sparse_super keeps copies in, are not among them.
func (l *layout) super(group uint64) bool {
	if l.backups != nil {
		return group == 0 || slices.Contains(l.backups, group)
	}
	return group == 0 || !l.sparse
}

// descriptors reads those of all groups.
func (f *FS) descriptors(s []byte) error {
	size := 32
	if f.incompat&incompat64bit != 0 {
		size = int(le.Uint16(s[sDescSize:]))
		if size < 64 || size > f.blockSize() || size&(size-1) != 0 {
			return unfit("descriptors of %d bytes", size)
		}
	}
	f.long = size > 32
	l := layout{
		perBlock: uint64(f.blockSize() / size), perGroup: uint64(le.Uint32(s[sPerGroup:])), firstData: f.firstData,
		meta: f.incompat&incompatMetaBg != 0, firstMeta: uint64(le.Uint32(s[sFirstMeta:])), sparse: f.ro&roSparseSuper != 0,
	}
	if le.Uint32(s[sCompat:])&compatSparseSuper2 != 0 {
		l.backups = []uint64{uint64(le.Uint32(s[sBackups:])), uint64(le.Uint32(s[sBackups+4:]))}
	}
	count := f.inodes / f.perGroup
	f.groups = make([]group, 0, min(count, 4096))
	buf := make([]byte, f.blockSize())
	for n := uint64(0); uint32(len(f.groups)) < count; n++ {
		at := l.block(n)
		// The first ones are behind the superblock with blocks of 1 KiB and clusters too.
		if f.firstData == 0 && f.blockSize() == superSize && (!l.meta || n < l.firstMeta || n == 0) {
			at++
		}
		if !f.inside(at, 1) {
			return unfit("descriptors in block %d of %d", at, f.blocks)
		}
		if err := f.read(buf, int64(at)<<f.blockBits); err != nil {
			return fmt.Errorf("read group descriptors: %w", err)
		}
		for d := 0; d+size <= len(buf) && uint32(len(f.groups)) < count; d += size {
			g, err := f.descriptor(uint32(len(f.groups)), buf[d:d+size], s[sUUID:sUUID+16])
			if err != nil {
				return err
			}
			f.groups = append(f.groups, g)
		}
	}
	return nil
}

// descriptor takes one apart.
func (f *FS) descriptor(n uint32, d, uuid []byte) (group, error) {
	summed := f.csum || f.ro&roGdtCsum != 0
	if got, want := f.descriptorSum(n, d, uuid), le.Uint16(d[gChecksum:]); summed && got != want && !f.lax {
		return group{}, unfit("checksum of group %d's descriptor is %#x, it says %#x", n, got, want)
	}
	wide := func(low, high int) uint64 {
		if len(d) < 64 {
			return uint64(le.Uint32(d[low:]))
		}
		return uint64(le.Uint32(d[low:])) | uint64(le.Uint32(d[high:]))<<32
	}
	number := func(low, high int) uint32 {
		if len(d) < 64 {
			return uint32(le.Uint16(d[low:]))
		}
		return uint32(le.Uint16(d[low:])) | uint32(le.Uint16(d[high:]))<<16
	}
	g := group{
		table: wide(gInodeTable, gHi+gInodeTable), bitmap: wide(gInodeBitmap, gHi+gInodeBitmap),
		bitmapSum: number(gBitmapCsum, gBitmapHi), free: number(gFreeInodes, gFreeHi), dirs: number(gDirs, gDirsHi), used: f.perGroup,
	}
	if summed {
		unused := number(gUnused, gUnusedHi)
		if g.blank = le.Uint16(d[gFlags:])&gInodeUninit != 0; g.blank {
			unused = f.perGroup
		}
		if unused > f.perGroup {
			return group{}, unfit("group %d has %d unused inodes of %d", n, unused, f.perGroup)
		}
		g.used -= unused
	}
	blocks := (uint64(f.perGroup)*uint64(f.inodeSize) + uint64(f.blockSize()) - 1) >> f.blockBits
	switch {
	case !f.inside(g.table, blocks):
		return group{}, unfit("inodes of group %d in block %d of %d", n, g.table, f.blocks)
	case !f.inside(g.bitmap, 1):
		return group{}, unfit("inode bitmap of group %d in block %d of %d", n, g.bitmap, f.blocks)
	case g.free > f.perGroup || g.dirs > f.perGroup:
		return group{}, unfit("group %d has %d free inodes and %d directories, of %d", n, g.free, g.dirs, f.perGroup)
	}
	return g, nil
}

// descriptorSum is the checksum of a descriptor without the field that it is in.
func (f *FS) descriptorSum(n uint32, d, uuid []byte) uint16 {
	var number [4]byte
	le.PutUint32(number[:], n)
	if f.csum {
		sum := crc32c(f.seed, number[:])
		sum = crc32c(sum, d[:gChecksum])
		sum = crc32c(sum, []byte{0, 0})
		return uint16(crc32c(sum, d[gChecksum+2:]))
	}
	sum := crc16(^uint16(0), uuid)
	sum = crc16(sum, number[:])
	sum = crc16(sum, d[:gChecksum])
	return crc16(sum, d[gChecksum+2:])
}
