// SPDX-License-Identifier: AGPL-3.0-only

package container

import (
	"slices"
	"testing"
)

func TestConfRoundTrip(t *testing.T) {
	const text = "# a comment\nONBOOT=\"no\"\n\nNAME=\"my ct\"\nDISK=\"uuid={a},image=/x,mnt=/data\"\nodd line\n"
	c := ParseConf(text)
	if got := c.String(); got != text {
		t.Errorf("String(Parse) = %q, want %q", got, text)
	}
	c.Set("NAME", "other")
	c.Set("NEW", "v")
	if c.Get("NAME") != "other" || c.Get("NEW") != "v" || c.Get("none") != "" {
		t.Errorf("Get after Set = %q, %q, %q", c.Get("NAME"), c.Get("NEW"), c.Get("none"))
	}
}

func TestParseDisks(t *testing.T) {
	got := parseDisks("uuid={1},enabled=yes,size=1048576,mnt=/data,mnt_opts=,image=disk-1.hdd;"+
		"uuid={2},enabled=no,size=5,image=/else/d.hdd;uuid={3},device=/dev/sdb", "/vz/private/1")
	want := []Disk{{"{1}", true, 1048576, "/data", "/vz/private/1/disk-1.hdd"}, {"{2}", false, 5, "", "/else/d.hdd"}}
	if !slices.Equal(got, want) {
		t.Errorf("parseDisks() = %+v, want %+v", got, want)
	}
}

func TestRootDiskIsImplicit(t *testing.T) {
	c := &Container{CTID: "101", Conf: ParseConf("DISK=\"uuid={1},image=disk-1.hdd,mnt=/data\"\n")}
	d := c.Disks()
	if len(d) != 2 || d[0].Mount != "/" || d[0].Image != "/vz/private/101/root.hdd" || d[1].Mount != "/data" {
		t.Errorf("Disks() = %+v", d)
	}
	c.Conf.Set("DISK", "uuid={1},image=disk-1.hdd,mnt=/data;uuid={0},image=/fast/root.hdd,mnt=/")
	if d := c.Disks(); len(d) != 2 || d[0].Image != "/fast/root.hdd" {
		t.Errorf("Disks() with a root disk elsewhere = %+v", d)
	}
}

func TestKiB(t *testing.T) {
	for s, want := range map[string]uint64{"10G": 10 << 20, "512M": 512 << 10, "64k": 64, "2048": 1024, "": 0, "x": 0} {
		if got := kib(s); got != want {
			t.Errorf("kib(%q) = %d, want %d", s, got, want)
		}
	}
}
