// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"strconv"
	"strings"
)

// options are parsed arguments: every option's last value, and what is no option.
type options struct {
	set  map[byte]string
	rest []string
}

func (o options) has(c byte) bool {
	_, ok := o.set[c]
	return ok
}

// parse works as getopt does: spec lists the letters, those with a colon take a value; options may stand anywhere. ok is
// false after a message about a wrong option.
func (t *Tool) parse(cmd string, args []string, spec string, long map[string]byte) (o options, ok bool) {
	o.set = map[byte]string{}
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		if a == "--" {
			o.rest = append(o.rest, args...)
			return o, true
		}
		if len(a) < 2 || a[0] != '-' {
			o.rest = append(o.rest, a)
			continue
		}
		if name, isLong := strings.CutPrefix(a, "--"); isLong {
			c, known := long[name]
			if !known {
				t.raw("%s: unrecognized option '%s'", cmd, a)
				return o, false
			}
			a = "-" + string(c)
		}
		for a = a[1:]; a != ""; a = a[1:] {
			i := strings.IndexByte(spec, a[0])
			if i < 0 || a[0] == ':' {
				t.raw("%s: invalid option -- '%c'", cmd, a[0])
				return o, false
			}
			if i+1 == len(spec) || spec[i+1] != ':' {
				o.set[a[0]] = ""
				continue
			}
			c, value := a[0], a[1:]
			if value == "" {
				if len(args) == 0 {
					t.raw("%s: option requires an argument -- '%c'", cmd, c)
					return o, false
				}
				value, args = args[0], args[1:]
			}
			o.set[c] = value
			break
		}
	}
	return o, true
}

// guid reads -u: with or without braces.
func (t *Tool) guid(s string) (string, bool) {
	g := s
	if !strings.HasPrefix(g, "{") && len(g) == 36 {
		g = "{" + g + "}"
	}
	if !validGUID(g) {
		t.raw("Incorrect uuid specified: %s", s)
		return "", false
	}
	return g, true
}

func validGUID(g string) bool {
	if len(g) != 38 || g[0] != '{' || g[37] != '}' {
		return false
	}
	for i, c := range g[1:37] {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdefABCDEF", c) {
				return false
			}
		}
	}
	return true
}

// size reads NUMBER[KMGT]; without a letter it counts sectors.
func size(s string) (uint64, bool) {
	if s == "" {
		return 0, false
	}
	shift := map[byte]uint{'K': 1, 'M': 11, 'G': 21, 'T': 31}
	n, unit := s, uint(0)
	if k, ok := shift[strings.ToUpper(s)[len(s)-1]]; ok {
		n, unit = s[:len(s)-1], k
	}
	v, err := strconv.ParseUint(n, 10, 63)
	if err != nil || v<<unit>>unit != v {
		return 0, false
	}
	return v << unit, true
}
