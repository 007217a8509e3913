// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// control is one alteration that a comparison must report.
type control struct {
	name string
	// want finds an entry that has what is to be altered.
	want func(*Entry) bool
	// alter changes the file at path in the tree below root.
	alter func(root, path string) error
	// what must be reported, for the path that alter returns or was given.
	what string
}

func regular(e *Entry) bool { return e.Mode&unix.S_IFMT == unix.S_IFREG && e.Size > 1 && e.Group == "" }

func has(name string) func(*Entry) bool {
	return func(e *Entry) bool { _, ok := e.Xattrs[name]; return ok && e.Mode&unix.S_IFMT == unix.S_IFREG }
}

// keepMtime runs an alteration that must not show in the time.
func keepMtime(path string, alter func() error) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	if err := alter(); err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
}

// remake replaces a name by what make creates, with the owner and times it had.
func remake(path string, create func(st unix.Stat_t) error) error {
	return keepMtime(path, func() error {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		if err := create(st); err != nil {
			return err
		}
		return os.Lchown(path, int(st.Uid), int(st.Gid))
	})
}

// controls are the alterations, one or more for each attribute.
func controls() []control {
	at := func(f func(path string) error) func(root, path string) error {
		return func(root, path string) error { return f(filepath.Join(root, path)) }
	}
	mtime := func(delta int64) func(string) error {
		return func(p string) error {
			var st unix.Stat_t
			if err := unix.Lstat(p, &st); err != nil {
				return err
			}
			st.Mtim.Sec += delta
			return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{st.Atim, st.Mtim}, unix.AT_SYMLINK_NOFOLLOW)
		}
	}
	kind := func(bits uint32) func(*Entry) bool {
		return func(e *Entry) bool { return e.Mode&unix.S_IFMT == bits && e.Path != "." }
	}
	return []control{
		{"a file is missing", regular, at(os.Remove), Missing},
		{"a file is there too much", regular, at(func(p string) error {
			return keepMtime(filepath.Dir(p), func() error { return os.WriteFile(p+"+", nil, 0o600) })
		}), Extra},
		{"one byte of content", regular, at(func(p string) error {
			return keepMtime(p, func() error {
				b, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				f, err := os.OpenFile(p, os.O_WRONLY, 0)
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = f.WriteAt([]byte{b[0] ^ 1}, 0)
				return err
			})
		}), Content},
		{"size, one byte less", regular, at(func(p string) error {
			return keepMtime(p, func() error {
				st, err := os.Stat(p)
				if err != nil {
					return err
				}
				return os.Truncate(p, st.Size()-1)
			})
		}), Size},
		{"a permission bit", regular, at(func(p string) error { return chmodXor(p, 0o040) }), Mode},
		{"the setuid bit", func(e *Entry) bool { return e.Mode&unix.S_ISUID != 0 }, at(func(p string) error { return chmodXor(p, unix.S_ISUID) }), Mode},
		{"the sticky bit of a directory", func(e *Entry) bool { return kind(unix.S_IFDIR)(e) && e.Mode&unix.S_ISVTX != 0 }, at(func(p string) error { return chmodXor(p, unix.S_ISVTX) }), Mode},
		{"the owner", regular, at(func(p string) error { return os.Lchown(p, 4242, -1) }), Owner},
		{"the group of a link", kind(unix.S_IFLNK), at(func(p string) error { return os.Lchown(p, -1, 4242) }), Group},
		{"mtime of a file, one second", regular, at(mtime(1)), Mtime},
		{"mtime of a directory", kind(unix.S_IFDIR), at(mtime(-1)), Mtime},
		{"mtime of a link", kind(unix.S_IFLNK), at(mtime(1)), Mtime},
		{"the target of a link", kind(unix.S_IFLNK), at(func(p string) error {
			return remake(p, func(unix.Stat_t) error { return os.Symlink("elsewhere", p) })
		}), Link},
		{"the number of a device", kind(unix.S_IFCHR), at(func(p string) error {
			return remake(p, func(st unix.Stat_t) error { return unix.Mknod(p, st.Mode, int(st.Rdev)+1) })
		}), Device},
		{"a fifo that became a file", kind(unix.S_IFIFO), at(func(p string) error {
			return remake(p, func(unix.Stat_t) error { return os.WriteFile(p, nil, 0o600) })
		}), Type},
		{"a hard link that became a copy", func(e *Entry) bool { return e.Group != "" && e.Group != e.Path && e.Mode&unix.S_IFMT == unix.S_IFREG }, at(func(p string) error {
			return exec.Command("sh", "-c", `cp -a -- "$1" "$1.copy" && mv -- "$1.copy" "$1"`, "sh", p).Run()
		}), HardLink},
		{"the value of an attribute", has("user.comment"), at(func(p string) error { return unix.Lsetxattr(p, "user.comment", []byte("altered"), 0) }), Xattr + " user.comment"},
		{"an attribute too much", regular, at(func(p string) error { return unix.Lsetxattr(p, "user.planted", []byte("x"), 0) }), Xattr + " user.planted"},
		{"a lost access list", has("system.posix_acl_access"), at(func(p string) error { return unix.Lremovexattr(p, "system.posix_acl_access") }), Xattr + " system.posix_acl_access"},
		{"a lost capability", has("security.capability"), at(func(p string) error { return unix.Lremovexattr(p, "security.capability") }), Xattr + " security.capability"},
		{"a lost trusted attribute", func(e *Entry) bool { _, ok := e.Xattrs["trusted.vz7ct"]; return ok }, at(func(p string) error { return unix.Lremovexattr(p, "trusted.vz7ct") }), Xattr + " trusted.vz7ct"},
		{"a hole that was filled", func(e *Entry) bool { return strings.Contains(e.Data, ",") && e.Size > 1<<20 }, at(func(p string) error {
			return keepMtime(p, func() error {
				f, err := os.OpenFile(p, os.O_WRONLY, 0)
				if err != nil {
					return err
				}
				defer f.Close()
				end, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
				if err != nil {
					return err
				}
				_, err = f.WriteAt(make([]byte, block), end)
				return err
			})
		}), Holes},
	}
}

