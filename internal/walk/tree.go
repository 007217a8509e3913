// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is what the entries of a Scan are opened through.
type tree struct {
	// root is any open directory of the mounted file system.
	root int
	// find keeps the directory open in which a directory was opened last.
	find Finder
}

// byInode is the type of a file handle with the numbers of inode and generation, 32 bits
// each in the machine's order (FILEID_INO32_GEN in linux/exportfs.h; ext4 takes it in
// ext4_fh_to_dentry, fs/ext4/super.c, all releases).
const byInode = 1

// maxNamed is how deep a directory may be to be opened by its path.
const maxNamed = 64

// open opens what an entry is, by its number. It takes CAP_DAC_READ_SEARCH.
func (t *tree) open(e *Entry, flags int) (int, error) {
	if t.root < 0 {
		return -1, errors.New("the scan has ended")
	}
	if e.Stat.Mode&unix.S_IFMT == unix.S_IFDIR && e.Path != "" && strings.Count(e.Path, "/") < maxNamed {
		return t.byPath(e, flags)
	}
	var id [8]byte
	binary.NativeEndian.PutUint32(id[:], uint32(e.Stat.Ino))
	binary.NativeEndian.PutUint32(id[4:], e.generation)
	h := unix.NewFileHandle(byInode, id[:])
	return retryInt(func() (int, error) { return unix.OpenByHandleAt(t.root, h, flags|unix.O_CLOEXEC) })
}

// byPath opens a directory by its path. By its number the kernel would look for its name in
// the directory above, from the beginning (get_name in fs/exportfs/expfs.c), which takes
// hours where that has a hundred thousand others.
func (t *tree) byPath(e *Entry, flags int) (int, error) {
	above, name := "", e.Path
	if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
		above, name = e.Path[:i], e.Path[i+1:]
	}
	if err := t.find.enter(above); err != nil {
		return -1, err
	}
	fd, err := retryInt(func() (int, error) { return unix.Openat(t.find.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil || st.Ino != e.Stat.Ino || st.Dev != e.Stat.Dev {
		unix.Close(fd)
		return -1, errors.Join(err, errors.New("another directory is there"))
	}
	return fd, nil
}

// readlink asks the kernel for a link's target.
func (e *Entry) readlink() (string, error) {
	fd, err := e.tree.open(e, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readlink(fd, "", e.Stat.Size)
}

// place returns a path to the entry for calls that know no descriptors. The l-calls do not
// follow a link in the last component, so it is no longer valid when end was called.
func (e *Entry) place() (path string, follow bool, end func(), err error) {
	switch {
	case e.tree != nil:
		fd, err := e.tree.open(e, unix.O_PATH|unix.O_NOFOLLOW)
		if err != nil {
			return "", false, nil, err
		}
		// The link in /proc is followed, to the entry itself even if that is a link.
		return fmt.Sprintf("/proc/self/fd/%d", fd), true, func() { unix.Close(fd) }, nil
	case e.self >= 0:
		return fmt.Sprintf("/proc/self/fd/%d/.", e.self), false, func() {}, nil
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", e.dir, e.name), false, func() {}, nil
}

// inside returns a descriptor of the directory that the entry is.
func (e *Entry) inside() (fd int, end func(), err error) {
	if e.tree == nil {
		return e.self, func() {}, nil
	}
	fd, err = e.tree.open(e, unix.O_RDONLY|unix.O_DIRECTORY)
	return fd, func() { unix.Close(fd) }, err
}
