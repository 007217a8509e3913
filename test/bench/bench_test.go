// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// The whole bench is played with few and small files, so that it works when it is wanted. What it says of speed then is
// not looked at.
func TestSmoke(t *testing.T) {
	switch {
	case os.Getenv("VZ7CT_ROOT_TESTS") == "":
		t.Skip("runs only with VZ7CT_ROOT_TESTS=1: puts up a node and daemons")
	case os.Getuid() != 0:
		t.Skip("needs root: puts up a node and daemons")
	}
	for _, f := range []string{"vz7ct-fd.so", "vz7ct", "lab", "bench"} {
		if _, err := os.Stat(rig.Build(f)); err != nil {
			t.Fatalf("needs build/%s (make build tools)", f)
		}
	}
	dir := t.TempDir()
	for _, d := range []string{"docs", "build/log"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	marks := "<!-- bench " + daemonName() + ": rewritten by make bench BENCH_KEEP=1 -->\n<!-- end of bench " + daemonName() + " -->\n"
	for _, page := range []string{"README.md", "docs/bench.md"} {
		if err := os.WriteFile(filepath.Join(dir, page), []byte("before\n"+marks+"after\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), rig.Build("bench"))
	cmd.Dir, cmd.WaitDelay = dir, time.Minute
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), "BENCH_TREE="+tree, "BENCH_FILES=500", "BENCH_SLOW_FILES=200",
		"BENCH_LARGE=16", "BENCH_ROUNDS=1", "BENCH_KEEP=1", "BENCH_CASES=", "BENCH_MEMORY=", "BENCH_DIR=")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if !regexp.MustCompile(`(?m)^bench: ` + c.name + ` ratio=\d+\.\d\d ours_s=\d+\.\d{3} native_s=\d+\.\d{3}$`).Match(out) {
			t.Errorf("no line of case %s", c.name)
		}
	}
	if !strings.Contains(string(out), "controls: a halt of 1s is seen") {
		t.Error("no controls")
	}
	kept, err := readResult(filepath.Join(dir, "docs/bench", daemonName()+".json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range kept.Cases {
		for who, r := range row.Contestants {
			// The list of so small a tree may be at its end before it is seen to have begun.
			if m := r.Median; m.Wall < 0 || m.Job < m.Wall || m.Peak <= 0 || m.Switches <= 0 {
				t.Errorf("%s, %s: %+v", row.Case, who, m)
			}
		}
	}
	for _, page := range []string{"README.md", "docs/bench.md"} {
		b, err := os.ReadFile(filepath.Join(dir, page))
		if s := string(b); err != nil || !strings.HasPrefix(s, "before\n") || !strings.HasSuffix(s, "after\n") || !strings.Contains(s, "| slow-full |") {
			t.Errorf("%s is not rewritten: %v, %s", page, err, s)
		}
	}
}

// row is a case with two contestants.
func row(name string, ours, native []float64) Row {
	r := Row{Case: name, Contestants: map[string]*Runs{"ours": {}, "native": {}}}
	for who, walls := range map[string][]float64{"ours": ours, "native": native} {
		for _, w := range walls {
			r.Contestants[who].Runs = append(r.Contestants[who].Runs, Run{Wall: w, CPU: w / 2})
		}
	}
	r.sum()
	return r
}

func TestRatioOfMedians(t *testing.T) {
	r := row("full-warm", []float64{100, 2, 4, 1, 3}, []float64{6, 5, 1000, 7})
	if got, want := r.line(), "bench: full-warm ratio=2.17 ours_s=3.000 native_s=6.500"; got != want {
		t.Errorf("line() = %q, want %q", got, want)
	}
}

func TestMissedTargets(t *testing.T) {
	for _, c := range []struct {
		row  Row
		want string
	}{
		{row("full-cold", []float64{10}, []float64{13}), ""},
		{row("full-cold", []float64{10}, []float64{12}), "ratio 1.20, 1.30 is the target"},
		{row("large", []float64{11}, []float64{10}), "ratio 0.91, 1.00 is the target; 1.10 times native's CPU time, 1.00 is the target"},
		{row("restore", []float64{99}, []float64{1}), ""},
	} {
		if got := c.row.missed(); got != c.want {
			t.Errorf("missed() of %s = %q, want %q", c.row.line(), got, c.want)
		}
	}
}

func TestMovedAgainstTheKeptResult(t *testing.T) {
	kept := &Result{Date: "2026-01-02", Machine: "1 core", Cases: []Row{row("large", []float64{10}, []float64{10})}}
	b, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kept.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if kept, err = readResult(path); err != nil {
		t.Fatal(err)
	}
	now := &Result{Cases: []Row{row("large", []float64{10}, []float64{15}), row("restore", []float64{1}, []float64{1})}}
	got := strings.Join(moved(kept, now), "\n")
	if want := "large: ratio 1.50, was 1.00 on 2026-01-02 (1 core, 0 files): +50 %\nrestore: not in the kept result"; got != want {
		t.Errorf("moved() = %q, want %q", got, want)
	}
}

func TestReplaceNeedsItsMarks(t *testing.T) {
	for _, page := range []string{"", "<!-- bench bacula: rewritten by make bench BENCH_KEEP=1 -->\n", "<!-- end of bench bacula -->\n"} {
		if got, err := replace(page, "bacula", "text"); err == nil {
			t.Errorf("replace(%q) = %q, want an error", page, got)
		}
	}
}

// Every page that a kept result goes into has the marks of both families.
func TestPagesHaveTheMarks(t *testing.T) {
	for _, page := range []string{"README.md", "docs/bench.md"} {
		b, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, daemon := range []string{"bacula", "bareos"} {
			if _, err := replace(string(b), daemon, ""); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
