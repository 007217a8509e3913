// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"fmt"
	"runtime"
	"sort"
	"strings"
	"testing"

	"github.com/gobwas/glob"
)

func BenchmarkList(b *testing.B) {
	repeat := func(n int, formats ...string) (patterns []string) {
		for i := range n {
			patterns = append(patterns, fmt.Sprintf(formats[i%len(formats)], i))
		}
		return patterns
	}
	for _, bb := range []struct {
		name     string
		patterns []string
	}{
		{"none", nil},
		{"1literal", repeat(1, "/var/cache/%d")},
		{"1000literals", repeat(1000, "/var/cache/%d", "cache%d", "a%d/b/")},
		{"1glob", repeat(1, "*.o%d")},
		{"100globs", repeat(100, "*.o%d", "/var/www/*/cache%d", "/srv/**/x%d", "[ab]%d*")},
	} {
		l, err := NewList(bb.patterns)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := l.Match("var/www/vhosts/example.org/htdocs/index.php", false); ok {
					b.Fatal("matches")
				}
			}
		})
	}
}

// hostile are lines of which as many as are allowed make the dearest files that a
// tenant may write, and a path to compare them with.
func hostile() []struct{ name, line, rel string } {
	a := strings.Repeat("a", 254)
	return []struct{ name, line, rel string }{
		{"stars", strings.Repeat("*a", 16) + "*b*\n", a},
		{"chunk", "*" + strings.Repeat("a", 99) + "b*\n", a},
		{"sets", "*" + strings.Repeat("[a-bc-de-fx-z]", 10) + "b*\n", a},
		{"deep", "**/" + strings.Repeat("a/", 30) + "*b*/c\n", strings.Repeat("a/", 2000) + "c"},
		{"long", "**/*" + strings.Repeat("a", 99) + "b*/c\n", strings.Repeat(a+"/", 16) + "c"},
		{"tails", "*b" + strings.Repeat("a", 62) + "\n", a},
		{"literals", strings.Repeat("a", 62) + "?\n", a},
		{"spans", strings.Repeat("[a]", 1000) + "\n", a},
	}
}

// most parses as many of the lines as are allowed.
func most(tb testing.TB, line string) (ig *Ignore, lines int) {
	lines = sort.Search(maxIgnoreLines, func(n int) bool {
		_, err := ParseIgnore([]byte(strings.Repeat(line, n+1)))
		return err != nil
	})
	ig, err := ParseIgnore([]byte(strings.Repeat(line, lines)))
	if lines == 0 || err != nil {
		tb.Fatalf("%d lines are allowed of %q: %v", lines, line, err)
	}
	return ig, lines
}

func BenchmarkHostile(b *testing.B) {
	for _, h := range hostile() {
		ig, lines := most(b, h.line)
		b.Run(h.name, func(b *testing.B) {
			for b.Loop() {
				ig.Match(h.rel, false)
			}
			b.ReportMetric(float64(lines), "lines")
		})
	}
}

// TestHostile: what a tenant may write costs little time and memory. The library
// whose time has no bound is the control.
func TestHostile(t *testing.T) {
	for _, h := range hostile() {
		ig, lines := most(t, h.line)
		if took, ok := quick(func() { ig.Match(h.rel, false) }); !ok {
			t.Errorf("%s: %d lines take %v", h.name, lines, took)
		}
		data := []byte(strings.Repeat(h.line, lines))
		if size := retained(func() any { ig, _ := ParseIgnore(data); return ig }); size > 512<<10 {
			t.Errorf("%s: %d lines take %d KiB", h.name, lines, size>>10)
		}
	}
	if size := retained(func() any { return make([]byte, 600<<10) }); size <= 512<<10 {
		t.Errorf("600 KiB are taken for %d", size)
	}
	l, err := NewList([]string{"**a*" + strings.Repeat("a", 200) + "b*c"})
	if err != nil {
		t.Fatal(err)
	}
	path := strings.Repeat(strings.Repeat("a", 254)+"/", 16) + "c"
	if took, ok := quick(func() { l.Match(path, false) }); !ok {
		t.Errorf("a List takes %v", took)
	}
	g := glob.MustCompile(strings.Repeat("*a", 4)+"b*c", '/')
	name := strings.Repeat("a", 240) + "c"
	if took, ok := quick(func() { g.Match(name) }); ok {
		t.Errorf("a match that goes back to every star took %v, which is not reported", took)
	}
}

// retained is the memory that what f returns keeps.
func retained(f func() any) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools had
	runtime.ReadMemStats(&before)
	kept := f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}
