// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/internal/veconf"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
	"github.com/bareos-contrib/vz7ct/restore"
)

// newContainer is the target of restore=ct: a container that is made anew.
type newContainer struct {
	job     *Job
	m       *manifest
	opts    Options
	id      identity // what it is on this node
	private string   // its private area there
	root    string   // where it is mounted
	mark    string   // content of the file that says so
	// old is the container that this one is to replace, nil for none.
	old     *oldContainer
	area    *restore.Tree
	disks   []*newDisk // those with the longest catalogue prefix first
	started time.Time
	// begun: there is, or may be, something of it on the node. incomplete: not all
	// of the backup was restored. registered: it is the node's now.
	begun, incomplete, registered bool
	// odd is how many files of the private area were not trusted.
	odd int64
}

// newDisk is one disk of it.
type newDisk struct {
	manifestDisk
	image, dir string
	key        string // the id of the key to encrypt it with, "" for none
	tree       *restore.Tree
	// top: the root directory has come. A backup sends it last of the disk. came is how
	// many inodes have.
	top  bool
	came uint64
}

// intoNew makes the container's disks with its first file.
func (r *restoration) intoNew(f *Restored) (target, error) {
	p, err := containerName(f.Name, f.Where)
	if err != nil {
		return nil, err
	}
	if f.Renamed {
		// With it any file of a tenant's could become an action script, which the node
		// runs as root, or the container's configuration.
		return nil, fmt.Errorf("restore=ct: %s: regexwhere (or add_prefix, strip_prefix) cannot be used for whole containers: leave it out, where does not matter either", text.Name(f.Name))
	}
	if c := r.containers[p.uuid]; c != nil {
		return c, nil
	}
	if err := r.roomForMore(); err != nil {
		return nil, fmt.Errorf("restore=ct: %w", err)
	}
	m := r.job.objects[p.uuid]
	if m == nil {
		return nil, fmt.Errorf("restore=ct: what the disks of container %s were like is not known: the catalogue has no restore object, and %s%s/%s was not restored before %s. Select that file too, and %s beside it if there is one",
			p.uuid, privateRoot, p.uuid, manifestName, text.Name(f.Name), path.Base(fullManifestName))
	}
	c := &newContainer{job: r.job, m: m, opts: r.opts, started: time.Now()}
	err = c.identify()
	for _, other := range r.containers {
		err = errors.Join(err, c.twice(other))
	}
	if err == nil {
		r.containers[p.uuid] = c // whatever becomes of prepare, the end of the job closes what c has open
		err = c.prepare()
	}
	if err != nil {
		return nil, fmt.Errorf("restore=ct: %w", err)
	}
	return c, nil
}

// prepare is a restore up to its first file, in one line. Nothing is touched
// before everything was judged.
func (c *newContainer) prepare() error {
	if err := c.wanted(); err != nil {
		return err
	}
	if err := c.job.openJournal(c.id.name, c.id.uuid); err != nil {
		return err
	}
	c.job.phase("waiting for locks")
	if err := c.job.lock(c.opts, c.id.uuid, false); err != nil {
		return err
	}
	c.job.phase("making disks")
	if err := c.free(); err != nil {
		return err
	}
	if err := c.fits(); err != nil {
		return err
	}
	if err := c.room(); err != nil {
		return err
	}
	as := ""
	if c.id.copied || c.id.name != c.m.Name {
		as = fmt.Sprintf(" as %s (%s)", c.title(), c.id.uuid)
	}
	c.job.Log.Infof("restoring container %s (%s)%s to %s, %d disk(s)", c.m.title(), c.m.UUID, as, c.private, len(c.disks))
	if err := c.makePrivate(); err != nil {
		return err
	}
	for _, d := range c.disks {
		if err := c.makeDisk(d); err != nil {
			return err
		}
	}
	c.job.phase("restoring files")
	return c.makeMountPoints()
}

