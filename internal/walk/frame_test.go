// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// dirent is an entry as the kernel writes it.
func dirent(name string, size uint16) []byte {
	b := make([]byte, 19)
	binary.NativeEndian.PutUint16(b[16:], size)
	return append(append(b, name...), 0)
}

// Of a buffer of the kernel's, or of a file system's that lies, every entry is one
// name, and nothing behind the buffer is looked at.
func FuzzEntries(f *testing.F) {
	f.Add(append(dirent("a", 21), dirent("two", 23)...))
	f.Add(dirent("", 20))
	f.Add(dirent("x/y", 65535))
	f.Add(bytes.Repeat([]byte{0xff}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			name, _, size, _, ok := parseEntry(b)
			if !ok {
				return
			}
			if name == "" || strings.ContainsAny(name, "/\x00") || size <= 0 || size > len(b) || len(name) > size {
				t.Fatalf("parseEntry(%q) = %q, %d", b, name, size)
			}
			b = b[size:]
		}
	})
}
