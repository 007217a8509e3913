// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/ploop"
)

// keepDescriptors is how many copies of one disk's descriptor are kept, keptFor
// how long those of disks that are not backed up any more.
const (
	keepDescriptors = 6
	keptFor         = 90 * 24 * time.Hour
)

// keepDescriptor copies a DiskDescriptor.xml to the plugin's own directory before
// ploop changes it: ploop makes none, and where it drops an image from the file, as
// it does in some states, only a copy says where it was. what says before which
// command. The copy is on disk when keepDescriptor returns. None is made if the last
// one is the same: a try that is repeated must not push out older states.
func (n Node) keepDescriptor(descriptor, container, what string) error {
	dir, err := n.stateDir("descriptors")
	if err != nil {
		return err
	}
	of := container + "." + filepath.Base(filepath.Dir(descriptor)) + "."
	now, err := regular.ReadFile(descriptor, ploop.MaxDescriptor)
	if err == nil {
		if last, _ := os.ReadFile(lastOf(dir, of)); bytes.Equal(last, now) {
			return nil
		}
		err = writeCopy(filepath.Join(dir, of+time.Now().UTC().Format("20060102T150405.000000")+".before-"+what+".xml"), now)
	}
	if err != nil {
		return fmt.Errorf("copy of the descriptor before %s: %w", what, err)
	}
	dropDescriptors(dir, of)
	return nil
}

// lastOf returns the newest copy of a disk's descriptor, "" if there is none.
func lastOf(dir, of string) (last string) {
	all, _ := os.ReadDir(dir) // in the order of their names, and so of their times
	for _, e := range all {
		if strings.HasPrefix(e.Name(), of) {
			last = filepath.Join(dir, e.Name())
		}
	}
	return last
}

// dropDescriptors removes old copies. Nothing depends on its success.
func dropDescriptors(dir, of string) {
	all, _ := os.ReadDir(dir)
	same := 0
	for _, e := range slices.Backward(all) {
		old := false
		if strings.HasPrefix(e.Name(), of) {
			same++
			old = same > keepDescriptors
		} else if info, err := e.Info(); err == nil {
			old = time.Since(info.ModTime()) > keptFor
		}
		if old {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func writeCopy(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
	if err != nil {
		os.Remove(path)
	}
	return err
}

// syncRegistered writes to disk what prlctl register or unregister has changed, in /etc
// and in the private area, which may have been moved away since.
func (n Node) syncRegistered(warn func(string, ...any), private string) {
	for _, dir := range []string{n.Scripts, filepath.Dir(private)} {
		if err := syncFileSystem(dir); err != nil {
			warn("what prlctl has changed is not on disk for certain: %v", err)
		}
	}
}

// syncFileSystem writes the file system that a directory is on to its disk.
func syncFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", dir, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
