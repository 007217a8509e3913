// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// comparison walks a mounted file system by our reader and by the kernel at once.
type comparison struct {
	r *Reader
	// spoil, if set, plants a difference.
	spoil func(path string, n *Inode)
	// hide drops a name, and target spoils a link's.
	hide   string
	target string

	diffs  []string
	seen   map[uint32]bool // inode numbers
	counts map[string]int

	orphans uint64 // by Check
}

const maxDiffs = 8

func (c *comparison) differ(path, format string, args ...any) {
	if len(c.diffs) < maxDiffs {
		c.diffs = append(c.diffs, fmt.Sprintf("%.90q: ", path)+fmt.Sprintf(format, args...))
	}
}

// compare returns what differs between the file system at root and what the reader says.
func compare(c *comparison, root string) ([]string, error) {
	c.seen, c.counts = map[uint32]bool{}, map[string]int{}
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	err = c.entry("", -1, fd, "", &st)
	return c.diffs, err
}

// entry compares one and, if it is a directory, all below it. It closes self.
func (c *comparison) entry(path string, dir, self int, name string, st *unix.Stat_t) error {
	if self >= 0 {
		defer unix.Close(self)
	}
	n, err := c.r.Inode(uint32(st.Ino))
	if err != nil {
		c.differ(path, "Inode: %v", err)
		return nil
	}
	c.seen[n.Ino] = true
	if c.spoil != nil {
		c.spoil(path, &n)
	}
	want := *st
	want.Dev = 0
	if want.Mode&unix.S_IFMT == unix.S_IFBLK {
		want.Blksize = int64(c.r.fs.blockSize()) // the kernel may show the device's own
	}
	for _, p := range [][2]*unix.Timespec{{&n.Stat.Atim, &want.Atim}, {&n.Stat.Mtim, &want.Mtim}, {&n.Stat.Ctim, &want.Ctim}} {
		if n.Doubt && p[0].Nsec >= 1e9 { // debugfs writes such; nobody is right
			*p[0] = *p[1]
		}
	}
	if err := n.Agree(st); err != nil {
		c.differ(path, "Agree: %v", err)
	} else if n.Stat != want {
		c.differ(path, "stat %s", fields(n.Stat, want))
	}
	kind := want.Mode & unix.S_IFMT
	if n.Doubt {
		c.counts["doubt"]++
	}
	place := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
	if self >= 0 {
		place = fmt.Sprintf("/proc/self/fd/%d/.", self)
	}
	size, err := unix.Llistxattr(place, nil)
	if err != nil && err != unix.ENOTSUP {
		return fmt.Errorf("llistxattr %q: %w", path, err)
	}
	if size > 0 {
		c.counts["xattrs"]++
	}
	if size > 0 != n.HasXattrs {
		c.differ(path, "HasXattrs = %v, the kernel lists %d bytes of names", n.HasXattrs, size)
	}
	switch kind {
	case unix.S_IFLNK:
		c.counts["links"]++
		return c.link(path, dir, name, &n)
	case unix.S_IFREG:
		c.counts["files"]++
		self, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open %q: %w", path, err)
		}
		defer unix.Close(self)
		c.holes(path, self, &n)
		return c.opened(path, self, &n)
	case unix.S_IFDIR:
		c.counts["directories"]++
		if err := c.opened(path, self, &n); err != nil {
			return err
		}
		return c.directory(path, self, &n)
	}
	c.counts["special files"]++
	if a := n.Attributes(); a != (chattr.Attributes{}) {
		c.differ(path, "Attributes = %+v of what cannot be asked", a)
	}
	return nil
}

// opened compares what is asked of an open file.
func (c *comparison) opened(path string, fd int, n *Inode) error {
	want, err := chattr.Read(fd)
	if err != nil {
		return fmt.Errorf("attributes of %q: %w", path, err)
	}
	if got := n.Attributes(); got != want {
		c.differ(path, "Attributes = %+v, want %+v", got, want)
	}
	all, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("flags of %q: %w", path, err)
	}
	const projectInherit = 0x20000000
	if n.Flags&^projectInherit != all&^projectInherit {
		c.differ(path, "Flags = %#x, want %#x", n.Flags, all)
	}
	const getVersion = 0x80087601 // FS_IOC_GETVERSION
	generation, err := unix.IoctlGetUint32(fd, getVersion)
	if err != nil {
		return fmt.Errorf("generation of %q: %w", path, err)
	}
	if n.Generation != generation {
		c.differ(path, "Generation = %d, want %d", n.Generation, generation)
	}
	// FIBMAP: of what block is block 0. It gives 32 bits.
	block := int32(0)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), 1, uintptr(unsafe.Pointer(&block))); e == 0 && n.raw&flagExtents != 0 {
		if root, err := parseNode(n.data[:], -1); err == nil && root.depth == 0 && !n.Sparse() && uint32(block) != uint32(n.Block) {
			c.differ(path, "Block = %d, want %d", n.Block, block)
		}
		c.counts["mapped"]++
	}
	return nil
}

