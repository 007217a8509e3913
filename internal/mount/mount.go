// SPDX-License-Identifier: AGPL-3.0-only

// Package mount tells which mount an open place (O_PATH) is on, and what file system
// that is, without asking the file system: whoever serves it, as a tenant may with
// FUSE, an automounter or NFS, could let the question wait for ever. So a place is
// opened without O_DIRECTORY, which would call an automounter (namei.c of Linux,
// follow_automount), and is judged here before anything is asked of it.
//
// It mounts nothing and keeps nothing open.
package mount

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	// ErrUnknown: the kernel does not tell, as before Linux 3.15. That of CentOS 7 does
	// (its fdinfo stands in criu's issue 502).
	ErrUnknown = errors.New("the kernel does not tell which mount it is on")
	// ErrForeign is wrapped by what a gate says of a file system that it does not let
	// anybody into.
	ErrForeign = errors.New("files are not restored to it")
)

// local are file systems that the kernel itself keeps on a disk or in memory. Not
// devtmpfs, which is the node's own, and not overlay, which may lie over anything.
var local = map[string]bool{
	"ext2": true, "ext3": true, "ext4": true, "xfs": true, "btrfs": true, "f2fs": true, "zfs": true, "tmpfs": true,
}

// ID returns the number of the mount that a place is on. It stays that mount's for as
// long as the place is open.
func ID(place *os.File) (int, error) {
	// By hand: it is done for every directory of a restore.
	fd, err := open(fmt.Sprintf("/proc/self/fdinfo/%d", place.Fd()))
	if err != nil {
		return 0, fmt.Errorf("mount of %s: %w", place.Name(), err)
	}
	defer unix.Close(fd)
	var buf [512]byte
	n, err := read(fd, buf[:])
	if err != nil {
		return 0, fmt.Errorf("mount of %s: %w", place.Name(), err)
	}
	_, after, found := bytes.Cut(buf[:n], []byte("mnt_id:\t"))
	digits, _, whole := bytes.Cut(after, []byte("\n"))
	id, err := strconv.Atoi(string(digits))
	if !found || !whole || err != nil {
		return 0, ErrUnknown
	}
	return id, nil
}

func open(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func read(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// Type returns the file system's type of a mount, as a mountinfo (proc(5)) names it:
// that of a process that sees the mount.
func Type(mountinfo string, id int) (string, error) {
	f, err := os.Open(mountinfo)
	if err != nil {
		return "", err
	}
	defer f.Close()
	kind, err := typeOf(f, id)
	if err != nil {
		return "", fmt.Errorf("look for mount %d in %s: %w", id, mountinfo, err)
	}
	return kind, nil
}

// typeOf reads a mountinfo. Blanks in names are escaped there (mangle of fs/proc), so
// the first lone dash ends the fields of the mount.
func typeOf(r io.Reader, id int) (string, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for first := true; ; {
		line, more, err := lines.ReadLine()
		if err == io.EOF {
			return "", errors.New("it is not mounted there any more")
		}
		if err != nil {
			return "", err
		}
		begins := first
		first = !more
		head, tail, ok := strings.Cut(string(line), " - ")
		number, _, _ := strings.Cut(head, " ")
		if n, err := strconv.Atoi(number); err != nil || n != id || !begins {
			continue
		}
		kind, _, _ := strings.Cut(tail, " ")
		if !ok || kind == "" {
			return "", errors.New("its line is not understood")
		}
		return kind, nil
	}
}

// Local reports whether a file system of this type answers whatever anybody does who
// has mounted it.
func Local(kind string) bool { return local[kind] }

// Gate returns a judge of places below root: those on the same mount are let in, and
// those on other mounts that the mountinfo knows as local file systems.
func Gate(root *os.File, mountinfo string) func(*os.File) error {
	home, err := ID(root)
	return func(place *os.File) error {
		id, err2 := ID(place)
		switch {
		case err != nil || err2 != nil:
			if err := errors.Join(err, err2); !errors.Is(err, ErrUnknown) {
				return err
			}
			return nil
		case id == home:
			return nil
		}
		return Judge(place, mountinfo, id)
	}
}

// Judge returns an error if the place, which is on the mount id, is on no local file
// system.
func Judge(place *os.File, mountinfo string, id int) error {
	kind, err := Type(mountinfo, id)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", place.Name(), ErrForeign, err)
	}
	if !Local(kind) {
		return fmt.Errorf("%s is on a file system of type %s: %w", place.Name(), kind, ErrForeign)
	}
	return nil
}
