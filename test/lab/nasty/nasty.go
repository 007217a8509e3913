// SPDX-License-Identifier: AGPL-3.0-only

// Package nasty makes a folder with every kind of file and metadata that a backup of a container must carry. It is data
// for tests; what must come out of a restore is decided there.
package nasty

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Name is the folder that Make adds to a tree.
const Name = "nasty"

// SmallFiles is the number of files in the folder "many".
const SmallFiles = 2000

// maker collects the first error, so that the list of files reads as a list.
type maker struct {
	root string
	err  error
}

func (m *maker) path(name string) string { return m.root + "/" + name }

func (m *maker) do(what string, err error) {
	if err != nil && m.err == nil {
		m.err = fmt.Errorf("%s: %w", what, err)
	}
}

// Make makes the folder "nasty" below root. The tree can be packed by tar with xattrs, ACLs and sparse files, except for
// sockets, which tar leaves out: MakeSockets adds them where the tree is unpacked.
func Make(root string) error {
	m := &maker{root: filepath.Join(root, Name)}
	m.do("mkdir", os.Mkdir(m.root, 0o755))
	m.owners()
	m.links()
	m.special()
	m.modes()
	m.attributes()
	m.contents()
	m.names()
	m.times()
	m.folders()
	return m.err
}

func (m *maker) file(name, content string, mode uint32) {
	fd, err := unix.Open(m.path(name), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		m.do("create "+name, err)
		return
	}
	_, err = unix.Write(fd, []byte(content))
	m.do("write "+name, errors.Join(err, unix.Close(fd)))
	m.do("chmod "+name, unix.Chmod(m.path(name), mode))
}

func (m *maker) dir(name string, mode uint32) {
	m.do("mkdir "+name, unix.Mkdir(m.path(name), 0o700))
	m.do("chmod "+name, unix.Chmod(m.path(name), mode))
}

func (m *maker) owners() {
	m.file("owned", "by nobody here\n", 0o640)
	m.do("chown", unix.Lchown(m.path("owned"), 4242, 2424))
	m.file("big-owner", "a large uid\n", 0o600)
	m.do("chown", unix.Lchown(m.path("big-owner"), 2000000001, 2000000002))
}

func (m *maker) links() {
	m.dir("links", 0o755)
	m.dir("links/a", 0o755)
	m.dir("links/b", 0o755)
	m.file("links/a/hard1", "one file, four names\n", 0o644)
	for _, n := range []string{"links/a/hard2", "links/b/hard3", "links/hard4"} {
		m.do("link", os.Link(m.path("links/a/hard1"), m.path(n)))
	}
	for name, to := range map[string]string{
		"dangling": "no/such/file", "absolute": "/etc/passwd", "itself": "itself", "up": "../../../../../../etc/shadow",
		"relative": "a/hard1", "to-dir": "a", "long": strings.Repeat("x/", 2000) + "end",
	} {
		m.do("symlink", os.Symlink(to, m.path("links/"+name)))
	}
	m.do("lchown", unix.Lchown(m.path("links/dangling"), 1001, 1002))
}

