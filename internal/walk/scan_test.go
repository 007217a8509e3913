// SPDX-License-Identifier: AGPL-3.0-only

package walk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/ext4"
	"github.com/bareos-contrib/vz7ct/test/loopfs"
)

// tree is what both ways must see alike.
var savedTree = func() []string {
	list := []string{
		"write /etc/hostname f", "set_inode_field f mtime @1700000000", "set_inode_field f mtime_extra 40",
		"ea_set f user.x y", "write /dev/null empty", "set_inode_field empty flags 0x80040",
		"symlink short f", "symlink long /" + strings.Repeat("long/", 40), "mknod p p", "mknod c c 1 3", "mknod b b 259 1048575",
		"mkdir d", "set_inode_field d flags 0x20080000", "ln f d/hard", "set_inode_field f links_count 2",
		"write /bin/true d/program", "mkdir d/empty",
	}
	// Deeper than the walk keeps directories open, and more names than a page has.
	for n, path := 0, "deep"; n < open+10; n, path = n+1, path+"/x" {
		list = append(list, "mkdir "+path, "write /etc/hostname "+path+"/a", "write /etc/hostname "+path+"/z")
	}
	list = append(list, "mkdir many")
	for n := range pageNames + 300 {
		list = append(list, fmt.Sprintf("symlink many/%d-%s f", n, strings.Repeat("n", 40)))
	}
	return list
}()

// scanOf is a scan of the tree that is mounted at root, which must be possible.
func scanOf(t *testing.T, root string) *Scan {
	t.Helper()
	s, err := OpenScan(context.Background(), root)
	must(t, err)
	t.Cleanup(s.Close)
	s.Strayed = func(path string, why error) { t.Errorf("the kernel is asked about %q: %v", path, why) }
	return s
}

type nexter interface{ Next() (*Entry, error) }

// listing has one line for each entry, with all that can be asked of it, in the order of
// names. It holds the entries' order to the rule.
func listing(t *testing.T, c nexter) []string {
	t.Helper()
	var list []string
	left := map[string]bool{}
	for {
		e, err := c.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		above := ""
		if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
			above = e.Path[:i]
		}
		if left[above] && e.Path != "" {
			t.Errorf("%q comes after the directory that it is in", e.Path)
		}
		content := ""
		switch e.Stat.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			left[e.Path] = true
		case unix.S_IFREG:
			fd, err := e.Open()
			must(t, err)
			buf := make([]byte, 100)
			n, err := unix.Read(fd, buf)
			must(t, err)
			content = string(buf[:n])
			unix.Close(fd)
		}
		xattrs, err := e.Xattrs()
		must(t, err)
		inode, err := e.Inode()
		must(t, err)
		noDump, err := e.NoDump()
		must(t, err)
		list = append(list, fmt.Sprintf("%q %+v %q %q %q %v %v", e.Path, e.Stat, e.Link, content, xattrs, inode, noDump))
	}
	slices.Sort(list)
	return list
}

func TestScanIsTheWalk(t *testing.T) {
	root := loopfs.Saved(t, savedTree...)
	want := listing(t, start(t, root))
	if len(want) < pageNames+400 {
		t.Fatalf("%d entries", len(want))
	}
	for _, byContent := range []bool{false, true} {
		s := scanOf(t, root)
		s.ByContent = byContent
		same(t, listing(t, s), want)
	}
	scouted := start(t, root)
	scouted.Scouts = true
	same(t, listing(t, scouted), want)
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("entry %d is\n%s\nwant\n%s", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
}

// Both ask the rules about the same things.
func TestScanObeysRules(t *testing.T) {
	root := loopfs.Saved(t, savedTree...)
	asked := func(c interface {
		nexter
		Obey(Rules)
	},
	) (skips, wants, got []string) {
		c.Obey(Rules{
			Skip: func(e *Entry) bool { skips = append(skips, e.Path); return e.Path == "many" || e.Path == "d/empty" },
			Want: func(e *Entry) bool { wants = append(wants, e.Path); return e.Path != "deep/x" && e.Path != "short" },
		})
		got = listing(t, c)
		slices.Sort(skips)
		slices.Sort(wants)
		return
	}
	skips, wants, got := asked(scanOf(t, root))
	skips2, wants2, want := asked(start(t, root))
	same(t, got, want)
	if !slices.Equal(skips, skips2) || !slices.Equal(wants, wants2) {
		t.Errorf("asked about %q and %q, the walk about %q and %q", skips, wants, skips2, wants2)
	}
}

// Where the tables of a directory cannot be read the kernel is asked, and nothing comes
// twice or is lost.
func TestScanStrays(t *testing.T) {
	root := loopfs.Saved(t, savedTree...)
	want := listing(t, start(t, root))
	for _, where := range []string{"", "d", "deep/x/x", "many", "many again"} {
		s := scanOf(t, root)
		strayed := ""
		s.Strayed = func(path string, _ error) { strayed = path }
		path, again := strings.CutSuffix(where, " again")
		s.broken = func(p string, at uint64) bool { return p == path && again == (at > 0) }
		same(t, listing(t, s), want)
		if strayed != path {
			t.Errorf("the kernel was asked about %q, want %q", strayed, path)
		}
	}
}

// A table that says something else than the kernel is not believed.
func TestScanIsNotBelieved(t *testing.T) {
	root := loopfs.Saved(t, savedTree...)
	s := scanOf(t, root)
	for _, path := range []string{"f", "short", "d"} {
		in, err := s.find(path)
		must(t, err)
		must(t, s.agree(in))
		in.Stat.Mtim.Nsec++
		if err := s.agree(in); err == nil || !strings.Contains(err.Error(), "the kernel") {
			t.Errorf("agree(%s) = %v", path, err)
		}
	}
}

// What cannot be scanned is said, with the reason.
func TestNoScan(t *testing.T) {
	for root, why := range map[string]string{t.TempDir(): "", loopfs.Ext4(t): "mounted to be written to", "/proc": "not ext4"} {
		if s, err := OpenScan(context.Background(), root); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("OpenScan(%s) = %v, %v, want %q", root, s, err, why)
		}
	}
	root := loopfs.Saved(t, savedTree...)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if s, err := OpenScan(ctx, root); err == nil {
		t.Errorf("OpenScan = %v although cancelled", s)
	}
}

