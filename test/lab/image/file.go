// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// File is what an image needs of the file below it. Tests and the server put a layer in between to delay, fail or record.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes everything written durable (fdatasync).
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// osFile is a File on the host's file system.
type osFile struct{ *os.File }

// OS wraps an open file.
func OS(f *os.File) File { return osFile{f} }

func (f osFile) Sync() error { return unix.Fdatasync(int(f.Fd())) }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
