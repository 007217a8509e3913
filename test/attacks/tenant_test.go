// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What tenants do. In their processes / is the root of the container.

// plantLink makes a link, and what is missing above it.
func plantLink(to, path string) {
	check(os.MkdirAll(filepath.Dir(path), 0o755))
	check(os.RemoveAll(path))
	check(os.Symlink(to, path))
}

// links plants one link: its target, with %s for the place outside, and its name.
func links(to, path string) func(g *ground) {
	return func(g *ground) { plantLink(strings.ReplaceAll(to, "%s", g.outside()), path) }
}

// node plants a special file.
func node(path string, mode uint32, dev uint64) func(*ground) {
	return func(*ground) {
		_ = os.RemoveAll(path)
		check(unix.Mknod(path, mode|0o666, int(dev)))
	}
}

func mount(source, target, kind string, flags uintptr, data string) {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		panic(fmt.Sprintf("mount %s at %s: %v", kind, target, err))
	}
}

// exchange swaps two names again and again; it has changed something if it could.
func exchange(a, b string) bool {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) == nil
}

// silentAutofs mounts an automounter that never mounts.
func silentAutofs(target, kind string) {
	var p [2]int
	check(unix.Pipe(p[:]))
	mount("silent", target, "autofs", 0, fmt.Sprintf("fd=%d,pgrp=%d,minproto=5,maxproto=5,%s", p[1], syscall.Getpgrp(), kind))
}

// setFlags sets an inode's flags, such as immutable.
func setFlags(path string, flags int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
}
