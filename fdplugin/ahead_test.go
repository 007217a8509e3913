// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/walk"
	"github.com/bareos-contrib/vz7ct/test/openfds"
)

// row makes n items of files, each with its number as content; bad ones are errors.
func row(t *testing.T, dir string, n int, lasting bool, bad map[int]bool) func() (*item, error) {
	next := 0
	return func() (*item, error) {
		i := next
		if next++; i >= n {
			return nil, io.EOF
		}
		if bad[i] {
			return nil, &walk.Error{Op: "stat", Path: fmt.Sprint(i), Err: unix.EIO}
		}
		path := filepath.Join(dir, fmt.Sprint(i))
		must(t, os.WriteFile(path, []byte(fmt.Sprint(i)), 0o600))
		it := &item{Entry: Entry{Kind: Regular, Name: fmt.Sprint(i)}, lasting: lasting}
		it.Stat.Size = 3
		it.open = func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) }
		it.xattrs = func() ([]walk.Xattr, error) { return []walk.Xattr{{Name: "user.n", Value: []byte(it.Name)}}, nil }
		return it, nil
	}
}

func all(*item) bool { return true }

// What comes is what came without it, each file with its own content, and a bounded
// number of files is open meanwhile.
func TestAheadKeepsOrder(t *testing.T) {
	const n = 3 * aheadItems
	bad := map[int]bool{0: true, 5: true, aheadItems: true}
	for _, c := range []struct{ lasting, whole, wanted bool }{{true, false, true}, {true, false, false}, {false, true, true}, {false, false, true}} {
		dir := t.TempDir()
		a := &ahead{next: row(t, dir, n, c.lasting, bad), whole: c.whole, wanted: func(*item) bool { return c.wanted }}
		most := 0
		for i := range n {
			it, err := a.Next()
			most = max(most, len(openfds.Below(t, dir)))
			var left *walk.Error
			if bad[i] {
				if !errors.As(err, &left) || left.Path != fmt.Sprint(i) {
					t.Fatalf("%+v: %d: Next = %v, %v", c, i, it, err)
				}
				continue
			}
			must(t, err)
			if i%3 == 0 {
				continue // the daemon does not ask for it
			}
			for range 1 + i%2 { // once more: it is opened again
				fd, err := it.open()
				must(t, err)
				buf := make([]byte, 10)
				got, err := unix.Read(fd, buf)
				must(t, err)
				unix.Close(fd)
				if string(buf[:got]) != fmt.Sprint(i) || it.Name != fmt.Sprint(i) {
					t.Fatalf("%+v: %d has %q, %q", c, i, it.Name, buf[:got])
				}
			}
			if x, err := it.xattrs(); err != nil || string(x[0].Value) != it.Name {
				t.Fatalf("%+v: xattrs of %d = %q, %v", c, i, x, err)
			}
		}
		for range 2 {
			if it, err := a.Next(); err != io.EOF {
				t.Errorf("%+v: at the end Next = %v, %v", c, it, err)
			}
		}
		if left := len(openfds.Below(t, dir)); left != 0 || most > aheadFiles+1 || c.wanted && (c.lasting || c.whole) && most < aheadFiles {
			t.Errorf("%+v: %d files open at once, %d left", c, most, left)
		}
	}
}

// Nothing stays open when it ends before its time.
func TestAheadGivesUp(t *testing.T) {
	dir := t.TempDir()
	a := &ahead{next: row(t, dir, 100, true, nil), wanted: all}
	it, err := a.Next()
	must(t, err)
	if len(openfds.Below(t, dir)) == 0 {
		t.Error("nothing was opened")
	}
	a.close()
	a.close()
	if n := len(openfds.Below(t, dir)); n != 0 {
		t.Errorf("%d files stay open", n)
	}
	if it, err := a.Next(); err != io.EOF {
		t.Errorf("Next = %v, %v", it, err)
	}
	fd, err := it.open() // its own was closed
	must(t, err)
	unix.Close(fd)
}

// An error that ends the walk comes at its place, and again, whether the walk says so
// again or calls that its end.
func TestAheadEndsWithAnError(t *testing.T) {
	gone, told := errors.New("gone"), false
	next := row(t, t.TempDir(), 10, true, nil)
	a := &ahead{wanted: all, next: func() (*item, error) {
		it, err := next()
		if err == io.EOF && !told {
			told, err = true, gone
		}
		return it, err
	}}
	for i := range 10 {
		if it, err := a.Next(); err != nil || it.Name != fmt.Sprint(i) {
			t.Fatalf("%d: Next = %v, %v", i, it, err)
		}
	}
	for range 2 {
		if it, err := a.Next(); err != gone {
			t.Errorf("Next = %v, %v", it, err)
		}
	}
}

