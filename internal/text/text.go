// SPDX-License-Identifier: AGPL-3.0-only

// Package text turns figures and raw names into text that people read: job log
// lines, reports, error messages. It is the only importer of golang.org/x/text.
//
// Nothing here may touch a name on its way to or from the daemon: file names
// are bytes and stay as they are. What Name returns is for reading only and
// cannot be turned back.
package text

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Count writes n with separators between thousands: 1234567 -> "1,234,567".
func Count(n int64) string {
	return message.NewPrinter(language.English).Sprintf("%d", n)
}

// Size writes a number of bytes with a binary unit and three digits at most
// before the point: 1536 -> "1.5 KiB".
func Size(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		value /= 1024
		if value < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// Duration writes d as an operator reads it: "0.4 s", "12.3 s", "3 min 20 s",
// "2 h 05 min".
func Duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// Name makes the bytes of a file name printable on one line. Printable UTF-8
// stays; control characters, the backslash and bytes that are no UTF-8 become
// escapes: "K\xdcBLER.csv", "two\nlines".
func Name(name string) string { return escape(name, `\n`, `\\`) }

// Message makes a whole message printable, whatever somebody else's words in it
// hold: it is Name for a text in which names have been escaped already. What follows
// a line end is indented, so that it does not pass for a message of its own.
func Message(s string) string { return escape(s, "\n    ", `\`) }

// Shell writes a word so that a shell, bash, takes it for that word: for commands
// that people copy out of a message.
func Shell(word string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@%+=:,./_{}-", r)
	}
	switch printable := Name(word); {
	case word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }):
		return word
	case printable == word:
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	default:
		return "$'" + strings.ReplaceAll(printable, "'", `\'`) + "'"
	}
}

// escape writes s with its line ends and backslashes replaced, and all else that
// does not print.
func escape(s, newline, backslash string) string {
	plain := true
	for _, r := range s {
		if r == '\\' || r == utf8.RuneError || !unicode.IsPrint(r) {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\n':
			b.WriteString(newline)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\\':
			b.WriteString(backslash)
		case r < utf8.RuneSelf && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}
