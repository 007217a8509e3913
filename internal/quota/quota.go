// SPDX-License-Identifier: AGPL-3.0-only

// Package quota reads the limits of users and groups out of the quota files of
// a file system, aquota.user and aquota.group, without the kernel's help: they
// lie in a snapshot. It reads the formats vfsv0 and vfsv1 (Linux fs/quota:
// quotaio_v2.h, quota_tree.h) and nothing else, and changes nothing.
//
// The file is a tenant's: whatever it holds, reading ends and stays in bounds.
package quota

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
)

// Limit is what one user or group may use. Blocks are of 1 KiB; 0 is no limit.
type Limit struct {
	ID                     uint32
	SoftBlocks, HardBlocks uint64
	SoftFiles, HardFiles   uint64
}

const (
	blockSize   = 1024 // QT: V2_DQBLKSIZE
	rootBlock   = 1    // QT_TREEOFF
	depth       = 4    // of the tree, for ids of 32 bits
	magicUser   = 0xd9c01f11
	magicGroup  = 0xd9c01927
	leafHead    = 16
	sizeV0      = 48
	sizeV1      = 72
	maxEntries  = 1 << 20
	maxBlocks   = 1 << 18 // 256 MiB: over a million entries of either version
	maxVersions = 1
)

// ErrFormat is wrapped by every error about the content.
var ErrFormat = errors.New("no quota file of a known format")

// Read returns all entries that have a limit, in the order of their ids. size is
// the file's.
func Read(f io.ReaderAt, size int64) ([]Limit, error) {
	var head [8]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	magic, version := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[4:])
	if magic != magicUser && magic != magicGroup || version > maxVersions {
		return nil, fmt.Errorf("%w: magic %#x, version %d", ErrFormat, magic, version)
	}
	r := reader{file: f, blocks: uint32(min(size/blockSize, 1<<31)), v1: version == 1, seen: map[uint32]bool{}}
	if err := r.walk(rootBlock, 0); err != nil {
		return nil, err
	}
	sort.Slice(r.limits, func(i, j int) bool { return r.limits[i].ID < r.limits[j].ID })
	return r.limits, nil
}

type reader struct {
	file   io.ReaderAt
	blocks uint32
	v1     bool
	seen   map[uint32]bool
	limits []Limit
}

// walk follows the references of one block, level 0 being the root's.
func (r *reader) walk(block uint32, level int) error {
	if block >= r.blocks || len(r.limits) > maxEntries || len(r.seen) > maxBlocks {
		return fmt.Errorf("%w: block %d of %d", ErrFormat, block, r.blocks)
	}
	if r.seen[block] {
		return nil // leaves hold entries of several references
	}
	r.seen[block] = true
	var b [blockSize]byte
	if _, err := r.file.ReadAt(b[:], int64(block)*blockSize); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if level == depth {
		r.leaf(b[leafHead:])
		return nil
	}
	for i := 0; i < blockSize; i += 4 {
		if next := binary.LittleEndian.Uint32(b[i:]); next != 0 {
			if err := r.walk(next, level+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) leaf(b []byte) {
	size := sizeV0
	if r.v1 {
		size = sizeV1
	}
	for ; len(b) >= size; b = b[size:] {
		l := Limit{ID: binary.LittleEndian.Uint32(b)}
		if r.v1 {
			l.HardFiles, l.SoftFiles = binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
			l.HardBlocks, l.SoftBlocks = binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
		} else {
			l.HardFiles, l.SoftFiles = uint64(binary.LittleEndian.Uint32(b[4:])), uint64(binary.LittleEndian.Uint32(b[8:]))
			l.HardBlocks, l.SoftBlocks = uint64(binary.LittleEndian.Uint32(b[16:])), uint64(binary.LittleEndian.Uint32(b[20:]))
		}
		if l.HardFiles|l.SoftFiles|l.HardBlocks|l.SoftBlocks != 0 {
			r.limits = append(r.limits, l)
		}
	}
}
