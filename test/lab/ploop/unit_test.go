// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/image"
)

func tool(vz9 bool) (*Tool, *bytes.Buffer, *bytes.Buffer) {
	var out, errw bytes.Buffer
	return &Tool{out: &out, err: &errw, vz9: vz9}, &out, &errw
}

func TestParseOptions(t *testing.T) {
	tl, _, errw := tool(false)
	for _, c := range []struct {
		args []string
		set  map[byte]string
		rest []string
		ok   bool
	}{
		{[]string{"-r", "-u", "U", "DD.xml"}, map[byte]string{'r': "", 'u': "U"}, []string{"DD.xml"}, true},
		{[]string{"DD.xml", "-ruU"}, map[byte]string{'r': "", 'u': "U"}, []string{"DD.xml"}, true},
		{[]string{"--uuid", "U", "a", "--", "-r"}, map[byte]string{'u': "U"}, []string{"a", "-r"}, true},
		{[]string{"-x"}, nil, nil, false},
		{[]string{"-u"}, nil, nil, false},
		{[]string{"--no"}, nil, nil, false},
	} {
		o, ok := tl.parse("mount", c.args, "ru:", map[string]byte{"uuid": 'u'})
		if ok != c.ok || ok && (!maps.Equal(o.set, c.set) || !slices.Equal(o.rest, c.rest)) {
			t.Errorf("parse(%q) = %v, %v", c.args, o, ok)
		}
	}
	if !strings.Contains(errw.String(), "mount: invalid option -- 'x'") {
		t.Errorf("messages: %s", errw)
	}
}

func TestGUID(t *testing.T) {
	tl, _, errw := tool(false)
	const u = "11111111-1111-4111-8111-111111111111"
	for arg, want := range map[string]string{u: "{" + u + "}", "{" + u + "}": "{" + u + "}", "x": "", u + "0": "", "{" + u: ""} {
		if got, ok := tl.guid(arg); got != want || ok != (want != "") {
			t.Errorf("guid(%q) = %q, %v, want %q", arg, got, ok, want)
		}
	}
	if !strings.Contains(errw.String(), "Incorrect uuid specified: x\n") {
		t.Errorf("messages: %s", errw)
	}
}

func TestSize(t *testing.T) {
	for arg, want := range map[string]uint64{"1g": 2097152, "512M": 1048576, "2048": 2048, "4k": 8, "1T": 1 << 31, "": 0, "x": 0, "1x": 0} {
		if got, ok := size(arg); got != want || ok != (want != 0) {
			t.Errorf("size(%q) = %d, %v, want %d", arg, got, ok, want)
		}
	}
}

func TestStrerror(t *testing.T) {
	_, err := os.Open("/no/such")
	if got := strerror(err); got != "No such file or directory" {
		t.Errorf("strerror(ENOENT) = %q", got)
	}
}

// crashed is an image that was not closed, with two clusters nobody refers to behind the last one.
func crashed(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.hds")
	if err := image.Create(path, image.Spec{Sectors: 4096, Blocksize: 64, Version: 2}); err != nil {
		t.Fatal(err)
	}
	m, err := openImage(path, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.MarkInUse(true); err != nil {
		t.Fatal(err)
	}
	if err := m.Allocate(0, bytes.Repeat([]byte{1}, 32768)); err != nil {
		t.Fatal(err)
	}
	if err := m.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Repeat([]byte{9}, 2*32768)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Bug 4 of the study, where it is cured: the check before every mount cuts the tail off.
func TestCheckTrimsTail(t *testing.T) {
	path := crashed(t)
	tl, out, errw := tool(false)
	if c := tl.checkImage(path, checkOptions{}); c != cInUse {
		t.Fatalf("check of an unclean image = %d, want 37\n%s", c, errw)
	}
	if c := tl.checkImage(path, checkOptions{dropInUse: true}); c != 0 {
		t.Fatalf("check -d = %d\n%s%s", c, out, errw)
	}
	st, err := os.Stat(path)
	if err != nil || st.Size() != 2*32768 {
		t.Errorf("%d bytes after the check, %v; want %d", st.Size(), err, 2*32768)
	}
	h, err := readHeader(path)
	if err != nil || h.Dirty() {
		t.Errorf("in use after the check: %v, %v", h.Dirty(), err)
	}
	out.Reset()
	if c := tl.checkImage(path, checkOptions{talk: true}); c != 0 || out.String() != "Image is clean, check is skipped\n" {
		t.Errorf("check of a clean image = %d, %q", c, out)
	}
}

func TestCheckReadOnlyChangesNothing(t *testing.T) {
	path := crashed(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tl, _, _ := tool(false)
	if c := tl.checkImage(path, checkOptions{readOnly: true, force: true, detailed: true}); c != cInUse {
		t.Errorf("check -r = %d, want 37", c)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("check -r changed the image, %v", err)
	}
}

func TestCheckFatal(t *testing.T) {
	path := crashed(t)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1}, 64+4*5); err != nil { // a second entry for the same cluster
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	tl, _, errw := tool(false)
	if c := tl.checkImage(path, checkOptions{force: true, detailed: true, dropInUse: true}); c != cFormat {
		t.Errorf("check of a doubly used cluster = %d, want 11\n%s", c, errw)
	}
}

func TestErrorPlaces(t *testing.T) {
	for _, c := range []struct {
		vz9  bool
		want string
	}{{false, "Error in f (a.c:1): x 5: File exists\n"}, {true, "Error in f (b.c:2): x 5: File exists\n"}} {
		tl, _, errw := tool(c.vz9)
		tl.fail(at{"f", "a.c:1", "b.c:2"}, unix.EEXIST, "x %d", 5)
		if got := errw.String(); got != c.want {
			t.Errorf("fail() = %q, want %q", got, c.want)
		}
	}
}
