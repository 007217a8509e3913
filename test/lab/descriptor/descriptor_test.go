// SPDX-License-Identifier: AGPL-3.0-only

package descriptor

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const real = "../testdata/ploop-transcripts/"

// Descriptors the real tool wrote come out as they went in.
func TestRealFilesRoundTrip(t *testing.T) {
	for _, name := range []string{"DiskDescriptor.0.xml", "DiskDescriptor.1.xml", "DiskDescriptor.2.xml"} {
		b, err := os.ReadFile(real + name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(b, "/dir")
		if err != nil {
			t.Fatalf("Parse(%s) = %v", name, err)
		}
		if got := d.Marshal(); !bytes.Equal(got, b) {
			t.Errorf("%s: Marshal(Parse) =\n%s", name, got)
		}
	}
}

func read(t *testing.T, name string) *Descriptor {
	t.Helper()
	b, err := os.ReadFile(real + name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(b, "/dir")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const (
	u1 = "{11111111-1111-4111-8111-111111111111}"
	u2 = "{22222222-2222-4222-8222-222222222222}"
)

// A snapshot of the real tool's file 0 is its file 1, and merged again it is file 2.
func TestSnapshotAndMergeAsRealTool(t *testing.T) {
	d := read(t, "DiskDescriptor.0.xml")
	file := read(t, "DiskDescriptor.1.xml").Image(TopGUID).File
	d.Rename(d.Top, u1)
	d.Add(file, TopGUID, u1)
	want, err := os.ReadFile(real + "DiskDescriptor.1.xml")
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Marshal(); !bytes.Equal(got, want) {
		t.Errorf("after a snapshot:\n%s", got)
	}
	gone, err := d.Merge(TopGUID, false)
	if err != nil || gone != file {
		t.Fatalf("Merge(top) = %q, %v, want %q", gone, err, file)
	}
	if want, err = os.ReadFile(real + "DiskDescriptor.2.xml"); err != nil {
		t.Fatal(err)
	}
	if got := d.Marshal(); !bytes.Equal(got, want) {
		t.Errorf("after the merge:\n%s", got)
	}
}

// three is base <- u1 <- u2 <- top.
func three(t *testing.T) *Descriptor {
	t.Helper()
	d := read(t, "DiskDescriptor.0.xml")
	d.Rename(d.Top, u1)
	d.Add("/dir/b", TopGUID, u1)
	d.Rename(TopGUID, u2)
	d.Add("/dir/c", TopGUID, u2)
	return d
}

func files(c []Image) string {
	var n []string
	for _, i := range c {
		n = append(n, filepath.Base(i.File))
	}
	return strings.Join(n, " ")
}

func TestMergeMiddle(t *testing.T) {
	d := three(t)
	gone, err := d.Merge(u2, false)
	if err != nil || gone != "/dir/b" || files(d.Chain(d.Top)) != "root.hds c" || d.Shot(u2) == nil || d.Shot(u1) != nil {
		t.Errorf("Merge(u2) = %q, %v; chain %s", gone, err, files(d.Chain(d.Top)))
	}
}

func TestMergeUpKeepsTheChild(t *testing.T) {
	d := three(t)
	gone, err := d.Merge(TopGUID, true)
	if err != nil || gone != "/dir/b" || files(d.Chain(d.Top)) != "root.hds c" || d.Shot(u2) != nil {
		t.Errorf("Merge(top, up) = %q, %v; chain %s", gone, err, files(d.Chain(d.Top)))
	}
}

func TestMergeRefusals(t *testing.T) {
	d := three(t)
	if _, err := d.Merge(u1, false); !errors.Is(err, ErrBase) {
		t.Errorf("Merge(base) = %v, want ErrBase", err)
	}
	if _, err := d.Merge("{99999999-9999-4999-8999-999999999999}", false); !errors.Is(err, ErrUnknown) {
		t.Errorf("Merge(unknown) = %v, want ErrUnknown", err)
	}
	d.Add("/dir/d", "{33333333-3333-4333-8333-333333333333}", u2)
	if _, err := d.Merge(TopGUID, false); !errors.Is(err, ErrChildren) {
		t.Errorf("Merge(one of two children) = %v, want ErrChildren", err)
	}
}

func TestRemove(t *testing.T) {
	d := three(t)
	if _, err := d.Remove(u1); !errors.Is(err, ErrChildren) {
		t.Errorf("Remove(with children) = %v, want ErrChildren", err)
	}
	file, err := d.Remove(TopGUID)
	if err != nil || file != "/dir/c" || d.Top != TopGUID || d.Image(TopGUID).File != "/dir/b" {
		t.Errorf("Remove(top) = %q, %v; top is %v", file, err, d.Image(d.Top))
	}
}

func TestTemporaryRoundTrip(t *testing.T) {
	d := three(t)
	d.Shot(u1).Temporary = true
	got, err := Parse(d.Marshal(), "/dir")
	if err != nil || !got.Shot(u1).Temporary || got.Shot(u2).Temporary {
		t.Errorf("Parse(Marshal) lost a Temporary mark: %v, %v", got, err)
	}
	if !strings.Contains(string(d.Marshal()), "<Temporary/>") {
		t.Error("Temporary is not written as the real tool writes it")
	}
}

func TestCaseOfGUIDs(t *testing.T) {
	d := three(t)
	if d.Shot(strings.ToUpper(u1)) == nil || d.Image(strings.ToUpper(TopGUID)) == nil {
		t.Error("upper case GUIDs are not found")
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(three(t).Marshal())
	for name, bad := range map[string]string{
		"no xml":          "x",
		"no shot":         strings.Replace(good, "<Shot>", "<Shout>", 1),
		"temporary top":   strings.Replace(good, "<ParentGUID>"+u2+"</ParentGUID>", "<ParentGUID>"+u2+"</ParentGUID><Temporary/>", 1),
		"no block size":   strings.Replace(good, "<Blocksize>2048</Blocksize>", "", 1),
		"foreign type":    strings.Replace(good, "Compressed", "Magic", 1),
		"two storages":    strings.Replace(good, "</Storage>", "</Storage><Storage></Storage>", 1),
		"no top":          strings.Replace(good, "<TopGUID>"+TopGUID+"</TopGUID>", "", 1),
		"image to nobody": strings.Replace(good, "<GUID>"+u1+"</GUID>", "<GUID>"+NoParent+"</GUID>", 1),
	} {
		if _, err := Parse([]byte(bad), "/dir"); !errors.Is(err, ErrBad) {
			t.Errorf("Parse(%s) = %v, want ErrBad", name, err)
		}
	}
}

func TestStoreLeavesNoHalf(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, Name)
	d := three(t)
	if err := d.Store(path); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 {
		t.Errorf("Store left %v, %v; want one file", list, err)
	}
	if err := d.Store(filepath.Join(dir, "no", "such")); err == nil {
		t.Error("Store in a missing folder = nil, want an error")
	}
}

func TestChainOfBrokenParents(t *testing.T) {
	d := three(t)
	d.Shot(u1).Parent = TopGUID // a ring
	if c := d.Chain(d.Top); c != nil {
		t.Errorf("Chain of a ring = %v, want nil", c)
	}
	if !slices.Equal(d.Children(u2), []string{TopGUID}) {
		t.Errorf("Children(u2) = %v", d.Children(u2))
	}
}

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile(real + "DiskDescriptor.1.xml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b, "/dir")
		if err != nil {
			return
		}
		if d.Image(d.Top) == nil || len(d.Images) != len(d.Shots) {
			t.Errorf("Parse(%q) passed an unusable descriptor", b)
		}
	})
}
