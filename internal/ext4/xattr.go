// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"errors"
	"fmt"
)

const (
	xattrMagic  = 0xea020000
	xattrHeader = 16 // bytes of an entry before its name
	indexSystem = 7  // the prefix "system."
)

// inodeXattrs looks through the extended attributes behind the fields of a raw inode
// (attributes.rst) and reports whether there are any but system.data, in which a small
// file's content goes on (inlinedata.rst) and which no kernel lists. Its value is put into
// data, if that is not nil.
func (f *FS) inodeXattrs(raw []byte, data *[]byte) (others bool, err error) {
	extra, ok := f.stored(raw)
	if !ok {
		return false, errors.New("extra size beyond the inode")
	}
	// Where the kernel finds 0 it does not look for attributes (__ext4_iget).
	if extra == 0 || goodOld+extra+8 > len(raw) || le.Uint32(raw[goodOld+extra:]) != xattrMagic {
		return false, nil
	}
	room := raw[goodOld+extra+4:]
	for at := 0; ; {
		if at+4 > len(room) {
			return false, errors.New("extended attributes without an end")
		}
		if le.Uint32(room[at:]) == 0 {
			return others, nil
		}
		if at+xattrHeader > len(room) {
			return false, errors.New("extended attribute beyond the inode")
		}
		length, index := int(room[at]), room[at+1]
		end := at + xattrHeader + length
		if end > len(room) {
			return false, errors.New("name of an extended attribute beyond the inode")
		}
		if index != indexSystem || string(room[at+xattrHeader:end]) != "data" {
			others = true
		} else if data != nil {
			from, size := int(le.Uint16(room[at+2:])), int64(le.Uint32(room[at+8:]))
			if le.Uint32(room[at+4:]) != 0 || int64(from)+size > int64(len(room)) {
				return false, fmt.Errorf("data of %d bytes at %d of the attributes' %d", size, from, len(room))
			}
			*data = room[from : int64(from)+size]
		}
		at = (end + 3) &^ 3
	}
}
