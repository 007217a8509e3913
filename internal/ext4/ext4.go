// SPDX-License-Identifier: AGPL-3.0-only

// Package ext4 reads the metadata of an ext4 file system straight from its block device:
// inode tables and directory blocks in large reads, where the kernel would be asked about
// one file at a time. The file system must stand still: a frozen snapshot, or one that is
// mounted read-only everywhere.
//
// It reads no file's content and no extended attribute's value, follows no link, writes
// nothing and replays no journal. What it does not know for certain it refuses (Unfit),
// and whoever uses it walks through the kernel then. All that comes from the device is
// checked before it is used: damaged and hostile images give errors.
//
// Open, then Check, which goes over all inodes once and brings them into the kernel's
// cache, then Readers from Root on; where any of them returns an error the kernel has the
// last word. What the package cannot prove by itself its user does: that a sample of
// Check's agrees with the kernel, and that a walk ends (Dir.Parent).
//
// The layout is that of the kernel's Documentation/filesystems/ext4; where that is silent
// the kernel's own reading of it counts (fs/ext4, named at the spot).
package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Unfit is the reason why a file system is not read here, though the kernel may read it.
type Unfit struct{ Why string }

func (u *Unfit) Error() string { return "ext4 scan: " + u.Why }

func unfit(format string, args ...any) error { return &Unfit{fmt.Sprintf(format, args...)} }

// FS is the geometry of one file system. It may be used by several goroutines at once.
type FS struct {
	dev io.ReaderAt

	blockBits uint
	blocks    uint64 // in the file system
	firstData uint64 // 1 with blocks of 1 KiB, else 0
	inodes    uint32 // numbers that there can be
	free      uint32 // inodes not in use
	perGroup  uint32 // inodes
	firstIno  uint32 // lower numbers are the file system's own
	inodeSize int
	cluster   uint64 // sectors of 512 bytes that the smallest allocation counts
	groups    []group

	incompat, ro uint32
	csum         bool // metadata_csum
	long         bool // descriptors have more than 32 bytes
	seed         uint32
	dirIndex     bool
	fsid         uint64 // as statfs(2) shows it (ext4_statfs)
	lastOrphan   uint32
	orphanFile   uint32
	hidden       []uint32 // inodes that are in no directory: quotas, list of orphans

	lax bool // tests: checksums are not looked at
}

// Fields are little-endian.
var le = binary.LittleEndian

// Offsets in the superblock, which has 1024 bytes at 1024 (super.rst).
const (
	superOffset = 1024
	superSize   = 1024

	sInodes      = 0x00
	sBlocks      = 0x04
	sFreeInodes  = 0x10
	sFirstData   = 0x14
	sLogBlock    = 0x18
	sLogCluster  = 0x1c
	sPerGroup    = 0x20
	sClusters    = 0x24
	sInodesGroup = 0x28
	sMagic       = 0x38
	sState       = 0x3a
	sCreator     = 0x48
	sRevision    = 0x4c
	sFirstIno    = 0x54
	sInodeSize   = 0x58
	sCompat      = 0x5c
	sIncompat    = 0x60
	sRoCompat    = 0x64
	sUUID        = 0x68
	sJournalIno  = 0xe0
	sLastOrphan  = 0xe8
	sDescSize    = 0xfe
	sFirstMeta   = 0x104
	sBlocksHi    = 0x150
	sCsumType    = 0x175
	sUserQuota   = 0x240
	sGroupQuota  = 0x244
	sBackups     = 0x24c
	sProjQuota   = 0x26c
	sSeed        = 0x270
	sOrphanFile  = 0x280
	sChecksum    = 0x3fc
)

const rootIno = 2

// Bounds of what is read here: no file system that Linux mounts on the machines of a node
// is beyond them, and a damaged one must not cost memory.
const (
	maxGroups    = 1 << 18 // 32 TiB in blocks of 4 KiB
	maxBlockBits = 12      // the kernel mounts no blocks that are larger than a page
)

// Open reads superblock and group descriptors. An error that is an *Unfit says why the
// file system must be read through the kernel.
func Open(dev io.ReaderAt) (*FS, error) { return open(dev, false) }

func open(dev io.ReaderAt, lax bool) (*FS, error) {
	f := &FS{dev: dev, lax: lax}
	super := make([]byte, superSize)
	if err := f.read(super, superOffset); err != nil {
		return nil, fmt.Errorf("read superblock: %w", err)
	}
	if err := f.super(super); err != nil {
		return nil, err
	}
	if err := f.descriptors(super); err != nil {
		return nil, err
	}
	return f, nil
}