func (m *maker) special() {
	m.dir("special", 0o755)
	m.do("fifo", unix.Mknod(m.path("special/fifo"), unix.S_IFIFO|0o640, 0))
	m.do("char", unix.Mknod(m.path("special/char"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	m.do("block", unix.Mknod(m.path("special/block"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 300))))
	m.do("chown", unix.Lchown(m.path("special/fifo"), 33, 33))
}

// MakeSockets makes the socket, which no archive carries. Its time and its folder's are always the same.
func MakeSockets(root string) error {
	m := &maker{root: filepath.Join(root, Name)}
	err := unix.Mknod(m.path("special/socket"), unix.S_IFSOCK|0o755, 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	m.do("socket", err)
	m.touch("special/socket", time.Unix(1600000000, 333333333))
	m.touch("special", time.Unix(1600000001, 444444444))
	return m.err
}

func (m *maker) modes() {
	m.file("setuid", "#!/bin/sh\n", 0o4755)
	m.file("setgid", "#!/bin/sh\n", 0o2755)
	m.dir("sticky", 0o1777)
	m.dir("setgid-dir", 0o2775)
	m.file("no-mode", "nobody may\n", 0)
	m.file("all-bits", "x", 0o7777)
	m.file("owned-setuid", "chown clears these bits unless mode is set after it\n", 0o755)
	m.do("chown", unix.Lchown(m.path("owned-setuid"), 7, 8))
	m.do("chmod", unix.Chmod(m.path("owned-setuid"), 0o6755))
}

// acl is a POSIX ACL as the kernel stores it: version 2, then tag, permissions, id.
func acl(entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

const (
	userObj, user, groupObj, group, mask, other = 1, 2, 4, 8, 16, 32
	noID                                        = 0xffffffff
)

func (m *maker) attributes() {
	m.dir("attr", 0o755)
	m.file("attr/user", "user.* attributes\n", 0o644)
	m.set("attr/user", "user.comment", []byte("plain"))
	m.set("attr/user", "user.empty", nil)
	m.set("attr/user", "user.binary", []byte{0, 1, 2, 0xff, 0, 0x80})
	m.set("attr/user", "user.large", bytes.Repeat([]byte("0123456789abcdef"), 180))
	m.file("attr/trusted", "trusted.* attributes\n", 0o600)
	m.set("attr/trusted", "trusted.vz7ct", []byte("for root only"))
	m.file("attr/capable", "#!/bin/sh\n", 0o755)
	// VFS_CAP_REVISION_2 with the effective bit; cap_net_raw and cap_net_bind_service permitted.
	m.set("attr/capable", "security.capability", []byte{1, 0, 0, 2, 0, 0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	m.file("attr/acl", "access ACL\n", 0o640)
	m.set("attr/acl", "system.posix_acl_access", acl([3]uint32{userObj, 6, noID}, [3]uint32{user, 4, 1234},
		[3]uint32{groupObj, 4, noID}, [3]uint32{group, 6, 4321}, [3]uint32{mask, 6, noID}, [3]uint32{other, 0, noID}))
	m.dir("attr/acl-dir", 0o750)
	m.set("attr/acl-dir", "system.posix_acl_access", acl([3]uint32{userObj, 7, noID}, [3]uint32{user, 5, 1234},
		[3]uint32{groupObj, 5, noID}, [3]uint32{mask, 5, noID}, [3]uint32{other, 0, noID}))
	m.set("attr/acl-dir", "system.posix_acl_default", acl([3]uint32{userObj, 7, noID}, [3]uint32{user, 7, 99},
		[3]uint32{groupObj, 5, noID}, [3]uint32{mask, 7, noID}, [3]uint32{other, 0, noID}))
	m.dir("attr/dir", 0o755)
	m.set("attr/dir", "user.dir", []byte("of a folder"))
	m.do("symlink", os.Symlink("nowhere", m.path("attr/link")))
	m.do("lsetxattr", unix.Lsetxattr(m.path("attr/link"), "trusted.link", []byte("of a symlink"), 0))
}

func (m *maker) set(name, attr string, value []byte) {
	m.do("setxattr "+attr+" of "+name, unix.Lsetxattr(m.path(name), attr, value, 0))
}

// Sparse is the file with holes: its size, and where its three extents of 64 KiB begin.
const Sparse = 1 << 30

// SparseAt are the beginnings of the extents.
var SparseAt = []int64{0, 300 << 20, Sparse - 64<<10}

func (m *maker) contents() {
	m.file("empty", "", 0o644)
	m.file("one-byte", "x", 0o644)
	m.file("no-newline", "end without newline", 0o644)
	f, err := os.OpenFile(m.path("sparse"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		m.do("sparse", err)
		return
	}
	m.do("sparse", f.Truncate(Sparse))
	for i, at := range SparseAt {
		_, err := f.WriteAt(bytes.Repeat([]byte{byte('A' + i)}, 64<<10), at)
		m.do("sparse", err)
	}
	m.do("sparse", f.Close())
	h, err := os.OpenFile(m.path("only-hole"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		err = errors.Join(h.Truncate(5<<20+123), h.Close())
	}
	m.do("only-hole", err)
}

func (m *maker) names() {
	m.dir("names", 0o755)
	for _, n := range []string{
		strings.Repeat("n", 255), "K\xdcBLER.csv", "new\nline", "-rf", `back\slash "and" 'quotes'`, " leading and trailing ",
		"\xff\xfe\x01 bytes", "ünïcode ✓", "tab\there", "*", "?", "[a]", "$HOME", "`id`", "%s%n", "..hidden", "...", "a:b", "#x#",
		"e\u0301 decomposed", "\u00e9 composed",
	} {
		m.file("names/"+n, "name of "+fmt.Sprintf("%q", n)+"\n", 0o644)
	}
	m.dir("names/"+strings.Repeat("d", 255), 0o755)
	m.file("names/"+strings.Repeat("d", 255)+"/"+strings.Repeat("f", 255), "deep\n", 0o644)
	m.dir("names/dir\nline", 0o755)
	m.file("names/dir\nline/-file", "x\n", 0o644)
}

func (m *maker) times() {
	m.dir("times", 0o755)
	for name, t := range map[string]time.Time{
		"before-1970": time.Date(1950, 6, 1, 12, 0, 0, 500000000, time.UTC),
		"at-epoch":    time.Unix(0, 1),
		"after-2038":  time.Date(2061, 7, 28, 0, 0, 0, 123456789, time.UTC),
		"nanoseconds": time.Unix(1700000000, 987654321),
	} {
		m.file("times/"+name, name+"\n", 0o644)
		m.touch("times/"+name, t)
	}
	m.do("symlink", os.Symlink("x", m.path("times/link")))
	m.touch("times/link", time.Unix(1500000000, 111111111))
	m.touch("times", time.Unix(1400000000, 222222222))
}

func (m *maker) touch(name string, t time.Time) {
	ts := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	m.do("touch "+name, unix.UtimesNanoAt(unix.AT_FDCWD, m.path(name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}

func (m *maker) folders() {
	m.dir("empty-dir", 0o700)
	m.dir("read-only", 0o755)
	m.file("read-only/inside", "the folder has mode 0500\n", 0o400)
	m.do("chown", errors.Join(unix.Lchown(m.path("read-only/inside"), 65534, 65534), unix.Lchown(m.path("read-only"), 65534, 65534)))
	m.do("chmod", unix.Chmod(m.path("read-only"), 0o500))
	m.dir("many", 0o755)
	for i := range SmallFiles {
		m.file(fmt.Sprintf("many/%04d", i), fmt.Sprintf("small file %d\n", i), 0o644)
	}
	deep := "deep"
	m.dir(deep, 0o755)
	for range 30 {
		deep += "/level"
		m.dir(deep, 0o755)
	}
	m.file(deep+"/bottom", "bottom\n", 0o644)
}
