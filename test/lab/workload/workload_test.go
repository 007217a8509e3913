// SPDX-License-Identifier: AGPL-3.0-only

package workload

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// site is a workload that ran for a moment in a folder that stands for a container's root.
type site struct {
	root, ledger string
}

func runSite(t *testing.T) site {
	t.Helper()
	s := site{root: t.TempDir(), ledger: filepath.Join(t.TempDir(), "ledger")}
	s.run(t)
	return s
}

func (s site) run(t *testing.T) {
	t.Helper()
	l, err := OpenLedger(s.ledger, "/var/lib/workload /var/log/workload")
	if err != nil {
		t.Fatal(err)
	}
	w := &Writer{
		Base: filepath.Join(s.root, rootBase), Log: filepath.Join(s.root, rootLogs), Ledger: l, Rate: 2000,
	}
	if err := w.Resume(s.ledger); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := w.Run(ctx); err != nil && ctx.Err() == nil {
		t.Fatalf("Run() = %v", err)
	}
}

func (s site) verify(t *testing.T) Report {
	t.Helper()
	r, err := Verify(s.ledger, Now(), s.root)
	if err != nil {
		t.Fatalf("Verify() = %v", err)
	}
	return r
}

func TestGoodTree(t *testing.T) {
	s := runSite(t)
	s.run(t) // goes on where it ended
	r := s.verify(t)
	if r.Files < 30 || r.Missing != 0 || r.Wrong != 0 {
		t.Errorf("Verify(good tree) = %v %v", r, r.Details)
	}
	if want := "workload: files="; !strings.HasPrefix(r.String(), want) || !strings.HasSuffix(r.String(), " missing=0 wrong=0") {
		t.Errorf("String() = %q", r)
	}
}

// Each kind of damage is seen.
func TestDamageIsSeen(t *testing.T) {
	s := runSite(t)
	base := filepath.Join(s.root, rootBase)
	change := func(name string, fn func([]byte) []byte) func() {
		return func() {
			b, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name, fn(b), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(b []byte) []byte {
		c := append([]byte(nil), b...)
		c[len(c)/2] ^= 1
		return c
	}
	for _, c := range []struct {
		name           string
		file           string
		change         func([]byte) []byte
		missing, wrong bool
	}{
		{"file flipped", filepath.Join(base, fileName(3)), flip, false, true},
		{"file cut", filepath.Join(base, fileName(4)), func(b []byte) []byte { return b[:len(b)-1] }, false, true},
		{"log line", filepath.Join(s.root, rootLogs, logName), flip, false, true},
		{"log cut", filepath.Join(s.root, rootLogs, logName), func(b []byte) []byte { return b[:len(b)/2] }, true, false},
		{"torn block", filepath.Join(base, dbName), flip, false, true},
		{"old block", filepath.Join(base, dbName), func(b []byte) []byte {
			c := append([]byte(nil), b...)
			for n := range int64(blocks) {
				copy(c[n*blockSize:], block(n, 0))
			}
			return c
		}, false, true},
	} {
		before, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		change(c.file, c.change)()
		r := s.verify(t)
		if (r.Missing > 0) != c.missing || (r.Wrong > 0) != c.wrong {
			t.Errorf("%s: Verify() = %v %v", c.name, r, r.Details)
		}
		change(c.file, func([]byte) []byte { return before })()
	}
	if err := os.Remove(filepath.Join(base, fileName(5))); err != nil {
		t.Fatal(err)
	}
	if r := s.verify(t); r.Missing != 1 {
		t.Errorf("a removed file: Verify() = %v", r)
	}
	if err := os.WriteFile(filepath.Join(base, "files", "0000", "stray"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := s.verify(t); r.Wrong != 1 {
		t.Errorf("a stray file: Verify() = %v", r)
	}
}

// What was not synced may be cut off, and pages of it zeros; it is never anything else.
func TestUnsynced(t *testing.T) {
	i := int64(0)
	for len(fileContent(i)) < 9000 {
		i++
	}
	whole := fileContent(i)
	with := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(whole)) }
	for name, c := range map[string]struct {
		have []byte
		want bool
	}{
		"whole":            {whole, true},
		"empty":            {nil, true},
		"cut":              {whole[:5000], true},
		"a page of zeros":  {with(func(b []byte) []byte { clear(b[4096:8192]); return b }), true},
		"zeros at the end": {with(func(b []byte) []byte { clear(b[8192:]); return b }), true},
		"half a page":      {with(func(b []byte) []byte { clear(b[4096:6000]); return b }), false},
		"one bit":          {with(func(b []byte) []byte { b[10] ^= 1; return b }), false},
		"too long":         {append(bytes.Clone(whole), 0), false},
		"another file's":   {fileContent(i + 1), false},
	} {
		if got := unsynced(whole, c.have); got != c.want {
			t.Errorf("%s: unsynced = %v, want %v", name, got, c.want)
		}
	}
}

// A verification that has nothing to look for must not pass.
func TestNothingToProve(t *testing.T) {
	s := runSite(t)
	if r, err := Verify(s.ledger, 1, s.root); err == nil {
		t.Errorf("Verify(before everything) = %v, nil; want an error", r)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(empty, Now(), s.root); err == nil {
		t.Errorf("Verify(empty ledger) = %v, nil; want an error", r)
	}
}

// What was noted after the time may be missing.
func TestLaterEntriesDoNotCount(t *testing.T) {
	s := runSite(t)
	at := Now()
	s.run(t)
	base, list, err := read(s.ledger)
	if err != nil || base == "" {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.at >= at && e.kind == kindFile {
			if err := os.Remove(filepath.Join(s.root, rootBase, fileName(e.n))); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := Verify(s.ledger, at, s.root)
	if err != nil || r.Missing != 0 || r.Wrong != 0 {
		t.Errorf("Verify() = %v, %v %v", r, err, r.Details)
	}
}

func TestCutLedgerLine(t *testing.T) {
	s := runSite(t)
	f, err := os.OpenFile(s.ledger, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("file 99"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if r := s.verify(t); r.Missing != 0 {
		t.Errorf("a line cut by a crash counted: %v", r)
	}
}

func TestLedgerName(t *testing.T) {
	for _, c := range []struct{ mount, want string }{{"/", "/d/u"}, {"/data", "/d/u@data"}, {"/srv/www", "/d/u@srv@www"}} {
		if got := LedgerName("/d", "u", c.mount); got != c.want {
			t.Errorf("LedgerName(%s) = %s, want %s", c.mount, got, c.want)
		}
	}
}
