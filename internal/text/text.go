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
func Name(name string) string {
	plain := true
	for _, r := range name {
		if r == '\\' || r == utf8.RuneError || !unicode.IsPrint(r) {
			plain = false
			break
		}
	}
	if plain {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, name[0])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\\':
			b.WriteString(`\\`)
		case r < utf8.RuneSelf && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(name[:size])
		}
		name = name[size:]
	}
	return b.String()
}
