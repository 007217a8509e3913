// SPDX-License-Identifier: AGPL-3.0-only

// Package restore writes a tree below ONE root and never outside it, whatever
// the names that come with the backup say and whoever works in the tree at the
// same time: the root of a running container is in the hands of its tenant, who
// may swap directories for links while the restore runs.
//
// Every path is walked component by component from the root's descriptor; links
// on the way are resolved inside the root, absolute ones too. The last name is
// only created, never opened if it exists: what is there is replaced by rename.
// Owner, mode, attributes, times and flags go through the descriptor of what was made.
//
// The package does not choose the root, does not know what a container is, and
// logs nothing: it returns what it could not do.
package restore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/mount"
)

// Replace says what happens to a name that exists already. The values are the
// daemons' (findlib/find.h of Bareos and Bacula: REPLACE_*).
type Replace byte

const (
	Always  Replace = 'a'
	IfNewer Replace = 'w'
	IfOlder Replace = 'o'
	Never   Replace = 'n'
)

// Item is one file, directory, link or special file to be made.
type Item struct {
	// Path is relative to the root, without slashes at its ends; "" is the root.
	Path string
	// Mode holds the file's type and its permission bits (st_mode).
	Mode         uint32
	UID, GID     uint32
	Rdev         uint64
	Atime, Mtime int64 // seconds
	// Nanoseconds are those of Mtime.
	Nanoseconds int64
	// Link is the target of a symbolic link, to be kept as it is.
	Link string
	// First is the path of the name that this one is to be a hard link of; of the rest of
	// the item type, size and mtime count then: what is there must be that file.
	First string
	// Size is the length of a regular file.
	Size int64
	// Linked: further names are made of it later, with First.
	Linked bool
	// Replace says what to do if the name exists.
	Replace Replace
	// Indivisible: a part of a file's content is worse than none of it.
	Indivisible bool
}

var (
	// ErrOutside is returned for a path that is no plain relative path.
	ErrOutside = errors.New("path would leave the restored tree")
	// ErrSkipped is returned by Create if Replace says that what exists stays.
	ErrSkipped = errors.New("exists and is kept")
	// ErrKeptLink is returned by Create for a directory in whose place there is
	// a link to a directory, which stays.
	ErrKeptLink = errors.New("is a link to a directory there, which is kept, and what comes below it goes where it leads: for a directory of its own remove the link and restore both again")
	// ErrCovered is returned by Create for a name in a directory that was covered.
	ErrCovered = errors.New("leads to the mount point of another disk, which is not mounted here")
	// ErrInTheWay is returned by Create if a directory that is not empty is
	// where something else is to be made.
	ErrInTheWay = errors.New("a directory that is not empty is in the way: move it away and restore this again")
)

// Tree is a root that is written to. It is not safe for concurrent use.
type Tree struct {
	// NoLinks makes a link on the way an error, even one that leads nowhere else.
	NoLinks bool
	// Hold are inode flags that nothing below this root is given.
	Hold uint32
	// Mountinfo is the mountinfo (proc(5)) of a process that sees what is mounted
	// below the root.
	Mountinfo string
	// Shared: somebody else may be at work in the tree, so that a name may be another
	// file's at any moment, and a directory be moved out of it. Then nothing is done by
	// name that the kernel can do by descriptor only from 5.8 on: see Timeless.
	Shared bool
	// Memory is how many bytes may go to tmpfs that are mounted below the root, 0 if any
	// number may: pages of a tmpfs are charged to who writes them (mm/shmem.c), so one that
	// a tenant has mounted where files are to be restored would fill the node's memory.
	Memory int64
	// Own: nothing is in the tree but what this restore has put there, and nobody else is at
	// work in it. Then a link is never followed, and what is in the way of something is of
	// an older backup in the same restore: it goes, a directory with all that is in it.
	Own bool
	// Keep are paths that stay nevertheless, as all directories above them.
	Keep []string
	// Timeless counts the links that have the time of their restore for that.
	Timeless int64

	root *os.File
	dirs *directories
	// inMemory are the numbers of mounts that are tmpfs, spent what has gone there.
	inMemory map[uint64]bool
	spent    int64
	// begun is before the first change.
	begun time.Time
	// last are the directories on the way to the one used last, for the next name beside.
	last []level
	// lent is the one that the item at hand is in; left says that it is not one of last
	// any more.
	lent *os.File
	left bool
	// mounts are directories on each mount that was entered, by its number, or by its
	// device where the kernel does not tell: while they are open the number is theirs.
	mounts map[uint64]*os.File
	// made are directories that were missing on the way to a name and have not come
	// themselves yet: whatever Replace says, they were not there before.
	made map[inode]bool
	// dated are times of directories that were there, from before anything was put
	// into them, where Replace goes by the time.
	dated map[inode]int64
	dates bool // Replace goes by the time
	older
	// covered are directories on which another file system belongs: see Cover.
	covered map[inode]bool
}

