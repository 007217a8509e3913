// SPDX-License-Identifier: AGPL-3.0-only

package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unguarded judges that no panic on a goroutine of the product ends the daemon that
// it works in: each is begun by a go statement with a function literal whose first
// statements are deferred, one of them a recovery.
func unguarded(name string, src []byte) (faults []string) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, src, 0)
	if err != nil {
		return []string{err.Error()}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if fun, ok := n.Call.Fun.(*ast.FuncLit); !ok || !recovers(fun.Body) {
				faults = append(faults, fmt.Sprintf("%s: a goroutine without a recovery at its beginning", set.Position(n.Pos())))
			}
		case *ast.CallExpr:
			// What these are given, as the last argument, runs on a goroutine of its own.
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "AfterFunc" || s.Sel.Name == "Go") && len(n.Args) > 0 {
				if fun, ok := n.Args[len(n.Args)-1].(*ast.FuncLit); !ok || !recovers(fun.Body) {
					faults = append(faults, fmt.Sprintf("%s: %s begins a goroutine without a recovery at its beginning", set.Position(n.Pos()), s.Sel.Name))
				}
			}
		}
		return true
	})
	return faults
}

// recovers reports whether a recovery is among the defers that a body begins with.
func recovers(body *ast.BlockStmt) bool {
	for _, s := range body.List {
		d, ok := s.(*ast.DeferStmt)
		if !ok {
			return false
		}
		if fun, ok := d.Call.Fun.(*ast.FuncLit); ok && calls(fun.Body, "recover") {
			return true
		}
	}
	return false
}

// calls reports whether a function that is called by its bare name is among those
// named, but for what is in function literals.
func calls(body ast.Node, names ...string) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			switch fun := c.Fun.(type) {
			case *ast.Ident:
				found = found || slices.Contains(names, fun.Name)
			case *ast.SelectorExpr:
				found = found || slices.Contains(names, "."+fun.Sel.Name)
			}
		}
		_, literal := n.(*ast.FuncLit)
		return !literal
	})
	return found
}

// guarded judges that every function that C calls goes through one of those which
// recover (cgo/guard.go), or recovers by itself.
func guarded(name string, src []byte) (exports, faults []string) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, src, parser.ParseComments)
	if err != nil {
		return nil, []string{err.Error()}
	}
	for _, d := range f.Decls {
		fun, ok := d.(*ast.FuncDecl)
		if !ok || fun.Doc == nil || !slices.ContainsFunc(fun.Doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//export ") }) {
			continue
		}
		exports = append(exports, fun.Name.Name)
		recovery := slices.ContainsFunc(fun.Body.List, func(s ast.Stmt) bool {
			d, ok := s.(*ast.DeferStmt)
			if !ok {
				return false
			}
			lit, ok := d.Call.Fun.(*ast.FuncLit)
			return ok && calls(lit.Body, "recover")
		})
		if !recovery && !calls(fun.Body, "guard", "asked", "command", "early", "closing", ".open", ".end") {
			faults = append(faults, fmt.Sprintf("%s: %s is called by C and recovers from nothing", set.Position(fun.Pos()), fun.Name.Name))
		}
	}
	return exports, faults
}

func TestNoPanicEndsTheDaemon(t *testing.T) {
	var exports []string
	for _, name := range files(t) {
		if filepath.Ext(name) != ".go" || strings.HasPrefix(name, "test/") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range unguarded(name, src) {
			t.Error(f)
		}
		if filepath.Dir(name) == "cgo" {
			more, faults := guarded(name, src)
			exports = append(exports, more...)
			for _, f := range faults {
				t.Error(f)
			}
		}
	}
	if len(exports) < 15 {
		t.Errorf("exports found: %v", exports)
	}
}

func TestNoPanicEndsTheDaemonReports(t *testing.T) {
	const head = "package x\nfunc f() {\n"
	for what, body := range map[string]string{
		"a bare goroutine":    "go func() { g() }()",
		"a named goroutine":   "go g()",
		"a method":            "go x.run()",
		"a late recovery":     "go func() { g(); defer func() { recover() }() }()",
		"a nested recovery":   "go func() { defer func() { func() { recover() }() }() }()",
		"a recovery for none": "go func() { defer recover(); g() }()",
		"one in another":      "go func() { defer func() { _ = recover() }(); go g() }()",
		"a timer":             "time.AfterFunc(1, g)",
		"a context":           "context.AfterFunc(ctx, g)",
		"a group":             "wg.Go(g)",
		"a context's literal": "context.AfterFunc(ctx, func() { g() })",
	} {
		if len(unguarded("x.go", []byte(head+body+"\n}\n"))) == 0 {
			t.Errorf("%s is not reported", what)
		}
	}
	for _, body := range []string{
		"go func() { defer close(done); defer func() { if p := recover(); p != nil { g(p) } }(); h() }()", "g()",
		"context.AfterFunc(ctx, func() { defer func() { _ = recover() }(); g() })",
	} {
		if faults := unguarded("x.go", []byte(head+body+"\n}\n")); len(faults) > 0 {
			t.Errorf("%s: %v", body, faults)
		}
	}
	const export = "package main\n\n//export goX\nfunc goX() {"
	for body, want := range map[string]int{
		"j.Close()": 1, "lookup(h)": 1, "func() { guard(h) }()": 1, "defer recover()": 1, "guard(h)": 0, "return command(h, -1, f)": 0, "s.end()": 0,
		"defer func() { recover() }(); f()": 0,
	} {
		if exports, faults := guarded("x.go", []byte(export+body+"}\n")); len(faults) != want || len(exports) != 1 {
			t.Errorf("export with %s: %v, %v, want %d faults", body, exports, faults, want)
		}
	}
}

// What makes the tests' build of the plugin panic is in that one alone.
func TestNothingInjected(t *testing.T) {
	for name, want := range map[string]bool{"vz7ct-fd.so": false, "inject/vz7ct-fd.so": true} {
		b, err := os.ReadFile("../../build/" + name)
		if os.IsNotExist(err) {
			t.Skipf("build/%s is not built (make build tools)", name)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range []string{"vz7ct-inject", "injected into "} {
			if bytes.Contains(b, []byte(trace)) != want {
				t.Errorf("build/%s has %q: %v, want %v", name, trace, !want, want)
			}
		}
	}
}
