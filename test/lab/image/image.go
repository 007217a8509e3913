// SPDX-License-Identifier: AGPL-3.0-only

package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

// ErrInUse says that an image is open elsewhere or was not closed.
var ErrInUse = errors.New("image is in use")

// ErrEntry says that the BAT points outside the file, or twice at one place.
var ErrEntry = errors.New("broken allocation table")

// Image is one open image file. ReadCluster and WriteCluster may run together for different clusters; Chain locks clusters.
type Image struct {
	f   File
	hdr Header
	raw bool // the file is the disk itself: no header, every cluster is there

	// The BAT as file cluster numbers, 0 = not allocated. Written by whoever holds the cluster's lock.
	bat []atomic.Uint32

	mu    sync.Mutex // head, fresh, flags
	head  uint32     // next file cluster to allocate
	fresh map[uint32]struct{}

	syncing sync.Mutex // one Sync at a time: a later one must not overtake an earlier one's BAT
}

// Open reads header and BAT of f. With dirty it takes an image that is marked in use.
func Open(f File, dirty bool) (*Image, error) {
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read header: %w", err)
	}
	h, err := ParseHeader(b)
	if err != nil {
		return nil, err
	}
	if h.Dirty() && !dirty {
		return nil, ErrInUse
	}
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("image size: %w", err)
	}
	m := &Image{f: f, hdr: h, fresh: map[uint32]struct{}{}}
	m.head = max(uint32(size/h.Cluster()), h.slots())
	if m.bat, err = loadTable(f, &h); err != nil {
		return nil, err
	}
	for i := range m.bat {
		if n := m.bat[i].Load(); n != 0 && (n < h.slots() || int64(n+1)*h.Cluster() > size) {
			return nil, fmt.Errorf("%w: cluster %d at %d, file of %d bytes", ErrEntry, i, n, size)
		}
	}
	return m, nil
}

// OpenRaw takes f as the disk itself.
func OpenRaw(f File, blocksize uint32) (*Image, error) {
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("raw image size: %w", err)
	}
	c := int64(blocksize) * SectorSize
	n := uint32((size + c - 1) / c)
	return &Image{f: f, raw: true, head: n, hdr: Header{Blocksize: blocksize, Clusters: n, Sectors: uint64(size) / SectorSize}}, nil
}

// loadTable reads the BAT and turns it into file cluster numbers.
func loadTable(f File, h *Header) ([]atomic.Uint32, error) {
	room := int64(h.First)*SectorSize - headerSize
	if int64(h.Clusters)*4 > room {
		return nil, fmt.Errorf("%w: %d entries in %d bytes", ErrEntry, h.Clusters, room)
	}
	b := make([]byte, int64(h.Clusters)*4)
	if _, err := f.ReadAt(b, headerSize); err != nil {
		return nil, fmt.Errorf("read allocation table: %w", err)
	}
	t := make([]atomic.Uint32, h.Clusters)
	for i := range t {
		n := binary.LittleEndian.Uint32(b[4*i:])
		if h.Version == 1 {
			if n%h.Blocksize != 0 {
				return nil, fmt.Errorf("%w: entry %d is sector %d", ErrEntry, i, n)
			}
			n /= h.Blocksize
		}
		t[i].Store(n)
	}
	return t, nil
}

// Header gives the header as it is in memory.
func (m *Image) Header() Header {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hdr
}

// Raw says whether the file has no header.
func (m *Image) Raw() bool { return m.raw }

// Has says whether cluster i is allocated in this file.
func (m *Image) Has(i uint32) bool {
	if m.raw {
		return i < m.hdr.Clusters
	}
	return i < uint32(len(m.bat)) && m.bat[i].Load() != 0
}

// Allocated counts the clusters of this file.
func (m *Image) Allocated() int {
	n := 0
	for i := range m.hdr.Clusters {
		if m.Has(i) {
			n++
		}
	}
	return n
}

// at gives the place in the file of byte off of cluster i, which is allocated.
func (m *Image) at(i uint32, off int64) int64 {
	if m.raw {
		return int64(i)*m.hdr.Cluster() + off
	}
	return int64(m.bat[i].Load())*m.hdr.Cluster() + off
}

// ReadCluster reads p at byte off of cluster i, which is allocated. A raw file's last cluster may be cut: the rest is zero.
func (m *Image) ReadCluster(i uint32, p []byte, off int64) error {
	n, err := m.f.ReadAt(p, m.at(i, off))
	if m.raw && errors.Is(err, io.EOF) {
		clear(p[n:])
		return nil
	}
	return err
}

// WriteCluster writes p at byte off of cluster i, which is allocated.
func (m *Image) WriteCluster(i uint32, p []byte, off int64) error {
	_, err := m.f.WriteAt(p, m.at(i, off))
	return err
}

