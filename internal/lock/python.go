// SPDX-License-Identifier: AGPL-3.0-only

package lock

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// The lockfile module (lockfile.linklockfile) takes a lock on PATH by a hard
// link PATH.lock to a file of its own, and waits for as long as that name
// exists. Our link has content, and is flocked by its holder: that tells a live
// holder from a dead one, whose link we may remove.

// mark is what our link's content begins with, ownPrefix the name that it has
// before it is linked.
const (
	mark      = "vz7ct "
	ownPrefix = "vz7ct-"
)

// link is our PATH.lock. Its place's directory is that of the lock on PATH.
type link struct {
	at   *place
	file *os.File
}

// WithLink locks path as Exclusive does, and makes path.lock. It calls made
// with the link's path before it makes it: that is the last moment to record it.
// path may come from an option: not every file will do, see judge.
func WithLink(path string, made func(link string) error) (*Held, error) {
	h, err := take(path, unix.LOCK_EX, (*place).judge)
	if err != nil {
		return nil, err
	}
	if h.link, err = takeLink(h.at.beside(h.at.name+".lock"), made); err != nil {
		h.file.Close()
		h.at.close()
		return nil, err
	}
	return h, nil
}

func takeLink(at *place, made func(string) error) (*link, error) {
	// Looked at first, so that a wait does not write a journal entry every time.
	if err := at.held(); err != nil {
		return nil, err
	}
	if err := made(at.path); err != nil {
		return nil, err
	}
	own := at.beside(fmt.Sprintf("%s%016x", ownPrefix, rand.Uint64()))
	f, err := own.create(unix.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = own.remove() }()
	l := &link{at, f}
	if err := l.fill(); err != nil {
		f.Close()
		return nil, err
	}
	dir := int(at.dir.Fd())
	err = retry(func() error { return unix.Linkat(dir, own.name, dir, at.name, 0) })
	if errors.Is(err, os.ErrExist) {
		f.Close()
		if err := at.held(); err != nil {
			return nil, err
		}
		return nil, &HeldError{at.path, "somebody who has just taken it"}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock file %s: %w", text.Name(at.path), err)
	}
	return l, nil
}

func (l *link) fill() error {
	if err := retry(func() error { return unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return fmt.Errorf("lock %s: %w", text.Name(l.at.path), err)
	}
	if _, err := fmt.Fprintf(l.file, "%s%d\n", mark, os.Getpid()); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

func (l *link) release() error {
	defer l.file.Close()
	if !l.at.same(l.file) {
		return fmt.Errorf("lock file %s was taken away by somebody else", text.Name(l.at.path))
	}
	return l.at.remove()
}

// held returns a *HeldError if the name exists and its holder may be alive. A link
// of ours whose holder is dead is removed.
func (p *place) held() error {
	removed, err := p.removeDead()
	if err != nil {
		return err
	}
	if removed {
		return nil
	}
	if _, err := p.stat(); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return &HeldError{p.path, p.linker()}
}

// RemoveDead removes a link that a dead process of ours has left, and what it may
// have left on the way to it, and reports whether there is no link (any more). It
// leaves every other file alone.
func RemoveDead(path string) (bool, error) {
	at, err := openPlace(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return true, nil
	case errors.Is(err, errForeignLink), errors.Is(err, unix.ENOTDIR):
		return false, nil // it leads elsewhere now: what is there is not ours
	case err != nil:
		return false, err
	}
	defer at.close()
	removed, err := at.removeDead()
	for _, n := range at.names() {
		if strings.HasPrefix(n, ownPrefix) && err == nil {
			_, err = at.beside(n).removeDead()
		}
	}
	return removed, err
}

func (p *place) removeDead() (bool, error) {
	st, err := p.stat()
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock file %s: %w", text.Name(p.path), err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Uid != uint32(os.Geteuid()) {
		return false, nil
	}
	f, err := p.existing()
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Uid != uint32(os.Geteuid()) {
		return false, nil
	}
	head := make([]byte, len(mark))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != mark {
		return false, nil
	}
	if retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }) != nil || !p.same(f) {
		return false, nil
	}
	if err := p.remove(); err != nil {
		return false, fmt.Errorf("remove dead lock: %w", err)
	}
	return true, nil
}

// maxNames is how many names beside a link are looked at.
const maxNames = 4096

// linker names the holder of a link: the module's own file, another name of the
// same inode, is called after host, thread and process.
func (p *place) linker() string {
	st, err := p.stat()
	if err != nil {
		return "somebody who has just released it"
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "nobody: it is no regular file, remove it"
	}
	if st.Nlink > 1 {
		if name := p.otherName(st); name != "" {
			return "the owner of " + text.Name(filepath.Join(filepath.Dir(p.path), name))
		}
	}
	if f, err := p.existing(); err == nil {
		defer f.Close()
		b, _ := io.ReadAll(io.LimitReader(f, 64))
		if pid, ours := strings.CutPrefix(string(b), mark); ours {
			return process(strings.TrimSpace(pid))
		}
	}
	return "another program, or left behind by one: nobody but the file itself tells"
}

// otherName finds another name of a file in the same directory.
func (p *place) otherName(of unix.Stat_t) string {
	for _, n := range p.names() {
		if st, err := p.beside(n).stat(); n != p.name && err == nil && st.Dev == of.Dev && st.Ino == of.Ino {
			return n
		}
	}
	return ""
}

// names are those in the directory, of a very large one not all.
func (p *place) names() []string {
	dir, err := openat(p.dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxNames)
	return names
}
