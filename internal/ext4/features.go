// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"fmt"
	"strings"
)

// Feature bits (super.rst; names as mke2fs has them, e2fsprogs lib/e2p/feature.c).
const (
	compatJournal      = 0x4
	compatDirIndex     = 0x20
	compatOrphanFile   = 0x1000
	compatSparseSuper2 = 0x200

	incompatFiletype   = 0x2
	incompatRecover    = 0x4
	incompatMetaBg     = 0x10
	incompat64bit      = 0x80
	incompatEaInode    = 0x400
	incompatCsumSeed   = 0x2000
	incompatLargeDir   = 0x4000
	incompatInlineData = 0x8000

	roSparseSuper  = 0x1
	roHugeFile     = 0x8
	roGdtCsum      = 0x10
	roBigalloc     = 0x200
	roMetadataCsum = 0x400
	roProject      = 0x2000
)

// set is one of the three words of feature bits. What is not among its known bits is not
// read; some of those have names.
type set struct {
	what  string
	at    int
	known map[uint32]string
	names map[uint32]string
}

var sets = []set{
	{"compat", sCompat, map[uint32]string{
		0x1: "dir_prealloc", compatJournal: "has_journal", 0x8: "ext_attr", 0x10: "resize_inode", compatDirIndex: "dir_index",
		compatSparseSuper2: "sparse_super2", 0x400: "fast_commit", 0x800: "stable_inodes", compatOrphanFile: "orphan_file",
	}, map[uint32]string{0x2: "imagic_inodes", 0x40: "lazy_bg", 0x80: "exclude_inode", 0x100: "exclude_bitmap"}},
	{"incompat", sIncompat, map[uint32]string{
		incompatFiletype: "filetype", incompatMetaBg: "meta_bg", 0x40: "extents", incompat64bit: "64bit", 0x100: "mmp", 0x200: "flex_bg",
		incompatEaInode: "ea_inode", incompatCsumSeed: "metadata_csum_seed", incompatLargeDir: "large_dir", incompatInlineData: "inline_data",
	}, map[uint32]string{
		0x1: "compression", incompatRecover: "needs_recovery (its journal was not replayed)", 0x8: "journal_dev", 0x1000: "dirdata",
		0x10000: "encrypt", 0x20000: "casefold",
	}},
	{"ro_compat", sRoCompat, map[uint32]string{
		roSparseSuper: "sparse_super", 0x2: "large_file", roHugeFile: "huge_file", roGdtCsum: "uninit_bg", 0x20: "dir_nlink",
		0x40: "extra_isize", 0x100: "quota", roBigalloc: "bigalloc", roMetadataCsum: "metadata_csum", 0x1000: "read-only",
		roProject: "project", 0x10000: "orphan_present",
	}, map[uint32]string{0x4: "btree_dir", 0x80: "has_snapshot", 0x800: "replica", 0x4000: "shared_blocks", 0x8000: "verity"}},
}

// features refuses a superblock with a feature that is not known here. Fast commits count
// in a journal that must be replayed alone, and that is refused (needs_recovery).
func features(super []byte) error {
	var strange []string
	for _, s := range sets {
		word := le.Uint32(super[s.at:])
		for bit := uint32(1); bit != 0; bit <<= 1 {
			if word&bit == 0 || s.known[bit] != "" {
				continue
			}
			name := s.names[bit]
			if name == "" {
				name = fmt.Sprintf("%s %#x", s.what, bit)
			}
			strange = append(strange, name)
		}
	}
	if strange != nil {
		return unfit("features that it does not read: %s", strings.Join(strange, ", "))
	}
	word := func(at int) uint32 { return le.Uint32(super[at:]) }
	switch {
	case word(sRoCompat)&roGdtCsum != 0 && word(sRoCompat)&roMetadataCsum != 0:
		return unfit("uninit_bg and metadata_csum at once")
	case word(sIncompat)&incompatCsumSeed != 0 && word(sRoCompat)&roMetadataCsum == 0:
		return unfit("metadata_csum_seed without metadata_csum")
	case word(sIncompat)&incompatMetaBg != 0 && word(sCompat)&0x10 != 0:
		return unfit("meta_bg and resize_inode at once")
	case word(sCompat)&compatJournal != 0 && word(sJournalIno) == 0:
		return unfit("its journal is on another device")
	}
	return nil
}
