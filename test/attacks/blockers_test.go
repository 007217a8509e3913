// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// blockers are attacks on a backup: it looks for files in the root of a running
// container before it makes a snapshot.
func blockers() []*attack {
	return []*attack{
		{name: "backup: blocker behind a link", plant: links("%s", "/a"), blocker: "a/flag"},
		{name: "backup: blocker behind a relative link", plant: links("../../outside", "/a/b"), blocker: "a/b/flag"},
		{name: "backup: blocker's pattern behind a link", plant: links("%s", "/a"), blocker: "a/f*"},
		{name: "backup: blocker's pattern over a link", plant: links("%s", "/a/way"), blocker: "a/w*/flag"},
		{name: "backup: blocker in the kernel's settings", plant: links("/proc/sys/kernel", "/a"), blocker: "a/hostname"},
		{name: "race: backup: directory and link exchanged", plant: links("%s", "/link"), blocker: "a/flag",
			race: func(*ground) bool { return exchange("/a", "/link") }},
		{name: "backup: fifo in place of a directory", plant: func(*ground) {
			check(os.RemoveAll("/a"))
			check(unix.Mkfifo("/a", 0o666))
		}, blocker: "a/f*", hangs: true},
	}
}

// errLooked is what the first step of a backup answers that comes after the look into
// the live root.
var errLooked = errors.New("the live root was looked at, and nothing was found")

// blockerOnce begins a backup that is to find nothing.
func (g *ground) blockerOnce(a *attack, r *result) error {
	j, said := g.job()
	defer j.Close()
	_ = j.StartBackup("vz7ct:name=web:blocker=" + a.blocker)
	if !strings.Contains(said.String(), errLooked.Error()) && len(r.Faults) == 0 {
		r.Faults = append(r.Faults, said.String())
	}
	return errors.New(said.String())
}

// naiveBlocker looks for the blocker as one does in a tree that is one's own.
func naiveBlocker(root, blocker string, r *result) error {
	if len(r.Faults) > 0 {
		return nil
	}
	parent := filepath.Join(root, filepath.Dir(blocker))
	if !strings.Contains(parent, "*") {
		d, err := os.Open(parent)
		if err != nil {
			return err
		}
		d.Close()
	}
	found, err := filepath.Glob(filepath.Join(root, blocker))
	for _, f := range found {
		r.Faults = append(r.Faults, fmt.Sprintf("blocker %s was found", f))
	}
	return err
}
