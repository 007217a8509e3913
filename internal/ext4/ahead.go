// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// place is a run of blocks on the device.
type place struct {
	start uint64
	count uint32
}

// places are the blocks of directories. What is beyond the bounds is forgotten: it is only
// read later.
type places struct {
	room int // in the list
	list []place
	deep []uint32 // directories whose blocks are listed elsewhere than in the inode
}

// Bounds of the memory: 4 MiB and 256 KiB, for each worker.
const (
	maxPlaces = 1 << 18
	maxDeep   = 1 << 16
)

// room is for how many places there is use: each is a block at least.
func (f *FS) room(o Options) int {
	if o.Ahead == nil || o.AheadBytes <= 0 {
		return 0
	}
	return int(min(o.AheadBytes>>f.blockBits+1, maxPlaces))
}

// add takes up the blocks of a directory that its inode names.
func (p *places) add(f *FS, n *Inode) {
	if p.room == 0 || n.raw&flagInlineData != 0 {
		return
	}
	blocks := uint64(n.Stat.Size) >> f.blockBits
	if n.raw&flagExtents == 0 {
		for i := range min(blocks, directBlocks) {
			p.put(f, uint64(le.Uint32(n.data[4*i:])), 1)
		}
		if blocks > directBlocks {
			p.later(n.Ino)
		}
		return
	}
	root, err := parseNode(n.data[:], -1)
	switch {
	case err != nil:
	case root.depth > 0:
		p.later(n.Ino)
	default:
		for i := range root.len() {
			x := root.leaf(i)
			p.put(f, x.start, x.count)
		}
	}
}

func (p *places) later(ino uint32) {
	if len(p.deep) < maxDeep {
		p.deep = append(p.deep, ino)
	}
}

func (p *places) put(f *FS, start, count uint64) {
	if !f.inside(start, count) {
		return
	}
	if n := len(p.list); n > 0 && p.list[n-1].start+uint64(p.list[n-1].count) == start && uint64(p.list[n-1].count)+count < 1<<32 {
		p.list[n-1].count += uint32(count)
		return
	}
	if len(p.list) < p.room {
		p.list = append(p.list, place{start, uint32(count)})
	}
}

func (p *places) join(q *places) {
	p.room += q.room
	p.list = append(p.list, q.list...)
	p.deep = append(p.deep, q.deep...)
	q.list, q.deep = nil, nil
}

// announce tells of all places, in their order, and of those between that are small.
func (f *FS) announce(ctx context.Context, p *places, o Options) (announced int64, err error) {
	slices.Sort(p.deep)
	r := f.NewReader()
	for _, ino := range p.deep {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := f.deep(r, ino, p, o.AheadBytes); err != nil {
			return 0, fmt.Errorf("blocks of directory %d: %w", ino, err)
		}
	}
	slices.SortFunc(p.list, func(a, b place) int { return cmp.Compare(a.start, b.start) })
	const near = 16 << 10
	var from, to int64 // not told yet
	tell := func() bool {
		length := min(to-from, o.AheadBytes-announced)
		if length > 0 {
			o.Ahead(from, length)
			announced += length
		}
		return announced < o.AheadBytes
	}
	for _, x := range p.list {
		start := int64(x.start) << f.blockBits
		end := start + int64(x.count)<<f.blockBits
		if to > 0 && start-to <= near {
			to = max(to, end)
			continue
		}
		if !tell() {
			return announced, nil
		}
		from, to = start, end
	}
	tell()
	return announced, nil
}

// deep takes up the blocks of a directory that has a tree of extents or maps of blocks, as
// many as can be announced.
func (f *FS) deep(r *Reader, ino uint32, p *places, budget int64) error {
	n, err := r.Inode(ino)
	if err != nil {
		return err
	}
	blocks := min(uint64(n.Stat.Size), uint64(max(budget, 0))) >> f.blockBits
	for block := uint64(0); block < blocks && len(p.list) < p.room; {
		x, err := r.find(&n, block)
		if err != nil {
			return err
		}
		p.put(f, x.start, x.count)
		block = x.first + x.count
	}
	return nil
}
