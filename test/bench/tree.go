// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// largest is the size of files that are in the first copy of a tree only: a few large ones are enough.
const largest = 128 << 10

// errEnough ends a copy.
var errEnough = errors.New("enough files")

// Fill copies what is below seed into root again and again, with owners, modes, times, links and attributes, until root has so
// many regular files.
func Fill(seed, root string, files int) error {
	have := 0
	for n := 0; have < files; n++ {
		top, before := root, have
		if n > 0 {
			top = filepath.Join(root, "srv/copies", fmt.Sprintf("%03d", n))
		}
		err := fillOnce(seed, top, n == 0, &have, files)
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if have == before {
			return fmt.Errorf("%s has no regular files", seed)
		}
	}
	return nil
}

func fillOnce(seed, top string, all bool, have *int, files int) error {
	names := map[uint64]string{} // of files with several names
	return filepath.WalkDir(seed, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(seed, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(top, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(to, info.Mode().Perm()|0o700)
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err == nil {
				err = os.Symlink(link, to)
			}
			return err
		case !d.Type().IsRegular() || !all && info.Size() > largest:
			return nil
		}
		if *have == files {
			return errEnough
		}
		*have++
		return copyFile(path, to, info, names)
	})
}

// copyFile copies one file, or links it to the copy of another name of it.
func copyFile(from, to string, info fs.FileInfo, names map[uint64]string) (err error) {
	var st unix.Stat_t
	if err := unix.Lstat(from, &st); err != nil {
		return err
	}
	if st.Nlink > 1 {
		if first, ok := names[st.Ino]; ok {
			return os.Link(first, to)
		}
		names[st.Ino] = to
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only read
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return errors.Join(dst.Chown(int(st.Uid), int(st.Gid)), dst.Chmod(info.Mode()), os.Chtimes(to, time.Time{}, info.ModTime()))
}

// Large makes a file of so many MiB that cannot be compressed, as a root of its own.
func Large(root string, mib int) (err error) {
	f, err := os.OpenFile(filepath.Join(root, "large"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), int64(mib)<<20)
	return err
}

// perDirectory is how many files Empty puts into a directory.
const perDirectory = 100

// Empty makes so many empty files.
func Empty(root string, files int) error {
	for n := range files {
		dir := filepath.Join(root, fmt.Sprintf("srv/%04d/%02d", n/perDirectory/100, n/perDirectory%100))
		if n%perDirectory == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%02d", n%perDirectory)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Count is what a tree holds.
type Count struct {
	Entries int   // of every kind, the root too
	Files   int   // regular ones, by name
	Bytes   int64 // of regular files, each once
}

// CountTree counts what a tree holds on its own file system.
func CountTree(root string) (c Count, err error) {
	seen := map[uint64]bool{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		c.Entries++
		if !d.Type().IsRegular() {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		c.Files++
		if st.Nlink > 1 {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		c.Bytes += st.Size
		return nil
	})
	return c, err
}
