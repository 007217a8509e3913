// SPDX-License-Identifier: AGPL-3.0-only

package server

import (
	"sort"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// disks is the FUSE file system: one folder, one file a device.
type disks struct {
	fuse.RawFileSystem // everything not told here answers ENOSYS

	mu    sync.Mutex
	names map[string]*device
	nodes map[uint64]*device
	last  uint64
	bad   []spoilt

	pace pace
}

func newDisks() *disks {
	return &disks{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), names: map[string]*device{}, nodes: map[uint64]*device{},
		last: fuse.FUSE_ROOT_ID, pace: pace{wait: time.Sleep},
	}
}

func (s *disks) String() string { return "vz7ct-lab" }

// add shows a device under its name. EEXIST if the name is taken.
func (s *disks) add(d *device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[d.info.Name] != nil {
		return syscall.EEXIST
	}
	s.last++ // never used twice: a stale handle must not reach another disk
	d.node = s.last
	s.names[d.info.Name], s.nodes[d.node] = d, d
	return nil
}

func (s *disks) drop(d *device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, d.info.Name)
	delete(s.nodes, d.node)
}

func (s *disks) byName(name string) *device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

func (s *disks) byNode(n uint64) *device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[n]
}

// all lists the devices by name.
func (s *disks) all() []*device {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l []*device
	for _, d := range s.names {
		l = append(l, d)
	}
	sort.Slice(l, func(i, j int) bool { return l[i].info.Name < l[j].info.Name })
	return l
}

func attr(d *device, out *fuse.Attr) {
	*out = fuse.Attr{Ino: d.node, Mode: syscall.S_IFREG | 0o600, Nlink: 1, Blksize: 4096}
	out.Size = uint64(d.chain.Size())
	out.Blocks = out.Size / 512
}

// Lookup finds a device.
func (s *disks) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	d := s.byName(name)
	if d == nil {
		return fuse.ENOENT
	}
	out.NodeId, out.Generation = d.node, 1
	attr(d, &out.Attr)
	return fuse.OK
}

// GetAttr describes the folder or a device.
func (s *disks) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if in.NodeId == fuse.FUSE_ROOT_ID {
		out.Attr = fuse.Attr{Ino: 1, Mode: syscall.S_IFDIR | 0o700, Nlink: 2}
		return fuse.OK
	}
	d := s.byNode(in.NodeId)
	if d == nil {
		return fuse.ENOENT
	}
	attr(d, &out.Attr)
	return fuse.OK
}

// Open counts a user. Every open has a Release of its own, by its node; there is no handle that could be lost.
func (s *disks) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	d := s.byNode(in.NodeId)
	if d == nil {
		return fuse.ENOENT
	}
	if err := d.open(); err != nil {
		return fuse.Status(errno(err))
	}
	out.Fh = d.node
	// One cache only, that of the file system on the disk; and writes to different places at once.
	out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES
	return fuse.OK
}

// Release ends an open.
func (s *disks) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if d := s.byNode(in.NodeId); d != nil {
		d.release()
	}
}

// Flush is sent at every close; there is nothing to do.
func (s *disks) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

// Read reads from the chain.
func (s *disks) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	d := s.byNode(in.NodeId)
	if d == nil {
		return nil, fuse.EIO
	}
	size := d.chain.Size()
	if int64(in.Offset) >= size {
		return fuse.ReadResultData(nil), fuse.OK
	}
	buf = buf[:min(int64(len(buf)), int64(in.Size), size-int64(in.Offset))]
	if s.unreadable(d, int64(in.Offset), int64(in.Offset)+int64(len(buf))) {
		return nil, fuse.EIO
	}
	s.pace.read(d.node, int64(in.Offset), int64(in.Offset)+int64(len(buf)))
	if _, err := d.chain.ReadAt(buf, int64(in.Offset)); err != nil {
		return nil, fuse.Status(errno(err))
	}
	return fuse.ReadResultData(buf), fuse.OK
}

// Write writes to the chain.
func (s *disks) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	d := s.byNode(in.NodeId)
	if d == nil {
		return 0, fuse.EIO
	}
	n, err := d.chain.WriteAt(data, int64(in.Offset))
	if err != nil {
		return 0, fuse.Status(errno(err))
	}
	return uint32(n), fuse.OK
}

// Fsync is what a flush of the disk becomes.
func (s *disks) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	d := s.byNode(in.NodeId)
	if d == nil {
		return fuse.EIO
	}
	if err := d.chain.Sync(); err != nil {
		return fuse.Status(errno(err))
	}
	return fuse.OK
}

// SetAttr takes everything and changes nothing: a disk has neither times nor owners.
func (s *disks) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return s.GetAttr(c, &fuse.GetAttrIn{InHeader: in.InHeader}, out)
}

// OpenDir and ReadDir list the devices, for people.
func (s *disks) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

// ReadDir lists the devices.
func (s *disks) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	for i, d := range s.all() {
		if uint64(i) < in.Offset {
			continue
		}
		if !out.AddDirEntry(fuse.DirEntry{Mode: syscall.S_IFREG, Name: d.info.Name, Ino: d.node, Off: uint64(i) + 1}) {
			break
		}
	}
	return fuse.OK
}

// StatFs answers with nothing in particular.
func (s *disks) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Bsize: 4096, NameLen: 255}
	return fuse.OK
}
