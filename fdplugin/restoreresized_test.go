// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// resized makes of the manifests of a backup those of a later one, with a root disk of as
// many sectors, and another ve.conf.
func resized(t *testing.T, list []saved, sectors uint64, conf string) {
	t.Helper()
	change := func(m *manifest) {
		m.Created = m.Created.Add(time.Hour)
		m.Config = []byte(conf)
		for n := range m.Disks {
			if m.Disks[n].Catalogue == "" {
				m.Disks[n].Size = sectors
			}
		}
	}
	m, err := decodeObject(list[0].Data)
	must(t, err)
	change(m)
	list[0].Data, err = m.encodeObject(0)
	must(t, err)
	m, err = decodeManifest([]byte(list[1].content))
	must(t, err)
	change(m)
	b, err := m.encode()
	must(t, err)
	list[1].content, list[1].Stat.Size = string(b), int64(len(b))
	for n := range list {
		if list[n].Name == privateRoot+webID+"/ve.conf" {
			list[n].content, list[n].Stat.Size = conf, int64(len(conf))
		}
	}
}

const (
	larger    = 2 << 30
	newerConf = "CPUUNITS=\"2000\""
)

// twoLevels are a full backup and an incremental one that has nothing but the container's
// configuration, of a container whose disk was resized and configuration changed between.
func twoLevels(t *testing.T) (full, incremental []saved) {
	full, _ = backedUp(t, bareos)
	m, err := decodeManifest([]byte(full[1].content))
	must(t, err)
	for _, s := range full {
		if s.Kind == Object || strings.HasSuffix(s.Name, manifestName) || s.Name == privateRoot+webID+"/ve.conf" {
			incremental = append(incremental, s)
		}
	}
	resized(t, incremental, larger/512, string(m.Config)+newerConf+"\n")
	return full, incremental
}

// The newest of two objects counts, in whatever order they come, for sizes of disks and
// for ve.conf, which need not be selected.
func TestLaterBackupOfAResizedDisk(t *testing.T) {
	full, incremental := twoLevels(t)
	for _, order := range []string{"in order", "newest object first", "without ve.conf", "half of the newer ve.conf"} {
		n := emptyNode(t)
		j, log := n.job(t, bareos)
		j.AddObject(full[0].Name, 7, full[0].Data)
		if order == "newest object first" {
			j, log = n.job(t, bareos)
			j.AddObject(incremental[0].Name, 12, incremental[0].Data)
			j.AddObject(full[0].Name, 7, full[0].Data)
		} else {
			j.AddObject(incremental[0].Name, 12, incremental[0].Data)
		}
		var stream []saved
		for _, s := range append(append([]saved{}, full[1:]...), incremental[1:]...) {
			if isConf := s.Name == privateRoot+webID+"/ve.conf"; isConf && order == "without ve.conf" {
				continue
			} else if isConf && order == "half of the newer ve.conf" && strings.Contains(s.content, newerConf) {
				s.content = s.content[:10]
			}
			stream = append(stream, s)
		}
		must(t, play(j, cmd, "", stream))
		j.EndRestore(Good)
		if !strings.Contains(log.all("info"), "disk / of 2.0 GiB made") {
			t.Errorf("%s: said %s", order, log.all("info"))
		}
		if len(n.registered) != 1 {
			t.Fatalf("%s: registered %q\n%s", order, n.registered, log.all())
		}
		b, err := os.ReadFile(filepath.Join(n.registered[0], "ve.conf"))
		if !strings.Contains(string(b), newerConf) {
			t.Errorf("%s: ve.conf is %q, %v\n%s", order, b, err, log.all())
		}
	}
}

// Where the catalogue has no objects, the sizes are those of the first manifest that comes,
// and what a later one says is not lost.
func TestLaterManifestWithoutObjects(t *testing.T) {
	full, incremental := twoLevels(t)
	n := emptyNode(t)
	j, log := n.job(t, bareos)
	var stream []saved
	for _, s := range append(append([]saved{}, full[1:]...), incremental[1:]...) {
		if s.Name != privateRoot+webID+"/ve.conf" {
			stream = append(stream, s)
		}
	}
	must(t, play(j, cmd, "", stream))
	j.EndRestore(Good)
	if !strings.Contains(log.all("warning"), "disk / of container web ("+webID+") has 1.0 GiB, which a manifest said that came first, and had 2.0 GiB when the last backup of this restore was made: enlarge it with prlctl set") {
		t.Errorf("said %s", log.all())
	}
	if len(n.registered) != 1 {
		t.Fatal(log.all())
	}
	if b, err := os.ReadFile(filepath.Join(n.registered[0], "ve.conf")); !strings.Contains(string(b), newerConf) {
		t.Errorf("ve.conf is %q, %v", b, err)
	}
	// Of two jobs the Director sends the newest manifest alone, among the last files; that
	// of the full job has another name, too.
	n = emptyNode(t)
	j, log = n.job(t, bareos)
	must(t, play(j, cmd, "", append(append([]saved{}, full[2:]...), incremental[1:]...)))
	j.EndRestore(Good)
	if len(n.registered) != 1 {
		t.Fatal(log.all())
	}
	if b, err := os.ReadFile(filepath.Join(n.registered[0], "ve.conf")); !strings.Contains(string(b), newerConf) {
		t.Errorf("ve.conf is %q, %v", b, err)
	}
}
