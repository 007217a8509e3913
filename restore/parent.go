// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/inroot"
	"github.com/bareos-contrib/vz7ct/internal/mount"
)

// keep is how many directories of the path used last stay open, the first ones and as many
// of the last ones: the next name is beside it, or a little above. Of those between it is one
// of a thousand, so that a tree of any depth is left again without coming all the way down
// for each of its directories.
const (
	keep        = 32
	between     = 1024
	mostBetween = 32
)

// parent returns the directory in which the item's last name is, and that name.
// Missing directories are made. The directory belongs to the tree.
func (t *Tree) parent(p string) (*os.File, string, error) { return t.above(p, true) }

// existing is parent where nothing is made.
func (t *Tree) existing(p string) (*os.File, string, error) { return t.above(p, false) }

func (t *Tree) above(p string, make bool) (*os.File, string, error) {
	if _, err := split(p); err != nil {
		return nil, "", err
	}
	dir, name := path.Split(p)
	f, err := t.directory(strings.TrimSuffix(dir, "/"), make)
	return f, name, err
}

// directory opens the directory at p, which lies inside the root whatever
// happens there meanwhile. The descriptor belongs to the tree and stays open
// until the next call.
func (t *Tree) directory(p string, make bool) (*os.File, error) {
	parts, err := split(p)
	if err != nil {
		return nil, err
	}
	n := 0
	for n < len(parts) && n < len(t.last) && t.last[n].name == parts[n] {
		n++
	}
	for n > 0 && t.last[n-1].dir == nil {
		n--
	}
	at := t.root
	if n > 0 {
		if at = t.last[n-1].dir; t.Shared && !t.inside(at) {
			at, n = t.root, 0
		}
	}
	t.forget(n)
	for ; n < len(parts); n++ {
		next, err := t.enter(at, parts[n], parts[:n+1], make)
		if err != nil {
			return nil, err
		}
		at = next
		t.last = append(t.last, level{parts[n], next})
		t.thin(n - keep)
	}
	return at, nil
}

// thin closes the n-th directory if it is one of those that do not stay open.
func (t *Tree) thin(n int) {
	if n < keep || n%between == 0 && n/between <= mostBetween || t.last[n].dir == nil {
		return
	}
	t.leave(t.last[n].dir)
	t.last[n].dir = nil
}

// inside reports whether a directory that was opened before is in the tree still: it
// may have been moved out of a root that is no mount point. Both paths are read from
// the kernel, which has none for what is too deep.
func (t *Tree) inside(dir *os.File) bool {
	root, err := os.Readlink(procName(t.root))
	if err != nil {
		return true
	}
	at, err := os.Readlink(procName(dir))
	return err != nil || at == root || strings.HasPrefix(at, strings.TrimSuffix(root, "/")+"/")
}

// Leave closes the directories on the way to the one used last, for a tree that may not be
// written to for a while.
func (t *Tree) Leave() { t.forget(0) }

// forget closes the directories from the n-th on.
func (t *Tree) forget(n int) {
	for _, l := range t.last[n:] {
		if l.dir != nil {
			t.leave(l.dir)
		}
	}
	t.last = t.last[:n]
}

// lend returns a directory for an item that is in it. The tree may go elsewhere meanwhile:
// then it stays open until it is given back. One is lent at a time; who needs another one
// gets a descriptor of its own.
func (t *Tree) lend(dir *os.File) (*os.File, error) {
	if t.lent != nil {
		return openPath(dir, ".", unix.O_DIRECTORY)
	}
	t.lent, t.left = dir, false
	return dir, nil
}

func (t *Tree) giveBack(dir *os.File) {
	if dir != t.lent {
		dir.Close()
		return
	}
	if t.left {
		dir.Close()
	}
	t.lent = nil
}

// leave closes a directory that the tree has gone from, unless it is lent.
func (t *Tree) leave(dir *os.File) {
	if dir == t.lent {
		t.left = true
		return
	}
	dir.Close()
}

// enter opens the directory name in dir. A link is resolved inside the root.
func (t *Tree) enter(dir *os.File, name string, whole []string, make bool) (*os.File, error) {
	ours := false
	for made := false; ; made = true {
		f, st, id, err := t.look(dir, name)
		switch kind := st.Mode & unix.S_IFMT; {
		case err == nil && kind == unix.S_IFDIR:
			if ours {
				t.remember(st)
			} else {
				t.date(st)
			}
			return t.noted(f, id)
		case err == nil && t.Own && make && !made && !t.kept(strings.Join(whole, "/")):
			f.Close()
			path := strings.Join(whole, "/")
			if err := retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, 0) }); err != nil {
				return nil, fmt.Errorf("replace %s by a directory: %w", path, t.why(err, dir, name))
			}
			t.isReplaced(path)
		case err == nil:
			f.Close()
			if kind != unix.S_IFLNK || t.NoLinks || t.Own {
				return nil, fmt.Errorf("open directory %s: something else has that name there, move it away and restore this again: %w", strings.Join(whole, "/"), unix.ENOTDIR)
			}
			return t.follow(whole)
		case !errors.Is(err, unix.ENOENT) || !make || made:
			return nil, fmt.Errorf("open directory %s: %w", strings.Join(whole, "/"), err)
		}
		need, err := t.memory(dir, 0)
		if err == nil {
			t.spent += need
			err = retry(func() error { return unix.Mkdirat(int(dir.Fd()), name, 0o755) })
		}
		ours = err == nil
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("make directory %s: %w", strings.Join(whole, "/"), t.why(err, dir, ""))
		}
	}
}

