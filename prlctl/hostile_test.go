// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asPrlctl writes a string as prlctl does: seven characters are escaped, all other
// bytes come as they are (PrlOutFormatterJSON::add).
func asPrlctl(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\b", `\b`, "\f", `\f`, "\r", `\r`).Replace(s) + `"`
}

// oddNames are names that a container may have.
var oddNames = []string{
	"two\nlines", `quotes " and ' and \`, "100% %s%n", "K\xdcBLER", "caf\xc3\xa9", "\xff\xfe", "\x1b[31mred\x01", "tab\tand\rreturn", "日本", "a, b",
	"\U0010ff42", "\x7f", " blanks ", `","name":"other`, "\xed\xa0\x80", "\ufffd",
}

// A container of any name is listed under that name, and hides no other one.
func TestListOfOddNames(t *testing.T) {
	var lines, want []string
	for n, name := range oddNames {
		uuid := fmt.Sprintf("%08x-dbb9-45a5-b4c2-9f7ae90dfe2c", n)
		lines = append(lines, fmt.Sprintf("\t{\n\t\t\"uuid\": \"{%s}\",\n\t\t\"envid\": \"\",\n\t\t\"name\": %s,\n\t\t\"status\": \"running\"\n\t}", uuid, asPrlctl(name)))
		want = append(want, name)
	}
	list, err := parseList("[\n" + strings.Join(lines, ",\n") + "\n]\n")
	if err != nil || len(list) != len(want) {
		t.Fatalf("parseList = %d containers, %v, want %d", len(list), err, len(want))
	}
	for n, c := range list {
		if c.Name != want[n] {
			t.Errorf("name = %q, want %q", c.Name, want[n])
		}
		if title := c.Title(); strings.ContainsAny(title, "\n\r\x1b\t\x01") {
			t.Errorf("title = %q", title)
		}
	}
	if got := (Container{UUID: id}).Title(); got != id {
		t.Errorf("title without a name = %q, want %q", got, id)
	}
}

// A node with more containers than any has, and one that prints nonsense without end.
func TestListIsBounded(t *testing.T) {
	var b strings.Builder
	for n := range 20000 {
		fmt.Fprintf(&b, `,{"uuid":"{%08x-dbb9-45a5-b4c2-9f7ae90dfe2c}","name":"%s","status":"stopped"}`, n, strings.Repeat("x", 200))
	}
	if list, err := parseList("[" + b.String()[1:] + "]"); err != nil || len(list) != 20000 {
		t.Errorf("parseList = %d, %v, want 20000", len(list), err)
	}
	for _, out := range []string{
		strings.Repeat("[", 10<<20), strings.Repeat(`{"uuid":`, 1<<20), `[{"uuid":"` + strings.Repeat("a", 10<<20) + `","status":"x"}]`,
		"[" + strings.Repeat("{},", 3<<20) + "{}]", strings.Repeat("\xff", 10<<20), `["` + strings.Repeat("\x01", 4<<20) + `"]`,
	} {
		if list, err := parseList(out); err == nil || len(err.Error()) > 500 && !strings.Contains(err.Error(), "aaaa") {
			t.Errorf("parseList(%.20q...) = %d, %v, want an error", out, len(list), err)
		}
	}
}

func TestHostilePlaces(t *testing.T) {
	dir := files(t, map[string]string{"vz.conf": "VE_ROOT=/vz/root/$VEID\n", "good/ve.conf": "VEID=101\n"})
	conf := func(text string) string {
		p := filepath.Join(t.TempDir(), "p")
		put(t, filepath.Join(p, "ve.conf"), text)
		return p
	}
	c := Client{Path: "/usr/bin/prlctl", Conf: filepath.Join(dir, "vz.conf")}
	for _, home := range []string{
		"/", "//", "/..", "relative", "", "/none", "/dev", "a\x00b", conf("VEID=$VEID\n"), conf("VEID=..\n"), conf("VEID=-1\n"), conf("VEID=vps\n"),
		conf("VEID=101\x00\n"), conf("VEID=0\n"), conf("VE_ROOT=/\nVEID=5\n"), conf("VEID=5\nVE_ROOT=/../\n"), conf("VEID=99999999999999999999\n"),
		conf(strings.Repeat("#\n", maxConfig)), conf("VEID=5\nX=" + strings.Repeat("x", maxConfig)), conf(strings.Repeat("\x00", 4096)),
		conf("VEID={" + id + "}\n"), conf("VEID='5 '\n"),
	} {
		c.Runner = &fake{stdout: `[{"ID": "` + id + `", "Home": ` + asPrlctl(home) + `}]`}
		if p, err := c.Describe(context.Background(), id); err == nil {
			t.Errorf("Describe with home %q = %+v, want an error", home, p)
		}
	}
	c.Runner = &fake{stdout: `[{"ID": "` + id + `", "Home": "` + dir + `/good//"}]`}
	if p, err := c.Describe(context.Background(), id); err != nil || p.Root != "/vz/root/101" || p.Private != filepath.Join(dir, "good") {
		t.Errorf("Describe = %+v, %v", p, err)
	}
	// A name expands once: what is in the value is not looked at again.
	if got := expand("/r/$VEID/${VEID}/$$VEID", "$VEID"); got != "/r/$VEID/$VEID/$$VEID" {
		t.Errorf("expand = %q", got)
	}
}

// A configuration is a file, not too long, of text. A fifo is not waited for.
func TestReadConfigOfAnything(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "long"), strings.Repeat("A=1\n", maxConfig/4)+"B=2\n")
	put(t, filepath.Join(dir, "just"), strings.Repeat("A=1\n", maxConfig/4))
	put(t, filepath.Join(dir, "line"), "A="+strings.Repeat("x", maxConfig-10)+"\nB=2")
	put(t, filepath.Join(dir, "zeros"), "A=1\n\x00\x00\x00\n")
	if err := os.Symlink("just", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"fifo": "is no regular file", ".": "is no regular file", "long": "is larger than", "zeros": "is damaged", "none": "no such file",
		"just": "", "line": "", "link": "", "/dev/zero": "is no regular file", "/proc/kmsg": "is a file of the kernel's own",
	} {
		path := filepath.Join(dir, name)
		if filepath.IsAbs(name) {
			path = name
		}
		conf, err := ReadConfig(path)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("ReadConfig(%s) = %v, want %q", name, err, want)
		}
		if want == "" && conf.Get("A") == "" || name == "line" && conf.Get("B") != "2" {
			t.Errorf("ReadConfig(%s) has lost something", name)
		}
	}
}

