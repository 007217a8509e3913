// SPDX-License-Identifier: AGPL-3.0-only

package run

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Find returns the first of the paths that is an executable regular file. The
// lists are fixed in the code: no option and no environment names a program.
func Find(paths ...string) (string, error) {
	for _, p := range paths {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("no such program: looked for %v", paths)
}

// Companion returns where the companion command vz7ct is installed, below root:
// that is "" on a node.
func Companion(root string) (string, error) {
	return Find(root+"/usr/bin/vz7ct", root+"/usr/sbin/vz7ct", root+"/usr/local/bin/vz7ct")
}

// keepToOurselves marks every descriptor of this process close-on-exec. The Go
// runtime does so with its own; Bacula opens sockets and volumes without it, and
// a ploop that outlives the job would hold the Director's connection open.
// Daemons pass descriptors to their own children by dup2, which clears the mark.
func keepToOurselves() {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, n := range names {
		fd, err := strconv.Atoi(n)
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags|unix.FD_CLOEXEC)
		}
	}
}
