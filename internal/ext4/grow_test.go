// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// gardener makes a tree at random, by the kernel, with everything that an ext4 takes. What
// this file system has no room or no feature for is left out.
type gardener struct {
	t     testing.TB
	rand  *rand.Rand
	dirs  []string
	files []string // of any type but directories
	count map[string]int
	last  bool
}

// grow does a number of things below root, and returns how often which was done.
func grow(t testing.TB, root string, seed uint64, steps int) map[string]int {
	g := &gardener{t: t, rand: rand.New(rand.NewPCG(seed, 0)), dirs: []string{root}, count: map[string]int{}}
	g.crowd(filepath.Join(root, "crowd"), 1500)
	for range steps {
		g.step()
	}
	g.last = true
	for range steps / 40 {
		g.flags()
	}
	return g.count
}

// did counts, and tolerates what a file system may lack.
func (g *gardener) did(what string, err error) bool {
	g.t.Helper()
	for _, known := range []error{unix.EOPNOTSUPP, unix.EFBIG, unix.ENOSPC, unix.ERANGE, unix.EMLINK, unix.EINVAL, unix.EEXIST,
		unix.ENOTEMPTY, unix.EPERM, unix.ENAMETOOLONG, unix.EOVERFLOW, unix.E2BIG, unix.EACCES} {
		if errors.Is(err, known) {
			g.count["no "+what]++
			return false
		}
	}
	if err != nil {
		g.t.Fatalf("%s: %v", what, err)
	}
	g.count[what]++
	return true
}

func (g *gardener) dir() string  { return g.dirs[g.rand.IntN(len(g.dirs))] }
func (g *gardener) file() string { return g.files[g.rand.IntN(len(g.files))] }

// name is of any bytes and length, but rather short.
func (g *gardener) name() string {
	length := 1 + g.rand.IntN(20)
	if g.rand.IntN(10) == 0 {
		length = 1 + g.rand.IntN(255)
	}
	b := make([]byte, length)
	for i := range b {
		for b[i] == 0 || b[i] == '/' {
			b[i] = byte(g.rand.IntN(256))
		}
	}
	if s := string(b); s != "." && s != ".." {
		return s
	}
	return "dots"
}

// crowd makes a directory of many files, of which a third goes again.
func (g *gardener) crowd(dir string, n int) {
	g.did("directory", os.Mkdir(dir, 0o755))
	for i := range n {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("file number %d", i)))
		if !g.did("file of a crowd", err) {
			return
		}
		f.Close()
	}
	for i := 0; i < n; i += 3 {
		g.did("removal from a crowd", os.Remove(filepath.Join(dir, fmt.Sprintf("file number %d", i))))
	}
}

func (g *gardener) step() {
	at := filepath.Join(g.dir(), g.name())
	switch n := g.rand.IntN(20); {
	case n < 3 || len(g.files) < 10:
		if g.did("file", g.write(at)) {
			g.files = append(g.files, at)
		}
	case n < 5:
		if g.did("directory", os.Mkdir(at, 0o755)) {
			g.dirs = append(g.dirs, at)
		}
	case n < 7:
		length := 1 + g.rand.IntN(100)
		if g.rand.IntN(3) == 0 {
			length = 1 + g.rand.IntN(4095)
		}
		if g.did("symbolic link", os.Symlink(strings.Repeat("x", length-1)+string(rune('a'+g.rand.IntN(26))), at)) {
			g.files = append(g.files, at)
		}
	case n < 8:
		modes := []uint32{unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK}
		dev := unix.Mkdev(uint32(g.rand.IntN(4096))>>g.rand.IntN(12), uint32(g.rand.IntN(1<<20))>>g.rand.IntN(20))
		if g.did("special file", unix.Mknod(at, modes[g.rand.IntN(4)]|0o600, int(dev))) {
			g.files = append(g.files, at)
		}
	case n < 9:
		if g.did("hard link", os.Link(g.file(), at)) {
			g.files = append(g.files, at)
		}
	case n < 11:
		i := g.rand.IntN(len(g.files))
		if g.did("removal", os.Remove(g.files[i])) {
			g.files[i] = g.files[len(g.files)-1]
			g.files = g.files[:len(g.files)-1]
		}
	case n < 12:
		i := g.rand.IntN(len(g.files))
		if g.did("rename", os.Rename(g.files[i], at)) {
			g.files[i] = at
		}
	case n < 14:
		g.change(g.file())
	case n < 15:
		g.change(g.dir())
	case n < 17:
		g.attribute(g.file())
	case n < 18:
		g.attribute(g.dir())
	default:
		g.flags()
	}
}