// inode tells files apart.
type inode struct{ dev, ino uint64 }

// maxMade bounds made. They come right after what is in them, but for those that
// were not selected at all.
const maxMade = 1 << 16

// level is a directory on the way to the one used last; of many only some are open.
type level struct {
	name string
	dir  *os.File
}

// Open begins to write below the directory root. The directories' times and flags are
// kept in a nameless file in spill until Close.
func Open(root *os.File, spill string) (*Tree, error) {
	if err := writable(root); err != nil {
		return nil, err
	}
	home, err := mountOf(root)
	if err != nil {
		return nil, fmt.Errorf("look at root: %w", err)
	}
	d, err := newDirectories(spill)
	if err != nil {
		return nil, err
	}
	return &Tree{
		Mountinfo: "/proc/self/mountinfo", root: root, dirs: d, begun: time.Now().Add(-coarse),
		mounts: map[uint64]*os.File{home: root}, inMemory: map[uint64]bool{}, made: map[inode]bool{}, dated: map[inode]int64{},
		older: newOlder(),
	}, nil
}

// Close gives the directories that were restored their times and flags, after all that
// changes them or needs them to be changed, and closes the root. tell is called for each
// that did not get them. An error is returned if it is not known which these are.
func (t *Tree) Close(tell Late) error {
	err := t.giveLate(tell)
	t.Abandon()
	return err
}

// Abandon closes the tree without giving directories their times and flags.
func (t *Tree) Abandon() {
	t.forget(0)
	t.dirs.close()
	for _, dir := range t.mounts {
		dir.Close()
	}
}

// Sync writes everything that was restored to disk, on every file system of the
// tree that it went to.
func (t *Tree) Sync() error {
	var errs []error
	for _, m := range t.mounts {
		dir, err := unix.Openat(int(m.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = retry(func() error { return unix.Syncfs(dir) })
			unix.Close(dir)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// maxMounts is how many file systems of one tree stay open until the end: a tenant
// may mount any number, and the daemon's descriptors are those of all its jobs.
const maxMounts = 64

// mountOf returns the number of a directory's mount, or of its device where the
// kernel does not tell.
func mountOf(dir *os.File) (uint64, error) {
	id, err := mount.ID(dir)
	if !errors.Is(err, mount.ErrUnknown) {
		return uint64(id), err
	}
	return deviceOf(dir)
}

func deviceOf(place *os.File) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(place.Fd()), &st)
	return st.Dev, err
}

// note remembers the mount of a directory, with its number, for Sync, and refuses one that
// is covered.
func (t *Tree) note(dir *os.File, id uint64) error {
	if len(t.covered) > 0 {
		var st unix.Stat_t
		if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
			return err
		}
		if t.covered[inode{st.Dev, st.Ino}] {
			return ErrCovered
		}
	}
	if t.mounts[id] != nil {
		return nil
	}
	if len(t.mounts) >= maxMounts {
		return fmt.Errorf("%s: files were restored to %d other file systems of the tree already", dir.Name(), maxMounts)
	}
	if err := t.memoryOf(id, dir); err != nil {
		return err
	}
	own, err := openPath(dir, ".", unix.O_DIRECTORY)
	if err == nil {
		t.mounts[id] = own
	}
	return err
}

// split cuts a path into its components and refuses what is no plain path.
func split(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	parts := strings.Split(path, "/")
	for _, p := range parts {
		if p == "" || p == "." || p == ".." || strings.ContainsRune(p, 0) {
			return nil, fmt.Errorf("%q: %w", path, ErrOutside)
		}
	}
	return parts, nil
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

func retryInt(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}
