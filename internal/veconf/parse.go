// SPDX-License-Identifier: AGPL-3.0-only

package veconf

import (
	"regexp"
	"strings"
)

// Setting is one assignment of a configuration.
type Setting struct{ Key, Value string }

// String writes the setting so that shells and libvzctl read the same.
func (s Setting) String() string { return s.Key + `="` + s.Value + `"` }

// maxLine is how long a line may be: libvzctl reads 40959 bytes of one, and takes the
// rest for a line of its own (parse_conf_data in lib/config.c).
const maxLine = 32 << 10

var (
	key      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
	unquoted = regexp.MustCompile(`^[A-Za-z0-9_.,:/%+@=-]*$`)
)

// Parse reads one line. It reports false for one that is no plain KEY="value",
// KEY='value' or KEY=value, with a comment behind it or none: a shell of the node
// reads the file as commands, and libvzctl takes backslashes out before it looks for
// quotes. A value that is accepted means itself in double quotes.
func Parse(line string) (Setting, bool) {
	k, v, ok := strings.Cut(strings.Trim(line, " \t"), "=")
	if !ok || !key.MatchString(k) || len(line) > maxLine {
		return Setting{}, false
	}
	if v == "" || v[0] != '"' && v[0] != '\'' {
		return Setting{k, v}, unquoted.MatchString(v)
	}
	v, behind, ok := strings.Cut(v[1:], v[:1])
	return Setting{k, v}, ok && plain(v) && comment(behind)
}

// plain reports whether a value stays what it is between double quotes. A dollar is
// taken where it stands for the container's own id.
func plain(v string) bool {
	v = strings.NewReplacer("${VEID}", "", "$VEID", "").Replace(v)
	return printable(v) && !strings.ContainsAny(v, "\"\\`$")
}

// comment reports whether what stands behind a value is nothing, or a comment.
func comment(s string) bool {
	t := strings.TrimLeft(s, " \t")
	return t == "" || len(t) < len(s) && t[0] == '#' && printable(t)
}

// printable: no control character, which would end the line for somebody.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// CanBeName reports whether a container can be called so (vzctl2_is_env_name_valid
// of libvzctl): a link in /etc/vz/names gets the name. One that begins with a dash
// would be taken for an option.
func CanBeName(s string) bool {
	if s == "" || len(s) > 255 || s[0] == '-' || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c < 0x7f && !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte(" +-_.{}", c) >= 0) || c == 0x7f {
			return false
		}
	}
	return true
}
