// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import "fmt"

// maxOrphans is how many inodes without a name are believed.
const maxOrphans = 1 << 16

// orphans reads the lists of inodes that are in use without a name, or are being cut: the
// chain that begins in the superblock and goes on in place of the time of deletion, and
// the file of orphans (orphan.rst).
func (f *FS) orphans(r *Reader) (map[uint32]bool, error) {
	list := map[uint32]bool{}
	add := func(ino uint32) error {
		if list[ino] {
			return fmt.Errorf("inode %d is on it twice", ino)
		}
		if len(list) == maxOrphans {
			return fmt.Errorf("more than %d", maxOrphans)
		}
		list[ino] = true
		return nil
	}
	for ino := f.lastOrphan; ino != 0; {
		if err := add(ino); err != nil {
			return nil, err
		}
		raw, err := r.rawInode(ino)
		if err != nil {
			return nil, err
		}
		if err := f.verify(ino, raw, r.scratch); err != nil {
			return nil, err
		}
		ino = le.Uint32(raw[iDtime:])
	}
	if f.orphanFile == 0 {
		return list, nil
	}
	n, err := r.Inode(f.orphanFile)
	if err != nil {
		return nil, fmt.Errorf("file of orphans: %w", err)
	}
	const largest = 8 << 20 // ext4_init_orphan_info of fs/ext4/orphan.c
	if n.Stat.Size > largest || n.Stat.Size%int64(f.blockSize()) != 0 || n.raw&flagInlineData != 0 {
		return nil, fmt.Errorf("file of orphans: %d bytes, flags %#x", n.Stat.Size, n.raw)
	}
	for block := range uint64(n.Stat.Size) >> f.blockBits {
		if err := f.orphanBlock(r, &n, block, add); err != nil {
			return nil, fmt.Errorf("file of orphans: %w", err)
		}
	}
	return list, nil
}

// orphanBlock reads one block of the file: numbers, of which those that are 0 are free, and
// a magic number and a checksum at its end.
func (f *FS) orphanBlock(r *Reader, n *Inode, block uint64, add func(uint32) error) error {
	x, err := r.find(n, block)
	if err != nil {
		return err
	}
	place := x.start + block - x.first
	b, err := r.block(place)
	if err != nil {
		return err
	}
	end := len(b) - 8
	if m := le.Uint32(b[end:]); m != 0x0b10ca04 {
		return fmt.Errorf("block %d ends with %#x", place, m)
	}
	if f.csum && !f.lax {
		sum := crc32cWord(crc32cWord(f.inodeSeed(n), uint32(place)), uint32(place>>32))
		sum = crc32c(sum, b[:end])
		if want := le.Uint32(b[end+4:]); sum != want {
			return fmt.Errorf("checksum of block %d is %#x, it says %#x", place, sum, want)
		}
	}
	for at := 0; at < end; at += 4 {
		if ino := le.Uint32(b[at:]); ino != 0 {
			if err := add(ino); err != nil {
				return err
			}
		}
	}
	return nil
}
