// SPDX-License-Identifier: AGPL-3.0-only

package chattr

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/loopfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create makes a file or directory and opens it.
func create(t *testing.T, path string, dir bool) *os.File {
	t.Helper()
	if dir {
		must(t, os.Mkdir(path, 0o755))
	} else {
		must(t, os.WriteFile(path, []byte("x"), 0o644))
	}
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() {
		_ = put(int(f.Fd()), 0) // what is immutable cannot be removed
		f.Close()
	})
	return f
}

// Every flag, alone and all together, comes back as it was set.
func TestSetAndRead(t *testing.T) {
	root := loopfs.Ext4(t)
	for _, dir := range []bool{false, true} {
		all := uint32(Settable) &^ (dirSync | topDir | projectInherit)
		if dir {
			all = Settable &^ journalData
		}
		list := []Attributes{{}, {Flags: all}}
		for _, n := range names {
			if all&n.bit != 0 {
				list = append(list, Attributes{Flags: n.bit})
			}
		}
		for _, want := range list {
			f := create(t, filepath.Join(root, "f"), dir)
			fd := int(f.Fd())
			before, err := get(fd)
			must(t, err)
			err = Set(fd, want, 0)
			if errors.Is(err, unix.EPERM) && want.Flags&journalData != 0 {
				t.Logf("journalled data: %v: it needs CAP_SYS_RESOURCE, which this root has not", err)
				want.Flags &^= journalData
			} else if err != nil {
				t.Errorf("Set(%+v) = %v", want, err)
			}
			if got, err := Read(fd); got != want || err != nil {
				t.Errorf("Read after Set(%+v) = %+v, %v", want, got, err)
			}
			if now, _ := get(fd); now&^Settable != before&^Settable {
				t.Errorf("flags of the file system itself: %#x, before %#x", now, before)
			}
			must(t, put(fd, before))
			must(t, os.Remove(filepath.Join(root, "f")))
		}
	}
}

// A project too, where the file system has them, also on what is immutable then.
func TestProjects(t *testing.T) {
	root := loopfs.Projects(t)
	for n, want := range []Attributes{{Project: 7}, {Project: 1<<32 - 2}, {NoDump | Immutable, 77}, {projectInherit | Append, 78}} {
		f := create(t, filepath.Join(root, strconv.Itoa(n)), true)
		if err := Set(int(f.Fd()), want, 0); err != nil {
			t.Errorf("Set(%+v) = %v", want, err)
		}
		if got, err := Read(int(f.Fd())); got != want || err != nil {
			t.Errorf("Read after Set(%+v) = %+v, %v", want, got, err)
		}
	}
}

// What debugfs has written is what we read: ours and e2fsprogs' ideas are the same.
func TestReadAsSaved(t *testing.T) {
	root := loopfs.Saved(t, "mkdir d", "set_inode_field d flags 0x20080050", "set_inode_field d projid 123456", "write /dev/null f", "set_inode_field f flags 0x80020")
	for name, want := range map[string]Attributes{"d": {projectInherit | NoDump | Immutable, 123456}, "f": {Flags: Append}, ".": {}} {
		f, err := os.Open(filepath.Join(root, name))
		must(t, err)
		if got, err := Read(int(f.Fd())); got != want || err != nil {
			t.Errorf("Read(%s) = %+v, %v, want %+v", name, got, err, want)
		}
		f.Close()
	}
}

// What a file system does not take is named, the rest is set.
func TestWhatIsRefusedIsNamed(t *testing.T) {
	root := loopfs.Ext4(t)
	f := create(t, filepath.Join(root, "f"), false)
	err := Set(int(f.Fd()), Attributes{NoDump | dirSync | Append, 7}, 0) // directories alone are synchronous so
	if got, _ := Read(int(f.Fd())); got != (Attributes{NoDump | Append, 0}) {
		t.Errorf("Read = %+v, want no dump and append only", got)
	}
	if err == nil || !strings.Contains(err.Error(), "project 7: ") {
		t.Errorf("Set = %v, want it to name the project", err)
	}
	g := create(t, filepath.Join(root, "g"), false)
	err = Set(int(g.Fd()), Attributes{Flags: NoDump | Immutable}, Locks)
	if got, _ := Read(int(g.Fd())); got.Flags != NoDump || !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "immutable (i)") {
		t.Errorf("Set held = %v, then %+v", err, got)
	}
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	if got, err := Read(int(null.Fd())); got != (Attributes{}) || err != nil {
		t.Errorf("Read(/dev/null) = %+v, %v", got, err)
	}
	if err := Set(int(null.Fd()), Attributes{NoDump, 7}, 0); err == nil || !strings.Contains(err.Error(), "no dump (d)") || !strings.Contains(err.Error(), "project 7") {
		t.Errorf("Set(/dev/null) = %v", err)
	}
}

