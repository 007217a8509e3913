// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// NoteLoop remembers that loop device n shows the server's file name. The kernel tells the file's whole path only while
// the namespace lives in which the device was set up.
func (l Lab) NoteLoop(n int, name string) error {
	if err := os.MkdirAll(l.Below("loops"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(l.Below("loops", strconv.Itoa(n)), []byte(name), 0o644)
}

// ForgetLoop is told when loop device n is gone.
func (l Lab) ForgetLoop(n int) {
	_ = os.Remove(l.Below("loops", strconv.Itoa(n)))
}

// Loops lists the lab's loop devices with what they show: those whose path tells, and those that were noted.
func (l Lab) Loops() (map[int]string, error) {
	m, err := loopdev.Below(l.Below(server.MountName))
	if err != nil {
		return nil, err
	}
	notes, err := os.ReadDir(l.Below("loops"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range notes {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		name, err := os.ReadFile(l.Below("loops", e.Name()))
		if err != nil {
			continue
		}
		back, err := os.ReadFile(fmt.Sprintf("/sys/block/loop%d/loop/backing_file", n))
		if err != nil {
			continue
		}
		file := strings.TrimSuffix(strings.TrimSpace(string(back)), " (deleted)")
		// A path of its own that is not ours is another lab's device under a number used again.
		if filepath.Base(file) == string(name) && (filepath.Dir(file) == "/" || filepath.Dir(file) == l.Below(server.MountName)) {
			m[n] = file
		}
	}
	return m, nil
}