// What cannot be opened ahead is opened when it is asked for.
func TestAheadTriesAgain(t *testing.T) {
	next, fail := row(t, t.TempDir(), 1, true, nil), true
	a := &ahead{wanted: all, next: func() (*item, error) {
		it, err := next()
		if err == nil {
			open := it.open
			it.open = func() (int, error) {
				if fail {
					return -1, unix.EMFILE
				}
				return open()
			}
		}
		return it, err
	}}
	it, err := a.Next()
	must(t, err)
	if _, err := it.open(); err != unix.EMFILE {
		t.Errorf("open = %v", err)
	}
	fail = false
	fd, err := it.open()
	must(t, err)
	unix.Close(fd)
}

// Without ext4 below it a disk is walked, and the job log says why; scan=ext4 fails then.
func TestScanOption(t *testing.T) {
	for _, c := range []struct{ scan, info, fatal string }{
		{"auto", "files are looked at one by one, since the file system's tables cannot be used: ", ""},
		{"walk", "", ""},
		{"ext4", "", "scan=ext4: the tables cannot be read (scan=walk needs none): "},
	} {
		n := webNode(t)
		j, log := n.job(t, bareos)
		err := j.StartBackup(cmd + ":scan=" + c.scan)
		if (err == nil) != (c.fatal == "") || !strings.Contains(log.all("fatal"), c.fatal) || !strings.Contains(log.all("info"), c.info) ||
			c.info == "" && strings.Contains(log.all("info"), "one by one") {
			t.Errorf("scan=%s: StartBackup = %v\n%s", c.scan, err, log.all())
		}
	}
}

// A tree that is changed under the walk, so that it cannot go back, is not complete.
func TestBrokenWalkIsNoEnd(t *testing.T) {
	for _, whole := range []bool{false, true} {
		root := t.TempDir()
		const depth = 40 // deeper than a walk keeps directories open
		path := root
		for range depth {
			path += "/d"
			must(t, os.Mkdir(path, 0o700))
			must(t, os.WriteFile(path+"/z", nil, 0o600))
		}
		c, err := walk.Open(root)
		must(t, err)
		c.Obey(walk.Rules{Want: func(e *walk.Entry) bool {
			if strings.Count(e.Path, "/") == depth-1 && e.Stat.Mode&unix.S_IFMT == unix.S_IFDIR {
				must(t, os.Rename(root+"/d/d/d", root+"/elsewhere"))
			}
			return true
		}})
		a := &ahead{wanted: func(*item) bool { return false }, whole: whole, next: func() (*item, error) {
			e, err := c.Next()
			if err != nil {
				return nil, err
			}
			return fileItem(e, "/x", 1), nil
		}}
		for err == nil {
			_, err = a.Next()
		}
		if _, again := a.Next(); err == io.EOF || again != err || !strings.Contains(err.Error(), "return to directory") {
			t.Errorf("the walk ends with %v, then %v", err, again)
		}
		a.close()
		c.Close()
	}
}

// A file of a walk that cannot be opened before its turn can be opened when it is asked for.
func TestAheadTriesAgainWithinAWalk(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"a", "b", "c"} {
		put(t, filepath.Join(root, d, "1"), d)
		put(t, filepath.Join(root, d, "2"), d)
	}
	c, err := walk.Open(root)
	must(t, err)
	defer c.Close()
	a := &ahead{wanted: func(it *item) bool { return it.Kind == Regular }, whole: true, next: func() (*item, error) {
		e, err := c.Next()
		if err != nil {
			return nil, err
		}
		it := fileItem(e, "/x", 1)
		if open, busy := it.open, true; open != nil {
			it.open = func() (int, error) {
				if busy {
					busy = false
					return -1, unix.EMFILE
				}
				return open()
			}
		}
		return it, nil
	}}
	files := 0
	for {
		it, err := a.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		if it.Kind == Regular {
			fd, err := it.open()
			must(t, err)
			unix.Close(fd)
			files++
		}
	}
	if files != 6 {
		t.Errorf("%d files", files)
	}
}
