// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/ext4"
)

// Scan is a Cursor's work done without the kernel: what directories hold and what stat
// tells comes from the file system's own tables on its block device (internal/ext4). The
// kernel is asked for contents and extended attributes alone, by the number of the inode,
// so that no path is looked up. Entries stay valid until Close.
//
// Names come in the order of their inodes or contents on the disk. Where the tables of a
// directory cannot be read the kernel is asked for the rest of it, as a Cursor does.
//
// It is not safe for concurrent use, nor are its entries.
type Scan struct {
	Rules
	// ByContent hands out the files of a directory in the order of their contents on the
	// disk. It serves who reads them.
	ByContent bool
	// Inodes is how many are in use.
	Inodes uint64
	// Strayed, if set, is told when the kernel is asked instead, and why.
	Strayed func(path string, why error)

	dev     uint64
	dirs    uint64 // that the file system has; entered is how many the scan has gone into
	entered uint64
	tree    *tree
	in      *ext4.Reader
	device  io.Closer
	stack   []*page
	spare   *page  // of a directory that was left
	path    []byte // of the directory on top of the stack
	// broken, in tests, makes the tables of a directory unreadable from a position on.
	broken func(path string, at uint64) bool
	done   bool
}

// page is a directory on the way from the root to where the scan is, with as many of its
// names as are worked on at a time.
type page struct {
	dir    ext4.Inode
	above  uint32 // inode of the directory that it is in, 0 if that does not matter
	length int    // of its path
	name   string
	at     uint64 // where its names begin in the directory, next where those behind them do
	next   uint64
	index  int  // in order, of the name that comes next
	read   bool // else it was released, or is to be read
	last   bool // there is nothing behind
	names  []named
	inodes []ext4.Inode // of names
	order  []uint16     // in which names are handed out
	// kernel has taken over.
	kernel *Cursor
}

type named struct {
	ino  uint32
	name string
}

// reset makes the page one of another directory. What it has of memory is used again,
// unless that is much.
func (p *page) reset() *page {
	if p == nil || cap(p.inodes) > pageNames/4 {
		return &page{}
	}
	clear(p.names)
	*p = page{names: p.names[:0], inodes: p.inodes[:0], order: p.order[:0]}
	return p
}

// release gives up the names; index tells where to go on.
func (p *page) release() { p.read, p.names, p.inodes, p.order = false, nil, nil, nil }

// rootInode is the number of the root directory (EXT4_ROOT_INO).
const rootInode = 2

// pageNames is how many names of a directory are worked on at a time.
const pageNames = 1024

// newScan starts a scan at the root of the file system, which is open as fd. Its Close
// closes both.
func newScan(fs *ext4.FS, dev io.Closer, fd int) (*Scan, error) {
	s := &Scan{tree: &tree{root: fd, find: Finder{Root: fmt.Sprintf("/proc/self/fd/%d", fd)}}, in: fs.NewReader(), device: dev}
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return nil, &Error{"stat", "/", err}
	}
	root, err := s.in.Inode(rootInode)
	if err != nil {
		return nil, err
	}
	s.dev, root.Stat.Dev = st.Dev, st.Dev
	s.stack = []*page{{dir: root, above: rootInode}}
	return s, nil
}

// Root returns the directory that the scan begins in, which Next hands out last.
func (s *Scan) Root() *Entry { return s.entry("", "", &s.stack[0].dir, 0) }

// Close gives up the scan. Its entries are of no use then. It may be called twice.
func (s *Scan) Close() {
	for _, p := range s.stack {
		if p.kernel != nil {
			p.kernel.Close()
		}
	}
	s.stack, s.done = nil, true
	if s.tree.root >= 0 {
		s.tree.find.Close()
		unix.Close(s.tree.root)
		s.tree.root = -1
		s.device.Close()
	}
}

// Next returns the next entry, as a Cursor's does: a directory after all that it holds,
// io.EOF at the end, an *Error for what is left out.
func (s *Scan) Next() (*Entry, error) {
	for !s.done && len(s.stack) > 0 {
		top := s.stack[len(s.stack)-1]
		if top.kernel != nil {
			e, err := top.kernel.Next()
			if err == io.EOF {
				s.stack = s.stack[:len(s.stack)-1]
				continue // it has handed out the directory itself
			}
			return e, err // one that ends the walk comes again
		}
		s.path = s.path[:top.length]
		n, err := s.child(top)
		if err == io.EOF {
			return s.leave(top), nil
		}
		if err != nil {
			if err := s.stray(top, err); err != nil {
				return nil, err
			}
			continue
		}
		name := top.names[n].name
		path := name
		if top.length > 0 {
			path = string(s.path) + "/" + name
		}
		if e, err := s.visit(top, name, &top.inodes[n], path); e != nil || err != nil {
			return e, err
		}
	}
	return nil, io.EOF
}

// child returns which name of a page comes next.
func (s *Scan) child(p *page) (int, error) {
	for !p.read || p.index == len(p.order) {
		if p.read {
			if p.last {
				return 0, io.EOF
			}
			p.at, p.index = p.next, 0
		}
		if err := s.read(p); err != nil {
			return 0, err
		}
	}
	p.index++
	return int(p.order[p.index-1]), nil
}

