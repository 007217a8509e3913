// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A temporary file has had no name, and can have none.
func TestTemporaryFilesHaveNoName(t *testing.T) {
	dir := t.TempDir()
	if fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err != nil {
		t.Skipf("the file system of %s has no O_TMPFILE: %v", dir, err)
	} else {
		unix.Close(fd)
	}
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	defer unix.Close(watch)
	_, err = unix.InotifyAddWatch(watch, dir, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVED_TO)
	must(t, err)
	f, err := unnamed(dir)
	must(t, err)
	defer f.Close()
	if n, err := unix.Read(watch, make([]byte, 4096)); err != unix.EAGAIN {
		t.Errorf("a name was made: %d bytes of events, %v", n, err)
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err != nil || st.Mode().Perm() != 0o600 || st.Size() != 1 {
		t.Errorf("%v, %v", st, err)
	}
	if _, err := unnamed(filepath.Join(dir, "none")); err == nil {
		t.Error("a file in a directory that is not there")
	}
}
