// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"fmt"
	"strings"
)

// What a file of a tenant may cost. A comparison takes a time of the length of
// the path times maxWork, and of maxIgnoreBytes, at most.
const (
	maxIgnoreBytes = 64 << 10
	maxIgnoreLines = 1000
	maxWork        = 500
	maxSpans       = 4000
)

// Ignore holds the lines of a file in the syntax of gitignore(5). A tenant wrote
// it: who holds those of several directories at a time bounds their number, since
// each may take half a MiB and four milliseconds for each path of 4 KiB.
type Ignore struct {
	rules []rule
}

type rule struct {
	glob   *matcher
	whole  string // instead of glob: a name, or a path, without wildcards
	base   bool   // compared with the last component
	dirs   bool   // covers directories only
	ignore bool
}

// ParseIgnore reads the file: comments, quoting by backslashes, "!", leading and
// trailing slashes, sets, and "**" where it is a whole component. Lines that git
// could not match with anything are left out. It differs from git 2.39 in this: ?
// and a set take a character, not a byte of one, and "foo**/b" does not cover foob.
//
// It returns an error, which says which, where a bound is exceeded: 64 KiB, 1,000
// lines, and in all lines together 500 characters that stand between two stars of
// a line, and 4,000 characters and ranges in sets.
func ParseIgnore(data []byte) (*Ignore, error) {
	if len(data) > maxIgnoreBytes {
		return nil, fmt.Errorf("has more than %d KiB", maxIgnoreBytes>>10)
	}
	text := strings.TrimPrefix(string(data), "\xef\xbb\xbf")
	if n := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1; n > maxIgnoreLines {
		return nil, fmt.Errorf("has more than %d lines", maxIgnoreLines)
	}
	ig, work, spans := &Ignore{}, 0, 0
	for line := range strings.SplitSeq(text, "\n") {
		r, ok := parseRule(strings.TrimSuffix(line, "\r"))
		if !ok {
			continue
		}
		if r.glob != nil {
			if work += r.glob.work(); work > maxWork {
				return nil, fmt.Errorf("has more than %d characters between stars", maxWork)
			}
			for _, s := range r.glob.sets {
				spans += len(s.spans)
			}
			if spans > maxSpans {
				return nil, fmt.Errorf("has more than %d characters in sets", maxSpans)
			}
		}
		ig.rules = append(ig.rules, r)
	}
	return ig, nil
}

// parseRule reads a line. It is not ok if it is a comment or covers nothing.
func parseRule(line string) (r rule, ok bool) {
	if strings.HasPrefix(line, "#") || strings.Contains(line, "\x00") {
		return rule{}, false
	}
	line = trimBlanks(line)
	line, negated := strings.CutPrefix(line, "!")
	line, r.dirs = strings.CutSuffix(line, "/")
	r.ignore = !negated
	if rest, ok := strings.CutPrefix(line, "**/"); ok && !strings.Contains(rest, "/") {
		line = rest // at any depth already
	}
	r.base = !strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return rule{}, false
	}
	if !strings.ContainsAny(line, special+`\`) {
		r.whole = line
		return r, true
	}
	var err error
	r.glob, err = ignoreDialect.compile(runes(nil, line))
	return r, err == nil
}

// trimBlanks takes the blanks from the end that no backslash quotes.
func trimBlanks(line string) string {
	end := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			continue
		case '\\':
			i++
		}
		end = i + 1
	}
	return line[:min(end, len(line))]
}

// Match decides by the last line that covers rel, the path of a file from the
// directory that holds the lines, without slashes at its ends. It has not
// decided if there is none: then the file of the directory above may. Nothing
// below a directory that is ignored is to be asked for; no line brings it back.
// The nil Ignore decides nothing.
func (ig *Ignore) Match(rel string, dir bool) (decided, ignored bool) {
	if ig == nil || rel == "" {
		return false, false
	}
	base := rel[strings.LastIndexByte(rel, '/')+1:]
	var buf [256]rune
	whole := runes(buf[:0], rel)
	last := lastComponent(whole)
	for i := len(ig.rules) - 1; i >= 0; i-- {
		r := &ig.rules[i]
		if (dir || !r.dirs) && r.covers(rel, base, whole, last) {
			return true, r.ignore
		}
	}
	return false, false
}

func (r *rule) covers(rel, base string, whole, last []rune) bool {
	switch {
	case r.glob == nil && r.base:
		return r.whole == base
	case r.glob == nil:
		return r.whole == rel
	case r.base:
		return r.glob.match(last)
	}
	return r.glob.match(whole)
}
