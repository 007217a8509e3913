// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/prlctl"
)

// webManifest describes the container of webNode.
func webManifest() *manifest {
	return &manifest{
		Format: manifestFormat, Plugin: "1.0", Job: "job.1", Created: time.Date(2024, 2, 29, 12, 0, 0, 5, time.UTC),
		UUID: webID, CTID: webID, Name: "web", State: "running", Private: "/vz/private/" + webID, Root: "/vz/root/" + webID,
		Disks: []manifestDisk{
			{UUID: prlctl.RootDisk, Mount: "/", Image: "root.hdd/root.hds", Size: 2097152, Cluster: 2048, Version: 2, UsedBytes: 1 << 20, UsedInodes: 9},
			{UUID: dataID, Mount: "/data", Catalogue: "data", Image: "/pool/data.hdd/root.hds", Size: 2097152, Cluster: 2048, Preallocated: true, KeyID: "k"},
		},
		Config: []byte("VEID=\"" + webID + "\"\n"),
	}
}

func TestManifestComesBack(t *testing.T) {
	m := webManifest()
	data, err := m.encode()
	must(t, err)
	if got, err := decodeManifest(data); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("decodeManifest(encode) = %+v, %v, want %+v", got, err, m)
	}
	if !bytes.HasPrefix(data, []byte("{\n  \"vz7ct_manifest\": 1,\n")) || !bytes.HasSuffix(data, []byte("}\n")) {
		t.Errorf("a manifest is not readable: %s", data)
	}
}

// another returns a disk like d, in another place.
func another(d manifestDisk) manifestDisk {
	d.UUID, _ = newUUID()
	d.Mount, d.Catalogue, d.Image = "/"+d.UUID[:8]+d.Catalogue, d.UUID[:8]+d.Catalogue, "/p/"+d.UUID[:8]+"/root.hds"
	return d
}

// A restore object is short enough for Bacula 9.6 not to compress it, which it
// cannot undo, and holds no byte that a catalogue could change.
func TestObjectComesBack(t *testing.T) {
	for disks, wantPacked := range map[int]bool{1: false, 2: false, 3: true, 8: true} {
		m := webManifest()
		for len(m.Disks) < disks {
			m.Disks = append(m.Disks, another(m.Disks[1]))
		}
		m.Disks = m.Disks[:disks]
		// So long that it cannot be packed into what Bacula takes.
		random := make([]byte, 2*MaxObject)
		rand.NewChaCha8([32]byte{}).Read(random)
		m.Config = random
		data, err := m.encodeObject(0)
		must(t, err)
		if got, err := decodeObject(data); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%d disks, no limit: decodeObject(encodeObject) = %+v, %v, want %+v", disks, got, err, m)
		}
		data, err = m.encodeObject(MaxObject)
		must(t, err)
		got, err := decodeObject(data)
		m.Config = nil // is in the manifest only
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%d disks: decodeObject(encodeObject) = %+v, %v, want %+v", disks, got, err, m)
		}
		if is := bytes.HasPrefix(data, []byte(packed)); is != wantPacked || len(data) > MaxObject {
			t.Errorf("%d disks: object of %d bytes, packed %v, want %v and at most %d", disks, len(data), is, wantPacked, MaxObject)
		}
		for _, c := range data {
			if c < ' ' || c > '~' {
				t.Errorf("%d disks: object holds the byte %#x", disks, c)
				break
			}
		}
	}
}