// A new file has flags of its directory; Forget takes those away that are not kept, and
// none that somebody has given it.
func TestForget(t *testing.T) {
	root := loopfs.Ext4(t)
	d := create(t, filepath.Join(root, "d"), true)
	must(t, put(int(d.Fd()), NoDump|noAtime|synchronous))
	f := create(t, filepath.Join(root, "d/f"), false)
	if got, _ := Read(int(f.Fd())); got.Flags&(NoDump|noAtime) != NoDump|noAtime {
		t.Skipf("this kernel hands down %#x", got.Flags)
	}
	must(t, Set(int(f.Fd()), Attributes{Flags: Append}, 0))
	must(t, Forget(int(f.Fd()), noAtime))
	if got, err := Read(int(f.Fd())); got.Flags != noAtime|Append || err != nil {
		t.Errorf("flags %s, %v, want no atime and append only", Words(got.Flags), err)
	}
}

// No tenant can give a file an attribute of our name.
func TestNameCannotBeTaken(t *testing.T) {
	for where, dir := range map[string]string{"ext4": loopfs.Ext4(t), "temporary directory": t.TempDir()} {
		p := filepath.Join(dir, "f")
		must(t, os.WriteFile(p, nil, 0o644))
		if err := unix.Setxattr(p, "user.control", []byte("x"), 0); err != nil {
			t.Logf("%s: user attributes: %v", where, err)
		}
		for _, name := range []string{Name, Prefix + "x"} {
			if err := unix.Setxattr(p, name, []byte("flags=0x10"), 0); !errors.Is(err, unix.EOPNOTSUPP) {
				t.Errorf("%s: setxattr(%s) = %v, want EOPNOTSUPP", where, name, err)
			}
		}
	}
}

func TestEncode(t *testing.T) {
	for want, a := range map[string]Attributes{
		"": {}, "flags=0x10": {Flags: Immutable}, "flags=0x30": {Flags: Locks | 0x80000}, "project=4294967295": {Project: 1<<32 - 1},
		"flags=0x20000040 project=7": {projectInherit | NoDump, 7},
	} {
		if got := a.Encode(); string(got) != want || (want == "") != (got == nil) {
			t.Errorf("Encode(%+v) = %q, want %q", a, got, want)
		}
	}
	for value, want := range map[string]struct {
		Attributes
		err string
	}{
		"":                            {},
		"project=7 flags=0x30":        {Attributes{Locks, 7}, ""},
		"flags=0x10000010 x=1":        {Attributes{Immutable, 0}, `not known to this release: flags 0x10000000, "x=1"`},
		"flags=0xfffffffff":           {Attributes{}, `"flags=0xfffffffff"`},
		"flags=-1 project=":           {Attributes{}, `"flags=-1", "project="`},
		strings.Repeat("flags=1", 99): {Attributes{}, "693 bytes"},
		"\x00\xff":                    {Attributes{}, `"\x00\xff"`},
	} {
		got, err := Decode([]byte(value))
		if got != want.Attributes || (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("Decode(%q) = %+v, %v, want %+v", value, got, err, want)
		}
	}
}

// Of a value from a volume, which may be any, nothing comes that is not carried.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "flags=0x30 project=7", "flags=0xffffffff", "flags=", "=", "project=-1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Decode(b)
		if a.Flags&^Settable != 0 {
			t.Errorf("Decode(%q) = flags %#x", b, a.Flags)
		}
		if again, err2 := Decode(a.Encode()); again != a || err2 != nil {
			t.Errorf("Decode(%q) = %+v, %v, encoded again %+v, %v", b, a, err, again, err2)
		}
	})
}
