// SPDX-License-Identifier: AGPL-3.0-only

package mounts

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/a\\134b rw,errors=continue\n" +
		"37 35 7:1 / /x ro shared:1 master:2 - ext4 /dev/ploop1p1 rw\n38 35 0:9 / /y rw - tmpfs none rw\n"
	got, err := Parse(text)
	want := []Mount{
		{98, 0, "/mnt1", "/mnt 2", "rw,noatime", "ext3", `/dev/a\b`, "rw,errors=continue"},
		{7, 1, "/", "/x", "ro", "ext4", "/dev/ploop1p1", "rw"},
		{0, 9, "/", "/y", "rw", "tmpfs", "none", "rw"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Parse() = %+v, %v, want %+v", got, err, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, bad := range []string{"36 35\n", "36 35 98:0 / /x rw ext3 /dev/a rw\n", "36 35 x:0 / /x rw - ext3 /dev/a rw\n"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("Parse(%q) = nil, want an error", bad)
		}
	}
}

func TestOwnMounts(t *testing.T) {
	list, err := Of(0)
	if err != nil || !slices.ContainsFunc(list, func(m Mount) bool { return m.Point == "/" || m.Point == "/proc" }) {
		t.Errorf("Of(0) = %v, %v; want at least / or /proc", list, err)
	}
}
