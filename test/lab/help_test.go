// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

func (l *lab) ledger() string { return filepath.Join(l.dir, "ledger", ctUUID) }

// entries counts the lines of the root disk's ledger.
func (l *lab) entries() int {
	b, err := os.ReadFile(l.ledger())
	if err != nil {
		return 0
	}
	return bytes.Count(b, []byte("\n"))
}

// busy waits until the container has made n more things durable.
func (l *lab) busy(n int) {
	l.t.Helper()
	want := l.entries() + n
	for end := time.Now().Add(patience); l.entries() < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("the container writes no more: %d entries, want %d", l.entries(), want)
		}
	}
}

// verify judges a tree inside the node by the root disk's ledger.
func (l *lab) verify(before, root string) result {
	l.t.Helper()
	return l.try(filepath.Join(l.dir, "bin", "lab"), "workload-verify", "--ledger", l.ledger(), "--before", before, root)
}

func (l *lab) now() string {
	l.t.Helper()
	return strings.TrimSpace(l.do("now"))
}

// call is a line of ploop.jsonl.
type call struct {
	Argv     []string
	Exit     int
	FreezeMS float64 `json:"freeze_ms"`
	SwitchMS float64 `json:"switch_ms"`
	Merged   int     `json:"merged_clusters"`
	Mono     int64
}

// calls lists what ploop was told so far.
func (l *lab) calls() []call {
	l.t.Helper()
	f, err := os.Open(filepath.Join(l.dir, "log", "ploop.jsonl"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	var list []call
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		var c call
		if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
			l.t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// paused waits until a tool has reached the point at which it was told to wait, and gives its process number.
func (l *lab) paused(point string) int {
	l.t.Helper()
	file := filepath.Join(l.dir, "paused")
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile(file)
		if f := strings.Fields(string(b)); err == nil && len(f) == 2 {
			pid, err := strconv.Atoi(f[0])
			if err != nil || f[1] != point {
				l.t.Fatalf("paused at %q, want %s", b, point)
			}
			return pid
		}
		if time.Now().After(end) {
			l.t.Fatalf("no tool came to %s", point)
		}
	}
}
