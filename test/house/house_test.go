// SPDX-License-Identifier: AGPL-3.0-only

// Package house holds the tests of the rules that the whole tree keeps: which
// package may use what, how large files are, what the shared object exports. Each
// rule is also tried on something that breaks it.
package house

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/bareos-contrib/vz7ct"

// confined are imports that only these packages of the product may have.
var confined = map[string][]string{
	"C":                          {"cgo"},
	"os/exec":                    {"internal/run"},
	"github.com/gobwas/glob":     {"internal/exclude"},
	"golang.org/x/text":          {"internal/text"},
	module + "/fdplugin":         {"cgo", "cmd/vz7ct", "internal/node", "fileset-examples"},
	module + "/internal/run":     {"ploop", "prlctl", "internal/node", "internal/freezer", "cmd/vz7ct"},
	"crypto/rand":                {}, // keeps /dev/urandom open where the kernel has no getrandom
	"github.com/hanwen/go-fuse":  {},
	module + "/test":             {},
	"github.com/sirupsen/logrus": {"fdplugin", "cgo", "cmd/vz7ct", "internal/node"},
}

// maxLines is the size of the largest file of code that fits the head.
const maxLines = 500

// files are all files under version control, from the top of the tree.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("git ls-files: %v: this is no clone", err)
	}
	var list []string
	for name := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		if info, err := os.Stat(filepath.Join("../..", name)); err == nil && info.Mode().IsRegular() {
			list = append(list, name)
		}
	}
	if len(list) < 100 {
		t.Fatalf("%d files only", len(list))
	}
	return list
}

// imports judges one Go file of the product.
func imports(name string, src []byte) (faults []string) {
	f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
	if err != nil {
		return []string{err.Error()}
	}
	for _, i := range f.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		for what, who := range confined {
			if (path == what || strings.HasPrefix(path, what+"/")) && !slices.Contains(who, filepath.Dir(name)) {
				faults = append(faults, fmt.Sprintf("%s imports %s, which only %v may", name, path, who))
			}
		}
	}
	return faults
}

// size judges a file of code.
func size(name string, src []byte) (faults []string) {
	if n := bytes.Count(src, []byte("\n")); n > maxLines {
		faults = append(faults, fmt.Sprintf("%s has %d lines, %d are the limit", name, n, maxLines))
	}
	return faults
}

// licence judges the first lines of a file that has comments.
func licence(name string, src []byte) (faults []string) {
	head, _, _ := bytes.Cut(src, []byte("\n\n"))
	if !bytes.Contains(head, []byte("SPDX-License-Identifier: AGPL-3.0-only")) {
		faults = append(faults, name+" has no SPDX line in its first lines")
	}
	return faults
}

// workplace judges that a text speaks of the project alone.
func workplace(name string, src []byte) (faults []string) {
	for _, word := range []string{"/work" + "/", ".mir" + "ror/", "sub" + "agent", "issues " + "show"} {
		if bytes.Contains(src, []byte(word)) {
			faults = append(faults, fmt.Sprintf("%s speaks of %q", name, word))
		}
	}
	return faults
}

func TestRules(t *testing.T) {
	for _, name := range files(t) {
		src, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		var faults []string
		ext := filepath.Ext(name)
		foreign := strings.Contains(name, "testdata/") || name == "go.sum" || name == "LICENSE"
		switch {
		case foreign:
			continue
		case ext == ".go" && !strings.HasPrefix(name, "test/") && !strings.HasSuffix(name, "_test.go"):
			faults = append(faults, imports(name, src)...)
		}
		if slices.Contains([]string{".go", ".c", ".h", ".sh"}, ext) {
			faults = append(faults, size(name, src)...)
		}
		if slices.Contains([]string{".go", ".c", ".h", ".sh", ".conf", ".yaml", ".map"}, ext) || filepath.Base(name) == "Makefile" {
			faults = append(faults, licence(name, src)...)
		}
		faults = append(faults, workplace(name, src)...)
		for _, f := range faults {
			t.Error(f)
		}
	}
}

// testNames finds the tests that a page names.
var testNames = regexp.MustCompile(`\bTest[A-Z]\w+`)

// missing judges a page that names tests as its evidence: all must be there.
func missing(page string, src []byte, tests map[string]bool) (faults []string) {
	for _, name := range testNames.FindAllString(string(src), -1) {
		if !tests[name] {
			faults = append(faults, fmt.Sprintf("%s names %s, which is no test", page, name))
		}
	}
	return faults
}

func TestPagesNameTests(t *testing.T) {
	tests := map[string]bool{}
	var pages []string
	for _, name := range files(t) {
		src, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(src, -1) {
				tests[string(m[1])] = true
			}
		}
		if strings.HasSuffix(name, ".md") {
			pages = append(pages, name)
		}
	}
	if len(pages) == 0 || missing("x.md", []byte("as TestNoSuchThing shows"), tests) == nil {
		t.Error("a page that names no test is not reported")
	}
	for _, name := range pages {
		src, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range missing(name, src, tests) {
			t.Error(f)
		}
	}
}

// The rules report what breaks them.
func TestRulesReport(t *testing.T) {
	for what, faults := range map[string][]string{
		"import of os/exec":  imports("fdplugin/x.go", []byte("package x\nimport \"os/exec\"\n")),
		"import below":       imports("walk/x.go", []byte("package x\nimport \"golang.org/x/text/width\"\n")),
		"no Go":              imports("walk/x.go", []byte("hello")),
		"long file":          size("x.go", bytes.Repeat([]byte("\n"), maxLines+1)),
		"no licence":         licence("x.go", []byte("package x\n\n// SPDX-License-Identifier: AGPL-3.0-only\n")),
		"path of a machine":  workplace("README.md", []byte("see /work"+"/main")),
		"nothing of a judge": imports("cgo/x.go", []byte("package x\nimport \""+module+"/test/lab\"\n")),
	} {
		if len(faults) == 0 {
			t.Errorf("%s is not reported", what)
		}
	}
	if f := imports("internal/run/x.go", []byte("package x\nimport \"os/exec\"\n")); len(f) > 0 {
		t.Errorf("imports(internal/run) = %v, want none", f)
	}
}
