// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/inroot"
)

// Cover closes the directory at path, as a process in the tree would find it: what is
// restored into it would be hidden by the file system that is mounted there at other
// times. One that is not there needs no cover.
func (t *Tree) Cover(path string) error {
	f, err := inroot.Open(t.root, path, t.judge)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil
	case err != nil:
		return fmt.Errorf("look at mount point %s: %w", path, err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at mount point %s: %w", path, err)
	}
	if t.covered == nil {
		t.covered = map[inode]bool{}
	}
	t.covered[inode{st.Dev, st.Ino}] = true
	return nil
}

// maxDepth is how deep below a covered directory a link may lead.
const maxDepth = 4096

// aboveCovered refuses a directory, reached over a link, that lies in a covered one.
// Nobody renames anything meanwhile: a tree that has other file systems mounted in it
// at other times is nobody's now.
func (t *Tree) aboveCovered(dir *os.File) error {
	if len(t.covered) == 0 {
		return nil
	}
	var top, st unix.Stat_t
	if err := unix.Fstat(int(t.root.Fd()), &top); err != nil {
		return err
	}
	at := dir
	defer func() {
		if at != dir {
			at.Close()
		}
	}()
	for range maxDepth {
		if err := unix.Fstat(int(at.Fd()), &st); err != nil {
			return err
		}
		switch {
		case t.covered[inode{st.Dev, st.Ino}]:
			return ErrCovered
		case st.Dev == top.Dev && st.Ino == top.Ino:
			return nil
		}
		up, err := openPath(at, "..", unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		if at != dir {
			at.Close()
		}
		at = up
	}
	return fmt.Errorf("the link leads to more than %d directories below another: %w", maxDepth, unix.ELOOP)
}
