// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// stream is the list of all that a backup sends, in order: the restore object,
// the manifest, what the node holds of the container, then the disks with the
// root disk last, so that every directory comes after all that is below it.
type stream struct {
	parts []func() (*item, error)
	close []func()
}

// Next returns the next item, io.EOF at the end, and a *walk.Error for a file
// that is left out.
func (s *stream) Next() (*item, error) {
	for len(s.parts) > 0 {
		it, err := s.parts[0]()
		if err != io.EOF {
			return it, err
		}
		s.parts = s.parts[1:]
	}
	return nil, io.EOF
}

// Close gives up all descriptors. It may be called twice.
func (s *stream) Close() {
	list := s.close
	s.parts, s.close = nil, nil
	for i := range list {
		defer list[len(list)-1-i]() // in their order, and each although one before it panics
	}
}

// openStream puts the list together.
func (b *backup) openStream() error {
	s := &stream{}
	b.stream = s
	b.links = newLinks(b.job.Daemon.OwnLinks, b.job.Node.State)
	m := b.manifest()
	data, err := m.encode()
	if err != nil {
		return err
	}
	object, err := m.encodeObject(b.job.Daemon.MaxObject)
	if err != nil {
		return err
	}
	private := privateRoot + b.container.UUID + "/"
	if !b.estimate {
		// An object has no name as files have. In an accurate estimate Bacula 9.6.7 looks
		// for that among the catalogue's names, and the daemon dies (seen: htable::lookup).
		s.once(&item{Entry: Entry{Kind: Object, Name: objectName + b.container.UUID, Data: object}})
	}
	s.once(b.virtual(private+manifestName, 1, data))
	if b.job.partial() {
		b.job.unread.add(private + fullManifestName) // it is not gone
	} else {
		s.once(b.virtual(private+fullManifestName, fullManifestInode, data))
	}
	for n, v := range b.volumes {
		name := private + quotaFolder + "/disk-" + v.conf.UUID + ".txt"
		dump, err := v.quota()
		if err != nil {
			b.job.unread.add(name)
			b.job.Log.Warnf("the quota limits of disk %s are not saved: %v", v.mountName(), err)
		} else if dump != nil {
			s.once(b.virtual(name, 2+uint64(n), dump))
		}
	}
	if err := b.addScripts(private); err != nil {
		return err
	}
	if err := b.addPrivate(private); err != nil {
		return err
	}
	return b.addVolumes()
}

func (s *stream) once(it *item) {
	sent := false
	s.parts = append(s.parts, func() (*item, error) {
		if sent {
			return nil, io.EOF
		}
		sent = true
		return it, nil
	})
}

// fullManifestInode is behind those of quotas, of which there is one for each disk.
const fullManifestInode = 2 + maxDisks

// virtual is a file that exists in the backup only.
func (b *backup) virtual(name string, ino uint64, data []byte) *item {
	now := b.started.Unix()
	it := &item{Entry: Entry{Kind: Regular, Name: name}}
	it.Stat = unix.Stat_t{
		Dev: device(b.container.UUID, "virtual"), Ino: ino, Nlink: 1, Mode: unix.S_IFREG | 0o600,
		Size: int64(len(data)), Blksize: 4096, Blocks: (int64(len(data)) + 4095) / 4096 * 8,
		Atim: unix.Timespec{Sec: now}, Mtim: unix.Timespec{Sec: now}, Ctim: unix.Timespec{Sec: now},
	}
	it.open = func() (int, error) { return nameless(b.job.Node.State, data) }
	return it
}

// nameless returns a descriptor to read data from.
func nameless(dir string, data []byte) (int, error) {
	f, err := unnamed(dir)
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		return -1, err
	}
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
}

