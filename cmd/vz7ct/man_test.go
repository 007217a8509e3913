// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const manPage = "../../man/vz7ct.8"

// plainText is a man page's source without what is for the eye.
func plainText(source string) string {
	var out strings.Builder
	for line := range strings.SplitSeq(source, "\n") {
		if strings.HasPrefix(line, ".\\\"") {
			continue
		}
		macro, rest, _ := strings.Cut(line, " ")
		switch macro {
		case ".SH", ".SS":
			line = "\n" + macro + " " + rest
		case ".TP":
			line = "\n" + macro
		case ".br", ".PP":
			line = "\n"
		case ".B", ".I":
			line = rest
		case ".BR", ".RB", ".IR", ".RI":
			line = strings.ReplaceAll(strings.ReplaceAll(rest, `" `, ""), ` "`, "") // blanks are the quoted ones
		}
		out.WriteString(strings.ReplaceAll(line, `\-`, "-") + " ")
	}
	return out.String()
}

var (
	command  = regexp.MustCompile(`vz7ct ([a-z]+)\b`)
	switches = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// usage returns the words that lines of a synopsis name: "recover", "recover
// --boot", "--help".
func usage(lines string) []string {
	found := map[string]bool{}
	for line := range strings.SplitSeq(lines, "\n") {
		prefix := ""
		if m := command.FindStringSubmatch(line); m != nil {
			found[m[1]] = true
			prefix = m[1] + " "
		}
		for _, s := range switches.FindAllString(line, -1) {
			found[prefix+s] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// between cuts a part out of a text.
func between(text, begin, end string) string {
	_, text, _ = strings.Cut(text, begin)
	text, _, _ = strings.Cut(text, end)
	return text
}

// described returns the switches that have a paragraph, with their command.
func described(page string) []string {
	var found []string
	section := ""
	for line := range strings.SplitSeq(page, "\n") {
		if m := command.FindStringSubmatch(line); strings.HasPrefix(line, ".SS ") && m != nil {
			section = m[1] + " "
			found = append(found, m[1])
		} else if strings.HasPrefix(line, ".SH ") {
			section = ""
		} else if s, ok := strings.CutPrefix(line, ".TP "); ok && strings.HasPrefix(s, "--") {
			found = append(found, section+strings.Fields(s)[0])
		}
	}
	slices.Sort(found)
	return found
}

// compare reports what the page and the help do not have in common.
func compare(page, help string) (faults []string) {
	page = plainText(page)
	want := usage(between(help, "Usage:\n", "\n\n"))
	for what, got := range map[string][]string{"SYNOPSIS": usage(between(page, ".SH SYNOPSIS", "\n.SH")), "text": described(page)} {
		for _, w := range want {
			if !slices.Contains(got, w) {
				faults = append(faults, "the page's "+what+" has no "+w)
			}
		}
		for _, g := range got {
			if !slices.Contains(want, g) {
				faults = append(faults, "the help has no "+g+", which is in the page's "+what)
			}
		}
	}
	if len(want) < 8 {
		faults = append(faults, "the help names only "+strings.Join(want, ", "))
	}
	return faults
}

func TestManPageSaysWhatHelpSays(t *testing.T) {
	b, err := os.ReadFile(manPage)
	must(t, err)
	page := string(b)
	for _, f := range compare(page, help) {
		t.Error(f)
	}
	// The program knows them all.
	for _, words := range usage(between(help, "Usage:\n", "\n\n")) {
		if strings.HasPrefix(words, "--") || words == "check" {
			continue // see TestUsage, TestCheckOfAReadyNode
		}
		n := webNode(t)
		if status, _, log := n.run(strings.Fields(words)...); status == misuse {
			t.Errorf("vz7ct %s = %d, %s", words, status, log)
		}
	}
	for name, tt := range map[string]struct{ in, from, to string }{
		"an option less in the page":   {"page", ".TP\n.B \\-\\-wait\n", ".PP\n"},
		"an option less in SYNOPSIS":   {"page", " \" | \" \\-\\-wait ]", " ]"},
		"a command less in the page":   {"page", ".SS vz7ct status\n", ""},
		"a command less in SYNOPSIS":   {"page", ".B vz7ct check\n", ""},
		"an option more in the page":   {"page", ".SH EXIT", ".TP\n.B \\-\\-force\nDo it.\n.SH EXIT"},
		"an option of another command": {"page", ".B vz7ct check\n", ".B vz7ct check\n.RB [ \\-\\-json ]\n"},
		"an option more in the help":   {"help", "list [--json]", "list [--json] [--long]"},
		"a command more in the help":   {"help", "  vz7ct check ", "  vz7ct clean  remove it all\n  vz7ct check "},
		"an option less in the help":   {"help", "  vz7ct recover --boot ", "  vz7ct recover boot "},
	} {
		p, h := page, help
		if tt.in == "page" {
			p = strings.Replace(p, tt.from, tt.to, 1)
		} else {
			h = strings.Replace(h, tt.from, tt.to, 1)
		}
		if p == page && h == help || len(compare(p, h)) == 0 {
			t.Errorf("%s is not reported", name)
		}
	}
}

// lint returns what mandoc and man say of a page.
func lint(t *testing.T, page string) string {
	t.Helper()
	var said strings.Builder
	for _, args := range [][]string{
		{"mandoc", "-Tlint", page},
		{"man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page},
	} {
		if _, err := exec.LookPath(args[0]); err != nil {
			if os.Getenv("VZ7CT_ROOT_TESTS") != "" {
				t.Fatalf("%v: see test/install.sh", err)
			}
			t.Skipf("%v", err)
		}
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		cmd.Stderr = &said
		if args[0] == "mandoc" {
			cmd.Stdout = &said
		}
		if err := cmd.Run(); err != nil {
			said.WriteString(args[0] + ": " + err.Error() + "\n")
		}
	}
	return said.String()
}

func TestManPageIsClean(t *testing.T) {
	if said := lint(t, manPage); said != "" {
		t.Error(said)
	}
	b, err := os.ReadFile(manPage)
	must(t, err)
	for _, planted := range []string{".XX unknown macro\n", ".TP\n.SH EMPTY\n"} {
		bad := filepath.Join(t.TempDir(), "bad.8")
		must(t, os.WriteFile(bad, append(b, planted...), 0o600))
		if said := lint(t, bad); said == "" {
			t.Errorf("%q is not reported", planted)
		}
	}
}
