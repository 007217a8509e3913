// SPDX-License-Identifier: AGPL-3.0-only

package undo

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const head = `{"head":{"vz7ct_journal":1,"job":"backup.1","container":"web","pid":1,"started":"x"}}`

// bad are journals that this package does not write, by what is said of them.
var bad = map[string]string{
	"garbage":           "line 1",
	head + "\n\x00\x00": "line 2",
	"{}":                "line 1: a head that is not at the beginning",
	"null":              "line 1: a head",
	"[]":                "line 1",
	`{"step":{"id":1,"do":"mkdir","dir":"/m"}}`:                                          "line 1: a head",
	strings.Replace(head, ":1,", ":2,", 1):                                               "line 1: format 2, known is 1",
	strings.Replace(head, ":1,", ":-1,", 1):                                              "line 1: format -1",
	head + "\n" + head:                                                                   "line 2: a head",
	head + "\n\n":                                                                        "line 2",
	head + "\n{}":                                                                        "line 2: neither a step nor",
	head + "\n" + `{"step":{"id":0,"do":"mkdir","dir":"/m"}}`:                            "step 0 behind step 0",
	head + "\n" + `{"step":{"id":-5,"do":"mkdir","dir":"/m"}}`:                           "step -5 behind",
	head + "\n" + `{"step":{"id":1,"do":"mkdir","dir":"m"}}`:                             `directory "m" is no clean absolute path`,
	head + "\n" + `{"step":{"id":1,"do":"mkdir","dir":"/"}}`:                             "no clean absolute path",
	head + "\n" + `{"step":{"id":1,"do":"mkdir","dir":"/mnt/bareos/../../etc"}}`:         "no clean absolute path",
	head + "\n" + `{"step":{"id":1,"do":"mkdir","dir":"/m/"}}`:                           "no clean absolute path",
	head + "\n" + `{"step":{"id":1,"do":"mkdir","dir":"/m\u0000x"}}`:                     "no clean absolute path",
	head + "\n" + `{"step":{"id":1,"do":"mount","dir":"/m","descriptor":"../x"}}`:        `descriptor "../x" is no clean`,
	head + "\n" + `{"step":{"id":1,"do":"mount","dir":"/m","descriptor":"/etc/passwd"}}`: "is no descriptor of a disk",
	head + "\n" + `{"step":{"id":1,"do":"mkdir","dir":"/m"}}` + "\n" + `{"step":{"id":1,"do":"mkdir","dir":"/n"}}`: "line 3: step 1 behind step 1",
	head + "\n" + `{"undone":"1"}`:                    "line 2",
	head + "\n" + `{"step":{"id":1e99,"do":"mkdir"}}`: "line 2",
	head + "\n" + strings.Repeat("[", 1<<20):          "line 2",
}

// A journal that was spoiled is handed to nobody, and stays for a human to look at;
// the others are undone.
func TestBadJournals(t *testing.T) {
	for text, want := range bad {
		dir := t.TempDir()
		path := filepath.Join(dir, "a"+Suffix)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Create(dir, "good", Head{Job: "good"})
		if err != nil {
			t.Fatal(err)
		}
		intend(t, j, Step{Do: MadeDir, Dir: "/m"})
		die(j)
		undone := 0
		err = Sweep(dir, func(j *Journal) error {
			if j.Head.Job != "good" {
				t.Errorf("%.80q was handed out", text)
			}
			undone++
			return j.Undo(func(Step) error { return nil })
		})
		if err == nil || !strings.Contains(err.Error(), "journal a.journal: ") || !strings.Contains(err.Error(), want) || undone != 1 {
			t.Errorf("Sweep of %.80q = %v, %d undone, want %q and 1", text, err, undone, want)
		}
		if len(err.Error()) > 500 {
			t.Errorf("Sweep of %.80q = an error of %d bytes", text, len(err.Error()))
		}
		if got, _ := os.ReadFile(path); string(got) != text+"\n" {
			t.Errorf("%.80q has become %.80q", text, got)
		}
		if list, err := List(dir); err == nil || len(list) != 0 || !strings.Contains(err.Error(), want) {
			t.Errorf("List of %.80q = %v, %v, want %q", text, list, err, want)
		}
	}
}

// What is no journal at all has a journal's name: nothing waits for it, or reads it
// without end.
func TestJournalsThatAreNoFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name+Suffix) }
	for _, err := range []error{
		unix.Mkfifo(path("fifo"), 0o600), os.Mkdir(path("dir"), 0o700), os.Symlink("/dev/zero", path("link")), os.Symlink("none", path("dangling")),
		os.WriteFile(path("huge"), []byte(head+"\n"), 0o600), os.Truncate(path("huge"), 1<<40),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	none := func(j *Journal) error { t.Errorf("%s was handed out", j.Path()); return nil }
	for _, err := range []error{Sweep(dir, none), func() error { _, err := List(dir); return err }()} {
		for _, want := range []string{"dangling", "dir", "fifo", "huge.journal: is larger than", "link"} {
			if err == nil || !strings.Contains(err.Error(), "journal "+want) {
				t.Errorf("error = %v, want %s in it", err, want)
			}
		}
	}
}

// What a job must not write is not written.
func TestIntendIsJudged(t *testing.T) {
	j := create(t, t.TempDir())
	for _, s := range []Step{{Do: MadeDir, Dir: "m"}, {Do: MadeTree, Dir: "/"}, {Do: Mounted, Dir: "/m", Descriptor: "/d"}, {Do: MadeLink, Dir: "/tmp/a\x00.lock"}} {
		if err := j.Intend(s); err == nil {
			t.Errorf("Intend(%+v) = nil", s)
		}
	}
	if b, err := os.ReadFile(j.Path()); err != nil || bytes.Count(b, []byte("\n")) != 1 || len(j.Pending()) != 0 {
		t.Errorf("journal = %q, %v, want its head alone", b, err)
	}
}

// Whatever a journal holds, what is handed out can be undone without looking twice,
// and reads the same when it is written again.
func FuzzJournal(f *testing.F) {
	for text := range bad {
		f.Add([]byte(text + "\n"))
	}
	whole := head + "\n" + `{"step":{"id":1,"do":"snapshot","descriptor":"/p/root.hdd/DiskDescriptor.xml","snapshot":"x","container":"y"}}` + "\n" +
		`{"step":{"id":3,"do":"mkdir","dir":"/m"}}` + "\n" + `{"undone":1}` + "\n"
	f.Add([]byte(whole))
	f.Add([]byte(whole[:len(whole)-3]))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:bytes.LastIndexByte(data, '\n')+1]
		var j Journal
		if err := j.parse(data); err != nil {
			return
		}
		last := 0
		for _, s := range j.pending {
			for _, p := range []string{s.Dir, s.Descriptor} {
				if p != "" && (!filepath.IsAbs(p) || filepath.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0)) {
					t.Errorf("%q has the path %q", data, p)
				}
			}
			if s.ID <= last || s.ID > j.last {
				t.Errorf("%q has step %d behind %d, last %d", data, s.ID, last, j.last)
			}
			last = s.ID
		}
	})
}
