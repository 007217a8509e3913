// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// block is the unit in which content is digested: blocks of zeros do not count,
// so that the digest is that of the content whether or not it lies in holes.
const block = 4096

// content digests a regular file, lists its allocated ranges as "from-to,...", and
// reads its flags.
func content(name string, e *Entry) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := inodeFlags(f, e); err != nil {
		return err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d:", e.Size)
	var ranges []string
	for at := int64(0); at < e.Size; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break // a hole up to the end
		}
		if err != nil {
			return err
		}
		to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		ranges = append(ranges, fmt.Sprintf("%d-%d", from, to))
		if err := digestRange(h, f, from-from%block, to); err != nil {
			return err
		}
		at = to
	}
	e.Digest, e.Data = hex.EncodeToString(h.Sum(nil)), strings.Join(ranges, ",")
	return nil
}

// digestRange adds all blocks that are not zeros, each with its place.
func digestRange(h io.Writer, f io.ReaderAt, from, to int64) error {
	buf := make([]byte, min(64*block, to-from))
	for at := from; at < to; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
		if err != nil && err != io.EOF {
			return err
		}
		for i := 0; i < n; i += block {
			b := buf[i:min(i+block, n)]
			if !bytes.Equal(b, zeros[:len(b)]) {
				fmt.Fprintf(h, "%d:", at+int64(i))
				_, _ = h.Write(b)
			}
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		at += int64(n)
	}
	return nil
}

var zeros [block]byte

// layout are the flags by which a file system says how it keeps a file
// (include/uapi/linux/fs.h, fs/ext4/ext4.h): encrypted, hashed directory, huge file,
// extents, verity, attributes in an inode of their own, data in the inode. Another
// file system may keep the same file otherwise.
const layout = 0x800 | 0x1000 | 0x40000 | 0x80000 | 0x100000 | 0x200000 | 0x10000000

// fsxattr is the kernel's struct fsxattr (include/uapi/linux/fs.h).
type fsxattr struct {
	xflags, extsize, nextents, projid, cowextsize uint32
	_                                             [8]byte
}

// fsGetXattr is FS_IOC_FSGETXATTR, _IOR('X', 31, struct fsxattr).
const fsGetXattr = 0x801c581f

// inodeFlags reads flags and project id of an open file or directory. A file system
// that has none of them has zeros.
func inodeFlags(f *os.File, e *Entry) error {
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil && err != unix.ENOTTY && err != unix.ENOTSUP {
		return fmt.Errorf("flags: %w", err)
	}
	e.Flags = flags &^ layout
	var x fsxattr
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsGetXattr, uintptr(unsafe.Pointer(&x)))
	if errno != 0 && errno != unix.ENOTTY && errno != unix.ENOTSUP {
		return fmt.Errorf("project id: %w", errno)
	}
	if errno == 0 {
		e.Project = x.projid
	}
	return nil
}