// A manifest that comes from a volume is not trusted.
func TestHostileManifests(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*manifest)
		want  string
	}{
		"format 0":           {func(m *manifest) { m.Format = 0 }, "manifest of format 0"},
		"format of later":    {func(m *manifest) { m.Format, m.Plugin = 2, "9.9" }, `restore with the release that made the backup ("9.9")`},
		"no uuid":            {func(m *manifest) { m.UUID = "" }, `"" is no UUID`},
		"path as uuid":       {func(m *manifest) { m.UUID = "../../etc" }, "is no UUID"},
		"uuid in capitals":   {func(m *manifest) { m.UUID = strings.ToUpper(webID) }, "is no UUID"},
		"uuid in braces":     {func(m *manifest) { m.UUID = "{" + webID + "}" }, "is no UUID"},
		"uuid with a blank":  {func(m *manifest) { m.UUID = webID + "\n" }, "is no UUID"},
		"no ctid":            {func(m *manifest) { m.CTID = "" }, "no container id"},
		"dots as ctid":       {func(m *manifest) { m.CTID = ".." }, "no container id"},
		"dot as ctid":        {func(m *manifest) { m.CTID = "." }, "no container id"},
		"hidden ctid":        {func(m *manifest) { m.CTID = ".ssh" }, "no container id"},
		"path as ctid":       {func(m *manifest) { m.CTID = "101/../x" }, "no container id"},
		"absolute ctid":      {func(m *manifest) { m.CTID = "/etc" }, "no container id"},
		"NUL in ctid":        {func(m *manifest) { m.CTID = "a\x00b" }, "no container id"},
		"no disks":           {func(m *manifest) { m.Disks = nil }, "0 disks"},
		"too many disks":     {func(m *manifest) { m.Disks = slices.Repeat(m.Disks[:1], maxDisks+1) }, "more than 1024 disks"},
		"disk uuid":          {func(m *manifest) { m.Disks[1].UUID = "x/../y" }, "no UUID"},
		"disk uuid capitals": {func(m *manifest) { m.Disks[1].UUID = strings.ToUpper(dataID) }, "no UUID"},
		"relative mount":     {func(m *manifest) { m.Disks[1].Mount = "data" }, `mount point "data"`},
		"mount with ..":      {func(m *manifest) { m.Disks[1].Mount = "/data/../etc" }, "mount point"},
		"catalogue ..":       {func(m *manifest) { m.Disks[1].Catalogue = "../x" }, "catalogue prefix"},
		"catalogue absolute": {func(m *manifest) { m.Disks[1].Catalogue = "/data" }, "catalogue prefix"},
		"catalogue dot":      {func(m *manifest) { m.Disks[1].Catalogue = "." }, "catalogue prefix"},
		"catalogue unclean":  {func(m *manifest) { m.Disks[1].Catalogue = "data/" }, "catalogue prefix"},
		"no image":           {func(m *manifest) { m.Disks[1].Image = "" }, `image ""`},
		"image ..":           {func(m *manifest) { m.Disks[0].Image = "../other/root.hdd/root.hds" }, "image"},
		"image inside ..":    {func(m *manifest) { m.Disks[0].Image = "a/../../b" }, "image"},
		"absolute unclean":   {func(m *manifest) { m.Disks[1].Image = "/pool/../etc/x" }, "image"},
		"image at the root":  {func(m *manifest) { m.Disks[1].Image = "/root.hds" }, "image"},
		"root as image":      {func(m *manifest) { m.Disks[1].Image = "/" }, "image"},
		"image without dir":  {func(m *manifest) { m.Disks[0].Image = "root.hds" }, "image"},
		"image in our place": {func(m *manifest) { m.Disks[0].Image = ".vz7ct/root.hds" }, "image"},
		"image below mark":   {func(m *manifest) { m.Disks[0].Image = markName + "/root.hds" }, "image"},
		"two with one uuid":  {func(m *manifest) { m.Disks[1].UUID = m.Disks[0].UUID }, `another one has the "uuid `},
		"two with one image": {func(m *manifest) { m.Disks[1].Image = m.Disks[0].Image }, `another one has the "image root.hdd/root.hds"`},
		"two at one place":   {func(m *manifest) { m.Disks[1].Catalogue = "" }, `another one has the "catalogue prefix "`},
		"more than there is": {func(m *manifest) { m.Disks[1].UsedBytes = 1 << 63 }, "bytes in use"},
		"NUL in image":       {func(m *manifest) { m.Disks[0].Image = "a\x00" }, "image"},
		"size 0":             {func(m *manifest) { m.Disks[0].Size = 0 }, "size of 0 sectors"},
		"size of exabytes":   {func(m *manifest) { m.Disks[0].Size = 1 << 50 }, "sectors"},
		"odd cluster":        {func(m *manifest) { m.Disks[0].Cluster = 2000 }, "cluster of 2000"},
		"large cluster":      {func(m *manifest) { m.Disks[0].Cluster = 1 << 18 }, "cluster of"},
		"version":            {func(m *manifest) { m.Disks[0].Version = 3 }, "image version 3"},
		"negative version":   {func(m *manifest) { m.Disks[0].Version = -1 }, "image version -1"},
	} {
		m := webManifest()
		tt.spoil(m)
		data, err := json.Marshal(m)
		must(t, err)
		if got, err := decodeObject(data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: decodeObject = %+v, %v, want %q", name, got, err, tt.want)
		}
	}
}

