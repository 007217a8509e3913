// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// facts describe everything outside of the root, by path.
type facts map[string]string

// survey looks at the ground but for the root and the restore's own files.
func survey(t *testing.T, g *ground) facts {
	t.Helper()
	all := facts{}
	names := regexp.MustCompile(` links \d+`)
	err := filepath.WalkDir(g.Dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch p {
		case g.root(), filepath.Join(g.Dir, "state"):
			return filepath.SkipDir
		case filepath.Join(g.outside(), "moved"):
			return filepath.SkipDir // the attacker's own
		case g.Dir:
			// Its time changes when something is moved in.
			var st unix.Stat_t
			check(unix.Lstat(p, &st))
			all["."] = fmt.Sprintf("mode %o owner %d:%d", st.Mode, st.Uid, st.Gid)
			return nil
		}
		what, err := describe(p)
		if os.IsNotExist(err) {
			return nil // moved away meanwhile
		}
		if g.foreign {
			what = names.ReplaceAllString(what, "")
		}
		all[strings.TrimPrefix(p, g.Dir+"/")] = what
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return all
}

// describe says all about a file that could be altered: its last access is not its
// own doing, and its last change is that of its links too.
func describe(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", err
	}
	out := fmt.Sprintf("mode %o owner %d:%d", st.Mode, st.Uid, st.Gid)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		out += fmt.Sprintf(" links %d size %d", st.Nlink, st.Size)
	}
	if filepath.Base(path) != "outside" { // attackers move things into that one
		out += fmt.Sprintf(" time %d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		out += fmt.Sprintf(" content %.100q", b)
	case unix.S_IFLNK:
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		return out + " to " + to, nil
	}
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return "", err
	}
	for _, name := range strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(path, name, value); err == nil {
			out += fmt.Sprintf(" %s=%q", name, value[:n])
		}
	}
	return out, nil
}

// differences are what is not as it was.
func (now facts) differences(before facts) (out []string) {
	for path, was := range before {
		if is, there := now[path]; !there {
			out = append(out, path+" is gone")
		} else if is != was {
			out = append(out, fmt.Sprintf("%s is %s, was %s", path, is, was))
		}
	}
	for path, is := range now {
		if _, there := before[path]; !there {
			out = append(out, fmt.Sprintf("%s was made: %s", path, is))
		}
	}
	sort.Strings(out)
	return out
}

// The judge reports every kind of alteration outside, one at a time.
func TestJudgeReports(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("need root: owners and attributes of flags")
	}
	for what, alter := range map[string]func(flag string) error{
		"content":       func(f string) error { return os.WriteFile(f, []byte("UNTOUCHED"), 0) },
		"size":          func(f string) error { return os.Truncate(f, 3) },
		"mode":          func(f string) error { return os.Chmod(f, 0o600) },
		"owner":         func(f string) error { return os.Chown(f, 1, -1) },
		"group":         func(f string) error { return os.Chown(f, -1, 1) },
		"time":          func(f string) error { return os.Chtimes(f, time.Time{}, time.Unix(1e9, 0)) },
		"attribute":     func(f string) error { return unix.Setxattr(f, "trusted.flag", []byte("x"), 0) },
		"new attribute": func(f string) error { return unix.Setxattr(f, "user.x", nil, 0) },
		"another name":  func(f string) error { return os.Link(f, f+"2") },
		"removal":       os.Remove,
		"another file":  func(f string) error { return os.WriteFile(f+"2", nil, 0o644) },
		"in its place":  func(f string) error { return os.Rename(filepath.Dir(f)+"/hostname", f) },
		"a link":        func(f string) error { return os.Symlink(f, f+"2") },
		"time of a directory": func(f string) error {
			return os.Chtimes(filepath.Dir(f)+"/b", time.Time{}, time.Unix(1e9, 0))
		},
		"the directory": func(f string) error { return os.Chmod(filepath.Dir(f), 0o700) },
		"above it":      func(f string) error { return os.Chmod(filepath.Dir(filepath.Dir(f)), 0o700) },
	} {
		g := newGround(t, &attack{name: "judge"}, "", "")
		before := survey(t, g)
		if d := survey(t, g).differences(before); len(d) > 0 {
			t.Errorf("nothing was altered, and the judge says %q", d)
		}
		if err := alter(g.flag()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if len(survey(t, g).differences(before)) == 0 {
			t.Errorf("%s is not reported", what)
		}
	}
}
