// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"
)

// Create makes the item. The File is finished or aborted by the caller before
// the next Create. An error means that nothing was made and what was there is
// there still; ErrSkipped and ErrKeptLink are no failures.
func (t *Tree) Create(it Item) (*File, error) {
	f, err := t.create(it)
	if err != nil {
		t.isOld(it)
	}
	return f, err
}

func (t *Tree) create(it Item) (*File, error) {
	if it.Path == "" {
		if it.Mode&unix.S_IFMT != unix.S_IFDIR || it.First != "" {
			return nil, fmt.Errorf("the root: %w", ErrOutside)
		}
		self, err := openPath(t.root, ".", unix.O_DIRECTORY)
		if err != nil {
			return nil, fmt.Errorf("open root: %w", err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(self.Fd()), &st); err != nil {
			self.Close()
			return nil, fmt.Errorf("look at root: %w", err)
		}
		if !it.Replace.allows(it.Mtime, t.timeOf(st)) {
			self.Close()
			return nil, ErrSkipped
		}
		return &File{tree: t, item: it, path: self, again: true}, nil
	}
	t.keepDates(it.Replace)
	dir, name, err := t.parent(it.Path)
	if err != nil {
		return nil, err
	}
	f := &File{tree: t, item: it, name: name}
	if f.dir, err = t.lend(dir); err != nil {
		return nil, fmt.Errorf("open directory of %s: %w", it.Path, err)
	}
	if err := f.begin(); err != nil {
		t.giveBack(f.dir)
		return nil, err
	}
	return f, nil
}

// begin makes the item, under a temporary name if its own is taken.
func (f *File) begin() error {
	need, err := f.tree.memory(f.dir, f.item.length())
	if err != nil {
		return fmt.Errorf("create %s: %w", f.item.Path, err)
	}
	if f.free() {
		f.tree.spent += need
		return nil
	}
	exists, err := f.decide()
	if err != nil || f.existed {
		return err
	}
	f.tree.spent += need
	if exists {
		f.temporary = temporaryName()
	}
	err = f.make()
	if errors.Is(err, unix.EEXIST) && !exists {
		// Somebody made the name meanwhile.
		f.temporary = temporaryName()
		err = f.make()
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", f.item.Path, f.tree.why(err, f.dir, ""))
	}
	return nil
}

// free makes a file or a link if its name is free, as nearly all are. The kernel makes
// neither where there is something; then, and where it cannot be made, nothing was done.
func (f *File) free() bool {
	kind := f.item.Mode & unix.S_IFMT
	return f.item.First == "" && (kind == unix.S_IFREG || kind == unix.S_IFLNK) && f.make() == nil
}

// decide looks at what has the item's name already. It opens a directory that
// is to be used again, and removes what a rename cannot replace.
func (f *File) decide() (exists bool, err error) {
	at := int(f.dir.Fd())
	there, st, id, err := f.tree.look(f.dir, f.name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", f.item.Path, err)
	}
	defer func() {
		if f.path != there {
			there.Close()
		}
	}()
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	wantDir := f.item.directory()
	own := inode{st.Dev, st.Ino}
	made := isDir && f.tree.made[own] && (wantDir || !f.tree.Shared)
	if !f.item.Replace.allows(f.item.Mtime, f.tree.timeOf(st)) && !made {
		return false, ErrSkipped
	}
	if isDir && !wantDir && (f.tree.Own || made) && !f.tree.kept(f.item.Path) {
		// It stays until what comes instead is whole.
		f.instead = true
		return true, f.renamable()
	}
	delete(f.tree.made, own)
	switch {
	case isDir && wantDir:
		if err := f.tree.note(there, id); err != nil {
			return false, fmt.Errorf("open directory %s: %w", f.item.Path, err)
		}
		f.path, f.existed, f.again = there, true, !made
		return true, nil
	case isDir:
		if f.item.First != "" {
			if _, _, err := f.first(); err != nil {
				return false, fmt.Errorf("create %s: %w", f.item.Path, err) // before anything goes
			}
		}
		if err := retry(func() error { return unix.Unlinkat(at, f.name, unix.AT_REMOVEDIR) }); err != nil {
			return false, fmt.Errorf("%s: %w: %w", f.item.Path, ErrInTheWay, f.tree.why(err, f.dir, f.name))
		}
		f.tree.isGone(f.item.Path)
		return false, nil
	case wantDir:
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			if _, err := f.tree.directory(f.item.Path, false); err == nil {
				return false, ErrKeptLink
			}
		}
		// A directory cannot be renamed over something else.
		if err := retry(func() error { return unix.Unlinkat(at, f.name, 0) }); err != nil {
			return false, fmt.Errorf("replace %s by a directory: %w", f.item.Path, f.tree.why(err, f.dir, f.name))
		}
		f.tree.isReplaced(f.item.Path)
		return false, nil
	default:
		return true, f.renamable()
	}
}

// renamable refuses an append-only directory: a temporary name could be made in it, but
// neither renamed nor removed.
func (f *File) renamable() error {
	if found := locks(f.dir); found != 0 {
		return fmt.Errorf("replace %s: %w", f.item.Path, lockedError(unix.EPERM, "the directory", found))
	}
	return nil
}

func (it Item) directory() bool { return it.First == "" && it.Mode&unix.S_IFMT == unix.S_IFDIR }

// allows decides by the times of the backup's file and the existing one.
func (r Replace) allows(backup, existing int64) bool {
	switch r {
	case IfNewer:
		return backup > existing
	case IfOlder:
		return backup < existing
	case Never:
		return false
	default:
		return true
	}
}

// make creates the name, or the temporary one that Finish renames.
func (f *File) make() error {
	at, name := int(f.dir.Fd()), f.name
	if f.temporary != "" {
		name = f.temporary
	}
	if f.item.First != "" {
		return f.link(at, name)
	}
	var err error
	switch f.item.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		// O_NONBLOCK: a tenant may have mounted a tmpfs with mandatory locks, which Linux had
		// until 5.15, and lock the file; then writing to it fails instead of waiting for him
		// (locks_mandatory_area of fs/locks.c, Linux 3.10).
		const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
		fd, err := retryInt(func() (int, error) { return unix.Openat(at, name, flags, 0o600) })
		if err != nil {
			return err
		}
		f.data = &content{fd}
		return nil
	case unix.S_IFDIR:
		err = retry(func() error { return unix.Mkdirat(at, name, 0o700) })
	case unix.S_IFLNK:
		err = retry(func() error { return unix.Symlinkat(f.item.Link, at, name) })
	case unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
		mode := f.item.Mode&unix.S_IFMT | 0o600
		err = retry(func() error { return unix.Mknodat(at, name, mode, int(f.item.Rdev)) })
	default:
		return fmt.Errorf("unknown type of file, mode %o", f.item.Mode)
	}
	if err != nil {
		return err
	}
	if err = f.open(name); err != nil {
		f.remove()
	}
	return err
}

// open opens what was just made, which has the name still unless the tenant is
// quicker: a place in the kernel's own file systems, mounted there at once, must not
// be given attributes by the node's root.
func (f *File) open(name string) error {
	file, st, _, err := f.tree.look(f.dir, name)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != f.item.Mode&unix.S_IFMT {
		file.Close()
		return errors.New("something else took its place at once")
	}
	f.path = file
	return nil
}

func temporaryName() string { return fmt.Sprintf(".vz7ct-%016x", rand.Uint64()) }
