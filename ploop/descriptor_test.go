// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The descriptors in testdata are verbatim from ploop 9.0.30: a new disk, the
// same with one snapshot, and after the merge.
func TestReadRealDescriptors(t *testing.T) {
	const snap = "11111111-1111-4111-8111-111111111111"
	for _, tt := range []struct {
		file   string
		images int
		has    bool
	}{{"DiskDescriptor.0.xml", 1, false}, {"DiskDescriptor.1.xml", 2, true}, {"DiskDescriptor.2.xml", 1, false}} {
		d, err := Read(filepath.Join("testdata", tt.file))
		if err != nil {
			t.Errorf("Read(%s) = %v", tt.file, err)
			continue
		}
		if d.Size != 2097152 || d.Cluster != 2048 || len(d.Images) != tt.images || d.Top != topGUID {
			t.Errorf("Read(%s) = %+v", tt.file, d)
		}
		for _, spelling := range []string{snap, "{" + snap + "}", strings.ToUpper(snap)} {
			if _, has := d.Shot(spelling); has != tt.has {
				t.Errorf("%s: Shot(%s) = %v, want %v", tt.file, spelling, has, tt.has)
			}
		}
	}
	d, err := Read("testdata/DiskDescriptor.1.xml")
	if err != nil {
		t.Fatal(err)
	}
	chain, err := d.Chain()
	if err != nil || len(chain) != 2 || chain[0].File != filepath.Join("testdata", "root.hds") {
		t.Errorf("Chain = %v, %v, want root.hds first", chain, err)
	}
}

// build writes a descriptor with the shots "guid parent [temporary]".
func build(shots ...string) string {
	var images, tree strings.Builder
	for i, s := range shots {
		f := strings.Fields(s)
		fmt.Fprintf(&images, "<Image><GUID>{%s}</GUID><Type>Compressed</Type><File>i%d.hds</File></Image>", f[0], i)
		temp := ""
		if len(f) > 2 {
			temp = "<Temporary/>"
		}
		fmt.Fprintf(&tree, "<Shot><GUID>{%s}</GUID><ParentGUID>{%s}</ParentGUID>%s</Shot>", f[0], f[1], temp)
	}
	return "<?xml version=\"1.0\"?><Parallels_disk_image><Disk_Parameters><Disk_size>409600</Disk_size>" +
		"<Encryption><KeyId>k1</KeyId></Encryption></Disk_Parameters><StorageData><Storage><Blocksize>2048</Blocksize>" +
		"<Preallocated>1</Preallocated>" + images.String() + "</Storage></StorageData><Snapshots><TopGUID>" + topGUID +
		"</TopGUID>" + tree.String() + "</Snapshots></Parallels_disk_image>"
}

var top, null = strings.Trim(topGUID, "{}"), strings.Trim(nullGUID, "{}")

func TestParseRefuses(t *testing.T) {
	many := []string{top + " a0"}
	for i := range 130 {
		many = append(many, fmt.Sprintf("a%d a%d", i, i+1))
	}
	for name, text := range map[string]string{
		"nothing":        "",
		"no xml":         "hello",
		"empty":          "<x/>",
		"circle":         build(top+" aa", "aa bb", "bb aa"),
		"self":           build(top + " " + top),
		"no parent":      build(top + " aa"),
		"no top":         build("aa " + null),
		"twice":          build(top+" "+null, top+" "+null),
		"too many":       build(many...),
		"cluster":        strings.Replace(build(top+" "+null), "<Blocksize>2048", "<Blocksize>2000", 1),
		"no size":        strings.Replace(build(top+" "+null), "<Disk_size>409600", "<Disk_size>0", 1),
		"negative":       strings.Replace(build(top+" "+null), "<Disk_size>409600", "<Disk_size>-5", 1),
		"two storages":   strings.Replace(build(top+" "+null), "<Storage>", "<Storage></Storage><Storage>", 1),
		"no file":        strings.Replace(build(top+" "+null), "i0.hds", " ", 1),
		"shot too many":  strings.Replace(build(top+" "+null), "</Snapshots>", "<Shot><GUID>{aa}</GUID></Shot></Snapshots>", 1),
		"10 MB":          build(top+" "+null) + strings.Repeat(" ", 10<<20),
		"entity":         strings.Replace(build(top+" "+null), "i0.hds", "&x;", 1),
		"cut":            build(top + " " + null)[:300],
		"shot elsewhere": strings.Replace(build(top+" "+null), "<Shot><GUID>"+topGUID, "<Shot><GUID>{cc}", 1),
	} {
		if d, err := parse(strings.NewReader(text), "/d"); !errors.Is(err, ErrDescriptor) {
			t.Errorf("parse(%s) = %+v, %v, want ErrDescriptor", name, d, err)
		}
	}
}

