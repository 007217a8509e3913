// SPDX-License-Identifier: AGPL-3.0-only

package chattr

import (
	"fmt"
	"strconv"
	"strings"
)

// The daemons have no field for flags and projects: they travel as an extended attribute
// whose name no tenant can give to one of his. Linux looks for a file system's handler by
// the name's prefix and answers EOPNOTSUPP without one (fs/xattr.c, xattr_resolve_name);
// ext4's handlers are user., trusted., security., system. and gnu. for the Hurd
// (fs/ext4/xattr.c), and an index on disk that is none of these is not listed. A FUSE
// server may show any name: what it shows under ours is not saved (package walk).
const (
	// Prefix is that of all names that are ours.
	Prefix = "vz7ct."
	// Name is that of the attribute with flags and project.
	Name = Prefix + "inode"
)

// Encode returns the attribute's value, such as "flags=0x30 project=7"; nil if the file
// has nothing to be carried.
func (a Attributes) Encode() []byte {
	var words []string
	if f := a.Flags & Settable; f != 0 {
		words = append(words, fmt.Sprintf("flags=%#x", f))
	}
	if a.Project != 0 {
		words = append(words, fmt.Sprintf("project=%d", a.Project))
	}
	if words == nil {
		return nil
	}
	return []byte(strings.Join(words, " "))
}

// maxValue is more than Encode ever makes.
const maxValue = 256

// Decode reads a value. What is not known in it is left out: it is told in the error, with
// which the rest is returned.
func Decode(value []byte) (Attributes, error) {
	var a Attributes
	if len(value) > maxValue {
		return a, fmt.Errorf("flags and project in %d bytes, which no release writes", len(value))
	}
	var strange []string
	for _, word := range strings.Fields(string(value)) {
		key, number, _ := strings.Cut(word, "=")
		n, err := strconv.ParseUint(number, 0, 32)
		switch {
		case err == nil && key == "flags":
			a.Flags = uint32(n) & Settable
			if other := uint32(n) &^ Settable; other != 0 {
				strange = append(strange, fmt.Sprintf("flags %#x", other))
			}
		case err == nil && key == "project":
			a.Project = uint32(n)
		default:
			strange = append(strange, strconv.Quote(word))
		}
	}
	if strange != nil {
		return a, fmt.Errorf("not known to this release: %s", strings.Join(strange, ", "))
	}
	return a, nil
}
