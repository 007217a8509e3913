// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// Kind is what a backup entry is to the daemon.
type Kind int

const (
	Regular Kind = iota
	Empty        // a regular file without content
	Directory
	Symlink
	Special // device or fifo
	// HardLink is a further name of a file that was sent; only for daemons that
	// do not find hard links themselves.
	HardLink
	// Object is a restore object: no file, but data that a restore gets first.
	Object
)

// Holes says how a file with holes is sent.
type Holes int

const (
	// NoHoles sends the content from end to end.
	NoHoles Holes = iota
	// Pieces sends only what is allocated, each piece with its offset.
	Pieces
)

// Entry is one file as the daemon is told of it. Its strings hold any bytes but NUL.
type Entry struct {
	Kind Kind
	// Name is the name in the catalogue; a directory's ends in a slash.
	Name string
	// Link is a symbolic link's target, or the first name of a hard link.
	Link string
	// LinkIndex is the file index of that first name.
	LinkIndex int
	Stat      unix.Stat_t
	Holes     Holes
	// Watched: what fails of reading it is to be told of (Job.ReadFailed), so the daemon
	// must not read it by itself.
	Watched bool
	// Paced: Job.Took is to be told of what is read of it, for the same reason.
	Paced bool
	// Data is the content of an object.
	Data []byte
}

// item is an entry and the way to what belongs to it.
type item struct {
	Entry
	// open returns a descriptor to read the content from; nil if there is none.
	open func() (int, error)
	// xattrs reads the extended attributes, and what travels as one; nil if there are none.
	xattrs func() ([]walk.Xattr, error)
	// still: nobody writes to it, since it is in a snapshot.
	still bool
	// dense: its content surely has no holes. lasting: it is good for longer than until the
	// next one is looked at. moved: what is here was not here before, whatever its times say.
	dense, lasting, moved bool
	// path is its path in the tree that was walked, disk whose tree that is; nil for the
	// node's own.
	path string
	disk *volume
}

// Flags are the FileSet's options that decide what of a file survives.
type Flags struct {
	// HardLinks: the daemon looks for hard links. Xattrs: it asks for extended
	// attributes. Encrypted: it encrypts what is sent.
	HardLinks, Xattrs, Encrypted bool
}

// Daemon says what kind of daemon has loaded the plugin.
type Daemon struct {
	// Name and release, for the job log.
	Name string
	// OwnLinks: the daemon finds hard links by device and inode, and HardLinks
	// of the FileSet decides (Bareos). Otherwise they are ours to find (Bacula).
	OwnLinks bool
	// AlwaysXattrs: attributes are asked for whatever the FileSet says (Bacula).
	AlwaysXattrs bool
	// DeafToWarnings: a restore with warnings ends as one without (Bacula 9.6), unless
	// there was an error after the files, which does not make it fail there.
	DeafToWarnings bool
	// Plain: it is known that the daemon does not encrypt, so that content may
	// be sent in pieces.
	Plain bool
	// MaxXattrs is how many bytes a file's extended attributes can have together, 0 if
	// there is no limit.
	MaxXattrs int
	// MaxObject is how many bytes a restore object can have, 0 if there is no limit.
	MaxObject int
}

// Host is the job's side of the daemon.
type Host interface {
	// FileIndex returns the number of the file being saved.
	FileIndex() int
	// Accepts reports whether the Options of the FileSet (wild, regex, exclude) let a file
	// pass; a directory's name has no slash here. It also makes the daemon take the
	// settings of the Options that fit the file for what it saves next: the last file
	// that is asked about before one is saved must be that one.
	Accepts(e *Entry) bool
	// Changed reports whether a file has changed since the job that the level goes by,
	// by the daemon's own rule; a directory's name ends in a slash. In an accurate job it
	// also notes that the file is there.
	Changed(e *Entry) (bool, error)
	// Accurate reports whether the daemon compares with the catalogue.
	Accurate() bool
	// Previous returns the daemon's name of the job that the level goes by, "" if it has
	// told none.
	Previous() string
	// Since returns the time that the level goes by, in seconds of this node's clock, 0
	// if there is none.
	Since() int64
}
