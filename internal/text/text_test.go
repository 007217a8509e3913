// SPDX-License-Identifier: AGPL-3.0-only

package text

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestCount(t *testing.T) {
	for _, tt := range []struct {
		n    int64
		want string
	}{{0, "0"}, {999, "999"}, {1000, "1,000"}, {1234567, "1,234,567"}, {-1234, "-1,234"}} {
		if got := Count(tt.n); got != tt.want {
			t.Errorf("Count(%d) = %q, want %q", tt.n, got, tt.want)
		}
	}
}

func TestSize(t *testing.T) {
	for _, tt := range []struct {
		n    int64
		want string
	}{
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{1536, "1.5 KiB"},
		{10 << 30, "10.0 GiB"},
		{1<<63 - 1, "8.0 EiB"},
	} {
		if got := Size(tt.n); got != tt.want {
			t.Errorf("Size(%d) = %q, want %q", tt.n, got, tt.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{412 * time.Millisecond, "0.4 s"},
		{200 * time.Second, "3 min 20 s"},
		{2*time.Hour + 5*time.Minute, "2 h 05 min"},
	} {
		if got := Duration(tt.d); got != tt.want {
			t.Errorf("Duration(%v) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

func TestName(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"plain.txt", "plain.txt"},
		{"Käse", "Käse"},
		{"K\xdcBLER.csv", `K\xdcBLER.csv`},
		{"two\nlines\t", `two\nlines\t`},
		{`back\slash`, `back\\slash`},
		{"\x1b[31m", `\x1b[31m`},
		{"\u202eevil", `\u202eevil`},
		{"\ufffd", "\ufffd"},
	} {
		if got := Name(tt.name); got != tt.want {
			t.Errorf("Name(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestMessage(t *testing.T) {
	for _, tt := range []struct{ message, want string }{
		{"plain", "plain"},
		{`escaped \xdc before`, `escaped \xdc before`},
		{"one\ntwo", "one\n    two"},
		{"a name\r\n\x1b[2Kjob ended OK", "a name\\x0d\n    \\x1b[2Kjob ended OK"},
		{"K\xdcBLER\x00\u202e\u2028", `K\xdcBLER\x00\u202e\u2028`},
	} {
		if got := Message(tt.message); got != tt.want {
			t.Errorf("Message(%q) = %q, want %q", tt.message, got, tt.want)
		}
	}
}

// What is written is one word to a shell, and that word.
func TestShell(t *testing.T) {
	words := []string{"/vz/private/{4b16639b}/root.hds", "", "two words", "it's", `back\slash`, "a;rm -rf /", "$HOME `id` $(id)", "two\nlines", "\x1b'\\", "K\xdc", "Käse", "*", "~"}
	for _, w := range words {
		out, err := exec.Command("bash", "-c", "printf %s "+Shell(w)).Output()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip("no bash here")
		}
		if string(out) != w || err != nil || strings.ContainsAny(Shell(w), "\n\x1b") {
			t.Errorf("Shell(%q) = %s, to bash %q, %v", w, Shell(w), out, err)
		}
	}
}

// Nothing that a terminal or a log acts on comes through.
func FuzzName(f *testing.F) {
	f.Add("K\xdcBLER\n\x1b[31m")
	f.Add("\u202e\ufffd\\")
	f.Fuzz(func(t *testing.T, s string) {
		name, message := Name(s), Message(s)
		if strings.ContainsFunc(Shell(s), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Shell(%q) = %q", s, Shell(s))
		}
		for _, r := range name {
			if !unicode.IsPrint(r) {
				t.Errorf("Name(%q) = %q", s, name)
			}
		}
		for _, r := range strings.ReplaceAll(message, "\n    ", "") {
			if !unicode.IsPrint(r) {
				t.Errorf("Message(%q) = %q", s, message)
			}
		}
		if !utf8.ValidString(name) || !utf8.ValidString(message) || Message(message) != strings.ReplaceAll(message, "\n", "\n    ") {
			t.Errorf("Name(%q) = %q, Message = %q", s, name, message)
		}
	})
}
