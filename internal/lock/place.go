// SPDX-License-Identifier: AGPL-3.0-only

package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/text"
)

// place is where a lock file is, or is to be: an open directory and a name in it.
// Whoever exchanges a directory on the way for a link later gets nothing removed
// elsewhere.
type place struct {
	dir        *os.File // O_PATH
	name, path string
}

// maxLinks is how many links a path may lead over, as in the kernel.
const maxLinks = 40

// errForeignLink is the reason for a path that leads over a link of somebody else
// than root: an option names a file in /tmp, and a user of the node decides what it is.
var errForeignLink = errors.New("leads over a symbolic link of another user")

// openPlace opens the directory of path. The last component is not looked at.
func openPlace(path string) (*place, error) {
	path = filepath.Clean(path)
	if !filepath.IsAbs(path) || path == "/" {
		return nil, fmt.Errorf("lock file: %s is no absolute path of a file", text.Name(path))
	}
	at, err := openDir(unix.AT_FDCWD, "/")
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	todo := strings.Split(filepath.Dir(path), "/")
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if name == "" {
			continue
		}
		next, target, err := step(at, name)
		if err == nil && next == nil {
			if links++; links > maxLinks {
				err = unix.ELOOP
			}
			todo = append(strings.Split(target, "/"), todo...)
			if strings.HasPrefix(target, "/") && err == nil {
				next, err = openDir(unix.AT_FDCWD, "/")
			}
		}
		if err != nil {
			at.Close()
			return nil, fmt.Errorf("lock file: %w", &os.PathError{Op: "open directory of", Path: path, Err: err})
		}
		if next != nil {
			at.Close()
			at = next
		}
	}
	return &place{at, filepath.Base(path), path}, nil
}

// step goes to name in the directory at, or returns where the link of that name
// leads, unless somebody else has made the link, or could have put it there.
func step(at *os.File, name string) (next *os.File, target string, err error) {
	f, err := openat(at, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, "", err
	}
	var st, above unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, "", err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return f, "", nil
	}
	defer f.Close()
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return nil, "", unix.ENOTDIR
	}
	if err := unix.Fstat(int(at.Fd()), &above); err != nil {
		return nil, "", err
	}
	shared := above.Mode&0o022 != 0 && above.Mode&unix.S_ISVTX == 0
	if !own(st.Uid) || !own(above.Uid) || shared {
		return nil, "", errForeignLink
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buf)
	return nil, string(buf[:max(n, 0)]), err
}

// own reports whether a user is root, or the one that this process is.
func own(uid uint32) bool { return uid == 0 || uid == uint32(os.Geteuid()) }

// freeDirs are where lock files use to be, lockDirs those where they are directly:
// further down in /run lie units of systemd, rules of udev and such.
var (
	freeDirs = []string{"/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/var/lock"}
	lockDirs = []string{"/run", "/var/run", "/var/lib/bareos", "/var/lib/bacula"}
)

// dataDirs are where a file that is called *.lock or *.lck is no other program's
// switch: an empty /etc/passwd.lock would keep useradd from working.
var dataDirs = []string{"/vz", "/root", "/home", "/opt", "/srv", "/mnt", "/var/lib", "/var/tmp", "/var/spool", "/var/cache", "/var/backups"}

// usual reports whether a lock file of that name may be in the directory dir.
func usual(dir, name string) bool {
	below := func(d string) bool { return dir == d || strings.HasPrefix(dir, d+"/") }
	switch filepath.Ext(name) {
	case ".lock", ".lck":
		if slices.ContainsFunc(dataDirs, below) {
			return true
		}
	}
	return slices.Contains(lockDirs, dir) || slices.ContainsFunc(freeDirs, below)
}

// judge refuses a file that an option must not have us make: an empty /etc/nologin
// keeps everybody out, an empty /etc/cron.allow ends everybody's jobs. Elsewhere
// than in the usual places the administrator makes it, once; and what has content
// there is another program's, with a lock of its own beside it perhaps.
func (p *place) judge() error {
	if p.name == "nologin" {
		return fmt.Errorf("lock file %s: a file of this name keeps users from logging in", text.Name(p.path))
	}
	dir, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", p.dir.Fd()))
	if err != nil {
		return fmt.Errorf("lock file %s: %w", text.Name(p.path), err)
	}
	if usual(dir, p.name) {
		return nil
	}
	f, err := p.existing()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("lock file %s is not there, and is made only in %s, or as *.lock in the usual places of data: choose one there, or make it by hand, once: touch %[1]s",
			text.Name(p.path), strings.Join(slices.Concat(freeDirs, lockDirs), ", "))
	case err != nil:
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("lock file %s: %w", text.Name(p.path), err)
	}
	if st.Size > 0 || !own(st.Uid) {
		return fmt.Errorf("lock file %s has content, or is not root's: outside of %s only an empty file of root's is taken for one",
			text.Name(p.path), strings.Join(slices.Concat(freeDirs, lockDirs), ", "))
	}
	return nil
}

// beside returns the place of a name in the same open directory.
func (p *place) beside(name string) *place {
	return &place{p.dir, name, filepath.Join(filepath.Dir(p.path), name)}
}

// existing opens the file if it is a regular one.
func (p *place) existing() (*os.File, error) {
	f, err := regular.OpenAt(p.dir, p.name, p.path)
	switch {
	case errors.Is(err, regular.ErrLink):
		return nil, fmt.Errorf("lock file %s is a symbolic link: it must be a regular file", text.Name(p.path))
	case errors.Is(err, regular.ErrKind), errors.Is(err, regular.ErrKernel):
		return nil, fmt.Errorf("lock file %s %w", text.Name(p.path), errors.Unwrap(err))
	case err != nil:
		return nil, fmt.Errorf("lock file: %w", err)
	}
	return f, nil
}

// create makes the file, which must not be there.
func (p *place) create(flags int, mode uint32) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(int(p.dir.Fd()), p.name, flags|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", &os.PathError{Op: "create", Path: p.path, Err: err})
	}
	return os.NewFile(uintptr(fd), p.path), nil
}

// stat looks at whatever has the name, never over a link.
func (p *place) stat() (st unix.Stat_t, err error) {
	err = retry(func() error { return unix.Fstatat(int(p.dir.Fd()), p.name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// same reports whether the name still is that of the open file.
func (p *place) same(f *os.File) bool {
	var a unix.Stat_t
	if unix.Fstat(int(f.Fd()), &a) != nil {
		return false
	}
	b, err := p.stat()
	return err == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

func (p *place) remove() error {
	if err := retry(func() error { return unix.Unlinkat(int(p.dir.Fd()), p.name, 0) }); err != nil {
		return &os.PathError{Op: "remove", Path: p.path, Err: err}
	}
	return nil
}

func (p *place) close() { p.dir.Close() }

func openDir(at int, path string) (*os.File, error) {
	fd, err := unix.Openat(at, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openat(at *os.File, name string, flags int) (*os.File, error) {
	var fd int
	err := retry(func() (err error) { fd, err = unix.Openat(int(at.Fd()), name, flags|unix.O_CLOEXEC, 0); return err })
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// RealDir returns the path of a directory without links on the way, none of which is
// another user's than root's.
func RealDir(path string) (string, error) {
	p, err := openPlace(filepath.Join(path, "x"))
	if err != nil {
		return "", errors.Unwrap(err)
	}
	defer p.close()
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", p.dir.Fd()))
}