func TestHostileDisks(t *testing.T) {
	const other = "2d109ae4-5231-475f-bc44-5cabf5d8503b"
	one := "uuid={" + id + "},mnt=/data,"
	for line, want := range map[string]string{
		one + "image=../other/root.hdd":                           "leads out of the private area",
		one + "image=a/../../b":                                   "leads out of the private area",
		one + "image=.":                                           "is no directory in it",
		one + "image=./":                                          "is no directory in it",
		one + "image=..":                                          "leads out of the private area",
		one + "image=root.hdd":                                    "have the same image /p/root.hdd",
		one + "image=/p/x/../root.hdd":                            "have the same image",
		one + "image=a;uuid={" + id + "},image=b":                 "two disks have the uuid",
		one + "image=a;uuid={" + other + "},mnt=/x,image=./a":     "have the same image /p/a",
		one + "device=/dev/sdb;uuid={" + id + "},device=/dev/sdc": "two disks have the uuid",
	} {
		conf, err := parseConfig(`DISK="` + line + `"`)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := conf.Disks("/p"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Disks(%q) = %+v, %v, want %q", line, d, err, want)
		}
	}
	for _, line := range []string{
		one + "image=/pool/a.hdd", one + "image=a/b", one + "image=a/./b/", one + "device=/dev/sdb;uuid={" + other + "},device=/dev/sdb",
		one + "image=..a",
	} {
		conf, _ := parseConfig(`DISK="` + line + `"`)
		if d, err := conf.Disks("/p"); err != nil || len(d) < 2 {
			t.Errorf("Disks(%q) = %+v, %v", line, d, err)
		}
	}
	// As many as fit a file.
	var b strings.Builder
	n := 0
	for ; b.Len() < maxConfig-200; n++ {
		fmt.Fprintf(&b, "uuid=%08x-dbb9-45a5-b4c2-9f7ae90dfe2c,image=d%d;", n+1, n)
	}
	conf, err := parseConfig("DISK=" + b.String())
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	disks, err := conf.Disks("/p")
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; err != nil || len(disks) != n+1 || used > 64<<20 {
		t.Errorf("Disks = %d, %v, with %d bytes, want %d with at most 64 MiB", len(disks), err, used, n+1)
	}
}

// .owner decides whether anything is touched.
func TestOwnsOfAnything(t *testing.T) {
	dir := files(t, map[string]string{"vz.conf": "", "long/.owner": strings.Repeat("x", 10000), "lines/.owner": "a\nb\n", "empty/.owner": ""})
	if err := os.Mkdir(filepath.Join(dir, "fifo"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo/.owner"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Client{Conf: filepath.Join(dir, "vz.conf")}
	for _, name := range []string{"long", "lines", "empty", "fifo"} {
		ours, owner, err := c.Owns(filepath.Join(dir, name))
		if ours || (err != nil) != slices.Contains([]string{"long", "fifo"}, name) {
			t.Errorf("Owns(%s) = %v, %q, %v, want false", name, ours, owner, err)
		}
	}
}
