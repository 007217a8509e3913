// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"slices"
	"strings"
	"testing"
)

func TestListNamesThePattern(t *testing.T) {
	l, err := NewList([]string{"/home/a/", "cache", "x/y", "*.o", "/var/[ab]/**", "cache/", "tmp/", "tmp"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		dir  bool
		want string
	}{
		{"home/a", true, "/home/a/"},
		{"home/a", false, ""},
		{"srv/cache", true, "cache"},
		{"q/x/y", false, "x/y"},
		{"q/y", false, ""},
		{"a/b/c.o", false, "*.o"},
		{"var/b/c/d", false, "/var/[ab]/**"},
		{"tmp", false, "tmp"},
		{"", true, ""},
	} {
		if got, ok := l.Match(tt.path, tt.dir); got != tt.want || ok != (tt.want != "") {
			t.Errorf("Match(%q, %v) = %q, %v, want %q", tt.path, tt.dir, got, ok, tt.want)
		}
	}
	if _, ok := (*List)(nil).Match("a", true); ok {
		t.Error("nil List matches")
	}
}

func TestListRefuses(t *testing.T) {
	for _, p := range []string{
		"", "/", "//", ".", "./a", "/a/../b", "..", "a\x00b",
		"[", "a[b", "[]", "[!]", "[z-a]", "[[:nope:]]", "[[:alpha:]", "a/[b/***",
	} {
		if _, err := NewList([]string{"ok", p}); err == nil {
			t.Errorf("NewList(%q) = nil, want an error", p)
		}
		if _, err := NewList([]string{p}); err == nil || p != "a\x00b" && !strings.Contains(err.Error(), `"`+p+`"`) {
			t.Errorf("NewList(%q) = %v, want the pattern in it", p, err)
		}
	}
}

func TestParseList(t *testing.T) {
	data := "\xef\xbb\xbf# a list\r\n\n \t\n*.o\r\n/srv/my files \n\\#a#\n #b\ncaf\xe9\nlast"
	want := []string{"*.o", "/srv/my files ", "#a#", " #b", "caf\xe9", "last"}
	got, err := ParseList([]byte(data))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("ParseList = %q, %v, want %q", got, err, want)
	}
	if _, err := NewList(got); err != nil {
		t.Errorf("NewList(ParseList) = %v", err)
	}
	if got, err := ParseList(nil); len(got) != 0 || err != nil {
		t.Errorf("ParseList(nil) = %q, %v", got, err)
	}
	for _, tt := range []struct{ data, line string }{
		{"ok\n\n\nsecret[\n", "line 4: "},
		{"# x\r\n/\r\n", "line 2: "},
		{"secret/../secret", "line 1: "},
		{"a\x00secret", "line 1: "},
		{strings.Repeat("secret\n", maxPatterns) + "#\nsecret", "line 10002: "},
	} {
		_, err := ParseList([]byte(tt.data))
		if err == nil || !strings.HasPrefix(err.Error(), tt.line) || strings.Contains(err.Error(), "secret") {
			t.Errorf("ParseList(%.20q) = %v, want %s and not what stands there", tt.data, err, tt.line)
		}
	}
	if _, err := ParseList([]byte(strings.Repeat("a\n#\n", maxPatterns))); err != nil {
		t.Errorf("ParseList with the most patterns = %v", err)
	}
}