// remember notes a directory that was made on the way.
func (t *Tree) remember(st unix.Stat_t) {
	if len(t.made) < maxMade {
		t.made[inode{st.Dev, st.Ino}] = true
	}
}

// keepDates says whether times of directories count. That of the root is read at once.
func (t *Tree) keepDates(r Replace) {
	var st unix.Stat_t
	if !t.dates && (r == IfNewer || r == IfOlder) && unix.Fstat(int(t.root.Fd()), &st) == nil {
		t.dates = true
		t.date(st)
	}
}

// date notes the time of a directory that was there, before something is put into it.
func (t *Tree) date(st unix.Stat_t) {
	own := inode{st.Dev, st.Ino}
	if _, known := t.dated[own]; t.dates && !known && !t.made[own] && len(t.dated) < maxMade {
		t.dated[own] = st.Mtim.Sec
	}
}

// timeOf returns the time of what is there, as it was before the restore.
func (t *Tree) timeOf(st unix.Stat_t) int64 {
	own := inode{st.Dev, st.Ino}
	if before, known := t.dated[own]; known && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		delete(t.dated, own)
		return before
	}
	return st.Mtim.Sec
}

// follow opens the directory that a link in the tree means: as a process in the
// container would see it, so that an absolute link starts at the tree's root.
func (t *Tree) follow(whole []string) (*os.File, error) {
	p := strings.Join(whole, "/")
	f, err := inroot.Open(t.root, p, t.judge)
	if err != nil {
		return nil, fmt.Errorf("follow link %s inside the tree: %w", p, err)
	}
	var target unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &target); err != nil || target.Mode&unix.S_IFMT != unix.S_IFDIR {
		f.Close()
		return nil, fmt.Errorf("follow link %s inside the tree: %w", p, unix.ENOTDIR)
	}
	if err := t.aboveCovered(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("follow link %s inside the tree: %w", p, err)
	}
	id, err := mountOf(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("follow link %s inside the tree: %w", p, err)
	}
	return t.noted(f, id)
}

// look opens name in dir as a place and says what it is and on which mount (see mountOf), if it is on a file system
// that files are restored to. Nothing is asked of another one, which could be served
// by a tenant and never answer; nor is an automounter called.
func (t *Tree) look(dir *os.File, name string) (f *os.File, st unix.Stat_t, id uint64, err error) {
	if f, err = openPath(dir, name, 0); err != nil {
		return nil, st, 0, err
	}
	if id, err = t.mountAt(f); err == nil {
		err = retry(func() error { return unix.Fstat(int(f.Fd()), &st) })
	}
	if err != nil {
		f.Close()
		return nil, st, 0, err
	}
	return f, st, id, nil
}

// judge refuses file systems that files are not restored to.
func (t *Tree) judge(place *os.File) error {
	_, err := t.mountAt(place)
	return err
}

// mountAt judges a place and returns the number of its mount (see mountOf): for as long as
// the place is open it is that one.
func (t *Tree) mountAt(place *os.File) (uint64, error) {
	id, err := mount.ID(place)
	switch {
	case errors.Is(err, mount.ErrUnknown):
		if err := writable(place); err != nil {
			return 0, err
		}
		return deviceOf(place)
	case err != nil:
		return 0, err
	case t.mounts[uint64(id)] != nil:
		return uint64(id), nil
	}
	return uint64(id), mount.Judge(place, t.Mountinfo, id)
}

// noted remembers the file system of a directory.
func (t *Tree) noted(f *os.File, id uint64) (*os.File, error) {
	if err := t.note(f, id); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// zfs is the type of a ZFS file system, which no header of the kernel has (ZFS_SUPER_MAGIC
// of OpenZFS).
const zfs = 0x2fc12fc1

// writable refuses the kernel's own file systems as roots, and on a kernel that does
// not tell of mounts as places on the way: a link to /proc/sys, planted by a tenant,
// must not lead there, although nothing can be created in it.
func writable(dir *os.File) error {
	// By name: kernels before 3.12 have no fstatfs for a place (O_PATH).
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(procName(dir), &st) }); err != nil {
		return fmt.Errorf("file system of %s: %w", dir.Name(), err)
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC,
		unix.OVERLAYFS_SUPER_MAGIC, unix.NFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, zfs:
		return nil
	default:
		return fmt.Errorf("%s is on a file system of type 0x%x, which files are not restored to", dir.Name(), uint32(st.Type))
	}
}

// openPath opens name in dir as a place, whatever it is, without following it.
func openPath(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := retryInt(func() (int, error) {
		return unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
