// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"strings"
)

// PluginName is the word before the first colon of a command that is ours.
const PluginName = "vz7ct"

// setting is one key=value of an option string.
type setting struct {
	key, value string
	// from says in which level it was written, for the job log.
	from string
}

// ours reports whether an option string is meant for this plugin, and returns
// what follows its name. Up to Bareos 23 every plugin is sent every plugin's
// string; a string without any plugin's name is ours if it begins with a key
// that is known.
func ours(s string) (rest string, ok bool) {
	if rest, ok := strings.CutPrefix(s, PluginName+":"); ok {
		return rest, true
	}
	if s == PluginName {
		return "", true
	}
	key, _, found := strings.Cut(s, "=")
	if _, known := find(strings.TrimSpace(key)); found && known {
		return s, true
	}
	return "", false
}

// maxOptions bounds one option string, maxStrings how many a job takes: they may come
// from a console of few rights.
const (
	maxOptions = 64 << 10
	maxStrings = 64
)

// parse splits the part behind the plugin's name: key=value:key=value. A colon
// in a value is written \: ; every other backslash stands for itself. Blanks
// and line ends around a key or value do not count.
func parse(s, from string) ([]setting, error) {
	if len(s) > maxOptions {
		return nil, fmt.Errorf("%s: option string of %d bytes, %d are allowed", from, len(s), maxOptions)
	}
	var out []setting
	for part := range strings.SplitSeq(strings.ReplaceAll(s, `\:`, "\x00"), ":") {
		part = strings.TrimSpace(strings.ReplaceAll(part, "\x00", ":"))
		if part == "" {
			continue
		}
		key, value, ok := strings.Cut(part, "=")
		key = strings.TrimSpace(key)
		if !ok {
			return nil, fmt.Errorf("%s: %q is no key=value (a colon inside a value is written \\: in it)", from, part)
		}
		out = append(out, setting{key, strings.TrimSpace(value), from})
	}
	return out, nil
}

// unquote takes a value out of the quotes around the whole of it.
func unquote(v string) string {
	if len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0] {
		return v[1 : len(v)-1]
	}
	return v
}

var errNoComma = errors.New("has a quoted path beside another one without a comma between them")

// splitList splits a list at its commas. Quotes protect commas and blanks, as
// in '/srv/a, b','/tmp', and are taken off.
func splitList(v string) ([]string, error) {
	var out []string
	var word strings.Builder
	var quote rune
	// quoted: the word has a quoted part; gap: blanks have come after it.
	quoted, gap := false, false
	add := func() {
		w := word.String()
		if !quoted {
			w = strings.TrimSpace(w)
		}
		if w != "" {
			out = append(out, w)
		}
		word.Reset()
		quoted, gap = false, false
	}
	// Bytes, not runes: a path may hold any byte.
	for i := range len(v) {
		c := v[i]
		blank := c == ' ' || c == '\t'
		switch {
		case gap && !blank && c != ',':
			// '/a' '/b' would be one path that is not there.
			return nil, errNoComma
		case quote == 0 && (c == '\'' || c == '"'):
			if w := word.String(); strings.TrimSpace(w) == "" {
				word.Reset()
			} else if !quoted && strings.TrimRight(w, " \t") != w {
				return nil, errNoComma
			}
			quote, quoted = rune(c), true
		case quote != 0 && rune(c) == quote:
			quote = 0
		case quote == 0 && c == ',':
			add()
		case quote == 0 && quoted && blank:
			gap = true
		default:
			word.WriteByte(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("has a quote %c that does not end", quote)
	}
	add()
	return out, nil
}
