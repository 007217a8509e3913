// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"errors"
	"slices"
	"unicode/utf8"
)

// matcher is a compiled pattern of a List or of an Ignore: one rune for a character
// that stands for itself, a negative number for what has a meaning. Everything
// but the three kinds of stars takes exactly one character of the path, so that
// a match needs no recursion: it goes back to the last star only, and within a
// component that is enough.
type matcher struct {
	body []rune // up to the last star, which ends it; empty if there is none
	tail []rune // what follows, compared with the end of the path first
	sets []set
}

const (
	one      rune = -1 - iota // ?
	star                      // any characters but a slash
	wide                      // any characters
	deep                      // nothing, or whole components with the slash behind them
	firstSet                  // and below: sets[firstSet-c]
)

// dialect is what the two users of matcher understand differently.
type dialect struct {
	// quotes: a backslash takes the meaning from the next character.
	quotes bool
	// whole: ** crosses slashes only where it is a whole component, and **/
	// may be nothing at all. Otherwise it does anywhere.
	whole bool
}

var (
	listDialect   = dialect{}
	ignoreDialect = dialect{quotes: true, whole: true}
)

// compile translates p. Its errors do not repeat it: who named the file that it
// stands in might not be allowed to read that.
func (d dialect) compile(p []rune) (*matcher, error) {
	m := &matcher{}
	codes := make([]rune, 0, len(p))
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch {
		case c == '*':
			begin := i
			for i+1 < len(p) && p[i+1] == '*' {
				i++
			}
			c, i = d.stars(p, begin, i)
		case c == '?':
			c = one
		case c == '[':
			s, end, err := d.set(p, i)
			if err != nil {
				return nil, err
			}
			m.sets = append(m.sets, s)
			c, i = firstSet-rune(len(m.sets)-1), end
		case c == '\\' && d.quotes:
			if i++; i == len(p) {
				return nil, errors.New("a backslash at the end quotes nothing")
			}
			c = p[i]
		}
		codes = append(codes, c)
	}
	m.split(codes)
	return m, nil
}

// stars says what the stars from begin to end mean, and what is the last
// character that belongs to them.
func (d dialect) stars(p []rune, begin, end int) (code rune, last int) {
	switch {
	case begin == end:
		return star, end
	case !d.whole:
		return wide, end
	case begin > 0 && p[begin-1] != '/':
		return star, end
	case end+1 == len(p):
		return wide, end
	case p[end+1] == '/':
		return deep, end + 1
	}
	return star, end
}

func (m *matcher) split(codes []rune) {
	last := len(codes)
	for last > 0 && !isStar(codes[last-1]) {
		last--
	}
	m.body, m.tail = codes[:last], codes[last:]
}

// below lets the pattern begin at any component of the path.
func (m *matcher) below() {
	m.split(slices.Concat([]rune{deep}, m.body, m.tail))
}

func isStar(c rune) bool { return c <= star && c >= deep }

// work is how many characters of the pattern may have to be compared with one
// character of the path: those between two stars. The others have one place.
func (m *matcher) work() int {
	n, behind := 0, false
	for _, c := range m.body {
		switch {
		case isStar(c):
			behind = true
		case behind && c <= firstSet:
			n += 1 + len(m.sets[firstSet-c].spans)
		case behind:
			n++
		}
	}
	return n
}

// covers reports whether c, which is no star, stands for r.
func (m *matcher) covers(c, r rune) bool {
	switch {
	case c >= 0:
		return c == r
	case r == '/':
		return false
	case c == one:
		return true
	}
	return m.sets[firstSet-c].has(r)
}

// match reports whether the pattern covers all of s, in a time of len(s) times
// work() at most.
func (m *matcher) match(s []rune) bool {
	n := len(s) - len(m.tail)
	if n < 0 {
		return false
	}
	for i, c := range m.tail {
		if !m.covers(c, s[n+i]) {
			return false
		}
	}
	return m.matchBody(s[:n])
}

// matchBody takes each star as short as it can. What a shorter one leaves, the
// next star takes too: a wide one takes everything; a star of a component ends
// at the same slash whatever the stars before it took, since the number of
// slashes between two wide or deep ones is fixed. For the same reason a component
// in which a star found nothing has nothing for a wide one that ends further on,
// but in the same component as now.
func (m *matcher) matchBody(s []rune) bool {
	if len(m.body) == 0 {
		return len(s) == 0
	}
	near, far := retry{at: -1}, retry{at: -1}
	for i, p := 0, 0; ; {
		switch c := m.body[p]; {
		case p == len(m.body)-1:
			if c != star || !slices.Contains(s[i:], '/') {
				return c != deep || i == len(s) || s[len(s)-1] == '/'
			}
			near.at = len(s)
		case c == star:
			p++
			near = retry{i, p}
			continue
		case isStar(c):
			p++
			near.at, far = -1, retry{i, p}
			continue
		case i == len(s):
			return false // any other place has less behind it
		case m.covers(c, s[i]):
			i, p = i+1, p+1
			continue
		}
		switch {
		case near.at >= 0 && near.at < len(s) && s[near.at] != '/':
			near.at++
			i, p = near.at, near.code
		case far.at >= 0:
			if m.body[far.code-1] == deep || near.at >= 0 {
				for far.at < len(s) && s[far.at] != '/' {
					far.at++
				}
			}
			if far.at++; far.at > len(s) {
				return false
			}
			near.at = -1
			i, p = far.at, far.code
		default:
			return false
		}
	}
}

// retry is where a star ends by now, and the code behind it. Without a star at is
// negative.
type retry struct{ at, code int }

// runes appends the characters of name. A byte that is no UTF-8 becomes a
// character of its own, from the surrogates, which UTF-8 has not: no name is
// taken for another.
func runes(buf []rune, name string) []rune {
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		if r == utf8.RuneError && size == 1 {
			r = 0xDC00 + rune(name[0])
		}
		buf = append(buf, r)
		name = name[size:]
	}
	return buf
}

// lastComponent is what follows the last slash.
func lastComponent(path []rune) []rune {
	for i := len(path); i > 0; i-- {
		if path[i-1] == '/' {
			return path[i:]
		}
	}
	return path
}