// pack compresses as encodeObject does.
func pack(data []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(data)
	_ = w.Close()
	return []byte(packed + base64.StdEncoding.EncodeToString(b.Bytes()))
}

func TestBrokenObjects(t *testing.T) {
	m := webManifest()
	for range 5 {
		m.Disks = append(m.Disks, another(m.Disks[1]))
	}
	whole, err := m.encodeObject(MaxObject)
	must(t, err)
	if !bytes.HasPrefix(whole, []byte(packed)) {
		t.Fatalf("the object is not packed: %s", whole)
	}
	plain, err := webManifest().encode()
	must(t, err)
	bomb := append(bytes.TrimRight(plain, "\n"), bytes.Repeat([]byte(" "), 8<<20)...)
	if n := len(pack(bomb)); n > 100_000 {
		t.Fatalf("the bomb has %d bytes", n)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "one zero": {0}, "zeros as Bacula 9.6.7 delivers them": make([]byte, len(whole)),
		"text": []byte("hello"), "null": []byte("null"), "list": []byte("[]"), "empty": []byte("{}"), "number": []byte("7"),
		"packed nothing": []byte(packed), "packed text": []byte(packed + "hello!"), "packed zeros": pack(make([]byte, 100)),
		"other packing": []byte("vz7ct-zstd:" + string(whole[len(packed):])),
		"bomb":          pack(bomb), "plain bomb": bomb, "bomb of nesting": pack(bytes.Repeat([]byte("["), 8<<20)),
		"two": append(bytes.Clone(plain), plain...), "zeros behind": append(bytes.Clone(plain), 0, 0),
	} {
		m, err := decodeObject(data)
		if err == nil {
			t.Errorf("decodeObject(%s) = %+v, want an error", name, m)
		}
		// A bomb is not unpacked to its end.
		if want := "manifest of 4194305 bytes"; strings.HasPrefix(name, "bomb") && (err == nil || err.Error() != want) {
			t.Errorf("decodeObject(%s) = %v, want %s", name, err, want)
		}
	}
	for n := range whole {
		if m, err := decodeObject(whole[:n]); err == nil {
			t.Errorf("decodeObject of %d bytes of %d = %+v, want an error", n, len(whole), m)
		}
	}
	for n := range len(plain) - 1 { // the line end at the end says nothing
		if m, err := decodeObject(plain[:n]); err == nil {
			t.Errorf("decodeObject of %d plain bytes of %d = %+v, want an error", n, len(plain), m)
		}
	}
}

