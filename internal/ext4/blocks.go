// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import "fmt"

// extent is a run of blocks of a file.
type extent struct {
	first     uint64 // in the file
	count     uint64
	start     uint64 // on the device
	unwritten bool
}

// Sizes and limits of extent trees (ifork.rst).
const (
	extentMagic  = 0xf30a
	extentSize   = 12 // of the header and of each entry
	extentDepth  = 5
	extentLength = 32768 // what is longer is this much shorter and was never written
)

// node is one block of an extent tree, or the part of an inode that is its root.
type node struct {
	entries []byte
	depth   int
}

// parseNode checks a header. The depth must be the one that the level above says, or at
// the root one that is possible: so no path is longer than that, whatever it leads to.
func parseNode(b []byte, depth int) (node, error) {
	entries, room, d := int(le.Uint16(b[2:])), int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	switch {
	case le.Uint16(b) != extentMagic:
		return node{}, fmt.Errorf("no extents where they should be")
	case depth >= 0 && d != depth || d > extentDepth:
		return node{}, fmt.Errorf("extents of depth %d", d)
	case room > len(b)/extentSize-1 || entries > room:
		return node{}, fmt.Errorf("%d extents in room for %d", entries, room)
	}
	return node{b[extentSize : extentSize*(entries+1)], d}, nil
}

// leaf reads entry i of a node of depth 0.
func (n node) leaf(i int) extent {
	e := n.entries[i*extentSize:]
	x := extent{uint64(le.Uint32(e)), uint64(le.Uint16(e[4:])), uint64(le.Uint32(e[8:])) | uint64(le.Uint16(e[6:]))<<32, false}
	if x.count > extentLength {
		x.count -= extentLength
		x.unwritten = true
	}
	return x
}

// index reads entry i of a node of another depth: from which block of the file on the
// extents are in which block of the device.
func (n node) index(i int) (first, block uint64) {
	e := n.entries[i*extentSize:]
	return uint64(le.Uint32(e)), uint64(le.Uint32(e[4:])) | uint64(le.Uint16(e[8:]))<<32
}

func (n node) len() int { return len(n.entries) / extentSize }

// content tells, by the inode alone, whether a file may have holes, and where its first
// block is, or one that leads to it.
func (f *FS) content(n *Inode) (sparse bool, block uint64) {
	blocks := (uint64(n.Stat.Size) + uint64(f.blockSize()) - 1) >> f.blockBits
	if n.raw&flagInlineData != 0 {
		return false, 0
	}
	if n.raw&flagExtents == 0 {
		return f.oldContent(n, blocks)
	}
	root, err := parseNode(n.data[:], -1)
	switch {
	case err != nil || root.len() == 0:
		return blocks > 0, 0
	case root.depth > 0:
		_, block = root.index(0)
		return blocks > 0, block
	}
	var next uint64 // up to here there are no holes
	for i := range root.len() {
		x := root.leaf(i)
		if x.first >= blocks {
			break
		}
		if x.unwritten {
			continue
		}
		if block == 0 {
			block = x.start
		}
		if x.first == next {
			next += x.count
		}
	}
	return next < blocks, block
}

// oldContent is content for files with maps of blocks. Those that do not fit into the
// inode are not looked into.
func (f *FS) oldContent(n *Inode, blocks uint64) (sparse bool, block uint64) {
	sparse = blocks > directBlocks
	for i := range min(blocks, directBlocks) {
		b := uint64(le.Uint32(n.data[4*i:]))
		if block == 0 {
			block = b
		}
		sparse = sparse || b == 0
	}
	return sparse, block
}

// Maps of blocks (blockmap.rst): twelve numbers of blocks, then one each of a block of
// numbers, of a block of numbers of such blocks, and of one more level.
const directBlocks = 12

