// SPDX-License-Identifier: AGPL-3.0-only

package workload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
)

// Kinds of entries.
const (
	kindFile  = "file"  // number = index
	kindLog   = "log"   // number = lines
	kindBlock = "block" // number = block, generation = how often it was written
)

const (
	blockSize  = 4096
	blocks     = 256
	dbName     = "db"
	logName    = "app.log"
	churnFiles = 40
)

// fileName places file i: a thousand to a folder.
func fileName(i int64) string {
	return filepath.Join("files", fmt.Sprintf("%04d", i/1000), fmt.Sprintf("%09d", i))
}

// fileContent is what file i holds: its length and bytes follow from the number.
func fileContent(i int64) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 7)) //nolint:gosec // must be the same every time
	b := make([]byte, 1+r.IntN(12000))
	for k := range b {
		b[k] = byte(r.Uint32())
	}
	return b
}

// logLine is line n of the log.
func logLine(n int64) string {
	return fmt.Sprintf("%012d the quick brown fox jumps over the lazy dog %08x\n", n, crc32.ChecksumIEEE(binary.LittleEndian.AppendUint64(nil, uint64(n))))
}

// block is block n of the database in its generation gen: number, generation, filling, checksum.
func block(n, gen int64) []byte {
	b := make([]byte, blockSize)
	binary.LittleEndian.PutUint64(b, uint64(n))
	binary.LittleEndian.PutUint64(b[8:], uint64(gen))
	fill := bytes.Repeat([]byte{byte(n*31 + gen*17)}, blockSize-20)
	copy(b[16:], fill)
	binary.LittleEndian.PutUint32(b[blockSize-4:], crc32.ChecksumIEEE(b[:blockSize-4]))
	return b
}

// readBlock checks a block and gives its generation.
func readBlock(n int64, b []byte) (int64, error) {
	gen := int64(binary.LittleEndian.Uint64(b[8:]))
	if !bytes.Equal(b, block(n, gen)) {
		return 0, fmt.Errorf("block %d is torn or foreign", n)
	}
	return gen, nil
}