// find returns an inode of the top directory.
func (s *Scan) find(name string) (ext4.Inode, error) {
	p := &page{dir: s.stack[0].dir}
	if err := s.read(p); err != nil {
		return ext4.Inode{}, err
	}
	for i, n := range p.names {
		if n.name == name {
			p.inodes[i].Stat.Dev = 0
			return p.inodes[i], nil
		}
	}
	return ext4.Inode{}, unix.ENOENT
}

// A damaged file system has a directory in itself: the scan comes to an end all the same,
// with all that is not in there.
func TestScanOfARing(t *testing.T) {
	root := loopfs.Saved(t, append(slices.Clone(savedTree), "ln d d/empty/ring", "ln deep d/again")...)
	s := scanOf(t, root)
	strayed := 0
	s.Strayed = func(path string, why error) {
		strayed++
		if !strings.Contains(why.Error(), "in one another") {
			t.Errorf("%q: %v", path, why)
		}
	}
	seen := map[string]bool{}
	for n := 0; ; n++ {
		e, err := s.Next()
		if err == io.EOF {
			break
		}
		var left *Error
		if err != nil && !errors.As(err, &left) || n > 3*len(savedTree) {
			t.Fatalf("%d entries, %v", n, err)
		}
		if err == nil {
			seen[e.Path] = true
		}
	}
	if strayed < 2 || !seen["d/program"] || !seen["deep/x/x/a"] || !seen["f"] || !seen[""] {
		t.Errorf("the kernel was asked %d times; %d entries", strayed, len(seen))
	}
}

// A directory of which a part was handed out when it was let go of, and that cannot be read
// again, is told of; nothing comes twice.
func TestScanThatCannotGoBack(t *testing.T) {
	s := scanOf(t, loopfs.Saved(t, savedTree...))
	s.Strayed = nil
	reads := 0
	s.broken = func(path string, _ uint64) bool {
		if path == "deep" {
			reads++
		}
		return reads > 1 && path == "deep"
	}
	seen, told := map[string]bool{}, 0
	for {
		e, err := s.Next()
		if err == io.EOF {
			break
		}
		var left *Error
		if errors.As(err, &left) {
			told++
			if left.Op != "read directory" || left.Path != "deep" {
				t.Errorf("told is %v", err)
			}
			continue
		}
		must(t, err)
		if seen[e.Path] {
			t.Errorf("%q comes twice", e.Path)
		}
		seen[e.Path] = true
	}
	if told != 1 || reads < 2 || !seen["deep"] || !seen["many"] || !seen[""] {
		t.Errorf("told %d times, %d reads, %d entries", told, reads, len(seen))
	}
}

// To open directories costs no more where they are many: the kernel looks for the names of
// those that are opened by their numbers.
func TestManyDirectoriesAreOpened(t *testing.T) {
	const many = 3500
	list := []string{"mkdir a"}
	for n := range many {
		list = append(list, fmt.Sprintf("mkdir a/%s%d", strings.Repeat("n", 100), n))
	}
	s := scanOf(t, loopfs.Saved(t, list...))
	found := 0
	s.Obey(Rules{Want: func(e *Entry) bool {
		if e.Stat.Mode&unix.S_IFMT == unix.S_IFDIR && e.StatIn("no") == unix.ENOENT {
			found++
		}
		return true
	}})
	for err := error(nil); err != io.EOF; _, err = s.Next() {
		must(t, err)
	}
	if found < many {
		t.Errorf("%d directories could be looked into", found)
	}
	if s.tree.find.dir != "a" {
		t.Errorf("the directory above that was opened last is %q: they were opened by number", s.tree.find.dir)
	}
}

// Nothing stays open, whatever happens while a scan is opened: the snapshot could not be
// unmounted.
func TestFaultWhileAScanIsOpened(t *testing.T) {
	root := loopfs.Saved(t, savedTree...)
	devices := func() (n int) {
		list, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		for _, fd := range list {
			if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, "/dev/loop") {
				n++
			}
		}
		return n
	}
	before := devices()
	s := scanOf(t, root)
	if devices() == before {
		t.Error("a scan has no device open: what is counted is not what it should be")
	}
	s.Close()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("there was no panic")
			}
		}()
		var none context.Context // the fault
		_, _ = OpenScan(none, root)
	}()
	if n := devices(); n != before {
		t.Errorf("%d devices are open, %d before", n, before)
	}
}

// Scouts have few descriptors, however many errands wait.
func TestScoutsAreFew(t *testing.T) {
	s := &scouts{jobs: make(chan errand, scoutQueue)} // nobody runs
	dir := t.TempDir()
	fd, err := openDir(unix.AT_FDCWD, dir, 0)
	must(t, err)
	defer unix.Close(fd)
	before := descriptors(t, dir)
	for range 1000 {
		s.send(fd, nil, []string{"x"})
	}
	if n := descriptors(t, dir) - before; n > scoutQueue || n == 0 {
		t.Errorf("%d descriptors", n)
	}
	close(s.jobs)
	for e := range s.jobs {
		e.in.drop()
	}
}
