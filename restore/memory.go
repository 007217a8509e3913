// SPDX-License-Identifier: AGPL-3.0-only

package restore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrMemory is returned by Create for what is more than Tree.Memory allows.
var ErrMemory = errors.New("is on a tmpfs, which is in the memory of this machine, and not in that of who has mounted it")

// perName is what a name in a tmpfs takes, about: its inode and its entry.
const perName = 4 << 10

// memoryOf notes which of the file systems entered are in memory.
func (t *Tree) memoryOf(id uint64, dir *os.File) error {
	var st unix.Statfs_t
	// By name: see writable. It is a local file system, and answers.
	if err := retry(func() error { return unix.Statfs(procName(dir), &st) }); err != nil {
		return fmt.Errorf("file system of %s: %w", dir.Name(), err)
	}
	if uint32(st.Type) == unix.TMPFS_MAGIC {
		t.inMemory[id] = true
	}
	return nil
}

// memory returns how much of what may go into memory something takes that is made in dir,
// and an error if it is more than is left.
func (t *Tree) memory(dir *os.File, size int64) (int64, error) {
	if t.Memory == 0 || len(t.inMemory) == 0 {
		return 0, nil
	}
	id, err := mountOf(dir)
	if err != nil || !t.inMemory[id] {
		return 0, err
	}
	need := perName + max(size, 0)
	if need > t.Memory-t.spent {
		return 0, fmt.Errorf("%w: no more than %d MiB of a restore go there; restore it to a directory on a disk", ErrMemory, t.Memory>>20)
	}
	return need, nil
}

// length is that of the content to come.
func (it Item) length() int64 {
	if it.First != "" || it.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0
	}
	return it.Size
}
