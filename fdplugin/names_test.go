// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/prlctl"
	"github.com/bareos-contrib/vz7ct/restore"
)

// The names that a restore of a whole container accepts.
func TestContainerName(t *testing.T) {
	tree, private := "/mnt/bareos/"+webID, "/vz/private/"+webID
	for _, tt := range []struct {
		name, where string
		area        area
		path        string
		ok          bool
	}{
		{tree + "/etc/hostname", "", inTree, "etc/hostname", true},
		{tree + "/etc/", "", inTree, "etc", true},
		{tree + "/", "", inTree, "", true},
		{tree, "", inTree, "", true},
		{private + "/ve.conf", "", inPrivate, "ve.conf", true},
		{private + "/.vz7ct/manifest.json", "", inPrivate, manifestName, true},
		{tree + "/K\xdcBLER.csv", "", inTree, "K\xdcBLER.csv", true},
		{tree + "/two\nlines", "", inTree, "two\nlines", true},
		{tree + "/ ", "", inTree, " ", true},
		{tree + "/..x/...", "", inTree, "..x/...", true},
		{tree + tree + "/a", "", inTree, strings.TrimPrefix(tree, "/") + "/a", true}, // a container that holds such names
		{"/mnt/bareos/" + strings.ToUpper(webID) + "/a", "", inTree, "a", true},
		// where is taken off.
		{"/r" + tree + "/a", "/r", inTree, "a", true},
		{"/r" + tree + "/a", "/r/", inTree, "a", true},
		{"/tmp/bareos-restores" + private + "/ve.conf", "/tmp/bareos-restores", inPrivate, "ve.conf", true},
		{tree + "/a", "/", inTree, "a", true},
		{"/r\xff\n" + tree + "/a", "/r\xff\n", inTree, "a", true},
		// Refused.
		{"/etc/passwd", "", 0, "", false},
		{"", "", 0, "", false},
		{"/", "", 0, "", false},
		{"/vz/root/" + webID + "/etc/passwd", "", 0, "", false}, // that is a running container
		{"/mnt/bareos", "", 0, "", false},
		{"/mnt/bareos/", "", 0, "", false},
		{"/mnt/bareos/x/etc", "", 0, "", false},
		{"/mnt/bareos/101/etc", "", 0, "", false},
		{tree + "0/etc", "", 0, "", false},
		{tree + "x", "", 0, "", false},
		{"/mnt/bareos/{" + webID + "}/etc", "", 0, "", false},
		{"/mnt/bareos/ " + webID + "/etc", "", 0, "", false},
		{"/mnt/bareos/" + webID + "\n/etc", "", 0, "", false},
		{"/mnt/bareos/" + webID[:35] + "\xff/etc", "", 0, "", false},
		{"/mnt/bareos2/" + webID + "/etc", "", 0, "", false},
		{"/mnt/bareos" + webID + "/etc", "", 0, "", false},
		{"//mnt/bareos/" + webID + "/etc", "", 0, "", false},
		{"/mnt/bareos//" + webID + "/etc", "", 0, "", false},
		{"mnt/bareos/" + webID + "/etc", "", 0, "", false},
		{"/mnt/bareos/../bareos/" + webID + "/etc", "", 0, "", false},
		{"/mnt/bareos/../../etc/passwd", "", 0, "", false},
		{"/vz/private/x" + webID + "/ve.conf", "", 0, "", false},
		{tree + "/a", "/r", 0, "", false},
		{"/r2" + tree + "/a", "/r", 0, "", false},
		{"/r", "/r", 0, "", false},
		{"/r" + "/etc/passwd", "/r", 0, "", false},
		{"/R" + tree + "/a", "/r", 0, "", false},
	} {
		p, err := containerName(tt.name, tt.where)
		if (err == nil) != tt.ok || tt.ok && p != (place{tt.area, webID, tt.path}) {
			t.Errorf("containerName(%q, %q) = %+v, %v, want %v %q", tt.name, tt.where, p, err, tt.ok, tt.path)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "\xff")) {
			t.Errorf("containerName(%q, %q) = %q, not for a log", tt.name, tt.where, err)
		}
	}
}

func TestStripWhere(t *testing.T) {
	for _, tt := range []struct {
		name, where, want string
		ok                bool
	}{
		{"/a/b", "", "/a/b", true}, {"/a/b", "/", "/a/b", true}, {"/a/b", "/a", "/b", true}, {"/a/b", "/a//", "/b", true},
		{"/a/", "/a", "/", true}, {"/ab/c", "/a", "", false}, {"/a", "/a", "", false}, {"/b", "/a", "", false}, {"", "/a", "", false},
	} {
		if got, err := stripWhere(tt.name, tt.where); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("stripWhere(%q, %q) = %q, %v, want %q", tt.name, tt.where, got, err, tt.want)
		}
	}
}

