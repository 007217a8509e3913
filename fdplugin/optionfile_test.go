// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseFile(t *testing.T) {
	const text = "# comment\n; another\n\n[backup]\r\n name = web \nblocker=a:b=c\nblocker=x\\:y\n" +
		"excluded_backup_paths='/a # b',/c\n[ restore ]\nname=old\n[backup]\nmin_free=3%\n"
	for ph, want := range map[phase][]string{
		backupPhase:  {"name=web", "blocker=a:b=c", "blocker=x:y", "excluded_backup_paths='/a # b',/c", "min_free=3%"},
		restorePhase: {"name=old"},
	} {
		set, err := parseFile(text, "file", ph)
		var got []string
		for _, s := range set {
			got = append(got, s.key+"="+s.value)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("parseFile(%s) = %q, %v, want %q", ph, got, err, want)
		}
	}
	for _, tt := range []struct{ in, want string }{
		{"name=web\n", "line 1: no key=value in a section [backup] or [restore]"},
		{"[backup]\n\nname\n", "line 3: no key=value"},
		{"[other]\n", "line 1: unknown section; known are [backup] and [restore]"},
		{"[Backup]\n", "line 1: unknown section"},
		{"[]\n", "line 1: unknown section"},
		{"[backup\n", "line 1: "},
		{"[\n", "line 1: "},
		{"[backup]\ndefaults_file=/x\n", "line 2: defaults_file cannot stand in an option file"},
		{"[backup]\n overrides_file =/x\n", "line 2: overrides_file cannot stand in an option file"},
		{"[backup]\nroot:x:0\nsecret=1\n", "line 2: no key=value"},
		{"[backup]\nsecret=1\n", "line 2: unknown option; known are: blocker"},
		// A mistake in the section that does not count now will count later.
		{"[restore]\nname\n", "line 2: no key=value"},
	} {
		set, err := parseFile(tt.in, "file", backupPhase)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseFile(%q) = %v, %v, want %q", tt.in, set, err, tt.want)
		}
		// The file may be any of the node's: what is in it is not told.
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "root:x")) {
			t.Errorf("parseFile(%q) = %v, which tells the content", tt.in, err)
		}
	}
}

// Only what root alone could have written is read. The tests run as somebody
// else too: then that user stands for root.
func TestOptionFileIsTrusted(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, mode := range map[string]os.FileMode{"good": 0o600, "read": 0o644, "group": 0o664, "other": 0o646} {
		put(t, path(name), "[backup]\nname=web\n")
		must(t, os.Chmod(path(name), mode))
	}
	must(t, os.Symlink("good", path("link")))
	must(t, os.Mkdir(path("dir"), 0o755))
	must(t, unix.Mkfifo(path("fifo"), 0o600))
	must(t, os.Symlink(dir, path("way"))) // links on the way are the administrator's own
	must(t, os.WriteFile(path("long"), []byte("[backup]\n"+strings.Repeat("#\n", maxOptionFile)), 0o600))
	for name, want := range map[string]string{
		"good": "", "read": "", "way/good": "",
		"group": "is writable by others (mode 0664)", "other": "is writable by others (mode 0646)", "link": "is a symbolic link",
		"dir": "is no regular file", "fifo": "is no regular file", "none": "no such file", "good/x": "not a directory",
		"long": "is larger than",
	} {
		set, err := readFile(path(name), "defaults_file", backupPhase)
		if want == "" && (err != nil || len(set) != 1 || set[0].from != "defaults_file "+path(name)) {
			t.Errorf("readFile(%s) = %q, %v, want one setting", name, set, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "defaults_file "+path(name)+": ")) {
			t.Errorf("readFile(%s) = %q, %v, want %q", name, set, err, want)
		}
	}
}

func TestOptionFileOfAnotherUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "[backup]\n")
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a file of another user")
	}
	must(t, os.Chown(path, 1234, 0))
	if _, err := readFile(path, "defaults_file", backupPhase); err == nil || !strings.Contains(err.Error(), "belongs to user 1234, must belong to root") {
		t.Errorf("readFile = %v, want its owner refused", err)
	}
}

// A file is named once for all levels: the highest level that names one counts.
func TestWhichFileIsRead(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two words")
	put(t, one, "[backup]\nname=one\n")
	put(t, two, "[backup]\nname=two\n")
	o, _, err := arrive("vz7ct:defaults_file='"+two+"'").effective("vz7ct:defaults_file="+one, backupPhase)
	if err != nil || o.Name != "two" {
		t.Errorf("effective = %q, %v, want two", o.Name, err)
	}
}

func FuzzOptionFile(f *testing.F) {
	f.Add("[backup]\nname=web\n[restore]\nblocker=a\\:b\n# x\n")
	f.Add("[backup]\r\nexcluded_backup_paths='/a,b' , /c*\n;\n")
	f.Add("[\n]\n[]")
	f.Fuzz(func(t *testing.T, s string) {
		for _, ph := range []phase{backupPhase, restorePhase} {
			set, err := parseFile(s, "f", ph)
			if err != nil {
				if strings.ContainsAny(err.Error(), "\n\r\x1b") {
					t.Errorf("parseFile(%q) = %q", s, err)
				}
				continue
			}
			// What is read means the same when it is written again.
			again := "[" + string(ph) + "]\n"
			for _, v := range set {
				if strings.ContainsAny(v.key, "[#;\n") || v.key == "" || strings.Contains(v.value, "\n") {
					t.Errorf("parseFile(%q) = key %q, value %q", s, v.key, v.value)
				}
				again += v.key + "=" + strings.ReplaceAll(v.value, ":", `\:`) + "\n"
			}
			if got, err := parseFile(again, "f", ph); err != nil || !reflect.DeepEqual(got, set) {
				t.Errorf("parseFile(%q) = %q, %v, want %q", again, got, err, set)
			}
			_, _ = choose([][]setting{set}, ph)
		}
	})
}
