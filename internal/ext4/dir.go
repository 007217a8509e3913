// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Dirent is one name in a directory.
type Dirent struct {
	Ino uint32
	// Type is one of the constants Type*, TypeUnknown where the file system does not keep
	// it. The inode's mode counts.
	Type uint8
	// Name is valid until the next call that reads from the directory.
	Name []byte
	// Next is the position behind it.
	Next uint64
}

// Types of a Dirent (directory.rst).
const (
	TypeUnknown = iota
	TypeFile
	TypeDir
	TypeChar
	TypeBlock
	TypeFIFO
	TypeSocket
	TypeLink
)

// Dir reads a directory, in the order in which its blocks are in it.
type Dir struct {
	r      *Reader
	inode  Inode
	pos    uint64
	at     extent // the one read last
	parent uint32
	names
}

// Dir opens a directory.
func (r *Reader) Dir(n *Inode) (*Dir, error) { return r.DirAt(n, 0) }

// DirAt opens a directory to go on at a position: 0, one of Pos, or that of a Dirent.
func (r *Reader) DirAt(n *Inode, pos uint64) (*Dir, error) {
	size, block := uint64(n.Stat.Size), uint64(r.fs.blockSize())
	switch {
	case n.Stat.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil, fmt.Errorf("inode %d, mode %#o, is no directory", n.Ino, n.Stat.Mode)
	case n.raw&flagInlineData != 0:
		if size < uint64(len(n.data)) || size > uint64(r.fs.inodeSize) {
			return nil, fmt.Errorf("directory %d: %d bytes in an inode of %d", n.Ino, size, r.fs.inodeSize)
		}
	case size == 0 || size%block != 0 || size/block > r.fs.blocks || size/512 > uint64(n.Stat.Blocks):
		return nil, fmt.Errorf("directory %d: %d bytes in %d sectors", n.Ino, size, n.Stat.Blocks)
	}
	return &Dir{r: r, inode: *n, pos: pos}, nil
}

// Pos returns the position at which the next Next begins. It is a number for DirAt alone.
func (d *Dir) Pos() uint64 { return d.pos }

// Parent returns the inode of the directory above, as ".." says: known after a Next at the
// begin, before 0. In a damaged file system a directory may be in several, or in itself:
// who goes only into those whose Parent is where they were found, and into no more than
// Survey.Dirs, comes to an end.
func (d *Dir) Parent() uint32 { return d.parent }

// Pause gives back the memory of the names. Next makes it anew.
func (d *Dir) Pause() {
	if d.buf != nil && len(d.r.spare) < maxSpare {
		d.r.spare = append(d.r.spare, names{d.buf, d.entries})
	}
	d.names = names{}
}

// names are the memory of a Dir between two calls.
type names struct {
	buf     []byte // what Name leads to
	entries []Dirent
}

// maxSpare is how many of them wait for the next Dir.
const maxSpare = 16

// take gets memory, empty.
func (d *Dir) take() {
	if last := len(d.r.spare) - 1; d.buf == nil && last >= 0 {
		d.names, d.r.spare = d.r.spare[last], d.r.spare[:last]
	}
	d.entries = d.entries[:0]
}

// Next returns the names of the next block, without "." and "..", which may be none; at the
// end io.EOF. After another error the directory can not be read further. What it returns is
// valid until the next call of Next or Pause.
func (d *Dir) Next() ([]Dirent, error) {
	if d.pos >= uint64(d.inode.Stat.Size) {
		d.Pause()
		return nil, io.EOF
	}
	read := d.nextBlock
	if d.inode.raw&flagInlineData != 0 {
		read = d.nextInline
	}
	if err := read(); err != nil {
		d.pos = uint64(d.inode.Stat.Size)
		return nil, fmt.Errorf("directory %d: %w", d.inode.Ino, err)
	}
	return d.entries, nil
}

func (d *Dir) nextBlock() error {
	f := d.r.fs
	n := d.pos >> f.blockBits
	if d.at.count == 0 || n < d.at.first || n-d.at.first >= d.at.count {
		x, err := d.r.find(&d.inode, n)
		if err != nil {
			return err
		}
		d.at = x
	}
	place := d.at.start + n - d.at.first
	b, err := d.r.block(place)
	if err != nil {
		return fmt.Errorf("read block %d: %w", n, err)
	}
	d.take()
	d.buf = append(d.buf[:0], b...)
	end, err := d.verify(n)
	if err != nil {
		return fmt.Errorf("block %d, %d of the device: %w", n, place, err)
	}
	if err := d.parse(d.buf[:end], n<<f.blockBits, n == 0); err != nil {
		return fmt.Errorf("block %d, %d of the device: %w", n, place, err)
	}
	d.pos = (n + 1) << f.blockBits
	return nil
}

