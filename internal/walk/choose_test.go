// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
)

// The flag is told by statx where the kernel has it, and by the open file; both say the same.
func TestNoDump(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"plain", "flagged"} {
		if err := errors.Join(os.WriteFile(filepath.Join(dir, name), nil, 0o600), os.Mkdir(filepath.Join(dir, name+".d"), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"flagged", "flagged.d"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, chattr.NoDump)
		f.Close()
		if err != nil {
			t.Skipf("the file system has no flags: %v", err)
		}
	}
	if err := os.Symlink("flagged", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	seen := 0
	judge := func(e *Entry) bool {
		got, err := e.NoDump()
		a, err2 := e.Inode()
		if want := strings.HasPrefix(e.Path, "flagged"); got != want || (a.Flags&chattr.NoDump != 0) != want || err != nil || err2 != nil {
			t.Errorf("NoDump of %s = %v, %v; its flags are %#x, %v", e.Path, got, err, a.Flags, err2)
		}
		seen++
		return true
	}
	c.Want = judge
	for err == nil {
		_, err = c.Next()
	}
	if err != io.EOF || seen != 5 {
		t.Errorf("%d entries, %v", seen, err)
	}
}

// Only a regular file is read in a directory, and no more of it than is asked for.
func TestReadIn(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "file"), []byte("0123456789"), 0o600), os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600),
		os.Symlink("file", filepath.Join(dir, "link")), os.Mkdir(filepath.Join(dir, "dir"), 0o700), unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, tt := range []struct {
		name  string
		limit int
		want  string
		err   error
	}{
		{"file", 100, "0123456789", nil}, {"file", 4, "0123", nil}, {"empty", 4, "", nil},
		{"none", 4, "", os.ErrNotExist}, {"link", 4, "", ErrKind}, {"dir", 4, "", ErrKind}, {"fifo", 4, "", ErrKind},
	} {
		got, err := c.Root().ReadIn(tt.name, tt.limit)
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("ReadIn(%s, %d) = %q, %v, want %q, %v", tt.name, tt.limit, got, err, tt.want, tt.err)
		}
		if err := c.Root().StatIn(tt.name); !errors.Is(err, tt.err) {
			t.Errorf("StatIn(%s) = %v, want %v", tt.name, err, tt.err)
		}
	}
}
