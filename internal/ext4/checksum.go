// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c goes on from crc, as the file system's checksums do: without the inversions at
// begin and end that hash/crc32 makes (checksums.rst).
func crc32c(crc uint32, p []byte) uint32 { return ^crc32.Update(^crc, castagnoli, p) }

// crc32cWord goes on over a number.
func crc32cWord(crc, n uint32) uint32 {
	var b [4]byte
	le.PutUint32(b[:], n)
	return crc32c(crc, b[:])
}

// crc16 is that of group descriptors without metadata_csum: polynomial x^16+x^15+x^2+1,
// lowest bit first.
func crc16(crc uint16, p []byte) uint16 {
	for _, b := range p {
		crc ^= uint16(b)
		for range 8 {
			low := crc & 1
			crc >>= 1
			if low != 0 {
				crc ^= 0xa001
			}
		}
	}
	return crc
}