// holes asks whether a file that should have none has one.
func (c *comparison) holes(path string, fd int, n *Inode) {
	hole, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
	full := err == nil && hole == n.Stat.Size || n.Stat.Size == 0
	if !full {
		c.counts["sparse"]++
	} else if n.Sparse() {
		c.counts["sparse in vain"]++
	}
	if !full && !n.Sparse() {
		c.differ(path, "Sparse = false, the kernel finds a hole at %d of %d (%v)", hole, n.Stat.Size, err)
	}
}

func (c *comparison) link(path string, dir int, name string, n *Inode) error {
	buf := make([]byte, 8192)
	size, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return fmt.Errorf("readlink %q: %w", path, err)
	}
	got, err := c.r.Readlink(n)
	if got == c.target && got != "" {
		got += "x"
	}
	if got != string(buf[:size]) || err != nil {
		c.differ(path, "Readlink = %q, %v, want %q", got, err, buf[:size])
	}
	return nil
}

// directory compares names, then each entry.
func (c *comparison) directory(path string, self int, n *Inode) error {
	ours := c.names(path, n)
	// A descriptor of its own: it has a position.
	fd, err := unix.Openat(self, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), path)
	theirs, err := f.Readdirnames(-1)
	f.Close()
	if err != nil {
		return fmt.Errorf("read directory %q: %w", path, err)
	}
	if len(ours) != len(theirs) {
		c.differ(path, "%d names, want %d", len(ours), len(theirs))
	}
	slices.Sort(theirs)
	for _, name := range theirs {
		below := filepath.Join(path, name)
		var st unix.Stat_t
		if err := unix.Fstatat(self, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("stat %q: %w", below, err)
		}
		e, ok := ours[name]
		if !ok {
			c.differ(below, "not found")
			continue
		}
		if uint64(e.Ino) != st.Ino {
			c.differ(below, "inode %d, want %d", e.Ino, st.Ino)
		}
		if want := map[uint32]uint8{unix.S_IFREG: TypeFile, unix.S_IFDIR: TypeDir, unix.S_IFLNK: TypeLink, unix.S_IFCHR: TypeChar, unix.S_IFBLK: TypeBlock,
			unix.S_IFIFO: TypeFIFO, unix.S_IFSOCK: TypeSocket}[st.Mode&unix.S_IFMT]; e.Type != want && (e.Type != TypeUnknown || c.r.fs.incompat&incompatFiletype != 0) {
			c.differ(below, "type %d, want %d", e.Type, want)
		}
		sub := -1
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			if sub, err = unix.Openat(self, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
				return fmt.Errorf("open directory %q: %w", below, err)
			}
		}
		if err := c.entry(below, self, sub, name, &st); err != nil {
			return err
		}
	}
	return nil
}

// names reads a directory by the reader.
func (c *comparison) names(path string, n *Inode) map[string]Dirent {
	list := map[string]Dirent{}
	d, err := c.r.Dir(n)
	if err != nil {
		c.differ(path, "Dir: %v", err)
		return nil
	}
	for {
		entries, err := d.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			c.differ(path, "Next: %v", err)
			return list
		}
		for _, e := range entries {
			if string(e.Name) == c.hide {
				continue
			}
			if _, twice := list[string(e.Name)]; twice {
				c.differ(path, "name %q twice", e.Name)
			}
			name := string(e.Name)
			e.Name = nil
			list[name] = e
		}
	}
}

// fields names those of two stats that differ.
func fields(got, want unix.Stat_t) string {
	var out []string
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if a, b := fmt.Sprint(g.Field(i)), fmt.Sprint(w.Field(i)); a != b {
			out = append(out, fmt.Sprintf("%s = %s, want %s", g.Type().Field(i).Name, a, b))
		}
	}
	return strings.Join(out, "; ")
}

// check runs Check and fails the test on an error.
func check(t testing.TB, f *FS, o Options) *Survey {
	t.Helper()
	s, err := f.Check(t.Context(), o)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return s
}
