// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// File is an item that was made and is not finished: it has its content to come
// and no attributes yet.
type File struct {
	tree *Tree
	item Item
	name string
	// temporary is the name it has until Finish, "" if it has its own.
	temporary string
	dir       *os.File // the directory it is in; nil for the root and what existed
	data      *content // a regular file, open for writing
	path      *os.File // anything else, as a place
	existed   bool
	// again: it is a directory that was there, or has come before. base is what it had
	// before it gets flags at the end.
	again bool
	base  chattr.Attributes
	// instead: a directory that this restore has made has its name until Finish.
	instead  bool
	xattrs   []xattr
	taken    int // bytes of attributes
	untaken  int64
	inode    chattr.Attributes
	strange  []error // about attributes that are ours
	told     bool    // that it is not exact
	timeless bool    // it was not given its times
}

// maxXattrs is how many bytes of attributes one item may have: Bareos carries 1 MiB for a
// file, Bacula 4 MB, but the list may come in any number of parts.
const maxXattrs = 16 << 20

// maxFaults is how many of an item's attributes are named that something went wrong with:
// each has the item's path in its text, and both may be long.
const maxFaults = 10

type xattr struct {
	name  string
	value []byte
}

// Fd returns the descriptor to write a regular file's content to, -1 for all
// else. It belongs to the File.
func (f *File) Fd() int {
	if f.data == nil {
		return -1
	}
	return f.data.fd
}

// SetXattr records an extended attribute; Finish sets it. Both daemons deliver
// attributes after they have asked for owner, mode and times.
func (f *File) SetXattr(name string, value []byte) {
	if f.taken += len(name) + len(value); f.taken > maxXattrs {
		f.untaken++
		return
	}
	if strings.HasPrefix(name, chattr.Prefix) {
		f.own(name, value)
		return
	}
	f.xattrs = append(f.xattrs, xattr{name, append([]byte(nil), value...)})
}

// Finish gives the item its owner, mode, attributes and times, in this order,
// then its name, then its flags. It returns all that it could not do: the item is
// there in any case but one, that it could not get its name.
func (f *File) Finish() error {
	defer f.close()
	if f.item.First != "" {
		return errors.Join(append(f.strange, f.rename())...)
	}
	if f.existed || f.item.Path == "" {
		if found := locks(f.path); found != 0 {
			return lockedError(errors.New("its owner, mode, attributes and times are left as they are"), "the directory", found)
		}
	}
	errs := append(f.strange, f.attributes()...)
	if f.untaken > 0 {
		errs = append(errs, fmt.Errorf("%d attributes beyond %d MiB of them", f.untaken, maxXattrs>>20))
	}
	f.told = f.told || len(errs) > 0
	err := f.rename()
	if err == nil {
		err = f.flags()
	}
	return errors.Join(append(errs, err)...)
}

// Told notes that the item is known not to be exact, whatever Finish returns.
func (f *File) Told() { f.told = true }

// Abort removes what Create has made. What was there before is there still, but where a
// part is worse than nothing an older file of the same restore is that too.
func (f *File) Abort() {
	defer f.close()
	if !f.existed && f.dir != nil {
		f.remove()
		if f.tree.Own && f.item.Indivisible && f.temporary != "" {
			_ = unix.Unlinkat(int(f.dir.Fd()), f.name, 0)
		}
	}
	f.tree.isOld(f.item)
}

// remove removes what was made, by its name.
func (f *File) remove() {
	flags := 0
	if f.item.directory() {
		flags = unix.AT_REMOVEDIR
	}
	_ = unix.Unlinkat(int(f.dir.Fd()), f.current(), flags)
}

func (f *File) close() {
	if f.data != nil {
		f.data.close()
	}
	if f.path != nil {
		f.path.Close()
	}
	if f.dir != nil {
		f.tree.giveBack(f.dir)
	}
}

func (f *File) rename() error {
	if f.temporary == "" {
		f.tree.isNew(f.item)
		return nil
	}
	at := int(f.dir.Fd())
	var err error
	if f.instead {
		err = f.tree.removeAll(f.dir, f.name, f.item.Path)
	}
	if err == nil {
		err = retry(func() error { return unix.Renameat(at, f.temporary, at, f.name) })
	}
	if err != nil {
		f.remove()
		f.tree.isOld(f.item)
		return fmt.Errorf("replace %s: %w", f.item.Path, f.tree.why(err, f.dir, f.name))
	}
	if f.item.First != "" {
		// rename(2) does nothing if both names are links of the same file.
		_ = unix.Unlinkat(at, f.temporary, 0)
	}
	f.tree.isReplaced(f.item.Path)
	f.tree.isNew(f.item)
	return nil
}

