// SPDX-License-Identifier: AGPL-3.0-only

package nasty

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// FullName is the folder that MakeFull adds to a tree.
const FullName = "nasty-full"

// Extent is how far MakeFull goes.
type Extent struct {
	Names   int   // of one file
	Entries int   // of one folder
	Depth   int   // of folders in folders
	Sparse  int64 // bytes of the file with three extents
}

// Whole is what the limits of ext4 and of the system calls leave room for, Small has the same kinds in less time.
var (
	Whole = Extent{Names: 10000, Entries: 100000, Depth: 1000, Sparse: 20 << 30}
	Small = Extent{Names: 300, Entries: 1000, Depth: 450, Sparse: 1 << 30}
)

// Folders and files of MakeFull that tests name.
const (
	DeepLong  = "deep-long"  // its paths are longer than PATH_MAX, which other programs cannot take
	Unread    = "unread"     // a file of 1 MiB without holes, for errors of the disk
	TooLong   = "too-long"   // paths longer than a daemon's message, made by MakeTooLong
	SparseFar = "sparse-far" // the large file with three extents
)

// MakeFull makes the folder "nasty-full" below root, a directory of a mounted ext4: no archive carries it. It has what Make
// leaves out, because it is large or belongs to the file system: very many names and entries, depth, full attribute blocks,
// flags. Immutable files must be made mutable before they can be removed.
func MakeFull(root string, x Extent) error {
	m := &maker{root: filepath.Join(root, FullName)}
	m.do("mkdir", os.Mkdir(m.root, 0o755))
	m.sameFile(x.Names)
	m.crowd(x.Entries)
	m.deep("deep", "d", x.Depth)
	m.deep(DeepLong, "level-and-name-of-some-length", x.Depth)
	m.fullAttributes()
	m.farHoles(x.Sparse)
	m.smallHole()
	m.farTimes()
	m.sockets()
	m.unread()
	m.projects()
	m.flags() // at last: nothing can be made in some of these folders
	return m.err
}

func (m *maker) sameFile(names int) {
	m.dir("names", 0o755)
	m.file("names/00000", "one file of many names\n", 0o640)
	m.do("symlink", os.Symlink("nowhere", m.path("names/link")))
	m.do("link", os.Link(m.path("names/link"), m.path("names/link-again")))
	for i := 1; i < names; i++ {
		m.do("link", os.Link(m.path("names/00000"), m.path(fmt.Sprintf("names/%05d", i))))
	}
}

// crowd makes a folder of many files, each 10th with an owner, a mode and a time of its own, each 100th with content.
func (m *maker) crowd(entries int) {
	m.dir("crowd", 0o755)
	for i := range entries {
		name, content := fmt.Sprintf("crowd/%06d", i), ""
		if i%100 == 0 {
			content = fmt.Sprintf("file %d\n", i)
		}
		m.file(name, content, 0o600|uint32(i%8))
		if i%10 == 0 {
			m.do("chown", unix.Lchown(m.path(name), i%60000, i%1000))
			m.touch(name, time.Unix(1000000000+int64(i), int64(i)))
		}
	}
	m.touch("crowd", time.Unix(1234567890, 123456789))
}

// deep makes folders in folders, with a file half way down and at the bottom, and a link there. Below the first it goes by
// descriptors: the path may be longer than the system takes.
func (m *maker) deep(top, name string, depth int) {
	m.dir(top, 0o755)
	if m.err != nil {
		return
	}
	fd, err := unix.Open(m.path(top), unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for i := 0; err == nil && i < depth; i++ {
		if i == depth/2 {
			err = fileAt(fd, "half-way")
		}
		var next int
		if err == nil {
			err = unix.Mkdirat(fd, name, 0o700|uint32(i%8))
		}
		if err == nil {
			next, err = unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		}
		if err == nil {
			err = errors.Join(unix.Close(fd), unix.Fchown(next, i, depth-i))
			fd = next
		}
	}
	if err == nil {
		err = errors.Join(fileAt(fd, "bottom"), unix.Symlinkat("bottom", fd, "link"), unix.Close(fd))
	}
	m.do("folders in folders", err)
}

func fileAt(dir int, name string) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o640)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(name+"\n"))
	return errors.Join(err, unix.Fsetxattr(fd, "user.deep", []byte(name), 0), unix.Close(fd))
}

