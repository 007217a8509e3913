// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// link makes a hard link to a name that was restored before, or is there as it was saved.
func (f *File) link(at int, name string) error {
	dir, first, err := f.tree.parent(f.item.First)
	if err != nil {
		return err
	}
	place, st, err := f.tree.look(dir, first)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("it is a hard link to %s, which is not there: restore that one too", f.item.First)
	}
	if err != nil {
		return fmt.Errorf("look at %s, to which it is a hard link: %w", f.item.First, err)
	}
	place.Close()
	if !f.is(st) {
		return fmt.Errorf("it is a hard link to %s, which is another file than the one that was saved: restore that one too, with replace=always", f.item.First)
	}
	// Without AT_SYMLINK_FOLLOW: a link in the last component is linked itself.
	return retry(func() error { return unix.Linkat(int(dir.Fd()), first, at, name, 0) })
}

// coarse is more than the clock of a file system lags behind: a tick.
const coarse = time.Second

// is reports whether a file may be the one that was saved. One that this restore has made,
// or its owner has changed meanwhile, has a later ctime, which nobody can set.
func (f *File) is(st unix.Stat_t) bool {
	if f.item.Mode&unix.S_IFMT == 0 || !time.Unix(st.Ctim.Sec, st.Ctim.Nsec).Before(f.tree.begun) {
		return true
	}
	kind := st.Mode & unix.S_IFMT
	return kind == f.item.Mode&unix.S_IFMT && (st.Mtim.Sec == f.item.Mtime || !everywhere(f.item.Mtime)) && (kind != unix.S_IFREG || st.Size == f.item.Size)
}
