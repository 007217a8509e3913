// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// row is a line of testdata/golden.txt.
type row struct {
	line                int
	kind, pattern, path string
	dir                 bool
	want                string // yes, no or error
	differs             string // why rsync or git see it otherwise
}

func (r row) String() string {
	return fmt.Sprintf("golden.txt:%d: %s %q %q", r.line, r.kind, r.pattern, r.path)
}

func golden(t *testing.T) (rows []row) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, " | ")
		for j := range f {
			f[j] = strings.Trim(f[j], " ")
		}
		if len(f) < 5 || len(f) > 6 || f[3] != "d" && f[3] != "f" || len(f) == 6 && f[5] == "" {
			t.Fatalf("golden.txt:%d: no row: %q", i+1, line)
		}
		r := row{line: i + 1, kind: f[0], pattern: unquote(t, f[1]), path: unquote(t, f[2]), dir: f[3] == "d", want: f[4]}
		if len(f) == 6 {
			r.differs = f[5]
		}
		rows = append(rows, r)
	}
	return rows
}

func unquote(t *testing.T, s string) string {
	t.Helper()
	out, err := strconv.Unquote(`"` + s + `"`)
	if err != nil {
		t.Fatalf("golden.txt: %s: %v", s, err)
	}
	return out
}

// leftOut asks as a backup does: for each directory on the way, and no further
// where one is left out.
func leftOut(path string, dir bool, match func(path string, dir bool) bool) bool {
	for i, c := range path {
		if c == '/' && match(path[:i], true) {
			return true
		}
	}
	return match(path, dir)
}

// answer is what the package says to a row.
func answer(r row) (string, error) {
	var match func(path string, dir bool) bool
	var err error
	switch r.kind {
	case "paths":
		var s *Set
		s, err = NewSet([]string{r.pattern})
		match = func(path string, _ bool) bool { _, ok := s.Match(path); return ok }
	case "exclude":
		var l *List
		l, err = NewList([]string{r.pattern})
		match = func(path string, dir bool) bool { _, ok := l.Match(path, dir); return ok }
	case "ignore":
		var ig *Ignore
		ig, err = ParseIgnore([]byte(r.pattern))
		match = func(path string, dir bool) bool { _, ok := ig.Match(path, dir); return ok }
	default:
		return "", errors.New("no such kind")
	}
	if err != nil {
		return "error", nil
	}
	return yesNo(leftOut(r.path, r.dir, match)), nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// other is a wrong answer to the row.
func other(r row) row {
	r.want = yesNo(r.want != "yes")
	return r
}

// wrong compares a row with what the package says.
func wrong(r row) string {
	if got, err := answer(r); err != nil || got != r.want {
		return fmt.Sprintf("%v = %v, %v, want %v", r, got, err, r.want)
	}
	return ""
}

func TestGolden(t *testing.T) {
	count := map[string]int{}
	for _, r := range golden(t) {
		count[r.kind]++
		if w := wrong(r); w != "" {
			t.Error(w)
		}
		if wrong(other(r)) == "" {
			t.Errorf("%v: the wrong answer is not reported", r)
		}
	}
	if all := count["exclude"] + count["paths"] + count["ignore"]; all < 120 || count["exclude"] < 80 {
		t.Errorf("%d rows, %d of them for exclude, want 120 and 80", all, count["exclude"])
	}
	if wrong(row{kind: "none", want: "no"}) == "" {
		t.Error("a row of an unknown kind is not reported")
	}
}
