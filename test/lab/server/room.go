// SPDX-License-Identifier: AGPL-3.0-only

package server

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/image"
)

// patient is an image file whose writes wait for room: the driver puts a request that met a full file system back and
// tries it again (vzkernel, drivers/block/ploop/dev.c, ploop_fail_request). The container hangs meanwhile.
type patient struct{ image.File }

func imageFile(f *os.File) image.File { return patient{image.OS(f)} }

// WriteAt writes, as soon as there is room.
func (p patient) WriteAt(b []byte, off int64) (int, error) {
	for {
		n, err := p.File.WriteAt(b, off)
		if !errors.Is(err, unix.ENOSPC) {
			return n, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