func TestParseParameters(t *testing.T) {
	d, err := parse(strings.NewReader(build("aa "+null, top+" aa")), "/d")
	if err != nil {
		t.Fatal(err)
	}
	if !d.Preallocated || d.Raw || d.KeyID != "k1" || d.Images[0].File != "/d/i0.hds" {
		t.Errorf("parse = %+v", d)
	}
	d, err = parse(strings.NewReader(strings.ReplaceAll(build("aa "+null, top+" aa"), "Compressed", "Plain")), "/d")
	if err != nil || !d.Raw {
		t.Errorf("parse(Plain) = %+v, %v", d, err)
	}
}

// image writes an image file that consists of a header.
func image(t *testing.T, path string, used bool) {
	t.Helper()
	b := make([]byte, 64)
	copy(b, signature2)
	b[29], b[49] = 8, 8 // clusters of 2048 sectors, the tables in one
	if used {
		copy(b[44:], "Ynot")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The states that ploop.md 3c proves to lose data, and those that are fine.
func TestSafe(t *testing.T) {
	chain := []string{"aa " + null, "bb aa", top + " bb"}
	for _, tt := range []struct {
		name  string
		shots []string
		used  []int
		what  string // part of the error; "" is safe
	}{
		{"one image, live", []string{top + " " + null}, []int{0}, ""},
		{"one image, stopped", []string{top + " " + null}, nil, ""},
		{"user's snapshots", chain, []int{2}, ""},
		{"base in use", chain, []int{0, 2}, "i0.hds"},
		{"middle in use", chain, []int{1}, "i1.hds"},
		{"temporary", []string{"aa " + null + " t", top + " aa"}, []int{1}, "temporary"},
		{"temporary beside the chain", []string{"aa " + null, "cc aa t", top + " aa"}, nil, "temporary"},
	} {
		dir := t.TempDir()
		dd := filepath.Join(dir, "DiskDescriptor.xml")
		if err := os.WriteFile(dd, []byte(build(tt.shots...)), 0o600); err != nil {
			t.Fatal(err)
		}
		for i := range tt.shots {
			used := false
			for _, u := range tt.used {
				used = used || u == i
			}
			image(t, filepath.Join(dir, fmt.Sprintf("i%d.hds", i)), used)
		}
		err := Safe(dd)
		var unsafe *UnsafeError
		switch {
		case tt.what == "" && err != nil:
			t.Errorf("%s: Safe = %v, want nil", tt.name, err)
		case tt.what != "" && !errors.As(err, &unsafe):
			t.Errorf("%s: Safe = %v, want an UnsafeError", tt.name, err)
		case tt.what != "" && (!strings.Contains(unsafe.What, tt.what) || !strings.Contains(unsafe.Cure, "ploop check -d "+dd)):
			t.Errorf("%s: Safe = %v, want %q and the cure", tt.name, err, tt.what)
		}
		if tt.name == "one image, live" {
			os.Remove(filepath.Join(dir, "i0.hds"))
			if err := Safe(dd); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("Safe without the image = %v", err)
			}
		}
	}
}

func TestOrphans(t *testing.T) {
	dir := t.TempDir()
	dd := filepath.Join(dir, "DiskDescriptor.xml")
	if err := os.WriteFile(dd, []byte(build(top+" "+null)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"i0.hds", "i0.hds.{0a0b0c0d-0000-4000-8000-00000000abcd}", "i0.hds.mnt", "other.hds"} {
		image(t, filepath.Join(dir, n), false)
	}
	d, err := Read(dd)
	if err != nil {
		t.Fatal(err)
	}
	got := d.Orphans()
	if len(got) != 1 || !strings.HasSuffix(got[0], "abcd}") {
		t.Errorf("Orphans = %v, want the delta that no snapshot names", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, n := range []string{"0", "1"} {
		b, err := os.ReadFile("testdata/DiskDescriptor." + n + ".xml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(build(top+" aa", "aa bb", "bb aa"))
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parse(strings.NewReader(text), "/d"); err == nil {
			if _, err := d.Chain(); err != nil {
				t.Errorf("parse accepts what Chain refuses: %v", err)
			}
			d.Orphans()
		}
	})
}