func chmodXor(p string, bits uint32) error {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return err
	}
	return unix.Chmod(p, st.Mode&0o7777^bits)
}

// Controls copies the tree below source into scratch once for each known
// alteration, plants it there, and compares. It returns how many were planted,
// and those that were not reported or could not be planted.
func Controls(source, scratch string, ignore func(Difference) bool) (planted int, missed []string, err error) {
	base := filepath.Join(scratch, "control-base")
	defer os.RemoveAll(base)
	if err := sample(source, base); err != nil {
		return 0, nil, err
	}
	want, err := Scan(base, Options{})
	if err != nil {
		return 0, nil, err
	}
	for n, c := range controls() {
		dir := filepath.Join(scratch, fmt.Sprintf("control-%d", n))
		if err := copyTree(base, dir); err != nil {
			return planted, missed, err
		}
		report, err := c.try(want, dir, ignore)
		if removed := os.RemoveAll(dir); err == nil {
			err = removed
		}
		if err != nil {
			return planted, missed, fmt.Errorf("control %q: %w", c.name, err)
		}
		planted++
		if report != "" {
			missed = append(missed, c.name+": "+report)
		}
	}
	return planted, missed, nil
}

// sample copies a tree without its directories of very many files: they have
// nothing of their own to alter.
func sample(source, base string) error {
	if err := copyTree(source, base); err != nil {
		return err
	}
	return filepath.WalkDir(base, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if names, err := os.ReadDir(p); err == nil && len(names) > 500 {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
			return filepath.SkipDir
		}
		return nil
	})
}

func copyTree(from, to string) error {
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy tree: %w: %s", err, out)
	}
	return nil
}

// try plants one alteration and returns why the comparison has failed on it.
func (c control) try(want Tree, dir string, ignore func(Difference) bool) (string, error) {
	path := ""
	for p, e := range want {
		if c.want(e) && (path == "" || p < path) {
			path = p
		}
	}
	if path == "" {
		return "nothing in the tree has what it alters", nil
	}
	before, err := Scan(dir, Options{})
	if err != nil {
		return "", err
	}
	if d := Diff(want, before, ignore); len(d) > 0 {
		return fmt.Sprintf("the copy differs before the alteration: %v", d[0]), nil
	}
	if err := c.alter(dir, path); err != nil {
		return "", err
	}
	after, err := Scan(dir, Options{})
	if err != nil {
		return "", err
	}
	for _, d := range Diff(want, after, ignore) {
		if d.What == c.what && strings.HasPrefix(d.Path, path) {
			return "", nil
		}
	}
	return fmt.Sprintf("%s of %q is not reported", c.what, path), nil
}
