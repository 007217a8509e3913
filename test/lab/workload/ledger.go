// SPDX-License-Identifier: AGPL-3.0-only

// Package workload writes into a running container as its programs would, and keeps a ledger outside of what is durable:
// so a restored tree can be judged by what must be in it. It knows nothing of snapshots.
package workload

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Now is the monotonic time in nanoseconds, the same for all processes of the machine.
func Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // every kernel has this clock
	}
	return t.Nano()
}

// Ledger is a file of lines "KIND NUMBER GENERATION TIME", one for each thing that became durable. It begins with a line
// that names the folder the writer works in.
type Ledger struct {
	mu sync.Mutex
	f  *os.File
}

// OpenLedger continues a ledger or begins one for the writer in base.
func OpenLedger(path, base string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() == 0 {
		_, err = fmt.Fprintf(f, "base %s\n", base)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Ledger{f: f}, nil
}

// Note records that something is durable now.
func (l *Ledger) Note(kind string, n, gen int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.f, "%s %d %d %d\n", kind, n, gen, Now())
	return err
}

// entry is one line of a ledger.
type entry struct {
	kind   string
	n, gen int64
	at     int64
}

// read loads a ledger. A last line that was cut by a crash does not count.
func read(path string) (base string, list []entry, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	r := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := r.ReadString('\n')
		if err != nil {
			break // the end, or a cut line
		}
		if n == 1 {
			var ok bool
			if base, ok = strings.CutPrefix(strings.TrimSuffix(line, "\n"), "base "); !ok {
				return "", nil, fmt.Errorf("%s is no ledger", path)
			}
			continue
		}
		var e entry
		if _, err := fmt.Sscanf(line, "%s %d %d %d", &e.kind, &e.n, &e.gen, &e.at); err != nil {
			return "", nil, fmt.Errorf("%s: line %d %q: %w", path, n, line, err)
		}
		list = append(list, e)
	}
	if base == "" {
		return "", nil, fmt.Errorf("%s is empty", path)
	}
	return base, list, nil
}
