// SPDX-License-Identifier: AGPL-3.0-only

package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Writer is the work on one disk.
type Writer struct {
	Base   string // folder of files, database and churn
	Log    string // folder of the log; "" = no log, database or churn: files only
	Ledger *Ledger
	Rate   int // file operations a second, all together

	next map[string]int64 // where to go on: files, log lines, block generations
}

// Resume reads the ledger to go on where an earlier run ended.
func (w *Writer) Resume(path string) error {
	_, list, err := read(path)
	if err != nil {
		return err
	}
	w.next = map[string]int64{}
	for _, e := range list {
		key := e.kind
		v := e.n
		if e.kind == kindBlock {
			v = e.gen
		}
		w.next[key] = max(w.next[key], v+1)
	}
	return nil
}

// Run writes until ctx ends or something fails.
func (w *Writer) Run(ctx context.Context) error {
	if err := os.MkdirAll(w.Base, 0o755); err != nil {
		return err
	}
	rate := max(w.Rate, 1)
	jobs := []job{{rate, w.files}}
	if w.Log != "" {
		if err := os.MkdirAll(w.Log, 0o755); err != nil {
			return err
		}
		jobs = []job{{rate * 4 / 10, w.files}, {rate / 10, w.log}, {rate * 3 / 10, w.churn}, {rate * 2 / 10, w.database}}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var g sync.WaitGroup
	for _, j := range jobs {
		g.Go(func() {
			tick := time.NewTicker(time.Second / time.Duration(max(j.rate, 1)))
			defer tick.Stop()
			if err := j.run(ctx, tick.C); err != nil {
				cancel(err) // the disk is gone: the others need not go on
			}
		})
	}
	g.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

type job struct {
	rate int
	run  func(context.Context, <-chan time.Time) error
}

// wait says false at the end.
func wait(ctx context.Context, tick <-chan time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-tick:
		return true
	}
}

// maxFiles keeps a forgotten workload from filling the disk.
const maxFiles = 200000

// files writes indexed files; each is noted when it and its folder are durable.
func (w *Writer) files(ctx context.Context, tick <-chan time.Time) error {
	for i := w.next[kindFile]; i < maxFiles && wait(ctx, tick); i++ {
		name := filepath.Join(w.Base, fileName(i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if i%1000 == 0 { // the new folder must be durable too
			if err := errors.Join(syncDir(w.Base), syncDir(filepath.Dir(filepath.Dir(name)))); err != nil {
				return err
			}
		}
		if err := writeSynced(name, fileContent(i)); err != nil {
			return err
		}
		if err := syncDir(filepath.Dir(name)); err != nil {
			return err
		}
		if err := w.Ledger.Note(kindFile, i, 0); err != nil {
			return err
		}
	}
	return nil
}

func writeSynced(name string, b []byte) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// log appends lines and syncs every few.
func (w *Writer) log(ctx context.Context, tick <-chan time.Time) (err error) {
	f, err := os.OpenFile(filepath.Join(w.Log, logName), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	width := int64(len(logLine(0)))
	if err := f.Truncate(st.Size() / width * width); err != nil { // a line cut by a power cut
		return err
	}
	if err := syncDir(w.Log); err != nil {
		return err
	}
	for n := st.Size() / width; wait(ctx, tick); n++ {
		if _, err := f.WriteString(logLine(n)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := w.Ledger.Note(kindLog, n, 0); err != nil {
			return err
		}
	}
	return nil
}

// churn creates, renames and deletes without ever syncing.
func (w *Writer) churn(ctx context.Context, tick <-chan time.Time) error {
	dir := filepath.Join(w.Base, "churn")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := int64(0); wait(ctx, tick); i++ {
		k := i % churnFiles
		a, b := filepath.Join(dir, fmt.Sprintf("new.%d", k)), filepath.Join(dir, fmt.Sprintf("old.%d", k))
		var err error
		switch i / churnFiles % 3 {
		case 0:
			err = os.WriteFile(a, fileContent(k), 0o600)
		case 1:
			err = os.Rename(a, b)
		case 2:
			err = os.Remove(b)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// database overwrites random blocks of one file in place.
func (w *Writer) database(ctx context.Context, tick <-chan time.Time) (err error) {
	f, err := os.OpenFile(filepath.Join(w.Base, dbName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	gen := max(w.next[kindBlock], 1)
	if st, err := f.Stat(); err != nil || st.Size() != blocks*blockSize {
		for n := range int64(blocks) {
			if _, err := f.WriteAt(block(n, 0), n*blockSize); err != nil {
				return err
			}
		}
		if err := errors.Join(f.Sync(), syncDir(w.Base)); err != nil {
			return err
		}
	}
	for ; wait(ctx, tick); gen++ {
		n := (gen * 7919) % blocks
		if _, err := f.WriteAt(block(n, gen), n*blockSize); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := w.Ledger.Note(kindBlock, n, gen); err != nil {
			return err
		}
	}
	return nil
}
