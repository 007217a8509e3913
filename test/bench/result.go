// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result is what a run has found.
type Result struct {
	Daemon  string `json:"daemon"` // with its release
	Date    string `json:"date"`
	Machine string `json:"machine"`
	Tree    Count  `json:"tree"`
	Slow    Count  `json:"slow_tree"`
	Rounds  int    `json:"rounds"`
	Cases   []Row  `json:"cases"`
}

// Row is one case.
type Row struct {
	Case        string           `json:"case"`
	Ratio       float64          `json:"ratio"` // native time / our time, of the medians
	Contestants map[string]*Runs `json:"contestants"`
}

// Runs are one contestant's, in the order of the rounds.
type Runs struct {
	Median Run   `json:"median"`
	Runs   []Run `json:"runs"`
}

// median returns the one in the middle, of an even number the mean of both.
func median[T cmp.Ordered](v []T, mean func(a, b T) T) T {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return mean(s[(n-1)/2], s[n/2])
}

// medianRun takes the median of each figure by itself.
func medianRun(runs []Run) Run {
	figure := func(f func(Run) float64) float64 {
		var v []float64
		for _, r := range runs {
			v = append(v, f(r))
		}
		return median(v, func(a, b float64) float64 { return (a + b) / 2 })
	}
	return Run{
		Wall: figure(func(r Run) float64 { return r.Wall }), Before: figure(func(r Run) float64 { return r.Before }),
		Job: figure(func(r Run) float64 { return r.Job }), CPU: figure(func(r Run) float64 { return r.CPU }),
		Peak: figure(func(r Run) float64 { return r.Peak }), Base: figure(func(r Run) float64 { return r.Base }),
		Switches: int(figure(func(r Run) float64 { return float64(r.Switches) })), Files: int(figure(func(r Run) float64 { return float64(r.Files) })),
		Bytes: int64(figure(func(r Run) float64 { return float64(r.Bytes) })), Elapsed: int(figure(func(r Run) float64 { return float64(r.Elapsed) })),
		Random: int(figure(func(r Run) float64 { return float64(r.Random) })), AtOnce: int(figure(func(r Run) float64 { return float64(r.AtOnce) })),
	}
}

// sum takes the medians.
func (r *Row) sum() {
	for _, c := range r.Contestants {
		c.Median = medianRun(c.Runs)
	}
	r.Ratio = r.Contestants["native"].Median.Wall / r.Contestants["ours"].Median.Wall
}

// line is what a case ends with.
func (r Row) line() string {
	return fmt.Sprintf("bench: %s ratio=%.2f ours_s=%.3f native_s=%.3f", r.Case, r.Ratio, r.Contestants["ours"].Median.Wall, r.Contestants["native"].Median.Wall)
}

// reads says what the slow disk was asked for.
func (r Row) reads(delay time.Duration) string {
	var who []string
	for _, name := range order {
		if c := r.Contestants[name]; c != nil {
			who = append(who, fmt.Sprintf("%s %d (%d at once)", name, c.Median.Random, c.Median.AtOnce))
		}
	}
	return fmt.Sprintf("random reads that waited %s: %s", delay, strings.Join(who, ", "))
}

// missed says which targets a case has missed; "" is none.
func (r Row) missed() string {
	n := slices.IndexFunc(cases, func(c benchCase) bool { return c.name == r.Case })
	if n < 0 {
		return ""
	}
	var why []string
	if c := cases[n]; r.Ratio < c.target {
		why = append(why, fmt.Sprintf("ratio %.2f, %.2f is the target", r.Ratio, c.target))
	}
	if c, cpu := cases[n], r.cpu(); c.cpu > 0 && cpu > c.cpu {
		why = append(why, fmt.Sprintf("%.2f times native's CPU time, %.2f is the target", cpu, c.cpu))
	}
	if p := r.Contestants["python"]; p != nil {
		if f := p.Median.Wall / r.Contestants["ours"].Median.Wall; f < pythonTarget {
			why = append(why, fmt.Sprintf("%.2f times as fast as the Python plugin, %.2f is the target", f, pythonTarget))
		}
	}
	return strings.Join(why, "; ")
}

