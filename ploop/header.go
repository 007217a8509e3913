// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/bareos-contrib/vz7ct/internal/regular"
)

// Header is what an image file says of itself (ploop1_image.h of OpenVZ/ploop:
// 64 bytes, little endian).
type Header struct {
	// Version is 1 or 2.
	Version int
	// Cluster is in sectors.
	Cluster uint32
	// InUse: the file is open for writing, or was not closed.
	InUse bool
}

// Signatures and the mark of an open image (SIGNATURE_DISK_CLOSED_V20 is 0,
// "v2.1" is a closed image with a dirty bitmap).
const (
	signature1 = "WithoutFreeSpace"
	signature2 = "WithouFreSpacExt"
	inUse      = 0x746F6E59
)

const headerSize = 64

// ReadHeader reads the header of an expanding or preallocated image.
func ReadHeader(path string) (Header, error) {
	f, err := regular.Follow(path)
	if err != nil {
		return Header{}, fmt.Errorf("read image header: %w", err)
	}
	defer f.Close()
	var b [headerSize]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return Header{}, fmt.Errorf("read image header %s: %w", path, err)
	}
	h, ok := parseHeader(b[:])
	if !ok {
		return Header{}, fmt.Errorf("%s is no ploop image", path)
	}
	return h, nil
}

// parseHeader reads the first 64 bytes of an image.
func parseHeader(b []byte) (Header, bool) {
	h := Header{
		Cluster: binary.LittleEndian.Uint32(b[28:]),
		InUse:   binary.LittleEndian.Uint32(b[44:]) == inUse,
	}
	switch string(b[:16]) {
	case signature1:
		h.Version = 1
	case signature2:
		h.Version = 2
	default:
		return Header{}, false
	}
	return h, true
}
