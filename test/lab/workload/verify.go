// SPDX-License-Identifier: AGPL-3.0-only

package workload

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Report is the outcome of a verification.
type Report struct {
	Files   int // entries of the ledger that had to be there
	Missing int
	Wrong   int
	Details []string // the first few
}

// String is the line a test looks for.
func (r Report) String() string {
	return fmt.Sprintf("workload: files=%d missing=%d wrong=%d", r.Files, r.Missing, r.Wrong)
}

func (r *Report) missing(format string, a ...any) {
	r.Missing++
	r.detail("missing: "+format, a...)
}

func (r *Report) wrong(format string, a ...any) {
	r.Wrong++
	r.detail("wrong: "+format, a...)
}

func (r *Report) detail(format string, a ...any) {
	if len(r.Details) < 20 {
		r.Details = append(r.Details, fmt.Sprintf(format, a...))
	}
}

// Verify judges the tree at root: everything that the ledger says was durable before the monotonic time must be there and
// right; what came later may be there or not, but nothing may be torn. A ledger without any entry before the time is an
// error: it would prove nothing.
func Verify(ledger string, before int64, root string) (Report, error) {
	base, list, err := read(ledger)
	if err != nil {
		return Report{}, err
	}
	base, logs, _ := strings.Cut(base, " ")
	var r Report
	files := map[int64]bool{}
	lines, gens := int64(-1), map[int64]int64{}
	for _, e := range list {
		if e.at >= before {
			continue
		}
		r.Files++
		switch e.kind {
		case kindFile:
			files[e.n] = true
		case kindLog:
			lines = max(lines, e.n)
		case kindBlock:
			gens[e.n] = max(gens[e.n], e.gen)
		default:
			return r, fmt.Errorf("%s: kind %q", ledger, e.kind)
		}
	}
	if r.Files == 0 {
		return r, fmt.Errorf("%s: nothing was durable before %d", ledger, before)
	}
	dir := filepath.Join(root, base)
	if err := r.files(dir, files); err != nil {
		return r, err
	}
	if logs == "" {
		return r, nil
	}
	r.log(filepath.Join(root, logs, logName), lines)
	r.database(filepath.Join(dir, dbName), gens)
	return r, r.churn(filepath.Join(dir, "churn"))
}

// files checks the files that must be there, and that no other one is wrong. The last ones may be cut short or empty: they
// were being written.
func (r *Report) files(dir string, must map[int64]bool) error {
	for i := range must {
		b, err := os.ReadFile(filepath.Join(dir, fileName(i)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			r.missing("file %d", i)
		case err != nil:
			return err
		case !bytes.Equal(b, fileContent(i)):
			r.wrong("file %d has %d bytes, want %d of its own", i, len(b), len(fileContent(i)))
		}
	}
	return filepath.WalkDir(filepath.Join(dir, "files"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || (err == nil && e.IsDir()) {
			return nil
		}
		if err != nil {
			return err
		}
		var i int64
		if _, err := fmt.Sscanf(e.Name(), "%d", &i); err != nil || filepath.Join(dir, fileName(i)) != path {
			r.wrong("stray file %s", path)
			return nil
		}
		if must[i] {
			return nil
		}
		b, err := os.ReadFile(path)
		if err == nil && !unsynced(fileContent(i), b) {
			r.wrong("file %d, written later, is neither a beginning of its content nor zeros", i)
		}
		return err
	})
}

// log checks that every line is right and that there are enough.
func (r *Report) log(name string, last int64) {
	if last < 0 {
		return
	}
	b, err := os.ReadFile(name)
	if err != nil {
		r.missing("log: %v", err)
		return
	}
	width := len(logLine(0))
	if int64(len(b)/width) <= last {
		r.missing("log has %d lines, want more than %d", len(b)/width, last)
	}
	for n := 0; n < len(b)/width; n++ {
		if string(b[n*width:(n+1)*width]) != logLine(int64(n)) {
			r.wrong("log line %d", n)
		}
	}
}

// database checks every block: whole, and not older than what was durable.
func (r *Report) database(name string, gens map[int64]int64) {
	if len(gens) == 0 {
		return
	}
	b, err := os.ReadFile(name)
	if err != nil || len(b) != blocks*blockSize {
		r.missing("database of %d bytes: %v", len(b), err)
		return
	}
	for n := range int64(blocks) {
		gen, err := readBlock(n, b[n*blockSize:(n+1)*blockSize])
		switch {
		case err != nil:
			r.wrong("database: %v", err)
		case gen < gens[n]:
			r.wrong("database: block %d is of generation %d, %d was durable", n, gen, gens[n])
		}
	}
}

// unsynced reports whether a power cut may have left have of a file that was to be want and was not synced: a beginning, in
// which whole pages may be zeros. ext4 writes new data to extents that count as unwritten, and records the length when the
// writing begins; a page becomes what it is when its own writing has ended (dioread_nolock, the default from Linux 5.6).
func unsynced(want, have []byte) bool {
	if len(have) > len(want) {
		return false
	}
	const page = 4096
	for at := 0; at < len(have); at += page {
		end := min(at+page, len(have))
		if b := have[at:end]; !bytes.Equal(b, want[at:end]) && len(bytes.Trim(b, "\x00")) > 0 {
			return false
		}
	}
	return true
}

// churn checks that no file there holds anything but what was written to it: it was never synced.
func (r *Report) churn(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		var k int64
		_, num, _ := strings.Cut(e.Name(), ".")
		if _, err := fmt.Sscanf(num, "%d", &k); err != nil {
			r.wrong("stray file %s", e.Name())
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if !unsynced(fileContent(k), b) {
			r.wrong("churn %s", e.Name())
		}
	}
	return err
}
