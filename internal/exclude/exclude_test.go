// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import "testing"

func TestSetMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          bool
	}{
		{"/home/admin", "home/admin", true},
		{"home/admin", "home/admin", true},
		{"home/admin/", "home/admin", true},
		{"//home//admin", "home/admin", true},
		{"home/admin", "srv/home/admin", false},
		{"home/admin", "home/admin2", false},
		{"home/admin", "home", false},
		{"/tmp/**", "tmp", false},
		{"/tmp/**", "tmp/a/b", true},
		{"/tmp/*", "tmp/a", true},
		{"/tmp/*", "tmp/a/b", false},
		{"/var/log/*.gz", "var/log/x.gz", true},
		{"/var/log/*.gz", "var/log/a/x.gz", false},
		{"**/cache", "var/cache", true},
		{"**/cache", "cache", false},
		{"/home/?", "home/a", true},
		{"/home/?", "home/ab", false},
		{"/home/[ab]*", "home/bob", true},
		{"/home/[!ab]*", "home/bob", false},
		{"/a{b,c}*", "a{b,c}d", true},
		{"/a{b,c}*", "abd", false},
		{`/a\*`, `a\x`, true},
		{"/a{b}", "a{b}", true},
		{"/caf*", "caf\xe9", true},
		{"/K?BLER.csv", "K\xdcBLER.csv", true},
		{"/K\xdcBLER*", "K\xdcBLER.csv", true},
		{"/new\nline", "new\nline", true},
	} {
		s, err := NewSet([]string{tt.pattern})
		if err != nil {
			t.Errorf("NewSet(%q) = %v", tt.pattern, err)
			continue
		}
		if p, got := s.Match(tt.path); got != tt.want || (got && p != tt.pattern) {
			t.Errorf("NewSet(%q).Match(%q) = %q, %v, want %v", tt.pattern, tt.path, p, got, tt.want)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	for _, p := range []string{"", "/", ".", "//", "/a[b"} {
		if _, err := NewSet([]string{p}); err == nil {
			t.Errorf("NewSet(%q) = nil, want an error", p)
		}
	}
	var none *Set
	if _, got := none.Match("x"); got {
		t.Error("nil Set matches")
	}
}

func TestName(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		at      int
		name    string
		want    bool
	}{
		{"tmp/backup_blocker", 1, "backup_blocker", true},
		{"tmp/*.lock", 1, "a.lock", true},
		{"tmp/*.lock", 1, ".lock", false},
		{"tmp/*", 1, ".hidden", false},
		{"tmp/.*", 1, ".hidden", true},
		{"/tmp/?", 1, "ab", false},
		{"/*/x", 0, "tmp", true},
	} {
		names, err := Path(tt.pattern)
		if err != nil {
			t.Errorf("Path(%q) = %v", tt.pattern, err)
			continue
		}
		if got := names[tt.at].Match(tt.name); got != tt.want {
			t.Errorf("Path(%q)[%d].Match(%q) = %v, want %v", tt.pattern, tt.at, tt.name, got, tt.want)
		}
	}
	for _, p := range []string{"", "/", "../etc/passwd", "a/../b", "x[y"} {
		if _, err := Path(p); err == nil {
			t.Errorf("Path(%q) = nil, want an error", p)
		}
	}
}

func FuzzSet(f *testing.F) {
	f.Add("/home/*", "home/x")
	f.Add("/a{b\\", "a{b\\")
	f.Add("[", "x")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		s, err := NewSet([]string{pattern})
		if err != nil {
			return
		}
		s.Match(path)
		if names, err := Path(pattern); err == nil {
			names[0].Match(path)
		}
	})
}
