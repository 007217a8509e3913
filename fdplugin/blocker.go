// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/exclude"
	"github.com/bareos-contrib/vz7ct/internal/inroot"
	"github.com/bareos-contrib/vz7ct/internal/mount"
	"github.com/bareos-contrib/vz7ct/internal/text"
)

// openInRoot opens the directory that path means to a process whose root is
// root: links on the way, absolute ones too, stay inside.
func openInRoot(root, path string) (*os.File, error) {
	r, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return openAtRoot(r, path)
}

func openAtRoot(root *os.File, path string) (*os.File, error) {
	// A file system that a tenant serves could let us wait.
	h, err := inroot.Open(root, path, mount.Gate(root, "/proc/self/mountinfo"))
	if err != nil {
		return nil, err
	}
	defer h.Close()
	// O_DIRECTORY refuses a fifo or a device without opening it.
	fd, err := unix.Openat(int(h.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// blockersInLiveRoot looks at once, so that a blocked container is not even
// snapshotted. Only what the node sees of the root disk is looked at.
func (b *backup) blockersInLiveRoot() error {
	if b.container.State != "running" {
		return nil
	}
	return b.blocked(b.place.Root, "")
}

// blockersInSnapshot looks again at what will be saved. This decides.
func (b *backup) blockersInSnapshot() error {
	for _, v := range b.volumes {
		if err := b.blocked(v.dir, v.catalogue); err != nil {
			return err
		}
	}
	return nil
}

// blocked looks for blockers in a disk that is mounted at dir, and in the
// container at the path below.
func (b *backup) blocked(dir, below string) error {
	for _, blocker := range b.opts.Blockers {
		if err := b.job.ctx.Err(); err != nil {
			return fmt.Errorf("look for blockers: %w", err)
		}
		names, ok := within(blocker.Names, below)
		if !ok {
			continue
		}
		root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("look for blocker %s: %w", text.Name(blocker.Text), err)
		}
		found, err := match(b.job.ctx, root, names)
		root.Close()
		if err != nil {
			return fmt.Errorf("look for blocker %s in %s: %w", text.Name(blocker.Text), dir, err)
		}
		if found != "" {
			return fmt.Errorf("blocker=%s: container %s has the file %s and is not saved while it is there",
				text.Name(blocker.Text), b.container.Title(), text.Name(path.Join("/", below, found)))
		}
	}
	return nil
}

// within returns what is left of a blocker's path inside a disk whose mount
// point in the container is below; false if the path leads elsewhere.
func within(names []exclude.Name, below string) ([]exclude.Name, bool) {
	if below == "" {
		return names, true
	}
	for part := range strings.SplitSeq(below, "/") {
		if len(names) < 2 || !names[0].Match(part) {
			return nil, false
		}
		names = names[1:]
	}
	return names, true
}

// maxCandidates bounds how many directories a blocker's pattern may lead into.
const maxCandidates = 10000

// match returns the first path below root that the names cover, "" if there is
// none. What cannot be reached, because it is missing or no directory, does not match.
func match(ctx context.Context, root *os.File, names []exclude.Name) (string, error) {
	dirs := []string{"."}
	for n, name := range names {
		last := n == len(names)-1
		var next []string
		for _, d := range dirs {
			if plain, ok := name.Plain(); ok && !last {
				next = append(next, path.Join(d, plain))
				continue
			}
			found, err := list(ctx, root, d, name)
			if err != nil {
				return "", err
			}
			next = append(next, found...)
			if last && len(next) > 0 {
				return next[0], nil
			}
		}
		if len(next) > maxCandidates {
			return "", fmt.Errorf("the pattern leads into more than %d directories", maxCandidates)
		}
		dirs = next
	}
	return "", nil
}

// list returns the names in a directory that match.
func list(ctx context.Context, root *os.File, dir string, name exclude.Name) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := openAtRoot(root, dir)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENAMETOOLONG),
		errors.Is(err, mount.ErrForeign):
		return nil, nil
	case err != nil:
		return nil, err
	}
	defer f.Close()
	if plain, ok := name.Plain(); ok {
		var st unix.Stat_t
		err := unix.Fstatat(int(f.Fd()), plain, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENAMETOOLONG) {
			return nil, nil
		}
		return []string{path.Join(dir, plain)}, err
	}
	var out []string
	for {
		if err := ctx.Err(); err != nil {
			return nil, err // a tenant's directory may have any number of names
		}
		names, err := f.Readdirnames(512)
		for _, n := range names {
			if name.Match(n) {
				out = append(out, path.Join(dir, n))
			}
		}
		if len(out) > maxCandidates || len(names) == 0 {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return out, err
		}
	}
}
