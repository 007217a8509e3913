// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// directories keeps the times of restored directories until the end, in a file
// without a name: a tree may have millions of them.
type directories struct {
	file *os.File
	w    *bufio.Writer
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
	return &directories{f, bufio.NewWriterSize(f, 64<<10)}, nil
}

// add records one directory: times of 8 bytes each, length of 4, path.
func (d *directories) add(path string, atime, mtime int64) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(atime))
	b = binary.LittleEndian.AppendUint64(b, uint64(mtime))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(path)))
	if _, err := d.w.Write(append(b, path...)); err != nil {
		return fmt.Errorf("record times of directory %s: %w", path, err)
	}
	return nil
}

// maxErrors is how many directories are named that something went wrong with.
const maxErrors = 100

// each hands out what was recorded, in order, and returns the errors, of very many
// the first ones.
func (d *directories) each(f func(path string, atime, mtime int64) error) error {
	if err := d.w.Flush(); err != nil {
		return fmt.Errorf("directory times: %w", err)
	}
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("directory times: %w", err)
	}
	r := bufio.NewReaderSize(d.file, 64<<10)
	var errs []error
	more := 0
	for {
		var head [20]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if !errors.Is(err, io.EOF) {
				errs = append(errs, fmt.Errorf("directory times: %w", err))
			}
			if more > 0 {
				errs = append(errs, fmt.Errorf("and of %d more directories", more))
			}
			return errors.Join(errs...)
		}
		path := make([]byte, binary.LittleEndian.Uint32(head[16:]))
		if _, err := io.ReadFull(r, path); err != nil {
			return errors.Join(append(errs, fmt.Errorf("directory times: %w", err))...)
		}
		err := f(string(path), int64(binary.LittleEndian.Uint64(head[:])), int64(binary.LittleEndian.Uint64(head[8:])))
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
