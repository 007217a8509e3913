// SPDX-License-Identifier: AGPL-3.0-only

package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// harmful are the calls by which a path that somebody else could choose, or plant a
// link on, does harm: each stands only where it was looked at who can. The rest of
// the product works through open directories (restore, internal/lock), makes files
// by O_EXCL, and reads by internal/regular.
var harmful = map[string][]string{
	"os.RemoveAll":   {"fdplugin/configure.go", "fdplugin/private.go", "fdplugin/scripts.go"}, // private areas of restores, which are root's
	"os.Rename":      {"fdplugin/history.go", "fdplugin/progress.go", "fdplugin/record.go", "fdplugin/configure.go", "fdplugin/replace.go", "ploop/cutoff.go"},
	"os.WriteFile":   {"fdplugin/progress.go"}, // the state directory, which is root's alone
	"os.Symlink":     {"fdplugin/configure.go"},
	"os.Link":        {"internal/lock/virtuozzo.go"}, // LOCKDIR of vz.conf
	"os.MkdirAll":    {"fdplugin/clean.go", "fdplugin/configure.go", "fdplugin/present.go", "fdplugin/restorect.go"},
	"os.CreateTemp":  {"fdplugin/unnamed.go", "internal/run/spool.go", "restore/dirs.go"},
	"unix.Mount":     {"ploop/client.go"},
	"os.Create":      nil,
	"os.Chmod":       nil,
	"os.Chown":       nil,
	"os.Lchown":      nil,
	"os.Chtimes":     nil,
	"os.Truncate":    nil,
	"os.MkdirTemp":   nil,
	"unix.Unmount":   nil,
	"unix.Truncate":  nil,
	"unix.Rename":    nil,
	"syscall.Rename": nil,
}

// harm judges the calls of one file of the product.
func harm(name string, src []byte) (faults []string) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, src, 0)
	if err != nil {
		return []string{err.Error()}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := s.X.(*ast.Ident)
		if !ok {
			return true
		}
		call := pkg.Name + "." + s.Sel.Name
		if who, listed := harmful[call]; listed && !slices.Contains(who, name) {
			faults = append(faults, fmt.Sprintf("%s: %s, which only %v may", set.Position(n.Pos()), call, who))
		}
		if s.Sel.Name == "O_TRUNC" {
			faults = append(faults, fmt.Sprintf("%s: O_TRUNC: nothing is written over", set.Position(n.Pos())))
		}
		return true
	})
	// Under another name these packages could not be told.
	for _, i := range f.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		if i.Name != nil && slices.Contains([]string{"os", "syscall", "golang.org/x/sys/unix"}, path) {
			faults = append(faults, fmt.Sprintf("%s imports %s as %s", name, path, i.Name.Name))
		}
	}
	return faults
}

func TestHarmfulCalls(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range files(t) {
		if filepath.Ext(name) != ".go" || strings.HasPrefix(name, "test/") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		seen[name] = true
		for _, f := range harm(name, src) {
			t.Error(f)
		}
	}
	for call, who := range harmful {
		for _, name := range who {
			if !seen[name] {
				t.Errorf("%s is allowed in %s, which is not there", call, name)
			}
		}
	}
}

func TestHarmfulCallsReport(t *testing.T) {
	for what, body := range map[string]string{
		"a removal":          `import "os"; func f() { os.RemoveAll("x") }`,
		"as a value":         `import "os"; var f = os.RemoveAll`,
		"a file written":     `import "os"; func f() { os.WriteFile("x", nil, 0) }`,
		"one made":           `import "os"; func f() { os.Create("x") }`,
		"one cut":            `import "os"; func f() { os.OpenFile("x", os.O_WRONLY|os.O_TRUNC, 0) }`,
		"another name of os": `import x "os"; var _ = x.Args`,
	} {
		if len(harm("walk/x.go", []byte("package x\n"+body+"\n"))) == 0 {
			t.Errorf("%s is not reported", what)
		}
	}
	if faults := harm("fdplugin/private.go", []byte("package x\nimport \"os\"\nfunc f() { os.RemoveAll(\"x\"); os.Remove(\"y\") }\n")); len(faults) > 0 {
		t.Errorf("faults = %v, want none", faults)
	}
}
