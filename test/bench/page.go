// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// head says what the table is of.
func (r *Result) head() string {
	return fmt.Sprintf("%s, %s; %s. A container with %d files (%d entries, %.1f GiB), %d rounds; slow disk: %d files.",
		r.Daemon, r.Date, r.Machine, r.Tree.Files, r.Tree.Entries, float64(r.Tree.Bytes)/(1<<30), r.Rounds, r.Slow.Files)
}

// order is that of the contestants in the table.
var order = []string{"ours", "native", "parallel", "reference", "python"}

// table shows every contestant of every case.
func (r *Result) table() string {
	var b strings.Builder
	b.WriteString("| case | contestant | ratio | wall s | whole job s | CPU s | peak MiB | after start MiB | context switches |\n|--|--|--|--|--|--|--|--|--|\n")
	for _, row := range r.Cases {
		for _, who := range order {
			c := row.Contestants[who]
			if c == nil {
				continue
			}
			m := c.Median
			ratio := "1"
			if who != "native" {
				ratio = fmt.Sprintf("%.2f", row.Contestants["native"].Median.Wall/m.Wall)
			}
			if row.Case[:4] == "walk" && who == "native" {
				who = "find"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %.2f | %.1f | %.2f | %.1f | %.1f | %d |\n", row.Case, who, ratio, m.Wall, m.Job, m.CPU, m.Peak, m.Base, m.Switches)
		}
	}
	return b.String()
}

// short shows the ratios alone.
func (r *Result) short() string {
	var b strings.Builder
	b.WriteString("| case | native s | ours s | ratio | CPU of native's |\n|--|--|--|--|--|\n")
	for _, row := range r.Cases {
		fmt.Fprintf(&b, "| %s | %.2f | %.2f | %.2f | %.2f |\n", row.Case, row.Contestants["native"].Median.Wall, row.Contestants["ours"].Median.Wall, row.Ratio, row.cpu())
	}
	return b.String()
}

// keep makes a result the kept one and writes it into the pages.
func keep(top, name string, r *Result) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(top, "docs/bench", name), append(b, '\n')); err != nil {
		return err
	}
	daemon := strings.TrimSuffix(name, ".json")
	for page, text := range map[string]string{"docs/bench.md": r.head() + "\n\n" + r.table(), "README.md": r.head() + "\n\n" + r.short()} {
		path := filepath.Join(top, page)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		out, err := replace(string(b), daemon, text)
		if err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replace puts text between the marks of a daemon.
func replace(page, daemon, text string) (string, error) {
	begin, end := "<!-- bench "+daemon+": rewritten by make bench BENCH_KEEP=1 -->\n", "<!-- end of bench "+daemon+" -->\n"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("no lines %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + "\n" + text + "\n" + end + after, nil
}
