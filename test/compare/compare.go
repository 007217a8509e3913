// SPDX-License-Identifier: AGPL-3.0-only

// Package compare judges whether two trees are the same, entry by entry and
// attribute by attribute. It shares no code with the product: it reads trees its
// own way, by path and single-threaded, since it is the judge of what the product
// has read and written.
//
// Times of access and of change are not compared, nor is the size of a
// directory: no restore can set them.
package compare

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

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

// Scan reads the tree below root, the root itself as "." too. It stays on one
// file system and leaves out sockets, which no backup has.
func Scan(root string, o Options) (Tree, error) {
	t := Tree{}
	groups := map[[2]uint64][]string{}
	var top unix.Stat_t
	if err := unix.Lstat(root, &top); err != nil {
		return nil, fmt.Errorf("scan %s: %w", root, err)
	}
	var walk func(path string) error
	walk = func(path string) error {
		if path != "." && o.Skip != nil && o.Skip(path) {
			return nil
		}
		full := filepath.Join(root, path)
		e, st, err := read(full, path)
		if err != nil || e == nil || st.Dev != top.Dev {
			return err
		}
		t[path] = e
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if st.Nlink > 1 {
				key := [2]uint64{st.Dev, st.Ino}
				groups[key] = append(groups[key], path)
			}
			return nil
		}
		names, err := os.ReadDir(full)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := walk(filepath.Join(path, n.Name())); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk("."); err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	for _, names := range groups {
		sort.Strings(names)
		if len(names) > 1 {
			for _, n := range names {
				t[n].Group = names[0]
			}
		}
	}
	return t, nil
}

// read describes one name; no entry for a socket.
func read(full, path string) (*Entry, unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(full, &st); err != nil {
		return nil, st, fmt.Errorf("stat %q: %w", path, err)
	}
	e := &Entry{Path: path, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Mtime: st.Mtim.Sec, Nanos: st.Mtim.Nsec}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return nil, st, nil
	case unix.S_IFREG:
		e.Size = st.Size
		if e.Digest, e.Data, err = content(full); err != nil {
			return nil, st, fmt.Errorf("read %q: %w", path, err)
		}
	case unix.S_IFLNK:
		if e.Link, err = os.Readlink(full); err != nil {
			return nil, st, err
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Rdev = st.Rdev
	}
	if e.Xattrs, err = xattrs(full); err != nil {
		return nil, st, fmt.Errorf("attributes of %q: %w", path, err)
	}
	return e, st, nil
}

func xattrs(full string) (map[string]string, error) {
	size, err := unix.Llistxattr(full, nil)
	if err == unix.ENOTSUP || size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(full, list); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		value := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(full, name, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = string(value[:n])
	}
	return out, nil
}

// block is the unit in which content is digested: blocks of zeros do not count,
// so that the digest is that of the content whether or not it lies in holes.
const block = 4096

// content digests a file and lists its allocated ranges as "from-to,...".
func content(full string) (digest, data string, err error) {
	f, err := os.Open(full)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d:", st.Size())
	var ranges []string
	for at := int64(0); at < st.Size(); {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err != nil {
			break // a hole up to the end
		}
		to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return "", "", err
		}
		ranges = append(ranges, fmt.Sprintf("%d-%d", from, to))
		if err := digestRange(h, f, from-from%block, to); err != nil {
			return "", "", err
		}
		at = to
	}
	return hex.EncodeToString(h.Sum(nil)), strings.Join(ranges, ","), nil
}

// digestRange adds all blocks that are not zeros, each with its place.
func digestRange(h io.Writer, f io.ReaderAt, from, to int64) error {
	buf := make([]byte, 64*block)
	for at := from; at < to; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
		if err != nil && err != io.EOF {
			return err
		}
		for i := 0; i < n; i += block {
			b := buf[i:min(i+block, n)]
			if !bytes.Equal(b, zeros[:len(b)]) {
				fmt.Fprintf(h, "%d:", at+int64(i))
				_, _ = h.Write(b)
			}
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		at += int64(n)
	}
	return nil
}

var zeros [block]byte
