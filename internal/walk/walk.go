// SPDX-License-Identifier: AGPL-3.0-only

// Package walk is a pull cursor over one mounted tree: each Next returns one
// entry, a directory after all that it holds. The daemon asks for one file at a
// time, so the walk is an explicit stack and no recursion, goroutine or iterator:
// those cannot be carried across the daemon's callbacks.
//
// Names are bytes. Everything is opened relative to a directory descriptor and
// without following links, so the depth of a tree is not limited by PATH_MAX and
// no link in it is ever followed. The walk stays on one file system. It decides
// nothing about a file that cannot be read: it reports it and goes on.
package walk

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// MaxPath is the longest path, in bytes from the tree's root, that is handed
// out. The daemons put a name into one network message of a million bytes at
// most, together with its attributes; what lies deeper is reported, not sent.
const MaxPath = 64 << 10

// Entry is one file, directory, link or special file. It is valid until the
// next call of Next.
type Entry struct {
	// Path is relative to the tree's root, without a slash at its ends; "" is
	// the root itself.
	Path string
	Stat unix.Stat_t
	// Link is the target of a symbolic link.
	Link string
	// Crossing marks a directory on which another file system is mounted: the
	// walk has not entered it. Stat is that of the mounted root.
	Crossing bool
	// Parent is the inode number of the directory that the entry is in, if the walk has
	// just come to it; a directory that is left again does not tell.
	Parent uint64

	name string
	dir  int // descriptor of the directory that holds name
	self int // descriptor of the directory itself, -1 for all else
	// inode are its flags and project, if they are known: they were read when it was opened,
	// or by a scan.
	inode      chattr.Attributes
	inodeKnown bool

	// tree is that of a scan, else nil. plain: it has no extended attributes; dense: its
	// content has no holes.
	tree         *tree
	generation   uint32
	plain, dense bool
}

// Error tells of an entry that is left out. The walk can go on after it.
type Error struct {
	Op, Path string
	Err      error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// ErrTooLong is the reason for entries whose path is longer than MaxPath.
var ErrTooLong = errors.New("path too long for the daemon")

// Cursor stands in a tree. It is not safe for concurrent use.
type Cursor struct {
	Rules
	// Scouts, if set before the first Next, ask the kernel for what comes next on threads of
	// their own. It serves where the disk is slow.
	Scouts bool

	scouts  *scouts
	dev     uint64
	stack   []*frame
	path    []byte // of the directory on top of the stack; frames know their part
	emitted *frame // directory handed out last; its descriptor is still open
	done    bool
	broke   error // why the walk has ended before its end
}

// open is how many directories of the stack keep a descriptor and a buffer.
// Those above are opened again through "..", which a tenant's tree of any depth
// must not be able to exhaust.
const open = 32

// Open starts a walk at the directory dir, which may be reached over links.
func Open(dir string) (*Cursor, error) {
	fd, err := openDir(unix.AT_FDCWD, dir, 0)
	if err != nil {
		return nil, &Error{"open", dir, err}
	}
	return OpenAt(fd)
}

// OpenAt starts a walk at an open directory. It takes over fd, also on error.
func OpenAt(fd int) (*Cursor, error) { return openAt(fd, "") }

// openAt is OpenAt for a directory that is called path.
func openAt(fd int, path string) (*Cursor, error) {
	c := &Cursor{path: []byte(path)}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		unix.Close(fd)
		return nil, &Error{"stat", "/", err}
	}
	c.dev = st.Dev
	c.stack = []*frame{{fd: fd, stat: st, length: len(path)}}
	return c, nil
}

// Root returns the directory that the walk begins in, which Next hands out last. It is
// valid until the first call of Next.
func (c *Cursor) Root() *Entry {
	return &Entry{Stat: c.stack[0].stat, dir: -1, self: c.stack[0].fd}
}

// Close gives up the walk and its descriptors. It may be called at any time, and twice.
func (c *Cursor) Close() {
	for _, f := range c.stack {
		f.release()
	}
	c.stack = nil
	c.drop()
	c.scouts.close()
	c.scouts = nil
	c.done = true
}

// drop closes the directory that was handed out last.
func (c *Cursor) drop() {
	if c.emitted != nil {
		c.emitted.release()
		c.emitted = nil
	}
}