// The names that a restore into a running container accepts.
func TestFileName(t *testing.T) {
	tree, live := "/mnt/bareos/"+webID, "/vz/root/"+webID
	for _, tt := range []struct {
		name, where string
		area        area
		path        string
		ok          bool
	}{
		{tree + "/etc/hostname", "", inTree, "etc/hostname", true},
		{tree + "/", "", inTree, "", true},
		{live + "/tmp/bareos-restore/etc/hostname", "", inLive, "tmp/bareos-restore/etc/hostname", true}, // regexwhere
		{tree + "/moved/hostname", "", inTree, "moved/hostname", true},                                   // regexwhere
		{tree + "/K\xdcBLER\n.csv", "", inTree, "K\xdcBLER\n.csv", true},
		// where is a directory of the container.
		{"/r" + tree + "/etc/hostname", "/r", inTree, "r/etc/hostname", true},
		{"/r/s" + tree + "/etc/", "/r/s/", inTree, "r/s/etc", true},
		{"/r" + tree + "/", "/r", inTree, "r", true},
		{"/r" + live + "/etc/hostname", "/r", inLive, "r/etc/hostname", true},
		{tree + "/a", "/", inTree, "a", true},
		{live + "/vz/root/" + webID + "/etc/hostname", live, inLive, "vz/root/" + webID + "/etc/hostname", true},
		// Refused.
		{"/vz/private/" + webID + "/ve.conf", "", 0, "", false},
		{"/r/vz/private/" + webID + "/ve.conf", "/r", 0, "", false},
		{"/etc/passwd", "", 0, "", false},
		{"/r/etc/passwd", "/r", 0, "", false},
		{"/vz/root/" + webID + "x/etc/passwd", "", 0, "", false},
		{"/vz/rootx/" + webID + "/etc/passwd", "", 0, "", false},
		{"/vz/root/../" + webID + "/etc/passwd", "", 0, "", false},
		{"/vz/root/" + webID + "\n/etc/passwd", "", 0, "", false},
		{"/restore" + tree + "/etc/hostname", "/r", 0, "", false},
		{"", "/r", 0, "", false},
	} {
		p, err := fileName(tt.name, tt.where, "")
		if (err == nil) != tt.ok || tt.ok && p != (place{tt.area, webID, tt.path}) {
			t.Errorf("fileName(%q, %q) = %+v, %v, want %v %q", tt.name, tt.where, p, err, tt.ok, tt.path)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "\xff")) {
			t.Errorf("fileName(%q, %q) = %q, not for a log", tt.name, tt.where, err)
		}
	}
}

// A file of the container belongs to the disk whose mount point is above it.
func TestPlaceOnDisks(t *testing.T) {
	disk := func(catalogue string) *newDisk {
		d := &newDisk{image: "disk-" + catalogue + ".hdd/root.hds", tree: &restore.Tree{}}
		d.Catalogue = catalogue
		return d
	}
	// In the order that fits puts them in.
	c := &newContainer{disks: []*newDisk{disk("data/sub"), disk("data"), disk("")}, area: &restore.Tree{}}
	for path, want := range map[string]string{
		"data/sub/f": "data/sub f", "data/sub": "data/sub ", "data/subx/f": "data subx/f", "data/f": "data f", "data": "data ",
		"datax/f": " datax/f", "etc/data/f": " etc/data/f", "": " ",
	} {
		tree, rest := c.place(place{inTree, webID, path})
		got := "none"
		for _, d := range c.disks {
			if d.tree == tree {
				got = d.Catalogue + " " + rest
			}
		}
		if got != want {
			t.Errorf("%q is on %q, want %q", path, got, want)
		}
	}
	if tree, rest := c.place(place{inPrivate, webID, "data/f"}); tree != c.area || rest != "data/f" {
		t.Errorf("a file of the private area is at %q of %p, want the area", rest, tree)
	}
	for path, want := range map[string]bool{
		"dump/Dump": true, "dump": true, "Snapshots.xml": true, ".owner": true, ".cluster_service_name": true, ".lck": true,
		".vz7ct/manifest.json": true, ".vz7ct/quota/disk.txt": true, ".vz7ct/etc-vz-conf/x.mount": false, ".vz7ct/etc-vz-conf": false, ".vz7ct": false,
		"disk-.hdd/root.hds": true, "disk-.hdd/root.hds.{x}": true, "disk-.hdd/DiskDescriptor.xml.lck": true, "disk-.hdd/.statfs": true,
		"disk-.hdd/Encryption": false, "other.hdd/root.hds": false, "ve.conf": false, "scripts/dump": false, "dumps": false, "x/.owner": false, ".vz7ctx/y": false,
	} {
		if got := c.neverPutBack(path); got != want {
			t.Errorf("neverPutBack(%s) = %v, want %v", path, got, want)
		}
	}
}

// Whatever is accepted is below the container that the name says.
func FuzzRestoreName(f *testing.F) {
	f.Add("/mnt/bareos/"+webID+"/etc/x", "")
	f.Add("/r/vz/private/"+webID+"/ve.conf", "/r")
	f.Add("/vz/root/"+webID+"/../x//y/", "/")
	f.Add("/mnt/bareos/ "+webID+"\n/x\xff", "/\xff")
	// Superfluous slashes do not count.
	bare := func(path string) string {
		return strings.Join(strings.FieldsFunc(path, func(r rune) bool { return r == '/' }), "/")
	}
	f.Fuzz(func(t *testing.T, name, where string) {
		for what, parse := range map[string]func(string, string) (place, error){
			"ct":   containerName,
			"file": func(name, where string) (place, error) { return fileName(name, where, "") },
			"dir":  func(name, where string) (place, error) { return savedName("restore=dir", name, where) },
		} {
			p, err := parse(name, where)
			if err != nil {
				if strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
					t.Errorf("%s %q, %q: error %q", what, name, where, err)
				}
				continue
			}
			if id, ok := prlctl.ParseUUID(p.uuid); !ok || id != p.uuid {
				t.Errorf("%s %q, %q: uuid %q", what, name, where, p.uuid)
			}
			root := map[area]string{inTree: treeRoot, inPrivate: privateRoot, inLive: liveRoot}[p.area]
			prefix := strings.TrimRight(where, "/") + root
			rest := strings.TrimPrefix(name, prefix)
			path := p.path
			if dir := bare(where); what == "file" && dir != "" {
				path = strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")
			}
			if len(rest) == len(name) || len(rest) < 36 || !strings.EqualFold(rest[:36], p.uuid) ||
				bare(rest[36:]) != bare(path) {
				t.Errorf("%s %q, %q: %+v", what, name, where, p)
			}
		}
	})
}