// addScripts sends the action scripts that the node runs for the container.
func (b *backup) addScripts(private string) error {
	c, err := walk.Open(b.job.Node.Scripts)
	if err != nil {
		return fmt.Errorf("action scripts: %w", err)
	}
	prefix := b.place.CTID + "."
	c.Skip = func(e *walk.Entry) bool {
		return !strings.HasPrefix(e.Path, prefix) || strings.HasSuffix(e.Path, ".conf")
	}
	b.addTree(c, nil, private+scriptFolder, device(b.container.UUID, "scripts"), func(it *item) bool { return it.Kind != Directory })
	return nil
}

// addPrivate sends the private area less what belongs to the disks' storage and
// what is meaningless elsewhere.
func (b *backup) addPrivate(private string) error {
	c, err := walk.Open(b.place.Private)
	if err != nil {
		return fmt.Errorf("private area: %w", err)
	}
	storage := map[string]bool{ownFolder: true, ".lck": true, ".uptime": true}
	hdd := map[string]bool{}
	for _, v := range b.volumes {
		for _, f := range v.disk.Files() {
			if rel, err := filepath.Rel(b.place.Private, f); err == nil {
				storage[rel] = true
			}
		}
	}
	if conf, err := b.place.Config.Disks(b.place.Private); err == nil {
		for _, d := range conf {
			if rel, err := filepath.Rel(b.place.Private, d.Dir); err == nil && d.Dir != "" {
				hdd[rel] = true
			}
		}
	}
	c.Skip = func(e *walk.Entry) bool {
		dir, name := filepath.Split(e.Path)
		// Images of any age: root.hds, its deltas, its mount directory.
		image := hdd[strings.TrimSuffix(dir, "/")] && (strings.Contains(name, ".hds") || strings.HasPrefix(name, "DiskDescriptor.xml") || name == ".statfs")
		return storage[e.Path] || image || strings.HasPrefix(name, ownPrefix)
	}
	b.addTree(c, nil, strings.TrimSuffix(private, "/"), device(b.container.UUID, "private"), nil)
	return nil
}

// addVolumes sends the disks, the root disk last.
func (b *backup) addVolumes() error {
	order := append([]*volume(nil), b.volumes...)
	sort.SliceStable(order, func(i, j int) bool { return len(order[i].catalogue) > len(order[j].catalogue) })
	b.hiddenBelowMounts()
	devices := map[uint64]string{}
	for _, v := range order {
		dev := device(b.container.UUID, v.conf.UUID)
		for devices[dev] != "" {
			dev++ // the daemon takes equal pairs of device and inode for hard links
		}
		devices[dev] = v.conf.UUID
		name := treeRoot + b.container.UUID
		if v.catalogue != "" {
			name += "/" + v.catalogue
		}
		if err := b.addVolume(v, name, dev); err != nil {
			return err
		}
	}
	return nil
}

// addVolume sends one disk: what of it is chosen, and at its end the files with several
// names that have waited.
func (b *backup) addVolume(v *volume, name string, dev uint64) error {
	c, err := b.openDisk(v)
	if err != nil {
		return fmt.Errorf("snapshot of disk %s: %w", v.mountName(), err)
	}
	b.stream.close = append(b.stream.close, c.Close)
	if err := v.isRoot(&c.Root().Stat); err != nil {
		return errors.Join(v.mounted(), fmt.Errorf("snapshot of disk %s at %s: %w", v.mountName(), v.dir, err))
	}
	b.foundByCheck(v)
	choose := b.newChooser(v, name, dev)
	c.Obey(walk.Rules{Skip: choose.skip, Want: choose.want})
	v.groups = newGroups(b.job.Node.State)
	v.groups.torn = b.reselected
	b.stream.then(func() error {
		if !choose.admits(c.Root()) {
			c.Close()
			return nil
		}
		choose.enter(c.Root())
		return nil
	})
	b.addTree(c, v, name, dev, func(it *item) bool { return b.take(v, it) })
	b.addGroups(v, name, dev)
	b.stream.then(v.mounted)
	return nil
}