// late takes a manifest that comes when the container is made already, with a later backup.
// With restore objects it was known before, maybe without ve.conf.
func (c *newContainer) late(m *manifest) {
	if newest(c.m, m) != m || c.m.jobID != 0 && !m.Created.Equal(c.m.Created) {
		return
	}
	c.m.Config = m.Config
	for _, now := range m.Disks {
		for _, d := range c.m.Disks {
			if d.UUID != now.UUID || d.Size >= now.Size {
				continue
			}
			c.job.Log.Warnf("disk %s of container %s (%s) has %s, which a manifest said that came first, and had %s when the last backup of this restore was made: enlarge it with prlctl set",
				text.Name(d.Mount), c.title(), c.id.uuid, text.Size(int64(d.Size*ploop.SectorSize)), text.Size(int64(now.Size*ploop.SectorSize)))
		}
	}
}

// wanted checks the options against what was saved.
func (c *newContainer) wanted() error {
	if c.opts.UUID != "" && c.opts.UUID != c.m.UUID && c.opts.UUID != c.m.CTID {
		return fmt.Errorf("uuid=%s is asked for, but the backup is of container %s (%s)", c.opts.UUID, c.m.title(), c.m.UUID)
	}
	if c.opts.Name != "" && c.opts.Name != c.m.Name {
		return fmt.Errorf("name=%s is asked for, but the backup is of container %s (%s)", text.Name(c.opts.Name), c.m.title(), c.m.UUID)
	}
	return c.itself()
}

// free checks that nothing on this node is in the way.
func (c *newContainer) free() error {
	node := c.job.Node
	list, err := node.Containers.List(c.job.ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, other := range list {
		if c.opts.Replace && other.UUID == c.id.uuid {
			err = c.replaces(other)
		} else {
			err = c.taken(other)
		}
		if err != nil {
			return err
		}
	}
	if c.old == nil {
		c.private, err = c.privateArea()
	}
	if err != nil {
		return err
	}
	if c.root, err = node.Registry.RootFor(c.id.ctid); err != nil {
		return err
	}
	if c.old != nil {
		return nil // what lies in these places is the old one's
	}
	for _, p := range []string{c.private, c.root} {
		switch names, err := os.ReadDir(p); {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return fmt.Errorf("look at %s: %w", p, err)
		case len(names) > 0:
			return fmt.Errorf("%s exists and is not empty: nothing was touched; move it away first", p)
		}
	}
	conf := filepath.Join(node.Scripts, c.id.ctid+".conf")
	if _, err := os.Lstat(conf); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s exists (or cannot be looked at: %v): nothing was touched; remove it first", conf, err)
	}
	return nil
}

// fits chooses the disks' places and sizes and checks that the data fits.
func (c *newContainer) fits() error {
	for _, d := range c.m.Disks {
		n := &newDisk{manifestDisk: d, image: d.Image}
		if d.UUID == prlctl.RootDisk && c.opts.DiskSize > 0 {
			n.Size = c.opts.DiskSize / ploop.SectorSize
			if err := n.holds(c.opts.DiskSize); err != nil {
				return err
			}
		}
		if filepath.IsAbs(n.image) || !veconf.CanBeImage(filepath.Dir(n.image)) || nodesOwn(n.image) {
			n.image = "disk-{" + d.UUID + "}.hdd/" + filepath.Base(n.image)
			if d.UUID == prlctl.RootDisk {
				n.image = "root.hdd/root.hds"
			}
			c.job.Log.Warnf("disk %s was at %s, outside the private area or under a name that no disk can have; it is restored to %s in it",
				text.Name(d.Mount), text.Name(d.Image), text.Name(n.image))
		}
		if err := c.encrypt(n); err != nil {
			return err
		}
		c.disks = append(c.disks, n)
	}
	sort.SliceStable(c.disks, func(i, j int) bool { return len(c.disks[i].Catalogue) > len(c.disks[j].Catalogue) })
	if last := c.disks[len(c.disks)-1]; last.Catalogue != "" {
		return errors.New("the backup is without the root disk, as the option disks said: a container cannot be made from it; restore its files with restore=file or restore=dir, or take a job that has that disk")
	}
	return nil
}

