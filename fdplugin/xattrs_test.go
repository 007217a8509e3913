// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
	"github.com/bareos-contrib/vz7ct/internal/walk"
	"github.com/bareos-contrib/vz7ct/restore"
	"github.com/bareos-contrib/vz7ct/test/loopfs"
)

// What is too much for the daemon is named with its size; ours and the system's go first.
func TestFittingXattrs(t *testing.T) {
	big := bytes.Repeat([]byte("v"), 1<<16)
	list := []walk.Xattr{{Name: chattr.Name, Value: []byte("flags=0x10")}}
	for n := range 20 {
		list = append(list, walk.Xattr{Name: fmt.Sprintf("user.%02d", n), Value: big})
	}
	list = append(list, walk.Xattr{Name: "user.\xff\n", Value: big}, walk.Xattr{Name: "security.capability", Value: make([]byte, 20)}, walk.Xattr{Name: "user.small"})
	kept, err := fitting(list, BareosXattrs)
	total := 0
	var names []string
	for _, x := range kept {
		total += 12 + len(x.Name) + len(x.Value)
		names = append(names, x.Name)
	}
	if total >= BareosXattrs || total < BareosXattrs-1<<16-50 {
		t.Errorf("%d bytes are kept", total)
	}
	if got := strings.Join(names, " "); !strings.HasPrefix(got, chattr.Name+" security.capability user.00 user.01 ") || !strings.HasSuffix(got, "user.14 user.small") {
		t.Errorf("kept %s", got)
	}
	for _, words := range []string{"they have 1,37", "the daemon carries less than 1,048,576 for one file; left out: user.15 (65,536 bytes), user.16", `user.\xff\n`} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("fitting = %v, want %q", err, words)
		}
	}
	for _, limit := range []int{0, BaculaXattrs} {
		if kept, err := fitting(list, limit); len(kept) != len(list) || err != nil {
			t.Errorf("fitting with limit %d = %d of %d, %v", limit, len(kept), len(list), err)
		}
	}
	// One byte decides, as it does for the daemon.
	one := []walk.Xattr{{Name: "user.a", Value: make([]byte, 100)}}
	for limit, want := range map[int]int{130: 0, 131: 1} {
		if kept, _ := fitting(one, limit); len(kept) != want {
			t.Errorf("limit %d: %d kept, want %d", limit, len(kept), want)
		}
	}
	many := make([]walk.Xattr, 1000)
	for n := range many {
		many[n] = walk.Xattr{Name: "user.x", Value: []byte("y")}
	}
	if _, err := fitting(many, 100); err == nil || !strings.HasSuffix(err.Error(), "more") || len(err.Error()) > 600 {
		t.Errorf("fitting of a thousand = %v", err)
	}
}

// The warning names the file.
func TestTooManyXattrsAreReported(t *testing.T) {
	n := webNode(t)
	if err := unix.Setxattr(n.path("tree-root/etc/hostname"), "user.large", make([]byte, 2000), 0); err != nil {
		t.Skipf("no user attributes: %v", err)
	}
	small := bareos
	small.MaxXattrs = 1000
	j, log := n.job(t, small)
	must(t, j.StartBackup(cmd))
	_, err := save(j)
	must(t, err)
	if want := "extended attributes of /mnt/bareos/" + webID + "/etc/hostname are not complete: they have "; !strings.Contains(log.all("warning"), want) || !strings.Contains(log.all("warning"), "user.large (2,000 bytes)") {
		t.Errorf("said %s, want %q", log.all("warning"), want)
	}
}

func TestNanoseconds(t *testing.T) {
	for _, tt := range []struct{ ns, block, carried int64 }{
		{0, 4096, 4096}, {1, 4096, 1<<30 + 1}, {999999999, 4096, 1<<30 + 999999999}, {123456789, 1 << 20, 1<<30 + 123456789},
		{0, 1 << 30, 1 << 30}, {0, 1<<30 + 5, 4096}, {-1, 4096, 4096}, {1e9, 4096, 4096},
	} {
		st := unix.Stat_t{Blksize: tt.block, Mtim: unix.Timespec{Sec: -5, Nsec: tt.ns}}
		carryNanoseconds(&st)
		if st.Blksize != tt.carried {
			t.Errorf("%d ns, blocks of %d: carried as %d, want %d", tt.ns, tt.block, st.Blksize, tt.carried)
		}
		want := tt.ns
		if want < 0 || want >= 1e9 {
			want = 0
		}
		// The daemon's own decoding leaves Nsec as it was in memory.
		st.Mtim.Nsec = 77
		if got := nanoseconds(&st); got != want {
			t.Errorf("%d ns came back as %d", tt.ns, got)
		}
	}
	for _, block := range []int64{0, -1, 512, 4096, 65536, 1 << 22, 1 << 30, 1 << 31, 1 << 40, -1 << 63, 1<<63 - 1, 1<<30 + 1e9} {
		if got := nanoseconds(&unix.Stat_t{Blksize: block}); got != 0 {
			t.Errorf("blocks of %d are taken for %d ns", block, got)
		}
	}
}