func (f *File) attributes() (errs []error) {
	do := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s of %s: %w", what, f.item.Path, err))
		}
	}
	h := f.handle()
	link := f.item.Mode&unix.S_IFMT == unix.S_IFLNK
	// chown clears setuid, setgid and capabilities, so it comes first.
	do("owner", h.own(f.item.UID, f.item.GID))
	if !link {
		do("inherited access list", h.dropAcls(f.item.directory()))
		if f.again && f.tree.Own {
			do("older attributes", f.dropXattrs())
		}
		do("mode", h.chmod(f.item.Mode&0o7777))
	}
	// A capability is valid for the inode as it is, and an access list changes
	// the group bits of the mode to what they were: both come after chmod.
	set := h.setxattr
	if link {
		// From 5.8 on the kernel takes a link by its descriptor; to that of 3.10 it has
		// to be named.
		err := f.linkTimes()
		if !errors.Is(err, unix.EINVAL) {
			do("times", err)
		} else if f.tree.Shared {
			f.tree.Timeless++
			f.timeless = true
			set = func(string, []byte) error { return errByName }
		} else {
			name := procName(f.dir) + "/" + f.current()
			set = func(attr string, value []byte) error {
				return retry(func() error { return unix.Lsetxattr(name, attr, value, 0) })
			}
			do("times", setTimes(name, f.item.Atime, f.item.Mtime, f.item.Nanoseconds, true))
		}
	}
	refused := 0
	for _, x := range f.xattrs {
		err := set(x.name, x.value)
		if err != nil {
			refused++
		}
		if refused <= maxFaults {
			do(fmt.Sprintf("attribute %.256s", x.name), err)
		}
	}
	if more := refused - maxFaults; more > 0 {
		errs = append(errs, fmt.Errorf("%d more attributes", more))
	}
	if !link {
		do("times", h.times(f.item.Atime, f.item.Mtime, f.item.Nanoseconds))
	}
	do("times", f.timeKept(h.fd))
	do("inherited flags", f.forget())
	return errs
}

// errByName says why a link does not get its attributes.
var errByName = errors.New("this kernel sets those of a link by its name only, which may be another file's by now; kernels from 5.8 on do not need it")

// linkTimes sets the times of a link by its descriptor. It returns EINVAL if the kernel
// cannot (do_utimes of Linux 5.8 and before).
func (f *File) linkTimes() error {
	ts := []unix.Timespec{{Sec: f.item.Atime}, {Sec: f.item.Mtime, Nsec: f.item.Nanoseconds}}
	return retry(func() error { return unix.UtimesNanoAt(int(f.path.Fd()), "", ts, unix.AT_EMPTY_PATH) })
}

// current is the name that the item has before it is renamed.
func (f *File) current() string {
	if f.temporary != "" {
		return f.temporary
	}
	return f.name
}

func setTimes(name string, atime, mtime, nanoseconds int64, link bool) error {
	ts := []unix.Timespec{{Sec: atime}, {Sec: mtime, Nsec: nanoseconds}}
	flags := 0
	if link {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	return retry(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, name, ts, flags) })
}

// everywhere reports whether every file system has a time: of ext4 those with small inodes,
// and XFS without bigtime, end in 2038.
func everywhere(seconds int64) bool { return seconds >= 0 && seconds <= math.MaxInt32 }

func date(seconds int64) string { return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05 MST") }

// timeKept looks whether the file system has the time that was set: the kernel takes the
// nearest one without a word.
func (f *File) timeKept(fd int) error {
	var st unix.Stat_t
	if everywhere(f.item.Mtime) || f.timeless || unix.Fstat(fd, &st) != nil || st.Mtim.Sec == f.item.Mtime {
		return nil
	}
	return fmt.Errorf("this file system has not %s, it made %s of it", date(f.item.Mtime), date(st.Mtim.Sec))
}

// Indivisible reports whether a part of the item is worse than none of it.
func (f *File) Indivisible() bool { return f.item.Indivisible }

// Replaces reports whether something has the item's name until Finish.
func (f *File) Replaces() bool { return f.temporary != "" }
