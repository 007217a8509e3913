// SPDX-License-Identifier: AGPL-3.0-only

package run

import (
	"slices"
	"strings"
	"testing"
)

// However a tool's output is cut into pieces, its lines come whole and in order, each
// once; of very much of it the end is kept.
func FuzzLines(f *testing.F) {
	f.Add("one\ntwo\r\n\n  \nthree", uint8(3))
	f.Add("\x00\xff\n\x1b[m", uint8(1))
	f.Add(strings.Repeat("x", 1000)+"\n", uint8(7))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		l := newLines()
		var got []string
		for rest := text; rest != ""; {
			n := min(int(size)+1, len(rest))
			if w, err := l.Write([]byte(rest[:n])); w != n || err != nil {
				t.Fatalf("Write = %d, %v", w, err)
			}
			rest = rest[n:]
			got = append(got, l.whole()...)
		}
		got = append(got, l.flush()...)
		if want := split(text); !slices.Equal(got, want) {
			t.Errorf("lines of %q in pieces of %d = %q, want %q", text, int(size)+1, got, want)
		}
		if l.text() != text {
			t.Errorf("text = %q, want %q", l.text(), text)
		}
		if last := lastLine(text); strings.ContainsAny(last, "\n") || !strings.Contains(text, last) {
			t.Errorf("lastLine(%q) = %q", text, last)
		}
	})
}

func TestOutputIsBounded(t *testing.T) {
	l := newLines()
	line := []byte(strings.Repeat("x", 1<<20-1) + "\n")
	for range keep>>20 + 20 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.text()) != keep || len(l.rest) > keep+len(line) {
		t.Errorf("%d bytes kept, %d to be told, want at most %d", len(l.text()), len(l.rest), keep)
	}
}
