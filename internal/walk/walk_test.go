// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/openfds"
)

// paths walks dir to its end and returns what came, in order.
func paths(t *testing.T, c *Cursor) (got []string, errs []error) {
	t.Helper()
	defer c.Close()
	for {
		e, err := c.Next()
		var left *Error
		switch {
		case err == io.EOF:
			return got, errs
		case errors.As(err, &left):
			errs = append(errs, err)
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, e.Path)
		}
	}
}

func start(t *testing.T, dir string) *Cursor {
	t.Helper()
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDirectoriesComeAfterTheirContent(t *testing.T) {
	dir := t.TempDir()
	names := []string{"a/b/c/file", "a/b/file", "x", "K\xdcBLER.csv", "two\nlines", "-dash", "a/" + strings.Repeat("n", 255)}
	for _, n := range names {
		write(t, filepath.Join(dir, n), n)
	}
	got, errs := paths(t, start(t, dir))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	seen := map[string]bool{}
	for i, p := range got {
		for _, q := range got[i+1:] {
			if p != "" && strings.HasPrefix(q, p+"/") {
				t.Errorf("directory %q came before %q in it", p, q)
			}
		}
		if seen[p] {
			t.Errorf("%q came twice", p)
		}
		seen[p] = true
	}
	if got[len(got)-1] != "" {
		t.Errorf("last entry = %q, want the root", got[len(got)-1])
	}
	for _, n := range append(names, "a", "a/b", "a/b/c") {
		if !seen[n] {
			t.Errorf("%q did not come", n)
		}
	}
}

// A tree deeper than descriptors and PATH_MAX allow, with names before and
// after the descent in each directory.
func TestDepth(t *testing.T) {
	dir := t.TempDir()
	const depth = 1500
	fd, err := openDir(unix.AT_FDCWD, dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range depth {
		for _, f := range []string{"a", "z", "m"} {
			n, err := unix.Openat(fd, fmt.Sprintf("%s%d", f, i), unix.O_CREAT|unix.O_WRONLY, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(n)
		}
		if err := unix.Mkdirat(fd, "down", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := openDir(fd, "down", 0)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		fd = next
	}
	unix.Close(fd)
	before := descriptors(t, dir)
	c := start(t, dir)
	most, count := 0, 0
	for {
		_, err := c.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		count++
		if count%100 == 0 {
			most = max(most, descriptors(t, dir)-before)
		}
	}
	if want := depth*4 + 1; count != want {
		t.Errorf("%d entries, want %d", count, want)
	}
	if most > open+3 {
		t.Errorf("%d descriptors in use, want %d at most", most, open+3)
	}
	if after := descriptors(t, dir); after != before {
		t.Errorf("%d descriptors after the walk, %d before", after, before)
	}
}

func TestLargeDirectoryIsResumedAtItsPlace(t *testing.T) {
	dir := t.TempDir()
	want := []string{""}
	for i := range 3000 {
		name := fmt.Sprintf("file-with-a-name-of-some-length-%05d", i)
		write(t, filepath.Join(dir, name), "")
		want = append(want, name)
	}
	// Directories among them, each deeper than the number of open descriptors.
	for i := range 5 {
		p := fmt.Sprintf("d%d", i)
		want = append(want, p)
		for j := range open + 8 {
			p += fmt.Sprintf("/%d", j)
			want = append(want, p)
		}
		if err := os.MkdirAll(filepath.Join(dir, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, errs := paths(t, start(t, dir))
	sort.Strings(got)
	sort.Strings(want)
	if len(errs) > 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d entries and errors %v, want %d entries", len(got), errs, len(want))
	}
}

func TestSkipDoesNotEnter(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "out/secret"), "")
	write(t, filepath.Join(dir, "in/out"), "")
	c := start(t, dir)
	c.Skip = func(e *Entry) bool { return e.Path == "out" }
	got, _ := paths(t, c)
	if want := []string{"in/out", "in", ""}; !reflect.DeepEqual(got, want) {
		t.Errorf("walk = %q, want %q", got, want)
	}
}

func TestEntryReadsWhatItIs(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "content")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "p"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Lsetxattr(filepath.Join(dir, "f"), "user.big", []byte(strings.Repeat("v", 3000)), 0); err != nil {
		t.Skipf("no user xattrs on %s: %v", dir, err)
	}
	c := start(t, dir)
	defer c.Close()
	for {
		e, err := c.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		x, err := e.Xattrs()
		if err != nil {
			t.Errorf("Xattrs of %q = %v", e.Path, err)
		}
		switch e.Path {
		case "f":
			if len(x) != 1 || x[0].Name != "user.big" || len(x[0].Value) != 3000 {
				t.Errorf("Xattrs of f = %v", x)
			}
			fd, err := e.Open()
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 20)
			n, _ := unix.Read(fd, buf)
			unix.Close(fd)
			if string(buf[:n]) != "content" {
				t.Errorf("content = %q", buf[:n])
			}
			// Replaced by a link between stat and open: not followed.
			os.Remove(filepath.Join(dir, "f"))
			os.Symlink("/etc/passwd", filepath.Join(dir, "f"))
			if fd, err := e.Open(); err == nil {
				unix.Close(fd)
				t.Error("Open followed a link that took the file's place")
			}
		case "l":
			if e.Link != "/etc/passwd" {
				t.Errorf("Link = %q", e.Link)
			}
		}
	}
}

func TestOpenFailsOnNoDirectory(t *testing.T) {
	if _, err := Open("/etc/passwd"); err == nil {
		t.Error("Open(/etc/passwd) = nil, want an error")
	}
	if _, err := Open("/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open(/nonexistent) = %v, want ErrNotExist", err)
	}
}

func TestParseEntryRefusesNonsense(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 10), make([]byte, 24), append(make([]byte, 16), 200, 0, 4, 'x', 0)} {
		if _, _, _, _, ok := parseEntry(b); ok {
			t.Errorf("parseEntry(%v) = ok, want refusal", b)
		}
	}
}

func descriptors(t *testing.T, dir string) int {
	t.Helper()
	return len(openfds.Below(t, dir))
}
