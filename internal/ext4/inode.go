// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// Inode is one that is in use.
type Inode struct {
	Ino, Generation uint32
	// Stat is what stat(2) shows of it, but for Dev, which is 0 (see Agree).
	Stat unix.Stat_t
	// Flags are those on disk that FS_IOC_GETFLAGS shows.
	Flags uint32
	// Project is its project id, 0 where the file system has none.
	Project uint32
	// HasXattrs is false if it surely has no extended attribute.
	HasXattrs bool
	// Doubt: a time before 1970 or after 2038 is written in a way that kernels read
	// differently, or is none, so that the running one must be asked.
	Doubt bool
	// Block is its first block on the device, or one that leads there; 0 if it has none.
	Block uint64

	raw    uint32 // all flags
	data   [60]byte
	sparse bool
}

// Flags of an inode (inodes.rst) that say how it is kept.
const (
	flagEncrypt    = 0x800
	flagIndex      = 0x1000
	flagHugeFile   = 0x40000
	flagExtents    = 0x80000
	flagVerity     = 0x100000
	flagEaInode    = 0x200000
	flagInlineData = 0x10000000

	// flagsVisible are those that the kernel shows (EXT4_FL_USER_VISIBLE of fs/ext4/ext4.h,
	// which has got longer; what chattr.Settable carries was always in it).
	flagsVisible = 0x725bdfff
)

// Offsets in an inode (inodes.rst). What is behind 128 bytes is there if the inode's own
// extra size reaches over it.
const (
	iMode       = 0x00
	iUID        = 0x02
	iSize       = 0x04
	iAtime      = 0x08
	iCtime      = 0x0c
	iMtime      = 0x10
	iDtime      = 0x14
	iGID        = 0x18
	iLinks      = 0x1a
	iBlocks     = 0x1c
	iFlags      = 0x20
	iBlock      = 0x28
	iGeneration = 0x64
	iACL        = 0x68
	iSizeHi     = 0x6c
	iBlocksHi   = 0x74
	iACLHi      = 0x76
	iUIDHi      = 0x78
	iGIDHi      = 0x7a
	iChecksum   = 0x7c
	iExtra      = 0x80
	iChecksumHi = 0x82
	iCtimeExtra = 0x84
	iMtimeExtra = 0x88
	iAtimeExtra = 0x8c
	iProject    = 0x9c

	goodOld = 128 // bytes that every inode has
	// knownExtra is the extra size with which the kernel reads an inode that says 0
	// (__ext4_iget: "currently unused, use it").
	knownExtra = 32
)

// Attributes are what chattr.Read returns for the open file: nothing but for regular files
// and directories, which alone can be asked.
func (n *Inode) Attributes() chattr.Attributes {
	switch n.Stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		// Of a file the kernel does not show that projects are inherited (ext4_fileattr_get).
		const projectInherit = 0x20000000
		return chattr.Attributes{Flags: n.Flags & chattr.Settable &^ projectInherit, Project: n.Project}
	case unix.S_IFDIR:
		return chattr.Attributes{Flags: n.Flags & chattr.Settable, Project: n.Project}
	}
	return chattr.Attributes{}
}

// Sparse is false if a regular file surely has no holes. Of true the kernel knows more
// (SEEK_HOLE).
func (n *Inode) Sparse() bool { return n.sparse }

// stored returns the extra size that a raw inode says, and whether it can be.
func (f *FS) stored(raw []byte) (extra int, ok bool) {
	if len(raw) == goodOld {
		return 0, true
	}
	extra = int(le.Uint16(raw[iExtra:]))
	return extra, goodOld+extra <= len(raw) && extra%4 == 0
}