// Allocate puts a whole cluster at the end of the file. The BAT on disk learns of it at the next Sync, after the data.
func (m *Image) Allocate(i uint32, p []byte) error {
	if m.raw || i >= uint32(len(m.bat)) || int64(len(p)) != m.hdr.Cluster() {
		return fmt.Errorf("allocate cluster %d of %d with %d bytes: %w", i, len(m.bat), len(p), ErrEntry)
	}
	m.mu.Lock()
	n := m.head
	m.head++
	m.mu.Unlock()
	if _, err := m.f.WriteAt(p, int64(n)*m.hdr.Cluster()); err != nil {
		m.mu.Lock()
		if m.head == n+1 {
			m.head = n // nobody allocated behind us: give the place back
		}
		m.mu.Unlock()
		return err
	}
	m.bat[i].Store(n)
	m.mu.Lock()
	m.fresh[i] = struct{}{}
	m.mu.Unlock()
	return nil
}

// Forget drops cluster i from this file: a merge has moved it elsewhere. It reaches the disk at the next Sync.
func (m *Image) Forget(i uint32) {
	m.bat[i].Store(0)
	m.mu.Lock()
	m.fresh[i] = struct{}{}
	m.mu.Unlock()
}

// Sync makes what was written durable: data first, then the BAT entries that point at it.
func (m *Image) Sync() error {
	m.syncing.Lock()
	defer m.syncing.Unlock()
	m.mu.Lock()
	fresh := m.fresh
	m.fresh = map[uint32]struct{}{}
	m.mu.Unlock()
	if err := m.f.Sync(); err != nil {
		m.keep(fresh)
		return err
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := m.writeEntries(fresh); err != nil {
		m.keep(fresh)
		return err
	}
	return m.f.Sync()
}

// keep puts entries back that could not be written.
func (m *Image) keep(fresh map[uint32]struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range fresh {
		m.fresh[i] = struct{}{}
	}
}

// writeEntries writes the given BAT entries, runs of neighbours in one go, and clears the header's "empty" flag.
func (m *Image) writeEntries(fresh map[uint32]struct{}) error {
	if err := m.clearEmpty(); err != nil {
		return err
	}
	list := make([]uint32, 0, len(fresh))
	for i := range fresh {
		list = append(list, i)
	}
	slices.Sort(list)
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n] == list[n-1]+1 {
			n++
		}
		b := make([]byte, 4*n)
		for k, i := range list[:n] {
			binary.LittleEndian.PutUint32(b[4*k:], m.hdr.entry(m.bat[i].Load()))
		}
		if _, err := m.f.WriteAt(b, 4*int64(headerSlot+list[0])); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// clearEmpty takes the "empty" flag off the header: qemu leaves it there, and ploop check then calls the image broken.
func (m *Image) clearEmpty() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hdr.Flags&flagEmpty == 0 {
		return nil
	}
	m.hdr.Flags &^= flagEmpty
	return m.writeHeader()
}

// MarkInUse sets or clears the in-use flag on disk, and syncs.
func (m *Image) MarkInUse(on bool) error {
	if m.raw {
		return m.Sync()
	}
	m.mu.Lock()
	m.hdr.InUse = 0
	if m.used() {
		m.hdr.Flags &^= flagEmpty // a preallocated image is born with clusters and with the flag
	}
	if on {
		m.hdr.InUse, m.hdr.Ext = inUse, 0 // a stored bitmap of changed blocks would be wrong from now on
	}
	err := m.writeHeader()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.f.Sync()
}

// used says whether any cluster is allocated.
func (m *Image) used() bool {
	for i := range m.bat {
		if m.bat[i].Load() != 0 {
			return true
		}
	}
	return false
}

func (m *Image) writeHeader() error {
	_, err := m.f.WriteAt(m.hdr.Marshal(), 0)
	return err
}

// Finish ends writing cleanly: sync, cut what lies behind the last cluster, clear the in-use flag. The file stays open.
func (m *Image) Finish() error {
	if err := m.Sync(); err != nil {
		return err
	}
	if err := m.trim(); err != nil {
		return err
	}
	return m.MarkInUse(false)
}

// trim cuts the file behind the last cluster in use.
func (m *Image) trim() error {
	if m.raw {
		return nil
	}
	last := m.hdr.slots() - 1
	for i := range m.bat {
		last = max(last, m.bat[i].Load())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head = last + 1
	want := int64(m.head) * m.hdr.Cluster()
	if size, err := m.f.Size(); err != nil || size == want {
		return err
	}
	return m.f.Truncate(want)
}

// Close closes the file. It writes nothing: see Finish.
func (m *Image) Close() error { return m.f.Close() }
