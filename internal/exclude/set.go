// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"errors"
	"slices"
)

// set is what stands between brackets in a pattern.
type set struct {
	not   bool
	spans []span
}

type span struct{ first, last rune }

func (s *set) has(r rune) bool {
	for _, p := range s.spans {
		if p.first <= r && r <= p.last {
			return !s.not
		}
	}
	return s.not
}

// classes are POSIX' in its own locale, which rsync and git have in sets too.
var classes = map[string][]span{
	"alnum": {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, "alpha": {{'A', 'Z'}, {'a', 'z'}},
	"blank": {{'\t', '\t'}, {' ', ' '}}, "cntrl": {{0, 31}, {127, 127}}, "digit": {{'0', '9'}},
	"graph": {{'!', '~'}}, "lower": {{'a', 'z'}}, "print": {{' ', '~'}},
	"punct": {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}, "space": {{'\t', '\r'}, {' ', ' '}},
	"upper": {{'A', 'Z'}}, "xdigit": {{'0', '9'}, {'A', 'F'}, {'a', 'f'}},
}

var errOpen = errors.New("a [ without its ]; as a character it is written [[]")

// set reads the set that begins with p[i], and says where it ends. A ] or a - in
// the first place stands for itself, a - in the last too.
func (d dialect) set(p []rune, i int) (s set, end int, err error) {
	i++
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		s.not = true
		i++
	}
	prev := rune(-1) // what a range may begin with
	for first := true; ; first = false {
		if i >= len(p) {
			return s, 0, errOpen
		}
		c := p[i]
		switch {
		case c == ']' && !first:
			return s, i, nil
		case c == '-' && prev >= 0 && i+1 < len(p) && p[i+1] != ']':
			if i, err = d.member(p, i+1); err != nil {
				return s, 0, err
			}
			if p[i] < prev && !d.quotes {
				return s, 0, errors.New("a range in [ ] ends before it begins")
			}
			s.spans[len(s.spans)-1].last = max(prev, p[i])
			prev = -1
		case c == '[' && i+1 < len(p) && p[i+1] == ':':
			spans, last, err := class(p, i)
			if err != nil {
				return s, 0, err
			}
			s.spans = append(s.spans, spans...)
			if prev = -1; last == i {
				prev = c
			}
			i = last
		default:
			if i, err = d.member(p, i); err != nil {
				return s, 0, err
			}
			prev = p[i]
			s.spans = append(s.spans, span{prev, prev})
		}
		i++
	}
}

// member is where the character stands that p[i] is or quotes.
func (d dialect) member(p []rune, i int) (int, error) {
	if p[i] == '\\' && d.quotes {
		i++
	}
	if i >= len(p) {
		return 0, errOpen
	}
	return i, nil
}

// class reads [:name:] at p[i]. What has no :] at its end is only a bracket.
func class(p []rune, i int) (spans []span, last int, err error) {
	n := slices.Index(p[i+2:], ']')
	if n < 0 {
		return nil, 0, errOpen
	}
	end := i + 2 + n
	if n == 0 || p[end-1] != ':' {
		return []span{{'[', '['}}, i, nil
	}
	spans, ok := classes[string(p[i+2:end-1])]
	if !ok {
		return nil, 0, errors.New("a [: :] in [ ] that is none of POSIX' classes")
	}
	return spans, end, nil
}
