// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// A directory of restore=dir is written to as root, and the option may come from a
// console of few rights. So each directory on the way to it is root's alone, and
// none is a link: nobody else can make it another place, now or while the restore
// runs. Below it everything is in a folder that is called by a container's UUID, which
// no program of the node reads anything from.

// systemDirs are where nothing is restored to, and no private area is made, whoever asks
// for it.
var systemDirs = []string{"/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr",
	"/var/lib/bacula", "/var/lib/bareos", "/var/run"}

// containerDirs are the usual places of containers, also where nothing tells of them.
var containerDirs = []string{"/vz/private", "/vz/root", "/vz/template"}

// directoryFor opens the folder of a container in the directory that restore_dir names,
// and makes both if they are missing.
func (n Node) directoryFor(path, uuid string) (*os.File, error) {
	for _, d := range n.closedDirs(uuid) {
		if path == d || strings.HasPrefix(path, d+"/") || path == "/" {
			return nil, fmt.Errorf("restore_dir=%s lies in %s, where nothing is restored to: choose another directory, such as /var/tmp/restored", text.Name(path), d)
		}
	}
	at, err := openPlace(unix.AT_FDCWD, "/")
	if err != nil {
		return nil, fmt.Errorf("restore_dir=%s: %w", text.Name(path), err)
	}
	here := ""
	parts := append(strings.Split(strings.Trim(path, "/"), "/"), uuid)
	for i, name := range parts {
		here += "/" + name
		next, err := rootsDir(at, name, here, i >= len(parts)-2)
		at.Close()
		if err != nil {
			return nil, fmt.Errorf("restore_dir=%s: %w", text.Name(path), err)
		}
		at = next
	}
	return at, nil
}

// closedDirs are the places of the system and of this node.
func (n Node) closedDirs(uuid string) []string {
	list := slices.Concat(systemDirs, containerDirs, []string{filepath.Clean(n.State), filepath.Clean(n.Mounts), filepath.Clean(n.Scripts)})
	// Where they cannot be told there are no containers: any Linux machine will do.
	if areas, err := n.Containers.Areas(); err == nil {
		list = append(list, filepath.Dir(areas))
	}
	if root, err := n.Registry.RootFor(uuid); err == nil {
		list = append(list, filepath.Dir(root))
	}
	return slices.DeleteFunc(list, func(d string) bool { return d == "/" || d == "." })
}

// rootsDir opens name in the directory at, whose path together is here. own: it is one
// of those that the restore is for, which is made if it is missing, and in which nobody
// else may make a name; on the way /tmp will do.
func rootsDir(at *os.File, name, here string, own bool) (*os.File, error) {
	fd := int(at.Fd())
	if own {
		if err := unix.Mkdirat(fd, name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, &os.PathError{Op: "make directory", Path: here, Err: err}
		}
	}
	f, err := openPlace(fd, name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("%s is not there: only the last directory is made", text.Name(here))
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%s is a symbolic link, or no directory: give the path without links", text.Name(here))
	case err != nil:
		return nil, &os.PathError{Op: "open directory", Path: here, Err: err}
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil {
		shared := st.Mode&0o022 != 0
		switch {
		case st.Uid != 0 && int(st.Uid) != os.Geteuid():
			err = fmt.Errorf("%s belongs to user %d, who could put another directory in its place: choose one of root's, in one of root's", text.Name(here), st.Uid)
		case shared && (own || st.Mode&unix.S_ISVTX == 0):
			err = fmt.Errorf("%s is writable by others than root (mode %04o): choose another directory, or chmod go-w %[1]s", text.Name(here), st.Mode&0o7777)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openPlace opens a directory as a place, never over a link in the last component.
func openPlace(at int, name string) (*os.File, error) {
	fd, err := unix.Openat(at, name, placeFlags|unix.O_NOFOLLOW, 0)
	for err == unix.EINTR {
		fd, err = unix.Openat(at, name, placeFlags|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
