// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"

	"golang.org/x/sys/unix"
)

// unnamed makes a file without a name in a directory of the plugin's own: kernel 3.10 has
// no memfd. It never has a name, so that nothing of it stays wherever the daemon dies, but on
// kernels and file systems without O_TMPFILE (open(2)), where it has one for a moment.
func unnamed(dir string) (*os.File, error) {
	if fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
		return os.NewFile(uintptr(fd), dir), nil
	}
	f, err := os.CreateTemp(dir, "temporary-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