// then does something between two parts of the list.
func (s *stream) then(f func() error) {
	s.parts = append(s.parts, func() (*item, error) {
		if err := f(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	})
}

// addGroups sends what has waited for the end of a disk.
func (b *backup) addGroups(v *volume, name string, dev uint64) {
	next := v.groups.after(v.dir, func() { b.count.unchanged++ })
	b.stream.close = append(b.stream.close, v.groups.close)
	b.stream.parts = append(b.stream.parts, func() (*item, error) {
		e, err := next()
		if err != nil {
			return nil, b.unread(v, name, err)
		}
		it := fileItem(e, name, dev)
		it.still, it.disk = true, v
		b.accepts(it)
		return it, nil
	})
}

// unread remembers what could not be read below the name given. Of a disk that is not
// mounted any more that is not the reason.
func (b *backup) unread(v *volume, name string, err error) error {
	if err != io.EOF {
		if gone := v.mounted(); gone != nil {
			return gone
		}
	}
	var left *walk.Error
	// A path that is too long was never saved, so it is none that could be called deleted.
	if errors.As(err, &left) && !errors.Is(left, walk.ErrTooLong) {
		b.job.unread.add(name + "/" + left.Path)
		b.missingPath(v, left)
	}
	return err
}

// cursor goes over a tree, see walk.Cursor.
type cursor interface {
	Next() (*walk.Entry, error)
	Close()
}

// addTree sends what a cursor finds under the name given, of a disk or, if that is nil,
// of the node. want, if set, chooses.
func (b *backup) addTree(c cursor, v *volume, name string, dev uint64, want func(*item) bool) {
	a := &ahead{wanted: b.reads, whole: v != nil && !b.job.partial() && !b.estimate && !b.job.oneByOne, next: func() (*item, error) {
		e, err := c.Next()
		if err != nil {
			return nil, err
		}
		it := fileItem(e, name, dev)
		it.moved = v.moved(e.Path)
		if e.Crossing {
			b.job.Log.Warnf("not saved: another file system is mounted at %s", text.Name(it.Name))
		}
		return it, nil
	}}
	b.stream.close = append(b.stream.close, a.close, c.Close)
	b.stream.parts = append(b.stream.parts, func() (*item, error) {
		for {
			it, err := a.Next()
			if err != nil {
				return nil, b.unread(v, name, err)
			}
			if it.Stat.Mode&unix.S_IFMT == unix.S_IFSOCK {
				b.left.sockets++
				continue
			}
			if want == nil || want(it) {
				return it, nil
			}
		}
	})
}

// reads reports whether the content of a file will be asked for: in a partial job if it
// looks new by its times, by which the daemon goes as a rule.
func (b *backup) reads(it *item) bool {
	if b.estimate || it.Kind != Regular {
		return false
	}
	return !b.job.partial() || it.moved || it.Stat.Mtim.Sec >= b.since || it.Stat.Ctim.Sec >= b.since
}

// fileItem makes an item of what a walk has found.
func fileItem(e *walk.Entry, name string, dev uint64) *item {
	it := &item{Entry: Entry{Kind: Special, Name: name, Stat: e.Stat}, xattrs: attributesOf(e), path: e.Path, dense: e.Dense(), lasting: e.Lasting()}
	if e.Path != "" {
		it.Name += "/" + e.Path
	}
	it.Stat.Dev = dev
	carryNanoseconds(&it.Stat)
	switch e.Stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		it.Kind, it.open = Regular, e.Open
		if e.Stat.Size == 0 {
			it.Kind = Empty
		}
	case unix.S_IFDIR:
		it.Kind = Directory
		it.Name += "/"
	case unix.S_IFLNK:
		it.Kind, it.Link = Symlink, e.Link
	}
	return it
}

// device returns a device number for a part of a container: the same at every
// run, where the kernel gives a mounted snapshot another one each time.
func device(uuid, part string) uint64 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, uuid+"/"+part)
	return uint64(h.Sum32()) | 1<<32
}
