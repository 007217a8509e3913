// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestOurs(t *testing.T) {
	for _, tt := range []struct {
		in, rest string
		ok       bool
	}{
		{"vz7ct:name=web:start=yes", "name=web:start=yes", true},
		{"vz7ct:", "", true},
		{"vz7ct", "", true},
		{"vz7ct:no option at all", "no option at all", true}, // ours to refuse
		{"restore=ct", "restore=ct", true},
		{" restore = ct:disk=250", " restore = ct:disk=250", true},
		{"diskspace=3", "diskspace=3", true},
		// Other plugins' strings, and what only looks like ours.
		{"", "", false},
		{"python", "", false},
		{"python:module_path=/usr/lib:module_name=bareos-fd-vz7:name=web", "", false},
		{"python3:restore=ct", "", false},
		{"bpipe:file=/x:reader=cat:writer=cat", "", false},
		{"vz7ct2:name=web", "", false},
		{"vz7:name=web", "", false},
		{"VZ7CT:name=web", "", false},
		{"xvz7ct:name=web", "", false},
		{"vz7ctname=web", "", false},
		{"name", "", false},
		{"Name=web", "", false},
		{"=name", "", false},
		{"names=x", "", false},
		{"mysql:name=web", "", false},
	} {
		if rest, ok := ours(tt.in); rest != tt.rest || ok != tt.ok {
			t.Errorf("ours(%q) = %q, %v, want %q, %v", tt.in, rest, ok, tt.rest, tt.ok)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string // key, value, key, value; nil is an error
	}{
		{"", []string{}},
		{":", []string{}},
		{" : :\n", []string{}},
		{"name=web", []string{"name", "web"}},
		{"name=web:uuid=x", []string{"name", "web", "uuid", "x"}},
		{"name=web::uuid=x:", []string{"name", "web", "uuid", "x"}},
		{" name = web \n: uuid\t=\tx ", []string{"name", "web", "uuid", "x"}},
		{"name=", []string{"name", ""}},
		{"name=a=b", []string{"name", "a=b"}},
		{`blocker=a\:b:name=x`, []string{"blocker", "a:b", "name", "x"}},
		{`blocker=\:`, []string{"blocker", ":"}},
		{`blocker=a\:\:b`, []string{"blocker", "a::b"}},
		{`blocker=a\\:b=c`, []string{"blocker", `a\:b=c`}}, // the second backslash belongs to the colon
		{`blocker=a\b\`, []string{"blocker", `a\b\`}},
		{`name="web server"`, []string{"name", `"web server"`}},
		{"name=K\xdcBLER", []string{"name", "K\xdcBLER"}},
		{"=x", []string{"", "x"}},
		{"name", nil},
		{"name=web:start", nil},
		{`name="a:b"`, nil}, // quotes do not protect a colon
	} {
		set, err := parse(tt.in, "here")
		var got []string
		for _, s := range set {
			got = append(got, s.key, s.value)
			if s.from != "here" {
				t.Errorf("parse(%q): origin %q, want here", tt.in, s.from)
			}
		}
		if (err != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) {
			t.Errorf("parse(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
		if err != nil && (!strings.Contains(err.Error(), "here: ") || !strings.Contains(err.Error(), `is written \:`)) {
			t.Errorf("parse(%q) = %v, want the origin and the remedy", tt.in, err)
		}
	}
}

func TestUnquote(t *testing.T) {
	for in, want := range map[string]string{
		`"a b"`: "a b", `'a b'`: "a b", `""`: "", `"`: `"`, ``: ``, `"a'`: `"a'`, `a"b"`: `a"b"`, `"a" "b"`: `a" "b`, `''x''`: `'x'`,
	} {
		if got := unquote(in); got != want {
			t.Errorf("unquote(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestSplitList(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string // nil is an error
	}{
		{"", []string{}},
		{" , ,", []string{}},
		{"/a", []string{"/a"}},
		{" /a , /b ", []string{"/a", "/b"}},
		{"/a,,/b,", []string{"/a", "/b"}},
		{"'/home/admin','/var/cache/*'", []string{"/home/admin", "/var/cache/*"}},
		{`'/a, b' , "/c"`, []string{"/a, b", "/c"}},
		{`" /blank at both ends "`, []string{" /blank at both ends "}},
		{`/it"'"s`, []string{"/it's"}},
		{"/srv/'a, b'/c", []string{"/srv/a, b/c"}},
		{"/K\xdcBLER.csv,'\xff,\xfe'", []string{"/K\xdcBLER.csv", "\xff,\xfe"}},
		{"''", []string{}},
		{"'/a", nil},
		{"/a,\"/b", nil},
		{"/it's", nil},
		// A comma was forgotten: nothing of the two would be excluded.
		{"'/a' '/b'", nil},
		{`"/a" /b`, nil},
		{"/a '/b'", nil},
	} {
		got, err := splitList(tt.in)
		if (err != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) {
			t.Errorf("splitList(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

// What parse accepts means the same when it is written again.
func FuzzOptionString(f *testing.F) {
	for _, s := range []string{
		"vz7ct:name=web:uuid={4B16639B-DBB9-45A5-B4C2-9F7AE90DFE2C}", `vz7ct:blocker=a\:b:blocker=*/x`, "restore=ct:disk=250",
		`vz7ct:excluded_backup_paths='/a, b',"/c":min_free=3%`, "vz7ct:name=a:name=b", "python:x=y", "vz7ct:start=\n\x1b[31m",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// No string of C has a NUL; files of the machine are not to be read here.
		if strings.Contains(s, "\x00") || strings.Contains(s, "_file") {
			return
		}
		rest, ok := ours(s)
		set, err := parse(rest, "x")
		if err == nil {
			var again []string
			for _, v := range set {
				if strings.HasSuffix(v.key+v.value, `\`) {
					return // not to be written before a colon
				}
				again = append(again, strings.ReplaceAll(v.key+"="+v.value, ":", `\:`))
			}
			if got, err := parse(strings.Join(again, ":"), "x"); err != nil || !reflect.DeepEqual(got, set) {
				t.Errorf("parse(%q) = %q, %v, want %q as for %q", strings.Join(again, ":"), got, err, set, rest)
			}
		}
		for _, ph := range []phase{backupPhase, restorePhase} {
			var l layers
			_, line, err := l.effective(s, ph)
			if !ok && err == nil {
				t.Errorf("effective(%q) takes a foreign string", s)
			}
			if err != nil {
				line = err.Error()
			}
			if strings.ContainsAny(line, "\n\r\x1b") {
				t.Errorf("effective(%q) writes %q to the job log", s, line)
			}
		}
	})
}
