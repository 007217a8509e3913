// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"strings"
	"testing"
)

func TestIgnoreDecides(t *testing.T) {
	ig, err := ParseIgnore([]byte("# what nobody needs\n*.o\n!keep.o\n/top\nx/y\nlogs/\n\\#a\n[bad\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rel              string
		dir              bool
		decided, ignored bool
	}{
		{"a/b.o", false, true, true},
		{"a/keep.o", false, true, false},
		{"a/b.c", false, false, false},
		{"top", true, true, true},
		{"a/top", true, false, false},
		{"a/x/y", false, false, false},
		{"x/y", false, true, true},
		{"logs", false, false, false},
		{"a/logs", true, true, true},
		{"#a", false, true, true},
		{"[bad", false, false, false},
		{"", true, false, false},
	} {
		decided, ignored := ig.Match(tt.rel, tt.dir)
		if decided != tt.decided || ignored != tt.ignored {
			t.Errorf("Match(%q, %v) = %v, %v, want %v, %v", tt.rel, tt.dir, decided, ignored, tt.decided, tt.ignored)
		}
	}
	if decided, _ := (*Ignore)(nil).Match("a", true); decided {
		t.Error("nil Ignore decides")
	}
}

func TestIgnoreBounds(t *testing.T) {
	for _, tt := range []struct{ data, bound string }{
		{strings.Repeat("#", maxIgnoreBytes+1), "64 KiB"},
		{strings.Repeat("#", maxIgnoreBytes), ""},
		{strings.Repeat("\n", maxIgnoreLines+1), "1000 lines"},
		{strings.Repeat("a\n", maxIgnoreLines), ""},
		{strings.Repeat("a\n", maxIgnoreLines-1) + "a", ""},
		{strings.Repeat("*"+strings.Repeat("a", 51)+"*\n", 10), "500 characters between"},
		{strings.Repeat("*"+strings.Repeat("a", 50)+"*\n", 10), ""},
		{strings.Repeat("*"+strings.Repeat("[a-bc-d]", 20)+"*\n", 9), "500 characters between"},
		{strings.Repeat("*"+strings.Repeat("[a-bc-d]", 20)+"*\n", 8), ""},
		{strings.Repeat("*"+strings.Repeat("a", 999)+"\n", 60), ""},
		{strings.Repeat("[ab][cd]\n", 1000), ""},
		{strings.Repeat("[ab][cde]\n", 1000), "4000 characters in sets"},
	} {
		_, err := ParseIgnore([]byte(tt.data))
		if (err == nil) != (tt.bound == "") || err != nil && !strings.Contains(err.Error(), tt.bound) {
			t.Errorf("ParseIgnore(%.12q, %d bytes) = %v, want %q", tt.data, len(tt.data), err, tt.bound)
		}
	}
}
