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
	chattr.Attributes
	PathLength uint32
}

var fixedSize = binary.Size(fixed{})

// directories keeps them in a file without a name: a tree may have millions of directories.
type directories struct {
	file *os.File
	w    *bufio.Writer
	// attributes: there are flags or projects among them.
	attributes bool
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
	e.PathLength = uint32(len(e.path))
	b, err := binary.Append(nil, binary.LittleEndian, e.fixed)
	if err == nil {
		_, err = d.w.Write(append(b, e.path...))
	}
	if err != nil {
		return fmt.Errorf("record times and flags of %s: %w", e.path, err)
	}
	d.attributes = d.attributes || e.Attributes != chattr.Attributes{}
	return nil
}

// maxErrors is how many directories are named that something went wrong with.
const maxErrors = 100

// each hands out what was recorded, in order, and returns the errors, of very many
// the first ones.
func (d *directories) each(f func(late) error) error {
	if err := d.w.Flush(); err != nil {
		return fmt.Errorf("directory times: %w", err)
	}
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("directory times: %w", err)
	}
	r := bufio.NewReaderSize(d.file, 64<<10)
	var errs []error
	more := 0
	head := make([]byte, fixedSize)
	for {
		var e late
		_, err := io.ReadFull(r, head)
		if err == nil {
			_, err = binary.Decode(head, binary.LittleEndian, &e.fixed)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				errs = append(errs, fmt.Errorf("directory times: %w", err))
			}
			if more > 0 {
				errs = append(errs, fmt.Errorf("and of %d more directories", more))
			}
			return errors.Join(errs...)
		}
		path := make([]byte, e.PathLength)
		if _, err := io.ReadFull(r, path); err != nil {
			return errors.Join(append(errs, fmt.Errorf("directory times: %w", err))...)
		}
		e.path = string(path)
		err = f(e)
		switch {
		case err == nil:
		case len(errs) < maxErrors:
			errs = append(errs, err)
		default:
			more++
		}
	}
}

func (d *directories) close() { d.file.Close() }

// giveLate gives all that was recorded what it gets at the end: first all times, since
// those of an immutable directory cannot be set, which may have been restored twice.
func (t *Tree) giveLate() error {
	err := t.dirs.each(func(e late) error {
		if !e.Directory {
			return nil
		}
		dir, err := t.directory(e.path, false)
		if err == nil {
			err = setTimes(procName(dir), e.Atime, e.Mtime, e.Nanoseconds, false)
		}
		if err != nil {
			return fmt.Errorf("times of directory %s: %w", e.path, err)
		}
		return nil
	})
	if !t.dirs.attributes {
		return err
	}
	return errors.Join(err, t.dirs.each(func(e late) error {
		if e.Attributes == (chattr.Attributes{}) {
			return nil
		}
		if err := t.setLate(e); err != nil {
			return fmt.Errorf("flags of %s: %w", e.path, err)
		}
		return nil
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
		return withFlags(dir, true, func(fd int) error { return chattr.Set(fd, e.Attributes, t.Hold) })
	}
	dir, name, err := t.parent(e.path)
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
