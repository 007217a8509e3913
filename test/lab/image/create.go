// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"encoding/binary"
	"fmt"
	"os"
)

// Mode is the way an image is laid out.
type Mode int

// The modes of `ploop init -f`.
const (
	Expanded Mode = iota // clusters are appended as they are written
	Preallocated
	Raw
)

// Spec says what image to create.
type Spec struct {
	Sectors   uint64 // rounded up by the caller
	Blocksize uint32
	Version   int
	Mode      Mode
}

// Create makes a closed image at path, which must not exist. On error nothing is left.
func Create(path string, s Spec) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			_ = os.Remove(path)
		}
	}()
	if s.Mode == Raw {
		// Zeros are written out: a sparse raw image is refused or refilled by the real tool.
		return writeZeros(f, 0, int64(s.Sectors)*SectorSize)
	}
	h := NewHeader(s.Sectors, s.Blocksize, s.Version)
	b := make([]byte, int64(h.First)*SectorSize)
	copy(b, h.Marshal())
	if s.Mode == Preallocated {
		for i := range h.Clusters {
			binary.LittleEndian.PutUint32(b[headerSize+4*int64(i):], h.entry(h.slots()+i))
		}
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	if s.Mode == Preallocated {
		// Written, not fallocated: unwritten extents are what ploop check calls uninitialized blocks.
		if err := writeZeros(f, int64(len(b)), int64(s.Sectors)*SectorSize); err != nil {
			return err
		}
	}
	return f.Sync()
}

func writeZeros(f *os.File, at, n int64) error {
	z := make([]byte, 1<<20)
	for n > 0 {
		k, err := f.WriteAt(z[:min(n, int64(len(z)))], at)
		if err != nil {
			return fmt.Errorf("write zeros: %w", err)
		}
		at, n = at+int64(k), n-int64(k)
	}
	return f.Sync()
}
