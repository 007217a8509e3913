// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the option table in README.md")

// The README's option table is the one that the parser works by.
func TestReadme(t *testing.T) {
	const begin, end = "-update -->\n", "<!-- options end -->"
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(b), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("README.md has no place for the table between %q and %q", begin, end)
	}
	want := optionTable()
	if table == want {
		return
	}
	if !*update {
		t.Fatalf("the option table of README.md is not that of options.go; go test ./fdplugin -run TestReadme -update rewrites it. It is\n%s\nwant\n%s", table, want)
	}
	if err := os.WriteFile("../README.md", []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// optionTable writes the options as a table.
func optionTable() string {
	var b strings.Builder
	b.WriteString("\n| option | value | default | |\n|--|--|--|--|\n")
	for _, o := range options() {
		name := "`" + strings.Join(append([]string{o.key}, o.aliases...), "`, `") + "`"
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(name), cell(o.valid), cell(o.def), cell(o.help))
	}
	return b.String() + "\n"
}

// cell takes the meaning from characters that end a cell or begin emphasis.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", `\<`, ">", `\>`).Replace(s)
}
