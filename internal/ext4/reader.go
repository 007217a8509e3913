// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// Pages of the device that a Reader keeps. A walk goes to and fro between the groups, each
// with inodes of its own: of 200,000 files in 52 MiB of inodes 12,500 pages are read, and
// three times as many with a quarter of the memory. They are small, since most reads find
// what Check has brought into the kernel's cache.
const (
	pageBits = 14
	pageSize = 1 << pageBits
	pages    = 256
)

// Reader reads inodes and directories. It is for one goroutine; there may be many.
type Reader struct {
	fs      *FS
	mem     []byte
	slots   [pages]slot
	scratch []byte
	spare   []names
}

// slot says what a part of the memory holds.
type slot struct {
	page int64 // 0: nothing, else its number and 1
	size int   // less than a page at the device's end
}

// NewReader returns a reader, which has a memory of 4 MiB from its first use on.
func (f *FS) NewReader() *Reader {
	return &Reader{fs: f, scratch: make([]byte, 8+f.inodeSize)}
}

// at returns bytes of the device, which do not cross a page. They are valid until the next
// call.
func (r *Reader) at(off int64, size int) ([]byte, error) {
	if r.mem == nil {
		r.mem = make([]byte, pages*pageSize)
	}
	number, from := off>>pageBits, int(off&(pageSize-1))
	i := int(number & (pages - 1))
	mem, s := r.mem[i*pageSize:(i+1)*pageSize], &r.slots[i]
	if s.page != number+1 {
		s.page = 0
		n, err := r.fs.dev.ReadAt(mem, number<<pageBits)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		s.page, s.size = number+1, n
	}
	if from+size > s.size {
		return nil, fmt.Errorf("read byte %d of the device: %w", off, io.ErrUnexpectedEOF)
	}
	return mem[from : from+size], nil
}

// block returns a block of the device, valid until the next read.
func (r *Reader) block(n uint64) ([]byte, error) {
	if !r.fs.inside(n, 1) {
		return nil, fmt.Errorf("block %d is none of the file system's %d", n, r.fs.blocks)
	}
	return r.at(int64(n)<<r.fs.blockBits, r.fs.blockSize())
}

// rawInode returns an inode's bytes, valid until the next read.
func (r *Reader) rawInode(ino uint32) ([]byte, error) {
	f := r.fs
	if ino == 0 || ino > f.inodes || ino < f.firstIno && ino != rootIno {
		return nil, fmt.Errorf("inode %d is no file's, the last is %d", ino, f.inodes)
	}
	g, i := (ino-1)/f.perGroup, (ino-1)%f.perGroup
	if i >= f.groups[g].used {
		return nil, fmt.Errorf("inode %d was never in use", ino)
	}
	raw, err := r.at(int64(f.groups[g].table)<<f.blockBits+int64(i)*int64(f.inodeSize), f.inodeSize)
	if err != nil {
		return nil, fmt.Errorf("read inode %d: %w", ino, err)
	}
	return raw, nil
}

// Root is the inode of the top directory.
const Root = rootIno

// Inode reads one that is in use and has a name.
func (r *Reader) Inode(ino uint32) (n Inode, err error) {
	raw, err := r.rawInode(ino)
	if err != nil {
		return n, err
	}
	if le.Uint16(raw[iLinks:]) == 0 || le.Uint16(raw[iMode:]) == 0 {
		return n, fmt.Errorf("inode %d is not in use", ino)
	}
	if err := r.fs.verify(ino, raw, r.scratch); err != nil {
		return n, err
	}
	if err := r.fs.inUse(ino, raw); err != nil {
		return n, err
	}
	if le.Uint32(raw[iFlags:])&flagEaInode != 0 {
		return n, fmt.Errorf("inode %d is an extended attribute", ino)
	}
	return n, r.fs.decode(ino, raw, &n)
}

// inline returns the data that are in an inode itself, in two parts.
func (r *Reader) inline(n *Inode) (first, second []byte, err error) {
	raw, err := r.rawInode(n.Ino)
	if err != nil {
		return nil, nil, err
	}
	if _, err := r.fs.inodeXattrs(raw, &second); err != nil {
		return nil, nil, fmt.Errorf("inode %d: %w", n.Ino, err)
	}
	return n.data[:], second, nil
}

// Readlink returns the target of a symbolic link.
func (r *Reader) Readlink(n *Inode) (string, error) {
	size := n.Stat.Size
	if n.Stat.Mode&unix.S_IFMT != unix.S_IFLNK || size <= 0 || size > int64(r.fs.blockSize()) {
		return "", fmt.Errorf("inode %d, mode %#o and %d bytes, is no symbolic link", n.Ino, n.Stat.Mode, size)
	}
	var target []byte
	switch {
	case n.raw&flagInlineData != 0:
		first, second, err := r.inline(n)
		if err != nil {
			return "", err
		}
		target = append(first[:len(first):len(first)], second...)
	case size < int64(len(n.data)):
		target = n.data[:]
	default:
		x, err := r.find(n, 0)
		if err != nil {
			return "", err
		}
		if target, err = r.block(x.start); err != nil {
			return "", fmt.Errorf("read link %d: %w", n.Ino, err)
		}
	}
	if size > int64(len(target)) || bytes.IndexByte(target[:size], 0) >= 0 {
		return "", fmt.Errorf("symbolic link %d: %d bytes are not its target", n.Ino, size)
	}
	return string(target[:size]), nil
}