// Of a Full and an Incremental the newer one counts, in whatever order they
// come, and whatever a node's clock has said.
func TestNewestManifest(t *testing.T) {
	at := func(job, minute int) *manifest {
		return &manifest{jobID: job, Created: time.Date(2024, 1, 1, 0, minute, 0, 0, time.UTC)}
	}
	for _, tt := range []struct {
		name       string
		older, new *manifest
	}{
		{"by job", at(1, 0), at(2, 10)},
		{"by job, clock gone back", at(1, 10), at(2, 0)},
		{"no job", at(0, 0), at(0, 10)},
		{"one job known", at(0, 0), at(5, 10)},
		{"other job known", at(5, 0), at(0, 10)},
		{"same job", at(5, 0), at(5, 10)},
		{"none", nil, at(1, 0)},
	} {
		if got := newest(tt.older, tt.new); got != tt.new {
			t.Errorf("%s: newest(older, newer) = %+v", tt.name, got)
		}
		if tt.older == nil {
			continue
		}
		if got := newest(tt.new, tt.older); got != tt.new {
			t.Errorf("%s: newest(newer, older) = %+v", tt.name, got)
		}
	}
}

func TestAddObject(t *testing.T) {
	j, log := emptyNode(t).job(t, bareos)
	object := func(name string, minute int) []byte {
		m := webManifest()
		m.Name, m.Created = name, time.Date(2024, 1, 1, 0, minute, 0, 0, time.UTC)
		data, err := m.encodeObject(MaxObject)
		must(t, err)
		return data
	}
	j.AddObject(objectName+webID, 7, object("full", 5))
	j.AddObject(objectName+webID, 9, object("incremental", 3))
	j.AddObject(objectName+webID, 8, object("differential", 9))
	j.AddObject("", 10, object("no name", 30))
	j.AddObject("other-plugin", 10, object("foreign", 30))
	j.AddObject(objectName[:8], 10, object("short", 30))
	if m := j.objects[webID]; m == nil || m.Name != "incremental" || len(j.objects) != 1 || log.all() != "" {
		t.Errorf("objects = %+v, said %q, want that of job 9", m, log.all())
	}
	j.AddObject(objectName+webID, 11, make([]byte, 500))
	if m := j.objects[webID]; m.Name != "incremental" || !strings.Contains(log.all("info"), "the manifest among the files takes its place") {
		t.Errorf("after zeros: %+v, said %q", m, log.all())
	}
}

func FuzzDecodeObject(f *testing.F) {
	m := webManifest()
	plain, _ := m.encode()
	short, _ := m.encodeObject(MaxObject)
	f.Add(plain)
	f.Add(short)
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeObject(data)
		if err != nil {
			return
		}
		if strings.ContainsAny(m.CTID, "/\x00") || len(m.Disks) == 0 {
			t.Errorf("decodeObject(%q) = %+v", data, m)
		}
		for _, d := range m.Disks {
			for _, p := range []string{d.Catalogue, d.Image} {
				if at := filepath.Join("/p", p); !filepath.IsAbs(p) && p != "" && !strings.HasPrefix(at, "/p/") {
					t.Errorf("decodeObject(%q) has the path %q", data, p)
				}
			}
		}
		again, err := m.encodeObject(MaxObject)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeObject(again)
		if err != nil {
			t.Fatalf("decodeObject(encodeObject(%+v)) = %v", m, err)
		}
		if twice, err := back.encodeObject(MaxObject); err != nil || !bytes.Equal(again, twice) {
			t.Errorf("encodeObject = %q, after decoding %q, %v", again, twice, err)
		}
	})
}

// A mount point may hold any byte, and JSON may not.
func TestManifestKeepsNamesThatAreNoText(t *testing.T) {
	want := webManifest()
	want.Disks = append(want.Disks, another(want.Disks[0]))
	d := &want.Disks[len(want.Disks)-1]
	d.Mount, d.Catalogue, d.Image = "/caf\xe9", "caf\xe9", "\xff\xfe.hdd/root.hds"
	data, err := want.encode()
	must(t, err)
	got, err := decodeManifest(data)
	if err != nil || !reflect.DeepEqual(got.Disks, want.Disks) {
		t.Errorf("decodeManifest(encode) = %+v, %v, want %+v", got, err, want.Disks)
	}
}