// pythonTarget is how many times faster than Bareos' own Python plugin ours is to be.
const pythonTarget = 1.5

// cpu is our CPU time as a part of native's.
func (r Row) cpu() float64 {
	native := r.Contestants["native"].Median.CPU
	if native == 0 {
		return 0
	}
	return r.Contestants["ours"].Median.CPU / native
}

func (w *world) newResult() *Result {
	res := &Result{Date: w.began.UTC().Format(time.DateOnly), Machine: machine(), Rounds: w.cfg.Rounds}
	if c := w.cts["tree"]; c != nil {
		res.Tree = c.Count
	}
	if c := w.cts["slow"]; c != nil {
		res.Slow = c.Count
	}
	return res
}

// machine is the class of this machine.
func machine() string {
	words := []string{fmt.Sprintf("%d cores", runtime.NumCPU())}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		if kib, err := strconv.Atoi(strings.TrimSuffix(field(string(b), "MemTotal:"), " kB")); err == nil {
			words = append(words, fmt.Sprintf("%d GiB", (kib+1<<20-1)>>20))
		}
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil && strings.Contains(string(b), " hypervisor") {
		words = append(words, "virtual machine")
	}
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		words = append(words, strings.Trim(field(string(b), "NAME="), `"`)+" "+strings.Trim(field(string(b), "VERSION_ID="), `"`))
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		words = append(words, "Linux "+strings.TrimSpace(string(b)))
	}
	return strings.Join(words, ", ")
}

// tell prints the table, the lines and what was missed, and keeps what is to be kept.
func (w *world) tell(res *Result) error {
	res.Daemon = w.daemon
	b, err := json.MarshalIndent(res, "", " ")
	if err != nil {
		return err
	}
	name := daemonName() + ".json"
	if err := writeFile(filepath.Join(w.cfg.Result, "bench-"+name), append(b, '\n')); err != nil {
		return err
	}
	out := w.cfg.Out
	_, _ = fmt.Fprintf(out, "\n%s\n\n%s\n", res.head(), res.table())
	kept, err := readResult(filepath.Join(w.cfg.Pages, "docs/bench", name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		_, _ = fmt.Fprintln(out, "no result was kept to compare with; BENCH_KEEP=1 keeps one")
	case err != nil:
		return err
	default:
		for _, line := range moved(kept, res) {
			_, _ = fmt.Fprintln(out, line)
		}
	}
	if w.cfg.Keep {
		if err := keep(w.cfg.Pages, name, res); err != nil {
			return err
		}
	}
	if w.python == "" {
		_, _ = fmt.Fprintf(out, "no contestant python: %s\n", w.noPython)
	}
	for _, r := range res.Cases {
		if why := r.missed(); why != "" {
			_, _ = fmt.Fprintf(out, "target missed: %s: %s\n", r.Case, why)
		}
	}
	for _, r := range res.Cases {
		_, _ = fmt.Fprintln(out, r.line())
	}
	return nil
}

func readResult(path string) (*Result, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("kept result %s: %w", path, err)
	}
	return &r, nil
}

// moved says by how much each ratio has moved.
func moved(kept, now *Result) (lines []string) {
	for _, r := range now.Cases {
		n := slices.IndexFunc(kept.Cases, func(k Row) bool { return k.Case == r.Case })
		if n < 0 {
			lines = append(lines, r.Case+": not in the kept result")
			continue
		}
		was := kept.Cases[n].Ratio
		lines = append(lines, fmt.Sprintf("%s: ratio %.2f, was %.2f on %s (%s, %d files): %+.0f %%", r.Case, r.Ratio, was, kept.Date, kept.Machine,
			kept.Tree.Files, 100*(r.Ratio/was-1)))
	}
	return lines
}