// makePrivate makes the private area.
func (c *newContainer) makePrivate() error {
	var err error
	if c.mark == "" {
		c.mark, err = newUUID()
	}
	if err != nil {
		return err
	}
	if err := c.job.journal.Intend(undo.Step{Do: undo.MadeTree, Dir: c.private, Container: c.id.uuid, Mark: c.mark}); err != nil {
		return err
	}
	c.begun = true
	if err := os.MkdirAll(c.private, 0o700); err != nil {
		return fmt.Errorf("make private area: %w", err)
	}
	if err := c.claim(); err != nil {
		return err
	}
	root, err := os.OpenFile(c.private, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open private area: %w", err)
	}
	if c.area, err = restore.Open(root, c.job.Node.State); err != nil {
		root.Close()
		return err
	}
	// Nothing in a private area is reached over links, and what is never put
	// back must not be reached so either.
	c.area.NoLinks = true
	c.area.Own = true
	// What is made of it must be removable, by a restore that fails and by prlctl.
	c.area.Hold = chattr.Locks
	return nil
}

// claim marks the private area as that of this restore.
func (c *newContainer) claim() error {
	f, err := os.OpenFile(filepath.Join(c.private, markName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("mark private area: %w", err)
	}
	_, err = f.WriteString(c.mark)
	return errors.Join(err, f.Sync(), f.Close())
}

// makeDisk makes one disk and mounts it to be written to.
func (c *newContainer) makeDisk(d *newDisk) error {
	j := c.job
	begin := time.Now()
	image := filepath.Join(c.private, d.image)
	if err := os.MkdirAll(filepath.Dir(image), 0o700); err != nil {
		return fmt.Errorf("make disk directory: %w", err)
	}
	descriptor := filepath.Join(filepath.Dir(image), "DiskDescriptor.xml")
	if err := j.call(func(ctx context.Context) error {
		return j.Node.Images.Init(ctx, ploop.New{
			Image: image, Size: d.Size, Cluster: d.Cluster, Version: d.Version, Preallocated: d.Preallocated, Raw: d.Raw, KeyID: d.key,
		})
	}, descriptor); err != nil {
		return fmt.Errorf("make disk %s of %s: %w", d.Mount, text.Size(int64(d.Size*ploop.SectorSize)), err)
	}
	if err := d.encrypted(descriptor); err != nil {
		return err
	}
	var err error
	if d.dir, d.tree, err = j.mountToRestore(c.id.uuid, descriptor); err != nil {
		return fmt.Errorf("mount new disk %s: %w", d.Mount, err)
	}
	d.tree.Own = true
	c.area.Keep = append(c.area.Keep, d.image)
	j.Log.Infof("disk %s of %s made and mounted in %s", d.Mount, text.Size(int64(d.Size*ploop.SectorSize)), text.Duration(time.Since(begin)))
	return nil
}

// makeMountPoints makes the directories at which further disks are mounted:
// their attributes in the backup are those of the disks' own roots.
func (c *newContainer) makeMountPoints() error {
	// The outer ones first: a disk may be mounted on another one.
	for n := len(c.disks) - 1; n >= 0; n-- {
		d := c.disks[n]
		if d.Catalogue == "" || d.Mount == "" {
			continue
		}
		tree, path := c.around(d)
		f, err := tree.Create(restore.Item{Path: path, Mode: unix.S_IFDIR | 0o755, Replace: restore.Always,
			Atime: c.m.Created.Unix(), Mtime: c.m.Created.Unix()})
		if err == nil {
			err = f.Finish()
		}
		if err != nil {
			return fmt.Errorf("make mount point %s: %w", d.Mount, err)
		}
		tree.Keep = append(tree.Keep, path)
	}
	return nil
}

func (c *newContainer) abandon() {
	for _, d := range c.disks {
		if d.tree != nil {
			d.tree.Abandon()
			d.tree = nil
		}
	}
	if c.area != nil {
		c.area.Abandon()
		c.area = nil
	}
}
