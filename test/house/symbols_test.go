// SPDX-License-Identifier: AGPL-3.0-only

package house

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// oldest is the C library of CentOS 7.
const oldest = "GLIBC_2.17"

// exported returns the names that a shared object defines for others.
func exported(f *elf.File) ([]string, error) {
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF && elf.ST_BIND(s.Info) != elf.STB_LOCAL {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// tooNew returns what a shared object needs of a C library newer than oldest,
// and of libraries that are no part of it.
func tooNew(f *elf.File) (faults []string, err error) {
	symbols, err := f.ImportedSymbols()
	if err != nil {
		return nil, err
	}
	for _, s := range symbols {
		if s.Version != "" && (!strings.HasPrefix(s.Version, "GLIBC_") || newer(s.Version, oldest)) {
			faults = append(faults, s.Name+"@"+s.Version)
		}
	}
	libs, err := f.ImportedLibraries()
	for _, l := range libs {
		if l != "libc.so.6" && l != "libpthread.so.0" {
			faults = append(faults, l)
		}
	}
	return faults, err
}

// newer compares names of version nodes, GLIBC_MAJOR.MINOR[.PATCH].
func newer(a, b string) bool {
	var x, y [3]int
	_, _ = fmt.Sscanf(a, "GLIBC_%d.%d.%d", &x[0], &x[1], &x[2])
	_, _ = fmt.Sscanf(b, "GLIBC_%d.%d.%d", &y[0], &y[1], &y[2])
	return slices.Compare(x[:], y[:]) > 0
}

func open(t *testing.T, path string) *elf.File {
	t.Helper()
	f, err := elf.Open(path)
	if os.IsNotExist(err) {
		t.Skipf("%s is not built (make build)", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSymbols(t *testing.T) {
	f := open(t, "../../build/vz7ct-fd.so")
	names, err := exported(f)
	if want := []string{"loadPlugin", "unloadPlugin"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("exported = %v, %v, want %v", names, err, want)
	}
	if faults, err := tooNew(f); err != nil || len(faults) > 0 {
		t.Errorf("needs %v, %v: not in %s", faults, err, oldest)
	}
}

// An object that breaks both rules is reported.
func TestSymbolsReport(t *testing.T) {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		t.Skipf("no C compiler %s", cc)
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "x.c")
	// arc4random came with glibc 2.36.
	if err := os.WriteFile(src, []byte("#include <stdlib.h>\nint more(void) { return (int)arc4random(); }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	so := filepath.Join(dir, "x.so")
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", so, src).CombinedOutput(); err != nil {
		t.Skipf("the control cannot be built here: %v %s", err, out)
	}
	f := open(t, so)
	if names, err := exported(f); err != nil || !slices.Contains(names, "more") {
		t.Errorf("exported = %v, %v, want more among them", names, err)
	}
	if faults, err := tooNew(f); err != nil || len(faults) == 0 {
		t.Errorf("tooNew = %v, %v, want arc4random", faults, err)
	}
}
