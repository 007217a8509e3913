// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What parseList accepts can be worked with.
func FuzzList(f *testing.F) {
	f.Add(`[{"uuid":"` + strings.ToUpper(id) + `","envid":"101","name":"-","status":"running"},{"uuid":"{` + id + `}","status":"x"}]`)
	f.Add("null")
	f.Add(`[{"UUID":"` + id + `","Status":"a","status":""}]`)
	for _, name := range oddNames {
		f.Add(`[{"uuid":"` + id + `","name":` + asPrlctl(name) + `,"status":"running"}]`)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseList(text)
		if err != nil {
			return
		}
		for _, c := range list {
			if u, ok := ParseUUID(c.UUID); !ok || u != c.UUID || c.State == "" || c.Name == "-" || !ValidCTID(c.CTID) || !c.Is(c.UUID) || c.Is("") {
				t.Errorf("parseList(%q) has %+v", text, c)
			}
		}
	})
}

// A name comes back as prlctl has it, whatever bytes it is made of.
func FuzzName(f *testing.F) {
	for _, name := range oddNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.ContainsRune(name, 0) || strings.ContainsFunc(name, lifted) || name == "-" {
			return // prlctl prints no NUL, and "-" for no name
		}
		list, err := parseList(`[{"uuid":"` + id + `","name":` + asPrlctl(name) + `,"status":"running"}]`)
		if err != nil || len(list) != 1 || list[0].Name != name {
			t.Errorf("parseList of the name %q = %+v, %v", name, list, err)
		}
	})
}

// What Describe accepts is a container of this node, with absolute paths and an
// id that can be a file's name.
func FuzzDescribe(f *testing.F) {
	dir := f.TempDir()
	f.Add(`[{"ID": "{`+id+`}", "EnvID": "101", "Home": "DIR"}]`, "VEID=7\n")
	f.Add(`[{"ID": "`+id+`", "EnvID": "", "Home": "DIR/"}]`, "VE_ROOT='/r/$VEID'\n")
	f.Add(`[{"ID": "`+id+`", "EnvID": "../x", "Home": "DIR/../.."}]`, "VEID=..\n")
	f.Fuzz(func(t *testing.T, out, conf string) {
		home := filepath.Join(dir, "home")
		put(t, filepath.Join(dir, "vz.conf"), "VE_ROOT=/vz/root/$VEID\n")
		put(t, filepath.Join(home, "ve.conf"), conf)
		c := Client{Path: "/usr/bin/prlctl", Conf: filepath.Join(dir, "vz.conf"), Runner: &fake{stdout: strings.ReplaceAll(out, "DIR", home)}}
		p, err := c.Describe(context.Background(), id)
		if err != nil {
			return
		}
		if !filepath.IsAbs(p.Root) || !filepath.IsAbs(p.Private) || !ValidCTID(p.CTID) || p.Root == "/" || p.Private == "/" || filepath.Clean(p.Root) != p.Root {
			t.Errorf("Describe(%q) with %q = %+v", out, conf, p)
		}
	})
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
