// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// covered says what a matcher should say, by all places that are in reach after
// each character of the pattern.
func covered(m *matcher, s []rune) bool {
	at := make([]bool, len(s)+1)
	at[0] = true
	for _, codes := range [][]rune{m.body, m.tail} {
		for _, c := range codes {
			after := make([]bool, len(s)+1)
			for i, ok := range at {
				switch {
				case !ok:
				case c == star:
					after[i] = true
					for ; i < len(s) && s[i] != '/'; i++ {
						after[i+1] = true
					}
				case c == wide:
					for ; i <= len(s); i++ {
						after[i] = true
					}
				case c == deep:
					after[i] = true
					for ; i < len(s); i++ {
						after[i+1] = after[i+1] || s[i] == '/'
					}
				case i < len(s):
					after[i+1] = after[i+1] || m.covers(c, s[i])
				}
			}
			at = after
		}
	}
	return at[len(s)]
}

const limit = 100 * time.Millisecond

// quick reports whether f takes less than limit of a processor, whatever else the
// machine does, and how much it took.
func quick(f func()) (took time.Duration, ok bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := processor()
	f()
	took = processor() - begin
	return took, took < limit
}

// processor is the time that the thread has had.
func processor() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func clipPath(path string) string {
	return strings.Trim(path[:min(len(path), 4096)], "/")
}

func FuzzList(f *testing.F) {
	for _, r := range []struct{ pattern, path string }{
		{"/home/*", "home/x"}, {"a/**/b", "a/x/b"}, {"*a*a*a*b", strings.Repeat("a", 100)}, {"x/***", "x/y"},
		{"[!a-c[:digit:]]?", "\xe9é"}, {"**a*b/c", "a/b/c"}, {"\\", "\\"}, {"#", "#"},
	} {
		f.Add(r.pattern, r.path, true)
	}
	f.Fuzz(func(t *testing.T, pattern, path string, dir bool) {
		pattern, path = pattern[:min(len(pattern), 256)], clipPath(path)
		l, err := NewList([]string{pattern})
		blank := strings.Trim(pattern, " \t") == ""
		if !blank && !strings.ContainsAny(pattern[:1], `#\`) && !strings.ContainsAny(pattern, "\r\n") {
			if list, parsed := ParseList([]byte("\n" + pattern)); (parsed == nil) != (err == nil) ||
				parsed == nil && (len(list) != 1 || list[0] != pattern) {
				t.Errorf("ParseList(%q) = %q, %v, NewList %v", pattern, list, parsed, err)
			}
		}
		if err != nil {
			return
		}
		want := ""
		whole := runes(nil, path)
		for _, g := range l.globs {
			s := whole
			if g.base {
				s = lastComponent(whole)
			}
			ok := covered(g.glob, s)
			if got := g.glob.match(s); got != ok {
				t.Errorf("%q covers %q = %v, want %v", pattern, path, got, ok)
			}
			if ok && path != "" && (dir || !g.dirs) {
				want = pattern
			}
		}
		took, ok := quick(func() {
			if got, _ := l.Match(path, dir); len(l.globs) > 0 && got != want {
				t.Errorf("NewList(%q).Match(%q, %v) = %q", pattern, path, dir, got)
			}
		})
		if !ok {
			t.Errorf("NewList(%q).Match(%q, %v) takes %v", pattern, path, dir, took)
		}
	})
}

func FuzzIgnore(f *testing.F) {
	for _, r := range []struct{ data, rel string }{
		{"*.o\n!a.o\n/b/\n", "x/a.o"}, {"**/a/*b*/c", "a/a/b/c"}, {"a/**/b/**", "a/b/c"}, {"\\#\\ \n[]\\]a-]", "# "},
		{"*a*a*a*a*a*b*\n", strings.Repeat("a", 255)}, {"**/a/a/*b*/c", strings.Repeat("a/", 100) + "c"},
	} {
		f.Add(r.data, r.rel, true)
	}
	f.Fuzz(func(t *testing.T, data, rel string, dir bool) {
		rel = clipPath(rel)
		ig, err := ParseIgnore([]byte(data))
		if err != nil {
			return
		}
		whole := runes(nil, rel)
		decided, ignored := false, false
		for _, r := range ig.rules {
			s := whole
			if r.base {
				s = lastComponent(whole)
			}
			ok := r.whole == rel || r.base && r.whole == rel[strings.LastIndexByte(rel, '/')+1:]
			if r.glob != nil {
				ok = covered(r.glob, s)
				if got := r.glob.match(s); got != ok {
					t.Errorf("a line of %q covers %q = %v, want %v", data, rel, got, ok)
				}
			}
			if ok && rel != "" && (dir || !r.dirs) {
				decided, ignored = true, r.ignore
			}
		}
		took, ok := quick(func() {
			if d, i := ig.Match(rel, dir); d != decided || i != ignored {
				t.Errorf("ParseIgnore(%q).Match(%q, %v) = %v, %v, want %v, %v", data, rel, dir, d, i, decided, ignored)
			}
		})
		if !ok {
			t.Errorf("ParseIgnore(%q).Match(%q, %v) takes %v", data, rel, dir, took)
		}
	})
}
