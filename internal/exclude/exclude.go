// SPDX-License-Identifier: AGPL-3.0-only

// Package exclude decides by patterns which paths of a container are meant. Three
// kinds of lists have three languages, and a common core that operators know:
//
//   - any characters but a slash        ?    one character but a slash
//     **     any characters, slashes too       [a-z] [!a-z]  one character of a set
//
// Braces stand for themselves, and so does the backslash but in an Ignore.
//
//   - Set: excluded_backup_paths. Anchored at the container's root, written with or
//     without a leading slash. It and Name, for blockers, are the only users of
//     gobwas/glob, narrowed to the above.
//   - List: exclude and exclude_file, as rsync's --exclude. At any depth without a
//     leading slash.
//   - Ignore: .bareosignore, as gitignore(5), written by a tenant.
//
// gobwas/glob has one range in a set at most, and goes back to every star: its
// time grows with a power of the path's length. So List and Ignore have a matcher
// of their own, with a bound.
//
// What wins: in a Set or a List each pattern leaves out, whatever stands before or
// behind it. In an Ignore the last line that covers a path decides, and a file of a
// deeper directory goes before one above it. A path is left out if any of the three
// says so: a line with "!" takes back lines of tenants, never a pattern of an
// operator. What is below a directory that is left out is not asked for, and
// nothing brings it back. "/tmp/**" does not cover "/tmp" itself.
//
// The package reads no file system and follows no link: it compares bytes.
package exclude

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/glob"
)

// special are the characters that make a word a pattern.
const special = "*?["

// Set holds anchored patterns: each is compared with the whole path from the
// container's root, whether or not it was written with a leading slash. The
// nil Set matches nothing.
type Set struct {
	literals map[string]string
	globs    []anchored
}

type anchored struct {
	text string
	glob *glob.Pattern
}

// NewSet compiles patterns. A word without *, ? and [ is a literal path. An
// empty word, and one that means the root itself, is an error.
func NewSet(patterns []string) (*Set, error) {
	s := &Set{literals: map[string]string{}}
	for _, p := range patterns {
		rel := clean(p)
		if rel == "" {
			return nil, fmt.Errorf("pattern %q means the whole container", p)
		}
		if !strings.ContainsAny(rel, special) {
			s.literals[rel] = p
			continue
		}
		g, err := glob.Compile(quote(rel), '/')
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", p, err)
		}
		s.globs = append(s.globs, anchored{p, g})
	}
	return s, nil
}

// Match reports whether a pattern covers path, and which. The path is relative
// to the container's root, without slashes at its ends. A directory that
// matches is not to be entered: what lies below it is not asked for.
func (s *Set) Match(path string) (pattern string, ok bool) {
	if s == nil {
		return "", false
	}
	if p, ok := s.literals[path]; ok {
		return p, true
	}
	for _, g := range s.globs {
		if g.glob.Match(lift(path)) {
			return g.text, true
		}
	}
	return "", false
}

// clean makes a pattern relative: no slashes at the ends, none doubled, no ".".
func clean(p string) string {
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/")
}

// quote takes the meaning from the characters that are no part of our language.
func quote(p string) string {
	return strings.NewReplacer(`\`, `\\`, "{", `\{`, "}", `\}`, ",", `\,`).Replace(lift(p))
}

// lift replaces the bytes of a name that are no UTF-8 by runes of a private use
// area, since the library takes UTF-8 only: "caf\xe9" still matches "caf?".
func lift(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		if r == utf8.RuneError && size == 1 {
			r = 0xF700 + rune(name[0])
		}
		b.WriteRune(r)
		name = name[size:]
	}
	return b.String()
}
