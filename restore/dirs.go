// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// late is what something gets at the end: a directory its times, which all that is
// restored into it changes, and its flags; a file with further names its flags, since
// nothing can be linked to an immutable one, and nothing put into an immutable directory.
type late struct {
	path string
	fixed
}

// fixed is the part of it that has always the same size, in the order on disk.
type fixed struct {
	Directory                 bool
	Atime, Mtime, Nanoseconds int64
	Dev, Ino                  uint64 // of what was restored: nothing else gets flags
	Told                      bool   // that it is not exact
	Held                      bool   // of a file: it counts as long as Tree.held says so
	chattr.Attributes
	// Again: the directory may have flags from an older record; then it is to have those of
	// Base and its own alone.
	Again bool
	Base  chattr.Attributes
	// Shared is how much of the path before the path begins with, Rest how much it has
	// beyond: the paths of a deep tree would fill the disk.
	Shared, Rest uint32
}

var fixedSize = binary.Size(fixed{})

// directories keeps them in a file without a name: a tree may have millions of directories.
type directories struct {
	file *os.File
	w    *bufio.Writer
	path string // that was recorded last
	// attributes: there are flags or projects among them. count is how many they are.
	attributes bool
	count      int
}

func newDirectories(dir string) (*directories, error) {
	f, err := os.CreateTemp(dir, "directories-")
	if err != nil {
		return nil, fmt.Errorf("make file for directory times: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("make file for directory times: %w", err)
	}
	return &directories{file: f, w: bufio.NewWriterSize(f, 64<<10)}, nil
}

func (d *directories) add(e late) error {
	n := 0
	for n < len(e.path) && n < len(d.path) && e.path[n] == d.path[n] {
		n++
	}
	e.Shared, e.Rest, d.path = uint32(n), uint32(len(e.path)-n), e.path
	b, err := binary.Append(nil, binary.LittleEndian, e.fixed)
	if err == nil {
		_, err = d.w.Write(append(b, e.path[n:]...))
	}
	if err != nil {
		return fmt.Errorf("record times and flags of %s: %w", e.path, err)
	}
	d.count++
	d.attributes = d.attributes || e.Attributes != chattr.Attributes{}
	return nil
}

// each hands out what was recorded, in order and with its number. It returns an error if
// not all of it can be read.
func (d *directories) each(f func(n int, e late)) error {
	if err := d.w.Flush(); err != nil {
		return fmt.Errorf("times and flags of directories: %w", err)
	}
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("times and flags of directories: %w", err)
	}
	r := bufio.NewReaderSize(d.file, 64<<10)
	head := make([]byte, fixedSize)
	var path []byte
	for n := 0; ; n++ {
		var e late
		_, err := io.ReadFull(r, head)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			_, err = binary.Decode(head, binary.LittleEndian, &e.fixed)
		}
		if err == nil {
			path = append(path[:e.Shared], make([]byte, e.Rest)...)
			_, err = io.ReadFull(r, path[e.Shared:])
		}
		if err != nil {
			return fmt.Errorf("times and flags of directories, from the %dth on: %w", n+1, err)
		}
		e.path = string(path)
		f(n, e)
	}
}

func (d *directories) close() { d.file.Close() }

// Late is told what something did not get at the end of a restore. again says that
// Finish, or the caller, has told already that it is not exact.
type Late func(path string, err error, again bool)

// maxNamed bounds the memory for directories whose times could not be set, so that the
// same is not told of their flags.
const maxNamed = 1 << 16

// giveLate gives all that was recorded what it gets at the end: first all times, since
// those of an immutable directory cannot be set, which may have been restored twice.
func (t *Tree) giveLate(tell Late) error {
	told := map[int]bool{}
	err := t.dirs.each(func(n int, e late) {
		if !e.Directory || t.outdated(n, e) {
			return
		}
		dir, err := t.directory(e.path, false)
		if err == nil {
			err = e.same(dir)
		}
		if err == nil {
			err = setTimes(procName(dir), e.Atime, e.Mtime, e.Nanoseconds, false)
		}
		if err == nil {
			return
		}
		tell(e.path, fmt.Errorf("times of directory %s: %w", e.path, err), e.Told)
		if e.Attributes != (chattr.Attributes{}) && len(told) < maxNamed {
			told[n] = true
		}
	})
	if !t.dirs.attributes {
		return err
	}
	return errors.Join(err, t.dirs.each(func(n int, e late) {
		if e.Attributes == (chattr.Attributes{}) && !e.Again || t.outdated(n, e) {
			return
		}
		if err := t.setLate(e); err != nil {
			tell(e.path, fmt.Errorf("flags of %s: %w", e.path, err), e.Told || told[n])
		}
	}))
}

// setLate gives something that was restored its flags and project.
func (t *Tree) setLate(e late) error {
	if e.Directory {
		dir, err := t.directory(e.path, false)
		if err == nil {
			err = e.same(dir)
		}
		if err != nil {
			return err
		}
		return withFlags(dir, true, func(fd int) error {
			if e.Again {
				if err := chattr.Reset(fd, e.Base); err != nil {
					return err
				}
			}
			return chattr.Set(fd, e.Attributes, t.Hold)
		})
	}
	dir, name, err := t.existing(e.path)
	if err != nil {
		return err
	}
	place, err := openPath(dir, name, 0)
	if err != nil {
		return err
	}
	defer place.Close()
	if err := t.judge(place); err != nil {
		return err
	}
	if err := e.same(place); err != nil {
		return err
	}
	return withFlags(place, false, func(fd int) error { return chattr.Set(fd, e.Attributes, t.Hold) })
}

// same says whether a place is what was restored.
func (e late) same(place *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(place.Fd()), &st); err != nil {
		return err
	}
	if st.Dev != e.Dev || st.Ino != e.Ino || (st.Mode&unix.S_IFMT == unix.S_IFDIR) != e.Directory {
		return errors.New("something else is there now")
	}
	return nil
}