// write makes a file: empty, small, with holes, in many pieces, not written, huge.
func (g *gardener) write(at string) error {
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	some := make([]byte, 1+g.rand.IntN(9000))
	switch g.rand.IntN(8) {
	case 0:
	case 1:
		_, err = f.Write(some[:min(len(some), 1+g.rand.IntN(120))]) // fits into inodes
	case 2:
		_, err = f.WriteAt(some, g.rand.Int64N(1<<30))
	case 3:
		for i := range 1 + g.rand.IntN(40) {
			if _, err = f.WriteAt(some[:1], int64(i)*8192); err != nil {
				break
			}
		}
	case 4:
		err = unix.Fallocate(int(f.Fd()), 0, g.rand.Int64N(20000), 1+g.rand.Int64N(50000))
	case 5:
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 1+g.rand.Int64N(50000))
	case 6:
		err = f.Truncate(g.rand.Int64N(1 << g.rand.IntN(43)))
	default:
		_, err = f.Write(some)
	}
	g.did("content", err)
	return nil
}

// change sets mode, owner and times. Of a link only the latter two.
func (g *gardener) change(at string) {
	var st unix.Stat_t
	g.did("stat", unix.Lstat(at, &st))
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		g.did("mode", unix.Fchmodat(unix.AT_FDCWD, at, uint32(g.rand.IntN(0o10000)), 0))
	}
	g.did("owner", os.Lchown(at, int(g.rand.Uint32()>>g.rand.IntN(32)), int(g.rand.Uint32()>>g.rand.IntN(32))))
	when := func() unix.Timespec {
		return unix.Timespec{Sec: g.rand.Int64N(5<<32) - 1<<31, Nsec: g.rand.Int64N(1e9)}
	}
	g.did("times", unix.UtimesNanoAt(unix.AT_FDCWD, at, []unix.Timespec{when(), when()}, unix.AT_SYMLINK_NOFOLLOW))
}

// attribute sets an extended attribute or an access list, from small to large ones.
func (g *gardener) attribute(at string) {
	value := make([]byte, g.rand.IntN(1<<g.rand.IntN(14)))
	switch g.rand.IntN(4) {
	case 0:
		g.did("xattr user", unix.Lsetxattr(at, "user."+strings.Repeat("n", 1+g.rand.IntN(30)), value, 0))
	case 1:
		g.did("xattr trusted", unix.Lsetxattr(at, "trusted.data", value, 0))
	case 2:
		b := binary.LittleEndian.AppendUint32(nil, 2) // version
		for _, e := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 4, 1000}, {4, 4, ^uint32(0)}, {0x10, 6, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
			b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
			b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
			b = binary.LittleEndian.AppendUint32(b, e[2])
		}
		g.did("access list", unix.Lsetxattr(at, []string{"system.posix_acl_access", "system.posix_acl_default"}[g.rand.IntN(2)], b, 0))
	default:
		g.did("xattr security", unix.Lsetxattr(at, "security.data", value[:min(len(value), 100)], 0))
	}
}

// flags sets some of a file's or directory's flags.
func (g *gardener) flags() {
	at := g.dir()
	if g.rand.IntN(2) == 0 {
		at = g.file()
	}
	var st unix.Stat_t
	g.did("stat", unix.Lstat(at, &st))
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return
	}
	fd, err := unix.Open(at, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if !g.did("open", err) {
		return
	}
	defer unix.Close(fd)
	now, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	g.did("get flags", err)
	// Not those that would keep the tree from growing: immutable and append only.
	// And at the end alone those by which the kernel writes at once.
	list := []uint32{0x1, 0x2, 0x4, 0x40, 0x80, 0x8000, 0x20000, 0x20000000}
	if g.last {
		list = []uint32{0x8, 0x10, 0x20, 0x10000}
	}
	g.did("set flags", unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(now|list[g.rand.IntN(len(list))])))
}
