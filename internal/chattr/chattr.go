// SPDX-License-Identifier: AGPL-3.0-only

// Package chattr reads and sets what a file has beyond stat and its extended
// attributes: the flags that chattr sets, and the project id. It works on open
// regular files and directories: of other types the kernel does not tell them (the
// calls are ioctls, which an open device would take for its own).
//
// It opens nothing and decides nothing about a file that cannot have them.
package chattr

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Attributes are an inode's flags and project. The zero value is that of most files.
type Attributes struct {
	Flags   uint32
	Project uint32
}

// Flags that chattr(1) sets, as in linux/fs.h (FS_*_FL), the same on every file system.
const (
	Immutable = 0x10
	Append    = 0x20
	NoDump    = 0x40

	secureRemoval  = 0x1
	undelete       = 0x2
	compress       = 0x4
	synchronous    = 0x8
	noAtime        = 0x80
	journalData    = 0x4000
	noTail         = 0x8000
	dirSync        = 0x10000
	topDir         = 0x20000
	projectInherit = 0x20000000
)

// Locks are the flags that keep others, and a restore, from changing a file.
const Locks = Immutable | Append

// Settable are the flags that are carried: all that a user of ext4 can set (fs/ext4/ext4.h,
// EXT4_FL_USER_MODIFIABLE), less those that say how the file system keeps the file: extents,
// dax, and casefold, which only an empty directory of a file system made for it takes.
const Settable = secureRemoval | undelete | compress | synchronous | Locks | NoDump | noAtime |
	journalData | noTail | dirSync | topDir | projectInherit

// inherited are those that a new file gets from its directory (EXT4_FL_INHERITED) and that
// Forget takes away. Project and compression are the place's, not the file's.
const inherited = secureRemoval | undelete | synchronous | NoDump | noAtime | journalData | noTail | dirSync

// names are the words for people, with chattr's letters.
var names = []struct {
	bit  uint32
	name string
}{
	{Immutable, "immutable (i)"}, {Append, "append only (a)"}, {NoDump, "no dump (d)"}, {noAtime, "no atime (A)"},
	{synchronous, "synchronous (S)"}, {dirSync, "synchronous directory (D)"}, {compress, "compressed (c)"},
	{secureRemoval, "secure deletion (s)"}, {undelete, "undeletable (u)"}, {journalData, "journalled data (j)"},
	{noTail, "no tail merging (t)"}, {topDir, "top of hierarchies (T)"}, {projectInherit, "project is inherited (P)"},
}

// Words names flags for people.
func Words(flags uint32) string {
	var words []string
	for _, n := range names {
		if flags&n.bit != 0 {
			words = append(words, n.name)
			flags &^= n.bit
		}
	}
	if flags != 0 {
		words = append(words, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(words, ", ")
}

// fsxattr is struct fsxattr of linux/fs.h; ext4 has its calls since Linux 4.5.
type fsxattr struct {
	xflags, extsize, nextents, project, cowextsize uint32
	_                                              [8]byte
}

const (
	getFsxattr = 0x801c581f // FS_IOC_FSGETXATTR
	setFsxattr = 0x401c5820 // FS_IOC_FSSETXATTR
)

func (x *fsxattr) call(fd int, request uintptr) error {
	return retry(func() error {
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(x))); e != 0 {
			return e
		}
		return nil
	})
}

// Read returns what the open file has; nothing on a file system that knows none.
func Read(fd int) (Attributes, error) {
	flags, err := get(fd)
	if err != nil {
		return Attributes{}, fmt.Errorf("read flags: %w", err)
	}
	var x fsxattr
	if err := x.call(fd, getFsxattr); err != nil && !unknown(err) {
		return Attributes{Flags: flags & Settable}, fmt.Errorf("read project: %w", err)
	}
	return Attributes{flags & Settable, x.project}, nil
}

// get returns all flags, those of the file system itself too.
func get(fd int) (flags uint32, err error) {
	err = retry(func() error { flags, err = unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS); return err })
	if unknown(err) {
		return 0, nil
	}
	return flags, err
}

// unknown says that a file system has no such thing. FUSE passes on what its server says.
func unknown(err error) bool {
	return errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL)
}

// Set gives the open file what it had, but for the flags given in hold: the project first,
// since nothing of an immutable file can be changed. Flags that the file system refuses are
// named in the error, the others are set.
func Set(fd int, want Attributes, hold uint32) error {
	var errs []error
	if want.Project != 0 {
		if err := setProject(fd, want.Project); err != nil {
			errs = append(errs, fmt.Errorf("project %d: %w", want.Project, err))
		}
	}
	if flags := want.Flags & Settable &^ hold; flags != 0 {
		errs = append(errs, setFlags(fd, flags))
	}
	if held := want.Flags & hold; held != 0 {
		errs = append(errs, fmt.Errorf("%s: %w", Words(held), ErrHeld))
	}
	return errors.Join(errs...)
}

// ErrHeld is the reason for flags that the caller does not want.
var ErrHeld = errors.New("left off, what is restored here must be removable")

func setProject(fd int, project uint32) error {
	var x fsxattr
	if err := x.call(fd, getFsxattr); err != nil {
		return err
	}
	if x.project == project {
		return nil
	}
	x.project = project
	return x.call(fd, setFsxattr)
}

func setFlags(fd int, flags uint32) error {
	now, err := get(fd)
	if err != nil {
		return fmt.Errorf("flags %s: %w", Words(flags), err)
	}
	if now|flags == now {
		return nil
	}
	err = put(fd, now|flags)
	if err == nil {
		return nil
	}
	// One that the file system does not know fails them all: XFS has fewer than ext4.
	var refused uint32
	for _, n := range names {
		if flags&n.bit == 0 || now&n.bit != 0 || n.bit&Locks != 0 {
			continue
		}
		if put(fd, now|n.bit) != nil {
			refused |= n.bit
			continue
		}
		now |= n.bit
	}
	if locks := flags & Locks &^ now; locks != 0 {
		if put(fd, now|locks) != nil {
			refused |= locks
		}
	}
	if refused == 0 {
		return nil
	}
	return fmt.Errorf("flags %s: %w", Words(refused), err)
}

// Forget takes away the flags that a new file has only from its directory, but for those
// given in keep. Where flags cannot be read there are none to be handed down.
func Forget(fd int, keep uint32) error {
	now, err := get(fd)
	if err != nil || now&inherited&^keep == 0 {
		return nil
	}
	return put(fd, now&^(inherited&^keep))
}

// Reset takes away all that Set has given to the open file beyond what it had: its base.
func Reset(fd int, base Attributes) error {
	now, err := Read(fd)
	if err != nil || now == base {
		return err
	}
	if more := now.Flags &^ base.Flags; more != 0 {
		all, err := get(fd)
		if err == nil {
			err = put(fd, all&^more)
		}
		if err != nil {
			return fmt.Errorf("take away flags %s: %w", Words(more), err)
		}
	}
	if now.Project == base.Project {
		return nil
	}
	if err := setProject(fd, base.Project); err != nil {
		return fmt.Errorf("project %d: %w", base.Project, err)
	}
	return nil
}

func put(fd int, flags uint32) error {
	return retry(func() error { return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags)) })
}

// retry repeats f while a signal interrupts it: the daemons install handlers
// without SA_RESTART.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
