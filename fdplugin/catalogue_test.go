// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// Of directories that a catalogue may not take, the first one is named.
func TestPathsTooLongForAnIndex(t *testing.T) {
	random := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('a' + rand.IntN(26))
		}
		return string(b)
	}
	deep := "/mnt/bareos/" + webID
	for range 16 {
		deep += "/" + random(250)
	}
	for _, tt := range []struct {
		what, name string
		told       bool
	}{
		{"short", "/mnt/bareos/" + webID + "/" + random(2000) + "/f", false},
		{"a long name alone", "/mnt/bareos/" + webID + "/" + random(5000), false},
		{"names that are alike", "/mnt/bareos/" + webID + strings.Repeat("/directory", 3000) + "/f", false},
		{"random", deep + "/f", true},
		{"a directory", deep + "/", true},
	} {
		var p paths
		said := p.judge(tt.name)
		if (said != "") != tt.told || tt.told && !strings.Contains(said, "bytes, and an index of PostgreSQL 2,704 after compression") {
			t.Errorf("%s: said %.100q", tt.what, said)
		}
		if again := p.judge(tt.name + "x/"); tt.told && again != "" {
			t.Errorf("%s: said again %.100q", tt.what, again)
		}
	}
}
