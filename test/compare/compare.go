// SPDX-License-Identifier: AGPL-3.0-only

// Package compare judges whether two trees are the same, entry by entry and
// attribute by attribute. It shares no code with the product: it reads trees its
// own way, since it is the judge of what the product has read and written.
//
// Times of access and of change are not compared, nor is the size of a
// directory: no restore can set them.
package compare

// Entry is all that is compared of one name.
type Entry struct {
	Path   string
	Mode   uint32 // type and permissions
	UID    uint32
	GID    uint32
	Size   int64
	Mtime  int64 // seconds
	Nanos  int64
	Link   string
	Rdev   uint64
	Xattrs map[string]string
	// Flags are those of chattr, Project is the project id; of files and directories
	// only, since both are read from an open file.
	Flags, Project uint32
	// Digest is of a regular file's content, Data its allocated ranges.
	Digest string
	Data   string
	// Group is the first path of all names of the same file, "" for a single one.
	Group string
}

// Tree is a scanned tree by path.
type Tree map[string]*Entry

// Options say what is left out of a scan.
type Options struct {
	// Skip leaves out a path, and all below it.
	Skip func(path string) bool
}

// FileSystem leaves out what belongs to a file system and not to its content:
// no backup has it.
func FileSystem(path string) bool {
	switch path {
	case "lost+found", "aquota.user", "aquota.group", ".balloon-c3a5ae3d-ce7f-43c4-a1ea-c61e2b4504e8":
		return true
	}
	return false
}
