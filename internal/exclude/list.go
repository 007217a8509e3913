// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// List holds patterns as those of rsync's --exclude and vzdump's --exclude-path.
// With a leading slash a pattern is compared with the whole path, without one
// with its end, by whole components: "a/b" covers x/a/b. With a trailing slash
// it covers directories only. "**" crosses slashes anywhere; "**/" at the beginning
// may be nothing; "dir/***" covers dir and all that is below it. A leading dot is
// a character like others.
//
// The order of the patterns has no meaning. The nil List matches nothing.
//
// It differs from rsync 3.5 (all of it in testdata/golden.txt): a backslash is a
// backslash; ? and a set take a character, not a byte of one; a prefix such as
// "+ " is part of the name; several slashes count as one; and what could never
// match anything is an error.
type List struct {
	rooted map[string]literal // by path
	ends   map[string]literal // by the last components of a path
	most   int                // components of a key of ends
	globs  []listGlob
}

type literal struct {
	text string
	dirs bool // covers directories only
}

type listGlob struct {
	literal
	glob *matcher
	base bool // compared with the last component
}

// NewList compiles patterns. A pattern that means the container itself, such as
// "" or "/", is an error, and so is a set that is none.
func NewList(patterns []string) (*List, error) {
	l := &List{rooted: map[string]literal{}, ends: map[string]literal{}}
	for _, p := range patterns {
		if err := l.add(p); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	return l, nil
}

// add compiles a pattern. Its errors do not repeat it.
func (l *List) add(text string) error {
	lit := literal{text, strings.HasSuffix(text, "/")}
	parts := slices.DeleteFunc(strings.Split(text, "/"), func(s string) bool { return s == "" })
	rooted := strings.HasPrefix(text, "/")
	if !rooted && len(parts) > 1 && len(parts[0]) > 1 && strings.Trim(parts[0], "*") == "" {
		parts = parts[1:] // any depth is what the pattern has already
	}
	rel := strings.Join(parts, "/")
	switch {
	case rel == "":
		return errors.New("means the whole container")
	case slices.Contains(parts, ".") || slices.Contains(parts, ".."):
		return errors.New("has a component . or .., which no path of a container has; a leading slash is its root")
	case strings.Contains(rel, "\x00"):
		return errors.New("has a NUL, which no path has")
	case !strings.ContainsAny(rel, special):
		if rooted {
			keep(l.rooted, rel, lit)
		} else {
			keep(l.ends, rel, lit)
			l.most = max(l.most, len(parts))
		}
		return nil
	}
	short := strings.TrimRight(rel, "*")
	if dir, ok := strings.CutSuffix(short, "/"); ok && len(rel)-len(short) > 2 {
		if err := l.addGlob(dir, literal{text, true}, rooted); err != nil {
			return err
		}
	}
	return l.addGlob(rel, lit, rooted)
}

// keep lets a pattern that covers everything of this name go before one that
// covers directories only, and else the first one.
func keep(m map[string]literal, key string, lit literal) {
	if old, ok := m[key]; !ok || old.dirs && !lit.dirs {
		m[key] = lit
	}
}

func (l *List) addGlob(rel string, lit literal, rooted bool) error {
	g, err := listDialect.compile(runes(nil, rel))
	if err != nil {
		return err
	}
	base := !rooted && !strings.Contains(rel, "/") && !strings.Contains(rel, "**")
	if !rooted && !base {
		g.below()
	}
	l.globs = append(l.globs, listGlob{lit, g, base})
	return nil
}

// Match reports whether a pattern covers path, and which, as it was written. The
// path is relative to the container's root, without slashes at its ends; dir
// says that it is a directory. A directory that matches is not to be entered:
// what lies below it is not asked for, and another answer may be given for it.
func (l *List) Match(path string, dir bool) (pattern string, ok bool) {
	if l == nil || path == "" {
		return "", false
	}
	if lit, ok := l.rooted[path]; ok && (dir || !lit.dirs) {
		return lit.text, true
	}
	for n, begin := 0, len(path); n < l.most && begin > 0; n++ {
		begin = strings.LastIndexByte(path[:begin], '/')
		if lit, ok := l.ends[path[begin+1:]]; ok && (dir || !lit.dirs) {
			return lit.text, true
		}
	}
	if len(l.globs) == 0 {
		return "", false
	}
	var buf [256]rune
	whole := runes(buf[:0], path)
	last := lastComponent(whole)
	for i := range l.globs {
		g := &l.globs[i]
		s := whole
		if g.base {
			s = last
		}
		if (dir || !g.dirs) && g.glob.match(s) {
			return g.text, true
		}
	}
	return "", false
}

// maxPatterns is how many patterns a file of patterns may have.
const maxPatterns = 10_000

// ParseList reads a file of patterns for NewList: one a line, without blank lines
// and those that begin with #. A pattern that begins with # is written \#. All
// else counts as it stands, blanks at the ends too; a line may end with CR LF.
// Each pattern is judged as NewList would judge it. Errors name the line and not
// what stands in it, since who named the file might not be allowed to read it.
func ParseList(data []byte) ([]string, error) {
	var patterns []string
	judge := &List{rooted: map[string]literal{}, ends: map[string]literal{}}
	n := 0
	for line := range strings.SplitSeq(strings.TrimPrefix(string(data), "\xef\xbb\xbf"), "\n") {
		n++
		line = strings.TrimSuffix(line, "\r")
		if strings.Trim(line, " \t") == "" || line[0] == '#' {
			continue
		}
		if strings.HasPrefix(line, `\#`) {
			line = line[1:]
		}
		if len(patterns) == maxPatterns {
			return nil, fmt.Errorf("line %d: more than %d patterns", n, maxPatterns)
		}
		if err := judge.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		patterns = append(patterns, line)
	}
	return patterns, nil
}
