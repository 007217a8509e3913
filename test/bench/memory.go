// SPDX-License-Identifier: AGPL-3.0-only

package bench

import "fmt"

// memory compares the peak memory of the File Daemon with containers of different sizes.
func (w *world) memory() error {
	for _, level := range []string{"Full", "Incremental"} {
		var first float64
		for n, files := range w.cfg.Memory {
			c := benchCase{name: "memory", container: fmt.Sprintf("memory%d", files), kind: "backup", level: level}
			r, err := w.ours(c, nil)
			if err == nil {
				err = w.judge(c, r, true)
			}
			if err != nil {
				return fmt.Errorf("memory, %d files, level %s: %w", files, level, err)
			}
			if n == 0 {
				first = r.Peak
			}
			_, _ = fmt.Fprintf(w.cfg.Out, "bench: memory level=%s files=%d peak_mib=%.1f after_start_mib=%.1f wall_s=%.2f of_first=%.2f\n",
				level, files, r.Peak, r.Base, r.Wall, r.Peak/first)
		}
	}
	return nil
}
