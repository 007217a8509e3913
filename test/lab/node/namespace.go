// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// place is a folder of a node: its name below DIR/node, and where it is in the namespace.
type place struct{ name, place string }

// scratch are the folders that every node has for itself.
var scratch = []place{
	{"vz", "/vz"},
	{"etc-vz", "/etc/vz"},
	{"mnt-bareos", "/mnt/bareos"},
	{"var-lib-vz7ct", "/var/lib/vz7ct"},
	{"run", "/run"},
}

// Hold makes the node's mounts in the mount namespace it was started in, calls ready, and stays until it is told to go.
func (l Lab) Hold(ready func() error) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	c, err := l.Config()
	if err != nil {
		return err
	}
	places := scratch
	if c.Disk() {
		if err := l.mountMedium(c); err != nil {
			return err
		}
		places = append(slices.Clone(scratch), place{"tmp", "/tmp"})
	}
	if err := errors.Join(l.furnishNode(), l.privateDev()); err != nil {
		return err
	}
	for _, s := range places {
		if err := unix.Mount(l.Below("node", s.name), s.place, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", s.place, err)
		}
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		lower := escapeOverlay(l.Below("overlay", filepath.Base(dir))) + ":" + dir
		if err := unix.Mount("vz7ct-lab", dir, "overlay", unix.MS_RDONLY, "lowerdir="+lower); err != nil {
			return fmt.Errorf("lay the stand-ins over %s: %w", dir, err)
		}
	}
	if err := ready(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	<-stop // the namespace goes with its last process
	return nil
}

func escapeOverlay(s string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(s)
}

// privateDev gives the namespace a /dev of its own: what the machine has, and room for /dev/ploopN.
func (l Lab) privateDev() error {
	tmp := l.Below("dev")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("vz7ct-lab", tmp, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mount a /dev: %w", err)
	}
	err := filepath.WalkDir("/dev", func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == "/dev" {
			return err
		}
		to := filepath.Join(tmp, strings.TrimPrefix(path, "/dev"))
		var st, up unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return nil //nolint:nilerr // gone between the two looks
		}
		switch e.Type() & fs.ModeType {
		case fs.ModeDir:
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
			if err := unix.Stat(filepath.Dir(path), &up); err == nil && up.Dev != st.Dev {
				// pts, shm and the like are file systems of their own
				if err := unix.Mount(path, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
					return fmt.Errorf("bind %s: %w", path, err)
				}
				return fs.SkipDir
			}
		case fs.ModeSymlink:
			dest, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(dest, to)
		case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
			if err := unix.Mknod(to, st.Mode, int(st.Rdev)); err != nil {
				return fmt.Errorf("make %s: %w", path, err)
			}
			return unix.Chmod(to, st.Mode&0o7777)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(tmp, "mapper"), 0o755); err != nil {
		return err
	}
	if err := unix.Mount(tmp, "/dev", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move /dev in place: %w", err)
	}
	return nil
}

// ErrDown says that the lab has no namespace now.
var ErrDown = errors.New("the lab is down")

// Enter takes the calling thread into the lab's mount namespace, and keeps it there: the goroutine must not end before the
// process does, or must exec.
func (l Lab) Enter() error {
	s, err := l.State()
	if err != nil {
		return err
	}
	p := s.Holder
	if !p.Alive() {
		// A killed holder leaves the namespace to whoever else is in it.
		rest, err := l.inside()
		if err != nil {
			return err
		}
		if len(rest) == 0 {
			return fmt.Errorf("lab %s: %w", l.Dir, ErrDown)
		}
		p = rest[0]
	}
	return enterNamespaceOf(p)
}

func enterNamespaceOf(p Process) error {
	runtime.LockOSThread()
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", p.PID), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("namespace of process %d: %w", p.PID, err)
	}
	defer unix.Close(fd) //nolint:errcheck // only a handle
	if !p.Alive() {
		return fmt.Errorf("process %d: %w", p.PID, unix.ESRCH)
	}
	// A thread that shares its root and working folder with others may not change namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter namespace of process %d: %w", p.PID, err)
	}
	return nil
}

// Exec replaces the program by argv inside the node. The process keeps its number, its files and its parent, so whoever
// kills `lab exec` kills argv. It returns on error only.
func (l Lab) Exec(argv []string) error {
	wd, wdErr := os.Getwd()
	if err := l.Enter(); err != nil {
		return err
	}
	if wdErr != nil || unix.Chdir(wd) != nil {
		if err := unix.Chdir("/"); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", path, unix.Exec(path, argv, os.Environ()))
}

// Self is the lab program of this lab, good to be run inside and outside.
func (l Lab) Self() string { return l.Below("bin", "lab") }