// super judges the superblock and takes the geometry from it.
func (f *FS) super(s []byte) error {
	if le.Uint16(s[sMagic:]) != 0xef53 {
		return unfit("no superblock of ext4 at its place")
	}
	if r := le.Uint32(s[sRevision:]); r != 1 {
		return unfit("revision %d of the superblock, known is 1", r)
	}
	if err := features(s); err != nil {
		return err
	}
	f.incompat, f.ro = le.Uint32(s[sIncompat:]), le.Uint32(s[sRoCompat:])
	f.csum = f.ro&roMetadataCsum != 0
	f.dirIndex = le.Uint32(s[sCompat:])&compatDirIndex != 0
	if f.csum {
		if s[sCsumType] != 1 {
			return unfit("checksums of type %d, known is 1 (crc32c)", s[sCsumType])
		}
		if got, want := crc32c(^uint32(0), s[:sChecksum]), le.Uint32(s[sChecksum:]); got != want && !f.lax {
			return unfit("checksum of the superblock is %#x, it says %#x", got, want)
		}
		f.seed = crc32c(^uint32(0), s[sUUID:sUUID+16])
		if f.incompat&incompatCsumSeed != 0 {
			f.seed = le.Uint32(s[sSeed:])
		}
	}
	if st := le.Uint16(s[sState:]); st != 1 {
		return unfit("state %#x: not marked as unmounted cleanly, or with errors", st)
	}
	if c := le.Uint32(s[sCreator:]); c != 0 {
		return unfit("made by operating system %d, not Linux", c)
	}
	return f.geometry(s)
}

func (f *FS) geometry(s []byte) error {
	log := le.Uint32(s[sLogBlock:])
	if log > maxBlockBits-10 {
		return unfit("blocks of 2^%d KiB", log)
	}
	f.blockBits = uint(log) + 10
	size := f.blockSize()
	logCluster := le.Uint32(s[sLogCluster:])
	if logCluster > 20 || logCluster < log || logCluster != log && f.ro&roBigalloc == 0 {
		return unfit("clusters of 2^%d KiB with blocks of 2^%d KiB", logCluster, log)
	}
	f.cluster = 2 << logCluster
	f.blocks = uint64(le.Uint32(s[sBlocks:]))
	if f.incompat&incompat64bit != 0 {
		f.blocks |= uint64(le.Uint32(s[sBlocksHi:])) << 32
	}
	f.firstData = uint64(le.Uint32(s[sFirstData:]))
	// With clusters and blocks of 1 KiB the first block is 0 (mke2fs).
	if f.firstData > 1 || f.firstData == 1 && size != 1024 || f.firstData == 0 && size == 1024 && f.ro&roBigalloc == 0 {
		return unfit("first block of data is %d with blocks of %d bytes", f.firstData, size)
	}
	f.inodeSize = int(le.Uint16(s[sInodeSize:]))
	if f.inodeSize < 128 || f.inodeSize > size || f.inodeSize&(f.inodeSize-1) != 0 {
		return unfit("inodes of %d bytes", f.inodeSize)
	}
	f.firstIno = le.Uint32(s[sFirstIno:])
	f.inodes, f.free, f.perGroup = le.Uint32(s[sInodes:]), le.Uint32(s[sFreeInodes:]), le.Uint32(s[sInodesGroup:])
	perGroup := uint64(le.Uint32(s[sPerGroup:]))
	switch {
	case f.firstIno < 11 || f.firstIno > f.inodes:
		return unfit("first inode is %d of %d", f.firstIno, f.inodes)
	case f.perGroup == 0 || f.perGroup > uint32(size)*8 || f.perGroup%8 != 0:
		return unfit("%d inodes in a group", f.perGroup)
	case perGroup < 256 || perGroup > uint64(size)*8<<(logCluster-log) || perGroup%8 != 0:
		return unfit("%d blocks in a group", perGroup)
	case f.blocks <= f.firstData || f.blocks>>(63-f.blockBits) != 0:
		return unfit("%d blocks", f.blocks)
	case f.free > f.inodes:
		return unfit("%d of %d inodes are free", f.free, f.inodes)
	}
	groups := (f.blocks - f.firstData + perGroup - 1) / perGroup
	if groups > maxGroups {
		return unfit("%d groups", groups)
	}
	if groups*uint64(f.perGroup) != uint64(f.inodes) {
		return unfit("%d inodes in %d groups of %d", f.inodes, groups, f.perGroup)
	}
	f.fsid = le.Uint64(s[sUUID:]) ^ le.Uint64(s[sUUID+8:])
	f.lastOrphan = le.Uint32(s[sLastOrphan:])
	if le.Uint32(s[sCompat:])&compatOrphanFile != 0 {
		f.orphanFile = le.Uint32(s[sOrphanFile:])
	}
	for _, at := range []int{sUserQuota, sGroupQuota, sProjQuota, sOrphanFile, sJournalIno} {
		if ino := le.Uint32(s[at:]); ino != 0 {
			f.hidden = append(f.hidden, ino)
		}
	}
	return nil
}

func (f *FS) blockSize() int { return 1 << f.blockBits }

// inside reports whether n blocks from first are in the file system.
func (f *FS) inside(first, n uint64) bool {
	return first >= f.firstData && first < f.blocks && n <= f.blocks-first
}

// read fills buf from the device.
func (f *FS) read(buf []byte, off int64) error {
	n, err := f.dev.ReadAt(buf, off)
	if n == len(buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("the device ends at byte %d: %w", off+int64(n), io.ErrUnexpectedEOF)
	}
	return err
}
