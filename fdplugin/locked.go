// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
	"github.com/bareos-contrib/vz7ct/internal/text"
)

// unlocked refuses a private area that chattr keeps from being renamed, or any of its
// content from being removed: that would be found when the container has been stopped, or
// never, and its area would stay. What cannot be looked at is no reason.
func unlocked(private string) error {
	var top unix.Stat_t
	if err := unix.Lstat(private, &top); err != nil {
		return fmt.Errorf("has a private area that cannot be looked at: %w", err)
	}
	return filepath.WalkDir(private, func(path string, e fs.DirEntry, err error) error {
		var st unix.Stat_t
		switch {
		case err != nil, !e.IsDir() && !e.Type().IsRegular():
			return nil
		case unix.Lstat(path, &st) == nil && st.Dev != top.Dev:
			if e.IsDir() {
				return filepath.SkipDir // mounted there; what is below it is not the area's
			}
			return nil
		}
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil
		}
		defer f.Close()
		if has, err := chattr.Read(int(f.Fd())); err == nil && has.Flags&chattr.Locks != 0 {
			return fmt.Errorf("has %s, which is %s and so can be neither renamed nor removed: chattr -i -a %s",
				text.Name(path), chattr.Words(has.Flags&chattr.Locks), text.Shell(path))
		}
		return nil
	})
}