// fullAttributes makes files whose attributes fill the room in the inode, and in a block beside it.
func (m *maker) fullAttributes() {
	m.dir("attr", 0o755)
	m.file("attr/inode", "attributes in the inode\n", 0o644)
	m.set("attr/inode", "user.i", bytes.Repeat([]byte{0xa5}, 48))
	m.file("attr/full", "as many attributes as ext4 takes\n", 0o644)
	count := 0
	for size := 1500; size > 0 && m.err == nil; {
		err := unix.Lsetxattr(m.path("attr/full"), fmt.Sprintf("user.%03d", count), bytes.Repeat([]byte{byte(count)}, size), 0)
		switch {
		case err == nil:
			count++
		case errors.Is(err, unix.ENOSPC):
			size /= 2
		default:
			m.do("fill attributes", err)
		}
	}
	m.file("attr/many", "many small attributes\n", 0o644)
	for i := range 60 {
		m.set("attr/many", fmt.Sprintf("user.name-of-some-length-%03d", i), []byte{byte(i)})
	}
	m.file("attr/acl-30", "an access list of 30 entries\n", 0o660)
	m.set("attr/acl-30", "system.posix_acl_access", longACL(30))
	m.dir("attr/acl-30-dir", 0o770)
	m.set("attr/acl-30-dir", "system.posix_acl_access", longACL(30))
	m.set("attr/acl-30-dir", "system.posix_acl_default", longACL(30))
	m.file("attr/setuid-capable", "#!/bin/sh\n", 0o755)
	m.do("chown", unix.Lchown(m.path("attr/setuid-capable"), 11, 12))
	m.do("chmod", unix.Chmod(m.path("attr/setuid-capable"), 0o6755))
	// VFS_CAP_REVISION_3 with cap_net_admin and a root of a user namespace.
	m.set("attr/setuid-capable", "security.capability", []byte{1, 0, 0, 3, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x27, 0, 0})
}

// longACL has n entries.
func longACL(n int) []byte {
	entries := [][3]uint32{{userObj, 6, noID}}
	for i := range n - 4 {
		entries = append(entries, [3]uint32{user, uint32(i % 8), 1000 + uint32(i)})
	}
	return acl(append(entries, [3]uint32{groupObj, 6, noID}, [3]uint32{mask, 6, noID}, [3]uint32{other, 0, noID})...)
}

// farHoles makes a large file with an extent at each end and one between, not of whole blocks, and one that ends in a hole.
func (m *maker) farHoles(size int64) {
	for name, at := range map[string][]int64{
		SparseFar: {0, size/2 + 12345, size - 5000}, "hole-at-end": {0},
	} {
		f, err := os.OpenFile(m.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			m.do(name, err)
			return
		}
		err = f.Truncate(size)
		for i, off := range at {
			_, e := f.WriteAt(bytes.Repeat([]byte{byte('a' + i)}, 5000), off)
			err = errors.Join(err, e)
		}
		m.do(name, errors.Join(err, f.Close()))
	}
}

// smallHole makes files with holes that take as much room as their length: one of one
// block beside attributes that need a block, and one beside room reserved behind the end.
func (m *maker) smallHole() {
	m.file("small-hole", "", 0o644)
	f, err := os.OpenFile(m.path("small-hole"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte{'x'}, 4096), 4096)
		err = errors.Join(err, f.Close())
	}
	m.do("small-hole", err)
	m.set("small-hole", "user.block", bytes.Repeat([]byte{'b'}, 1000))
	m.file("reserved-hole", "", 0o644)
	f, err = os.OpenFile(m.path("reserved-hole"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("x"), 1<<20)
		err = errors.Join(err, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 1<<20, 4<<20), f.Close())
	}
	m.do("reserved-hole", err)
}

// farTimes are the first and the last moments that ext4 knows, and fractions before 1970.
func (m *maker) farTimes() {
	m.dir("times", 0o755)
	for name, t := range map[string]time.Time{
		"first":         time.Unix(-1<<31, 0),
		"before-1970":   time.Unix(-1, 999999999),
		"beyond-2038":   time.Unix(1<<31, 1),
		"last":          time.Unix(1<<34-1<<31-1, 999999999),
		"at-the-second": time.Unix(1600000000, 0),
	} {
		m.file("times/"+name, name+"\n", 0o644)
		m.touch("times/"+name, t)
		m.dir("times/"+name+"-dir", 0o755)
		m.touch("times/"+name+"-dir", t)
		m.do("symlink", os.Symlink("x", m.path("times/"+name+"-link")))
		m.touch("times/"+name+"-link", t)
	}
	m.touch("times", time.Unix(-86400, 5))
}

func (m *maker) sockets() {
	m.dir("special", 0o755)
	for name, mode := range map[string]uint32{"socket": unix.S_IFSOCK, "fifo": unix.S_IFIFO, "char": unix.S_IFCHR, "block": unix.S_IFBLK} {
		dev := 0
		if mode == unix.S_IFCHR || mode == unix.S_IFBLK {
			dev = int(unix.Mkdev(259, 1<<19+7)) // needs more than 16 bits
		}
		m.do(name, unix.Mknod(m.path("special/"+name), mode|0o644, dev))
		m.do("link", os.Link(m.path("special/"+name), m.path("special/"+name+"-again")))
	}
	m.touch("special", time.Unix(1600000000, 1))
}

// unread makes a file of random content, the same at every run.
func (m *maker) unread() {
	b := make([]byte, 1<<20)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	m.file(Unread, string(b), 0o644)
}

// MakeTooLong adds a folder to that of MakeFull whose lowest paths no daemon takes: folders in folders with long names.
func MakeTooLong(root string) error {
	m := &maker{root: filepath.Join(root, FullName)}
	m.deep(TooLong, strings.Repeat("t", 250), 270)
	return m.err
}