// read fills a page with the names from its position on. The file system does not change,
// so that what was released comes back in the same order.
func (s *Scan) read(p *page) error {
	p.read, p.last = false, false
	p.names, p.inodes, p.order = p.names[:0], p.inodes[:0], p.order[:0]
	if s.broken != nil && s.broken(string(s.path), p.at) {
		return errors.New("a test wants it so")
	}
	dir, err := s.in.DirAt(&p.dir, p.at)
	if err != nil {
		return err
	}
	for !p.last && len(p.names) < pageNames {
		names, err := dir.Next()
		if p.last = err == io.EOF; p.last {
			break
		}
		if err != nil {
			return err
		}
		if len(p.names) == 0 && p.at == 0 && p.above != 0 && dir.Parent() != p.above || s.entered > s.dirs {
			return errors.New("directories of the file system are in one another") // there would be no end
		}
		for _, d := range names {
			p.names = append(p.names, named{d.Ino, string(d.Name)})
		}
	}
	p.next = dir.Pos()
	slices.SortFunc(p.names, func(a, b named) int { return cmp.Compare(a.ino, b.ino) })
	p.inodes = slices.Grow(p.inodes, len(p.names))
	for i, n := range p.names {
		in, err := s.inode(n.ino)
		if err != nil {
			return fmt.Errorf("inode of %q: %w", n.name, err)
		}
		p.inodes = append(p.inodes, in)
		p.order = append(p.order, uint16(i))
	}
	if s.ByContent {
		slices.SortStableFunc(p.order, func(a, b uint16) int { return cmp.Compare(p.inodes[a].Block, p.inodes[b].Block) })
	}
	p.read = true
	return nil
}

// inode reads an inode. Of what its table does not tell for certain the kernel is asked.
func (s *Scan) inode(ino uint32) (ext4.Inode, error) {
	in, err := s.in.Inode(ino)
	if err != nil {
		return in, err
	}
	in.Stat.Dev = s.dev
	if in.Doubt {
		err = s.ask(&in)
	}
	return in, err
}

// ask lets the kernel say what stat shows of an inode.
func (s *Scan) ask(in *ext4.Inode) error {
	fd, err := s.tree.open(s.entry("", "", in, 0), unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return retry(func() error { return unix.Fstat(fd, &in.Stat) })
}

// visit looks at one name. It returns nothing for a directory that it enters.
func (s *Scan) visit(top *page, name string, in *ext4.Inode, path string) (*Entry, error) {
	e := s.entry(path, name, in, uint64(top.dir.Ino))
	switch {
	case s.skips(e):
		return nil, nil
	case len(path) > MaxPath:
		return nil, &Error{"save", path[:256] + "...", ErrTooLong}
	}
	if e.Stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		var err error
		if e.Link, err = s.in.Readlink(in); err != nil {
			if e.Link, err = e.readlink(); err != nil {
				return nil, &Error{"read link", path, err}
			}
		}
	}
	if !s.wants(e) {
		return nil, nil
	}
	if e.Stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return e, nil
	}
	p := s.spare.reset()
	s.spare = nil
	p.dir, p.above, p.length, p.name = *in, top.dir.Ino, len(path), name
	s.entered++
	s.stack = append(s.stack, p)
	s.path = append(s.path[:0], path...)
	if i := len(s.stack) - 1 - open; i >= 0 {
		s.stack[i].release()
	}
	return nil, nil
}

// leave hands out a directory whose content has been handed out.
func (s *Scan) leave(p *page) *Entry {
	s.stack = s.stack[:len(s.stack)-1]
	s.spare = p
	return s.entry(string(s.path), p.name, &p.dir, 0)
}

func (s *Scan) entry(path, name string, in *ext4.Inode, parent uint64) *Entry {
	return &Entry{
		Path: path, Stat: in.Stat, Parent: parent, name: name, dir: -1, self: -1,
		tree: s.tree, generation: in.Generation, plain: !in.HasXattrs, dense: !in.Sparse(),
		inode: in.Attributes(), inodeKnown: true,
	}
}

// stray lets the kernel list a directory whose tables cannot be read.
func (s *Scan) stray(p *page, why error) error {
	path := string(s.path)
	if s.Strayed != nil {
		s.Strayed(path, why)
	}
	fd, err := -1, errors.New("a part of it was handed out, and cannot be read again")
	if p.index == 0 || p.read {
		fd, err = s.tree.open(s.entry(path, p.name, &p.dir, 0), unix.O_RDONLY|unix.O_DIRECTORY)
	}
	if err == nil {
		p.kernel, err = openAt(fd, path)
	}
	if err != nil {
		p.release()
		p.read, p.last, p.index = true, true, 0 // of the directory itself more is known
		return &Error{"read directory", path, errors.Join(why, err)}
	}
	came := s.before(p)
	p.release()
	p.kernel.Rules = s.Rules
	p.kernel.Skip = func(e *Entry) bool {
		name := e.Path[p.length:]
		if p.length > 0 {
			name = name[1:]
		}
		return came[name] || s.skips(e)
	}
	return nil
}

// before returns the names of a directory in front of the page at hand.
func (s *Scan) before(p *page) map[string]bool {
	came := map[string]bool{}
	dir, err := s.in.DirAt(&p.dir, 0)
	for err == nil && dir.Pos() != p.at {
		var names []ext4.Dirent
		names, err = dir.Next()
		for _, d := range names {
			came[string(d.Name)] = true
		}
	}
	return came
}
