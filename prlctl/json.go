// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// liftBase is where the bytes of a string that are no UTF-8 are kept while JSON is
// read: the last private-use characters there are.
const liftBase = 0x10FF00

// decode reads what prlctl prints with -j. It is JSON but for two things: a control
// character in a string is escaped only if it is one of seven, and the bytes of a
// name come as they are (PrlOutFormatterJSON::add of OpenVZ/prlctl). A name of one
// container must not hide all others.
func decode(out string, v any) error {
	return json.Unmarshal([]byte(proper(out)), v)
}

// proper makes JSON of what prlctl has printed.
func proper(out string) string {
	plain := utf8.ValidString(out)
	for i := 0; plain && i < len(out); i++ {
		plain = out[i] >= ' ' || out[i] == '\n' || out[i] == '\t' || out[i] == '\r'
	}
	if plain && !strings.ContainsAny(out, "\n\t\r") {
		return out
	}
	var b strings.Builder
	inside, escaped := false, false
	for i := 0; i < len(out); {
		r, size := utf8.DecodeRuneInString(out[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteRune(liftBase + rune(out[i]))
		case inside && r < ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(out[i : i+size])
		}
		inside, escaped = inString(r, inside, escaped)
		i += size
	}
	return b.String()
}

// inString follows the quotes of JSON.
func inString(r rune, inside, escaped bool) (bool, bool) {
	switch {
	case escaped:
		return inside, false
	case inside && r == '\\':
		return true, true
	case r == '"':
		return !inside, false
	default:
		return inside, false
	}
}

// raw gives a decoded string the bytes back that it was printed with.
func raw(s string) string {
	if !strings.ContainsFunc(s, lifted) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if lifted(r) {
			b.WriteByte(byte(r - liftBase))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func lifted(r rune) bool { return r >= liftBase+utf8.RuneSelf && r <= liftBase+0xFF }