// verify compares the checksum of a raw inode (ext4_inode_csum of fs/ext4/inode.c): over
// its number, its generation and itself. The scratch has room for all that.
func (f *FS) verify(ino uint32, raw, scratch []byte) error {
	if !f.csum || f.lax {
		return nil
	}
	b := scratch[:8+len(raw)]
	le.PutUint32(b, ino)
	copy(b[4:], raw[iGeneration:iGeneration+4])
	copy(b[8:], raw)
	want, mask := uint32(le.Uint16(raw[iChecksum:])), uint32(0xffff)
	le.PutUint16(b[8+iChecksum:], 0)
	if extra, _ := f.stored(raw); extra >= iChecksumHi+2-goodOld {
		want |= uint32(le.Uint16(raw[iChecksumHi:])) << 16
		mask = ^uint32(0)
		le.PutUint16(b[8+iChecksumHi:], 0)
	}
	if got := crc32c(f.seed, b) & mask; got != want {
		return fmt.Errorf("inode %d: checksum is %#x, it says %#x", ino, got, want)
	}
	return nil
}

// inUse is what every inode in use must be, beside its checksum.
func (f *FS) inUse(ino uint32, raw []byte) error {
	mode, flags := le.Uint16(raw[iMode:]), le.Uint32(raw[iFlags:])
	_, ok := f.stored(raw)
	switch {
	case !ok:
		return fmt.Errorf("inode %d: extra size of %d bytes in an inode of %d", ino, le.Uint16(raw[iExtra:]), len(raw))
	case !known(mode):
		return fmt.Errorf("inode %d: mode %#o is of no type", ino, mode)
	case flags&(flagEncrypt|flagVerity) != 0:
		return fmt.Errorf("inode %d: flags %#x, encrypted or with verity", ino, flags)
	case flags&flagInlineData != 0 && f.incompat&incompatInlineData == 0:
		return fmt.Errorf("inode %d: data in the inode, without the feature", ino)
	}
	return nil
}

// known reports whether a mode is of a type that there is.
func known(mode uint16) bool {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
		return true
	}
	return false
}

// decode takes a raw inode apart that verify and inUse have let through.
func (f *FS) decode(ino uint32, raw []byte, n *Inode) error {
	*n = Inode{Ino: ino, Generation: le.Uint32(raw[iGeneration:]), raw: le.Uint32(raw[iFlags:])}
	n.Flags = n.raw & flagsVisible
	copy(n.data[:], raw[iBlock:])
	mode := le.Uint16(raw[iMode:])
	st := &n.Stat
	st.Ino, st.Mode, st.Blksize = uint64(ino), uint32(mode), int64(f.blockSize())
	st.Nlink = uint64(le.Uint16(raw[iLinks:]))
	st.Uid = uint32(le.Uint16(raw[iUID:])) | uint32(le.Uint16(raw[iUIDHi:]))<<16
	st.Gid = uint32(le.Uint16(raw[iGID:])) | uint32(le.Uint16(raw[iGIDHi:]))<<16
	st.Size = int64(le.Uint32(raw[iSize:]))
	// Elsewhere the upper half may be something else (ext4_isize of fs/ext4/ext4.h).
	if mode&unix.S_IFMT == unix.S_IFREG || f.incompat&incompatLargeDir != 0 {
		st.Size |= int64(le.Uint32(raw[iSizeHi:])) << 32
	}
	if st.Size < 0 {
		return fmt.Errorf("inode %d: size %#x", ino, uint64(st.Size))
	}
	acl := uint64(le.Uint32(raw[iACL:])) | uint64(le.Uint16(raw[iACLHi:]))<<32
	if err := f.sectors(raw, n); err != nil {
		return err
	}
	f.times(raw, n)
	if f.ro&roProject != 0 {
		if extra, _ := f.stored(raw); extra >= iProject+4-goodOld {
			n.Project = le.Uint32(raw[iProject:])
		}
	}
	var second []byte
	inode, err := f.inodeXattrs(raw, &second)
	if err != nil {
		return fmt.Errorf("inode %d: %w", ino, err)
	}
	// Without it the kernel does not read data from the inode, whatever the flag says.
	if n.raw&flagInlineData != 0 && second == nil {
		return fmt.Errorf("inode %d: data in the inode, without system.data", ino)
	}
	n.HasXattrs = inode || acl != 0
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		st.Rdev = device(n.data[:])
	case unix.S_IFREG:
		n.sparse, n.Block = f.content(n)
		if n.raw&flagInlineData != 0 {
			// mke2fs 1.47 makes such files of zeros without blocks, larger than what they hold.
			n.sparse = st.Size > int64(len(n.data)+len(second))
		}
	case unix.S_IFDIR:
		_, n.Block = f.content(n)
	case unix.S_IFLNK:
		if fast, err := f.fast(n, acl); err != nil {
			return err
		} else if !fast {
			_, n.Block = f.content(n)
		}
	}
	return nil
}

