// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// link makes a hard link to a name that was restored before, or is there as it was saved.
func (f *File) link(at int, name string) error {
	dir, first, err := f.first()
	if err != nil {
		return err
	}
	// Without AT_SYMLINK_FOLLOW: a link in the last component is linked itself.
	return retry(func() error { return unix.Linkat(int(dir.Fd()), first, at, name, 0) })
}

// first returns the directory and the name of what the item is a hard link to.
func (f *File) first() (*os.File, string, error) {
	dir, first, err := f.tree.existing(f.item.First)
	var st unix.Stat_t
	if err == nil {
		var place *os.File
		if place, st, _, err = f.tree.look(dir, first); err == nil {
			place.Close()
		}
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return nil, "", fmt.Errorf("it is a hard link to %s, which is not there: restore that one too, from the same job (it may have been deleted since)", f.item.First)
	case err != nil:
		return nil, "", fmt.Errorf("look at %s, to which it is a hard link: %w", f.item.First, err)
	case !f.is(st):
		return nil, "", fmt.Errorf("it is a hard link to %s, which is another file than the one that was saved: restore that one too, with replace=always", f.item.First)
	}
	return dir, first, nil
}

// coarse is more than the clock of a file system lags behind: a tick.
const coarse = time.Second

// is reports whether a file may be the one that was saved. One that this restore has made,
// or its owner has changed meanwhile, has a later ctime, which nobody can set; but where the
// last one that came for the name was not made, it is an older one.
func (f *File) is(st unix.Stat_t) bool {
	if f.item.Mode&unix.S_IFMT == 0 || !f.tree.old[f.tree.key(f.item.First)] && !time.Unix(st.Ctim.Sec, st.Ctim.Nsec).Before(f.tree.begun) {
		return true
	}
	kind := st.Mode & unix.S_IFMT
	return kind == f.item.Mode&unix.S_IFMT && (st.Mtim.Sec == f.item.Mtime || !everywhere(f.item.Mtime)) && (kind != unix.S_IFREG || st.Size == f.item.Size)
}