// nextInline reads a directory that is in its inode: the number of the directory above,
// names without "." and "..", and more names in system.data (inlinedata.rst).
func (d *Dir) nextInline() error {
	const parent = 4
	first, second, err := d.r.inline(&d.inode)
	if err != nil {
		return err
	}
	if len(first)+len(second) != int(d.inode.Stat.Size) {
		return fmt.Errorf("%d bytes in the inode, its size is %d", len(first)+len(second), d.inode.Stat.Size)
	}
	d.take()
	d.parent = le.Uint32(first)
	d.buf = append(append(d.buf[:0], first...), second...)
	if err := d.parse(d.buf[parent:len(first)], parent, false); err != nil {
		return err
	}
	if err := d.parse(d.buf[len(first):], uint64(len(first)), false); err != nil {
		return err
	}
	d.pos = uint64(d.inode.Stat.Size)
	return nil
}

// Fields of an entry (directory.rst).
const (
	entryHeader = 8
	tailSize    = 12 // of the entry that holds a checksum
	tailType    = 0xde
)

// parse adds the names of a part of the directory that begins at base, from d.pos on. The
// first block begins with "." and "..".
func (d *Dir) parse(b []byte, base uint64, top bool) error {
	for at, n := 0, 0; at < len(b); n++ {
		if at+entryHeader > len(b) {
			return errors.New("no room for an entry")
		}
		e := b[at:]
		size, length := int(le.Uint16(e[4:])), int(e[6])
		if size < entryHeader || size%4 != 0 || size > len(e) || length > size-entryHeader {
			return fmt.Errorf("entry of %d bytes with a name of %d at %d", size, length, at)
		}
		ino, name := le.Uint32(e), e[entryHeader:entryHeader+length]
		next := base + uint64(at+size)
		switch {
		case top && n == 0 && (ino != d.inode.Ino || string(name) != "."), top && n == 1 && (ino == 0 || string(name) != ".."):
			return fmt.Errorf("entry %d is %q, inode %d", n, name, ino)
		case top && n == 1:
			d.parent = ino
		}
		at += size
		if ino == 0 || string(name) == "." || string(name) == ".." || next <= d.pos {
			continue
		}
		if ino > d.r.fs.inodes || length == 0 || bytes.IndexByte(name, '/') >= 0 || bytes.IndexByte(name, 0) >= 0 {
			return fmt.Errorf("name %q, inode %d", name, ino)
		}
		d.entries = append(d.entries, Dirent{Ino: ino, Type: d.kind(e[7]), Name: name, Next: next})
	}
	return nil
}

// kind reads the byte that is a type where the file system keeps types.
func (d *Dir) kind(b uint8) uint8 {
	if d.r.fs.incompat&incompatFiletype == 0 || b > TypeLink {
		return TypeUnknown
	}
	return b
}

// verify compares the checksum of the block in d.buf, and returns where its names end.
func (d *Dir) verify(n uint64) (end int, err error) {
	f, b := d.r.fs, d.buf
	if !f.csum {
		return len(b), nil
	}
	if at, index := d.indexed(n); index {
		return len(b), d.verifyIndex(at)
	}
	end = len(b) - tailSize
	t := b[end:]
	if le.Uint32(t) != 0 || le.Uint16(t[4:]) != tailSize || t[6] != 0 || t[7] != tailType {
		return 0, errors.New("no checksum at its end")
	}
	if got, want := crc32c(f.inodeSeed(&d.inode), b[:end]), le.Uint32(t[8:]); got != want && !f.lax {
		return 0, fmt.Errorf("checksum is %#x, it says %#x", got, want)
	}
	return end, nil
}

// indexed reports whether the block is one of the hash tree's, which looks like a block
// without names, and where its table begins (directory.rst, "Hash Tree Directories").
func (d *Dir) indexed(n uint64) (at int, index bool) {
	if !d.r.fs.dirIndex || d.inode.raw&flagIndex == 0 {
		return 0, false
	}
	if n == 0 {
		return 32, true
	}
	return 8, int(le.Uint16(d.buf[4:])) == len(d.buf)
}

// verifyIndex compares the checksum of a block of the hash tree, whose table begins at a
// place with the room there is and the entries in use (ext4_dx_csum of fs/ext4/namei.c).
func (d *Dir) verifyIndex(at int) error {
	b := d.buf
	room, count := int(le.Uint16(b[at:])), int(le.Uint16(b[at+2:]))
	tail := at + 8*room
	if tail+8 > len(b) || count > room {
		return fmt.Errorf("index of %d entries in room for %d", count, room)
	}
	sum := crc32c(d.r.fs.inodeSeed(&d.inode), b[:at+8*count])
	sum = crc32c(sum, b[tail:tail+4])
	sum = crc32c(sum, []byte{0, 0, 0, 0})
	if want := le.Uint32(b[tail+4:]); sum != want && !d.r.fs.lax {
		return fmt.Errorf("checksum of the index is %#x, it says %#x", sum, want)
	}
	return nil
}