// sectors are what stat calls blocks, of 512 bytes (ext4_inode_blocks of fs/ext4/inode.c).
func (f *FS) sectors(raw []byte, n *Inode) error {
	blocks := uint64(le.Uint32(raw[iBlocks:]))
	if f.ro&roHugeFile != 0 {
		blocks |= uint64(le.Uint16(raw[iBlocksHi:])) << 32
		if n.raw&flagHugeFile != 0 {
			blocks <<= f.blockBits - 9
		}
	}
	// Of a regular file whose data are in the inode, the kernel shows the blocks that they
	// would need (ext4_file_getattr).
	if n.raw&flagInlineData != 0 && n.Stat.Mode&unix.S_IFMT == unix.S_IFREG {
		blocks += uint64(n.Stat.Size)/512 + min(uint64(n.Stat.Size)%512, 1)
	}
	n.Stat.Blocks = int64(blocks)
	return nil
}

// times reads the three times of stat. Two bits of the extra word count 2^32 seconds, the
// others are nanoseconds (inodes.rst, "Inode Timestamps").
func (f *FS) times(raw []byte, n *Inode) {
	extra, _ := f.stored(raw)
	if extra == 0 && len(raw) > goodOld {
		extra = knownExtra
	}
	read := func(at, more int) unix.Timespec {
		low := int64(int32(le.Uint32(raw[at:])))
		if more+4 > goodOld+extra {
			return unix.Timespec{Sec: low}
		}
		word := le.Uint32(raw[more:])
		// Kernels before 4.20 or so write, and read, times before 1970 with both bits set,
		// and those before 3.14 read later times as earlier ones. A second's worth of
		// nanoseconds some count as one.
		t := unix.Timespec{Sec: low + int64(word&3)<<32, Nsec: int64(word >> 2)}
		n.Doubt = n.Doubt || low < 0 && word&3 != 0 || t.Nsec >= 1e9
		return t
	}
	n.Stat.Atim = read(iAtime, iAtimeExtra)
	n.Stat.Mtim = read(iMtime, iMtimeExtra)
	n.Stat.Ctim = read(iCtime, iCtimeExtra)
}

// device is the number of a device in its two encodings (fs/ext4/inode.c, __ext4_iget).
func device(data []byte) uint64 {
	if old := le.Uint32(data); old != 0 {
		return unix.Mkdev(old>>8&0xff, old&0xff)
	}
	n := le.Uint32(data[4:])
	return unix.Mkdev(n>>8&0xfff, n&0xff|n>>12&0xfff00)
}

// fast reports whether the target of a symbolic link is where else the blocks' numbers are.
// Kernels tell it by the size or by the blocks: both must agree, but where attributes have
// inodes of their own, whose blocks may be counted here (ext4_inode_is_fast_symlink).
func (f *FS) fast(n *Inode, acl uint64) (bool, error) {
	if n.raw&flagInlineData != 0 {
		return false, nil
	}
	blocks := uint64(n.Stat.Blocks)
	if acl != 0 && blocks >= f.cluster {
		blocks -= f.cluster
	}
	short := n.Stat.Size < int64(len(n.data))
	if short != (blocks == 0) && f.incompat&incompatEaInode == 0 || n.Stat.Size == 0 || short && n.raw&flagExtents != 0 {
		return false, fmt.Errorf("inode %d: symbolic link of %d bytes in %d sectors, flags %#x", n.Ino, n.Stat.Size, n.Stat.Blocks, n.raw)
	}
	return short, nil
}
