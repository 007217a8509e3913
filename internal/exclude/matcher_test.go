// SPDX-License-Identifier: AGPL-3.0-only

package exclude

import (
	"math/rand"
	"slices"
	"strings"
	"testing"
)

// TestMatcher compares the matcher with one that tries all there is, on patterns
// and paths of few characters, where stars have much to go back for. A matcher
// whose stars cross slashes, or find no further place, is the control.
func TestMatcher(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	text := func(n int, words string) (s []rune) {
		list := strings.Fields(words)
		for range n {
			s = append(s, []rune(list[random.Intn(len(list))])...)
		}
		return s
	}
	yes, crossing, shortest := 0, 0, 0
	const rows = 200_000
	for i := range rows {
		d := []dialect{listDialect, ignoreDialect}[i%2]
		m, err := d.compile(text(1+random.Intn(9), "a a b / / * * ** ? [!a] **/ /**/"))
		if err != nil {
			t.Fatal(err)
		}
		if random.Intn(4) == 0 {
			m.below()
		}
		s := text(1+random.Intn(12), "a a a b b /")
		want := covered(m, s)
		if got := m.match(s); got != want {
			t.Fatalf("%q %q covers %q = %v, want %v", m.body, m.tail, string(s), got, want)
		}
		if want {
			yes++
		}
		wrong := &matcher{slices.Clone(m.body), m.tail, m.sets}
		for i, c := range wrong.body {
			if c == star {
				wrong.body[i] = wide
			}
		}
		if wrong.match(s) != want {
			crossing++
		}
		if slices.Index(m.body, star) >= 0 {
			wrong.body = slices.DeleteFunc(slices.Clone(m.body), func(c rune) bool { return c == star })
			if wrong.match(s) != want {
				shortest++
			}
		}
	}
	t.Logf("rows=%d yes=%d, controls: %d and %d", rows, yes, crossing, shortest)
	if yes < rows/20 || crossing < rows/1000 || shortest < rows/1000 {
		t.Errorf("of %d rows %d match, wrong matchers were reported %d and %d times", rows, yes, crossing, shortest)
	}
}