// Flags, projects and nanoseconds from one file system to another, by way of what the
// daemon carries.
func TestFlagsGoThroughTheDaemon(t *testing.T) {
	source, target := loopfs.Projects(t), loopfs.Projects(t)
	must(t, os.Mkdir(filepath.Join(source, "d"), 0o755))
	want := map[string]chattr.Attributes{"d": {Flags: chattr.Immutable, Project: 5}, "d/f": {Flags: chattr.Append | 0x40}, "d/plain": {}, "linked": {Flags: chattr.Immutable}}
	for name := range want {
		p := filepath.Join(source, name)
		if name != "d" {
			must(t, os.WriteFile(p, []byte("x"), 0o644))
		}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Sec: 5}, {Sec: -99, Nsec: 123456000}}, 0))
	}
	must(t, os.Link(filepath.Join(source, "linked"), filepath.Join(source, "zz")))
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(source, "d"), []unix.Timespec{{Sec: 5}, {Sec: -99, Nsec: 123456000}}, 0))
	for _, name := range []string{"d/f", "d", "linked"} {
		f, err := os.Open(filepath.Join(source, name))
		must(t, err)
		must(t, chattr.Set(int(f.Fd()), want[name], 0))
		f.Close()
	}
	root, err := os.Open(target)
	must(t, err)
	tree, err := restore.Open(root, t.TempDir())
	must(t, err)
	c, err := walk.Open(source)
	must(t, err)
	defer c.Close()
	links := newLinks(false, t.TempDir())
	defer links.close()
	for {
		e, err := c.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		it := fileItem(e, "", 7)
		links.replace(it)
		r := &Restored{Kind: it.Kind, Name: it.Name, Link: it.Link, Stat: it.Stat, Replace: restore.Always}
		r.Stat.Mtim.Nsec = 0 // as the daemon has it
		item := r.item(e.Path)
		if r.Kind == HardLink {
			item.First = strings.TrimPrefix(r.Link, "/")
		}
		f, err := tree.Create(*item)
		must(t, err)
		if it.xattrs != nil {
			list, err := it.xattrs()
			must(t, err)
			for _, x := range list {
				f.SetXattr(x.Name, x.Value)
			}
		}
		if f.Fd() >= 0 && e.Stat.Size > 0 {
			_, err := unix.Write(f.Fd(), []byte("x"))
			must(t, err)
		}
		must(t, f.Finish())
		links.saved(it, &counter{n: 1})
	}
	must(t, tree.Close(func(_ string, err error, _ bool) { t.Error(err) }))
	want["zz"] = want["linked"]
	for name, a := range want {
		f, err := os.Open(filepath.Join(target, name))
		must(t, err)
		var st unix.Stat_t
		must(t, unix.Fstat(int(f.Fd()), &st))
		if got, err := chattr.Read(int(f.Fd())); got != a || err != nil {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, a)
		}
		if st.Mtim != (unix.Timespec{Sec: -99, Nsec: 123456000}) {
			t.Errorf("%s: mtime %v", name, st.Mtim)
		}
		f.Close()
	}
}

// Nothing in a private area becomes immutable: it could not be removed.
func TestPrivateAreaStaysRemovable(t *testing.T) {
	list, _ := backedUp(t, bareos)
	linkAsBareos(list)
	n := emptyNode(t)
	j, log := n.job(t, bareos)
	must(t, play(j, cmd, "/tmp/restores", list))
	locked := &Restored{Name: "/vz/private/" + webID + "/locked", Replace: restore.Always,
		Stat: unix.Stat_t{Mode: unix.S_IFREG | 0o600, Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}}
	answer, err := j.CreateFile(locked)
	must(t, err)
	j.SetXattr(chattr.Name, []byte("flags=0x30"))
	j.EndFile(false)
	j.EndRestore(Good)
	if want := "not restored exactly: /vz/private/" + webID + "/locked: flags of locked: immutable (i), append only (a): left off"; answer != Extract || !strings.Contains(log.all("warning"), want) {
		t.Errorf("CreateFile = %v, said %s, want %q", answer, log.all(), want)
	}
	must(t, os.Remove(n.path("private/"+webID+"/locked")))
}
