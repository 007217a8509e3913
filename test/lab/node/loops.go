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
func (l Lab) NoteLoop(n int, name string) error { return l.note("loops", n, name) }

func (l Lab) note(list string, n int, name string) error {
	if err := os.MkdirAll(l.Below(list), 0o755); err != nil {
		return err
	}
	return os.WriteFile(l.Below(list, strconv.Itoa(n)), []byte(name), 0o644)
}

// ForgetLoop is told when loop device n is gone.
func (l Lab) ForgetLoop(n int) {
	_ = os.Remove(l.Below("loops", strconv.Itoa(n)))
}

// Loops lists the loop devices of the containers' disks with what they show.
func (l Lab) Loops() (map[int]string, error) { return l.loops(server.MountName, "loops") }

// loops lists loop devices that show files of a mount: those whose path tells, and those that were noted in a list.
func (l Lab) loops(mount, list string) (map[int]string, error) {
	m, err := loopdev.Below(l.Below(mount))
	if err != nil {
		return nil, err
	}
	notes, err := os.ReadDir(l.Below(list))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range notes {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		name, err := os.ReadFile(l.Below(list, e.Name()))
		if err != nil {
			continue
		}
		back, err := os.ReadFile(fmt.Sprintf("/sys/block/loop%d/loop/backing_file", n))
		if err != nil {
			continue
		}
		file := strings.TrimSuffix(strings.TrimSpace(string(back)), " (deleted)")
		// A path of its own that is not ours is another lab's device under a number used again.
		if filepath.Base(file) == string(name) && (filepath.Dir(file) == "/" || filepath.Dir(file) == l.Below(mount)) {
			m[n] = file
		}
	}
	return m, nil
}