// find returns the extent in which a block of a directory or of a symbolic link is. What
// has no place on the device is an error: these files have no holes.
func (r *Reader) find(n *Inode, block uint64) (extent, error) {
	var x extent
	var err error
	if n.raw&flagExtents != 0 {
		x, err = r.findExtent(n, block)
	} else {
		x, err = r.findMapped(n, block)
	}
	switch {
	case err != nil:
		return x, fmt.Errorf("block %d of inode %d: %w", block, n.Ino, err)
	case x.unwritten || !r.fs.inside(x.start, x.count):
		return x, fmt.Errorf("block %d of inode %d: %d blocks at %d of the device are no data", block, n.Ino, x.count, x.start)
	}
	return x, nil
}

func (r *Reader) findExtent(n *Inode, block uint64) (extent, error) {
	at, err := parseNode(n.data[:], -1)
	if err != nil {
		return extent{}, err
	}
	low, high := uint64(0), uint64(1)<<32 // what the node is for
	for at.depth > 0 {
		var child uint64
		found := false
		for i := range at.len() {
			first, b := at.index(i)
			if first > block {
				high = min(high, first)
				break
			}
			low, child, found = max(low, first), b, true
		}
		if !found {
			return extent{}, errHole
		}
		if at, err = r.extents(n, child, at.depth-1); err != nil {
			return extent{}, err
		}
	}
	for i := range at.len() {
		x := at.leaf(i)
		if x.first <= block && block-x.first < x.count {
			if x.first < low || x.first+x.count > high {
				return extent{}, fmt.Errorf("extent of %d blocks from %d is out of its place", x.count, x.first)
			}
			return x, nil
		}
	}
	return extent{}, errHole
}

var errHole = fmt.Errorf("it has no place on the device")

// extents reads one block of an extent tree. It is valid until the next read.
func (r *Reader) extents(n *Inode, block uint64, depth int) (node, error) {
	b, err := r.block(block)
	if err != nil {
		return node{}, err
	}
	at, err := parseNode(b, depth)
	if err != nil || !r.fs.csum || r.fs.lax {
		return at, err
	}
	tail := extentSize * (1 + int(le.Uint16(b[4:])))
	if tail+4 > len(b) {
		return at, fmt.Errorf("no room for the checksum of extents in block %d", block)
	}
	if got, want := crc32c(r.fs.inodeSeed(n), b[:tail]), le.Uint32(b[tail:]); got != want {
		return at, fmt.Errorf("checksum of extents in block %d is %#x, it says %#x", block, got, want)
	}
	return at, nil
}

// inodeSeed is what the checksums of an inode's blocks begin with.
func (f *FS) inodeSeed(n *Inode) uint32 {
	return crc32cWord(crc32cWord(f.seed, n.Ino), n.Generation)
}

func (r *Reader) findMapped(n *Inode, block uint64) (extent, error) {
	x := extent{first: block, count: 1}
	if block < directBlocks {
		x.start = uint64(le.Uint32(n.data[4*block:]))
		// Runs are rather the rule, and directories are announced by them.
		for x.start != 0 && block+x.count < directBlocks && uint64(le.Uint32(n.data[4*(block+x.count):])) == x.start+x.count {
			x.count++
		}
		return x, hole(x.start)
	}
	bits := r.fs.blockBits - 2 // of numbers in a block
	rest := block - directBlocks
	level := uint(1)
	for ; level <= 3 && rest>>(bits*level) != 0; level++ {
		rest -= 1 << (bits * level)
	}
	if level > 3 {
		return x, errHole
	}
	x.start = uint64(le.Uint32(n.data[4*(directBlocks+level-1):]))
	for ; level > 0; level-- {
		if x.start == 0 {
			return x, errHole
		}
		b, err := r.block(x.start)
		if err != nil {
			return x, err
		}
		i := rest >> (bits * (level - 1)) & (1<<bits - 1)
		x.start = uint64(le.Uint32(b[4*i:]))
	}
	return x, hole(x.start)
}

func hole(start uint64) error {
	if start == 0 {
		return errHole
	}
	return nil
}
