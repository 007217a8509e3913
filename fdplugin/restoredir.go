// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/restore"
)

// The folders of a container in a directory of restore=dir: its files are as they were
// in it, with root for /, and its private area is beside them. So neither mixes with the
// other, nor a container with another one.
const (
	filesFolder = "root"
	areaFolder  = "private"
)

// directory is the target of restore=dir: a folder on this machine, which need not have
// any container.
type directory struct {
	job  *Job
	uuid string // of the container that was saved
	path string
	tree *restore.Tree
	// lock is the folder, locked: a restore that has it alone, and found it empty, has made
	// all that is in it.
	lock *os.File
}

// judgeRestore checks options that count together, before anything is touched.
func (o Options) judgeRestore() error {
	switch {
	case o.Restore == RestoreDirectory && o.Directory == "":
		return errors.New("restore=dir: restore_dir is missing: give the directory on this machine that files are restored to, such as restore_dir=/var/tmp/restored")
	case o.Restore == RestoreContainer && o.Directory != "":
		return fmt.Errorf("restore_dir=%s does not count for restore=ct, which makes a container: give restore=dir, or restore=file for a directory in the container", text.Name(o.Directory))
	}
	return nil
}

// intoDirectory opens a container's folder with its first file.
func (r *restoration) intoDirectory(f *Restored) (target, error) {
	p, err := savedName("restore=dir", f.Name, f.Where)
	if err != nil {
		return nil, err
	}
	if d := r.directories[p.uuid]; d != nil {
		return d, nil
	}
	if err := r.roomForMore(); err != nil {
		return nil, fmt.Errorf("restore=dir: %w", err)
	}
	d := &directory{job: r.job, uuid: p.uuid, path: filepath.Join(r.opts.Directory, p.uuid)}
	if err := d.open(r.opts); err != nil {
		return nil, fmt.Errorf("restore=dir: %w", err)
	}
	r.directories[p.uuid] = d
	return d, nil
}

func (d *directory) open(o Options) error {
	j := d.job
	if err := j.openJournal("", d.uuid); err != nil {
		return err
	}
	if err := j.lockFile(o); err != nil {
		return err
	}
	root, err := j.Node.directoryFor(o.Directory, d.uuid)
	if err != nil {
		return err
	}
	own, err := d.alone(root)
	if err == nil {
		d.tree, err = restore.Open(root, j.Node.State)
	}
	if err != nil {
		d.abandon()
		root.Close()
		return fmt.Errorf("restore_dir=%s: %w", text.Name(o.Directory), err)
	}
	d.tree.Own = own
	// A path of a backup leads over no link; one that lies there was planted, or is older.
	d.tree.NoLinks = true
	j.phase("restoring files")
	j.Log.Infof("restoring files of container %s to %s, what is of its private area to %s",
		d.uuid, text.Name(filepath.Join(d.path, filesFolder)), text.Name(filepath.Join(d.path, areaFolder)))
	return nil
}

// alone locks the folder, and reports whether all that will be in it is of this restore.
// Others may restore to it at the same time as long as none of them is alone there.
func (d *directory) alone(root *os.File) (bool, error) {
	fd, err := unix.Openat(int(root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("open %s: %w", text.Name(d.path), err)
	}
	d.lock = os.NewFile(uintptr(fd), d.path)
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
		if _, err := d.lock.Readdirnames(1); errors.Is(err, io.EOF) {
			return true, nil
		}
	}
	if errors.Is(unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK) {
		return false, fmt.Errorf("another restore has begun %s, and is at work in it: wait until it has ended, or choose another restore_dir", text.Name(d.path))
	}
	return false, nil // also where the file system has no locks
}

func (d *directory) item(f *Restored) (*restore.Tree, *restore.Item, error) {
	path, err := d.inside(f.Name, f.Where)
	if err != nil {
		return nil, nil, err
	}
	it := f.item(path)
	if d.tree.Own {
		it.Replace = restore.Always // everything is new, or of an older level
	}
	if f.Kind == HardLink {
		if it.First, err = d.inside(f.Link, f.Where); err != nil {
			return nil, nil, err
		}
	}
	return d.tree, it, nil
}

// inside returns the path in the container's folder for a name of the stream.
func (d *directory) inside(name, where string) (string, error) {
	p, err := savedName("restore=dir", name, where)
	if err != nil {
		return "", err
	}
	if p.uuid != d.uuid {
		return "", fmt.Errorf("restore=dir: a hard link to %s, which is of another container than %s", text.Name(name), d.uuid)
	}
	folder := filesFolder
	if p.area == inPrivate {
		folder = areaFolder
	}
	return strings.TrimSuffix(folder+"/"+p.path, "/"), nil
}

func (d *directory) finish() error {
	tree := d.tree
	d.tree = nil
	defer d.abandon()
	if err := tree.Sync(); err != nil {
		tree.Abandon()
		return fmt.Errorf("restore=dir: write to %s: %w", text.Name(d.path), err)
	}
	d.job.restore.closeTree(tree, d.path)
	return nil
}

func (d *directory) abandon() {
	if d.lock != nil {
		d.lock.Close()
		d.lock = nil
	}
	if d.tree != nil {
		d.tree.Abandon()
		d.tree = nil
	}
}
