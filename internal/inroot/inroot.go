// SPDX-License-Identifier: AGPL-3.0-only

// Package inroot opens a path as a process would find it whose root directory is
// a certain one: links on the way are followed, absolute ones start at that root,
// and no ".." leads above it, whoever renames directories meanwhile.
//
// It uses openat2(2) where the kernel has what is needed of it (5.12) and knows the
// way without asking a file system. Elsewhere it walks component by component over
// open descriptors and never hands ".." to the kernel: going up is going back to a
// descriptor that it came from. It opens places (O_PATH), never content, and makes
// nothing. Nothing is asked of a place that the gate has not let in, so no file system
// that a tenant serves can let it wait.
package inroot

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many links one path may lead over, as in the kernel. maxDepth
// bounds the directories that a walk keeps open: the daemon that it works in has
// a limit of open files for all its jobs.
const (
	maxLinks = 40
	maxDepth = 512
)

// resolveCached lets openat2 fail with EAGAIN rather than ask a file system or wait for
// a mount (RESOLVE_CACHED of linux/openat2.h, from 5.12 on).
const resolveCached = 0x20

// Open opens what path means below root. The caller closes the result. The last
// component is followed too if it is a link. gate judges each place on the way that is
// not on root's own mount before anything is asked of its file system; it may be asked
// of others too.
func Open(root *os.File, path string, gate func(*os.File) error) (*os.File, error) {
	// Cached: the kernel must not wait for anybody, as it would at an automounter's place.
	f, err := byKernel(root, path, unix.RESOLVE_NO_XDEV|resolveCached)
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.E2BIG), errors.Is(err, unix.EINVAL):
		// No such call here, or a filter that does not know it.
	case errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EXDEV):
		// Too long as a whole, renames all the time, not known yet, or another mount.
	default:
		return f, err
	}
	return byWalk(root, path, gate)
}

func byKernel(root *os.File, path string, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | resolve,
	}
	if path == "" {
		path = "."
	}
	for {
		fd, err := unix.Openat2(int(root.Fd()), path, &how)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}

// byWalk keeps the directories it came through, the root first.
func byWalk(root *os.File, path string, gate func(*os.File) error) (*os.File, error) {
	fail := func(err error) (*os.File, error) { return nil, &os.PathError{Op: "open", Path: path, Err: err} }
	stack, err := begin(root)
	if err != nil {
		return fail(err)
	}
	defer func() { stack.close() }()
	links := 0
	for todo := strings.Split(path, "/"); len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			// What a slash follows must be a directory.
			if len(stack) > 0 && !isDir(stack.top()) {
				return fail(unix.ENOTDIR)
			}
			continue
		case "..":
			if !isDir(stack.top()) {
				return fail(unix.ENOTDIR)
			}
			stack.up()
			continue
		}
		f, err := openat(stack.top(), name)
		if err != nil {
			return fail(err)
		}
		if err := gate(f); err != nil {
			f.Close()
			return fail(err)
		}
		target, link, err := readlink(f)
		if err != nil {
			f.Close()
			return fail(err)
		}
		if !link {
			stack = append(stack, f)
			if len(stack) > maxDepth {
				return fail(unix.ENAMETOOLONG)
			}
			continue
		}
		f.Close()
		if links++; links > maxLinks {
			return fail(unix.ELOOP)
		}
		if strings.HasPrefix(target, "/") {
			stack.toRoot()
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	f := stack.top()
	stack = stack[:len(stack)-1]
	return f, nil
}

// places are the open directories on the way, the root first.
type places []*os.File

func begin(root *os.File) (places, error) {
	f, err := openat(root, ".")
	if err != nil {
		return nil, err
	}
	return places{f}, nil
}

func (p places) top() *os.File { return p[len(p)-1] }

// up goes back one directory; from the root to the root.
func (p *places) up() {
	if n := len(*p); n > 1 {
		(*p)[n-1].Close()
		*p = (*p)[:n-1]
	}
}

func (p *places) toRoot() {
	for len(*p) > 1 {
		p.up()
	}
}

func (p places) close() {
	for _, f := range p {
		f.Close()
	}
}

func openat(dir *os.File, name string) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

func isDir(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// readlink returns the target if the open place is a link.
func readlink(f *os.File) (target string, link bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", false, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", false, nil
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", buf)
	if err != nil {
		return "", false, err
	}
	if n == 0 {
		return "", false, unix.ENOENT
	}
	return string(buf[:n]), true, nil
}