// Next returns the next entry. It returns io.EOF at the end, which is after the
// root itself, and an *Error for an entry that is left out, after which it may
// be called again. Any other error ends the walk.
func (c *Cursor) Next() (*Entry, error) {
	for !c.done && len(c.stack) > 0 {
		top := c.stack[len(c.stack)-1]
		c.path = c.path[:top.length]
		if top.fd < 0 {
			if err := c.reopen(top); err != nil {
				c.broke = fmt.Errorf("return to directory %s: %w", c.path, err)
				c.Close()
				return nil, c.broke
			}
		}
		c.drop()
		name, err := top.next()
		if top.fresh && c.Scouts {
			c.scout(top)
		}
		if err == io.EOF {
			return c.leave(top), nil
		}
		if err != nil {
			// The rest of this directory is lost, the directory itself is not.
			return nil, &Error{"read directory", string(c.path), err}
		}
		path := name
		if top.length > 0 {
			path = string(c.path) + "/" + name
		}
		e, err := c.visit(top, name, path)
		if e != nil || err != nil {
			return e, err
		}
	}
	c.Close()
	if c.broke != nil {
		return nil, c.broke
	}
	return nil, io.EOF
}

// scout sends scouts to what a directory was just found to hold: to its files, unless they
// have been here before, and into its directories.
func (c *Cursor) scout(f *frame) {
	f.fresh = false
	names, dirs := f.waiting()
	if f.known {
		names, f.known = nil, false
	}
	if len(names)+len(dirs) > 1 {
		if c.scouts == nil {
			c.scouts = newScouts()
		}
		c.scouts.send(f.fd, names, dirs)
	}
}

// visit looks at one name. It returns nothing for a directory that it enters.
func (c *Cursor) visit(top *frame, name, path string) (*Entry, error) {
	e := &Entry{Path: path, Parent: top.stat.Ino, name: name, dir: top.fd, self: -1}
	err := retry(func() error { return unix.Fstatat(top.fd, name, &e.Stat, unix.AT_SYMLINK_NOFOLLOW) })
	switch {
	case c.skips(e):
		return nil, nil
	case len(path) > MaxPath:
		return nil, &Error{"save", path[:256] + "...", ErrTooLong}
	case err != nil:
		return nil, &Error{"stat", path, err}
	}
	switch e.Stat.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		if e.Link, err = readlink(top.fd, name, e.Stat.Size); err != nil {
			return nil, &Error{"read link", path, err}
		}
	case unix.S_IFDIR:
		if e.Stat.Dev != c.dev {
			e.Crossing = true
			break
		}
		fd, err := openDir(top.fd, name, unix.O_NOFOLLOW)
		if err != nil {
			return nil, &Error{"open directory", path, err}
		}
		if e.self = fd; !c.wants(e) {
			unix.Close(fd)
			return nil, nil
		}
		c.stack = append(c.stack, &frame{fd: fd, length: len(path), name: name, stat: e.Stat, known: c.scouts != nil})
		c.path = append(c.path[:0], path...)
		if n := len(c.stack) - 1 - open; n >= 0 {
			c.stack[n].release()
		}
		return nil, nil
	}
	if !c.wants(e) {
		return nil, nil
	}
	return e, nil
}

// leave hands out a directory whose content has been handed out.
func (c *Cursor) leave(f *frame) *Entry {
	c.stack = c.stack[:len(c.stack)-1]
	f.buf, f.rest = nil, nil
	c.emitted = f
	return &Entry{Path: string(c.path), Stat: f.stat, name: f.name, dir: -1, self: f.fd}
}

// reopen gives f its descriptor back, from the directory below it that was
// handed out last.
func (c *Cursor) reopen(f *frame) error {
	if c.emitted == nil {
		return errors.New("no directory below is open")
	}
	fd, err := openDir(c.emitted.fd, "..", unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		unix.Close(fd)
		return err
	}
	if st.Dev != f.stat.Dev || st.Ino != f.stat.Ino {
		unix.Close(fd)
		return errors.New("another directory is there now")
	}
	if _, err := unix.Seek(fd, f.at, io.SeekStart); err != nil {
		unix.Close(fd)
		return err
	}
	f.fd = fd
	return nil
}
