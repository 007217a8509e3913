// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/restore"
)

// mountToRestore mounts a disk that no container uses at a directory of its own, to be
// written to. Both are in the journal.
func (j *Job) mountToRestore(uuid, descriptor string) (dir string, tree *restore.Tree, err error) {
	id, err := newUUID()
	if err != nil {
		return "", nil, err
	}
	if err := j.Node.mountDir(); err != nil {
		return "", nil, err
	}
	dir = filepath.Join(j.Node.Mounts, uuid+".restore."+id[:8])
	if err := j.makeMountDir(dir); err != nil {
		return "", nil, err
	}
	if err := j.journal.Intend(undo.Step{Do: undo.Mounted, Descriptor: descriptor, Dir: dir}); err != nil {
		return "", nil, err
	}
	if err := j.call(func(ctx context.Context) error {
		return j.Node.Images.MountWritable(ctx, descriptor, dir)
	}, descriptor, dir); err != nil {
		return "", nil, err
	}
	v := volume{dir: dir}
	if err := v.measure(j.Node.Mounts); err != nil {
		return "", nil, err
	}
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("open mounted disk: %w", err)
	}
	if tree, err = restore.Open(root, j.Node.State); err != nil {
		root.Close()
		return "", nil, err
	}
	return dir, tree, nil
}

// unmountRestored unmounts what mountToRestore has mounted at the directories given.
func (j *Job) unmountRestored(dirs map[string]bool) error {
	return j.journal.UndoOnly(func(s undo.Step) bool {
		return (s.Do == undo.Mounted || s.Do == undo.MadeDir) && dirs[s.Dir]
	}, j.undo)
}
