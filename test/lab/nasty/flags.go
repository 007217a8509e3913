// SPDX-License-Identifier: AGPL-3.0-only

package nasty

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Flags of inodes (include/uapi/linux/fs.h).
const (
	flagSync      = 0x8
	flagImmutable = 0x10
	flagAppend    = 0x20
	flagNoDump    = 0x40
	flagNoAtime   = 0x80
	flagDirSync   = 0x10000
)

var farPast = time.Unix(1111111111, 5)

// flags makes files and folders with inode flags. Those that cannot be changed any more are full before.
func (m *maker) flags() {
	m.dir("flags", 0o755)
	for _, f := range []struct {
		name  string
		dir   bool
		flags int
	}{
		{"immutable", false, flagImmutable},
		{"append-only", false, flagAppend},
		{"no-dump", false, flagNoDump},
		{"several", false, flagNoAtime | flagSync | flagNoDump},
		{"immutable-dir", true, flagImmutable},
		{"append-dir", true, flagAppend},
		{"sync-dir", true, flagDirSync | flagNoDump},
	} {
		name := "flags/" + f.name
		if f.dir {
			m.dir(name, 0o755)
			m.file(name+"/inside", "inside\n", 0o600)
			m.dir(name+"/folder", 0o700)
			m.file(name+"/folder/deeper", "deeper\n", 0o600)
		} else {
			m.file(name, f.name+"\n", 0o644)
			m.set(name, "user.k", []byte("v"))
			m.do("link", os.Link(m.path(name), m.path(name+"-again")))
		}
		m.touch(name, farPast)
		m.setFlags(name, f.flags)
	}
	m.touch("flags", farPast)
}

func (m *maker) setFlags(name string, flags int) {
	f, err := os.Open(m.path(name))
	if err != nil {
		m.do("flags of "+name, err)
		return
	}
	was, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, was|flags)
	}
	m.do("flags of "+name, errors.Join(err, f.Close()))
}

// fsxattr is the kernel's struct fsxattr; FS_XFLAG_PROJINHERIT is handed down to what is made in a folder.
type fsxattr struct {
	xflags, extsize, nextents, projid, cowextsize uint32
	_                                             [8]byte
}

const (
	fsGetXattr       = 0x801c581f
	fsSetXattr       = 0x401c5820
	xflagProjInherit = 0x200
)

// projects makes files of a project of their own, where the file system has projects.
func (m *maker) projects() {
	m.dir("project", 0o755)
	m.file("project/file", "of project 77\n", 0o644)
	m.dir("project/folder", 0o755)
	for name, id := range map[string]uint32{"project/file": 77, "project/folder": 4000000000} {
		err := m.setProject(name, id)
		if errors.Is(err, unix.ENOTSUP) {
			return
		}
		m.do("project of "+name, err)
	}
	m.file("project/folder/heir", "of the folder's project\n", 0o644)
}

func (m *maker) setProject(name string, id uint32) error {
	f, err := os.Open(m.path(name))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	var x fsxattr
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsGetXattr, uintptr(unsafe.Pointer(&x))); errno != 0 {
		return errno
	}
	x.projid = id
	if st, err := f.Stat(); err != nil || st.IsDir() {
		x.xflags |= xflagProjInherit
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsSetXattr, uintptr(unsafe.Pointer(&x))); errno != 0 {
		return errno
	}
	return nil
}
