// SPDX-License-Identifier: AGPL-3.0-only

package freezer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const ctid = "4b16639b-dbb9-45a5-b4c2-9f7ae90dfe2c"

// TestMain is the guard, too: what is started here for one is this program.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == GuardCommand {
		if err := Guard(os.Args[2], os.Stdin, os.Stdout, nil, Bound); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// client is one whose guard is this program.
func client() Client { return Client{Program: os.Args[0]} }

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fake is a directory that looks like a group of cgroup v1. What is written to its
// state is read from it.
func fake(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "machine.slice", ctid)
	put(t, filepath.Join(dir, stateFile), "THAWED\n")
	return dir
}

// fake2 looks like one of cgroup v2, in which nothing ever stands still.
func fake2(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "machine.slice", ctid)
	put(t, filepath.Join(dir, freezeFile), "0\n")
	put(t, filepath.Join(dir, eventsFile), "populated 1\nfrozen 0\n")
	return dir
}

// is checks what the control file of a group has.
func is(t *testing.T, file, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || strings.TrimSpace(string(b)) != want {
		t.Errorf("%s has %q, %v, want %q", file, b, err, want)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	dir := fake(t)
	c := client()
	thaw, err := c.Freeze(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	is(t, filepath.Join(dir, stateFile), "FROZEN")
	if still, err := c.Frozen(dir); !still || err != nil {
		t.Errorf("Frozen = %v, %v", still, err)
	}
	took, err := thaw()
	if err != nil || took <= 0 || took > time.Minute {
		t.Errorf("thaw = %v, %v", took, err)
	}
	is(t, filepath.Join(dir, stateFile), "THAWED")
	if still, err := c.Frozen(dir); still || err != nil {
		t.Errorf("Frozen after it = %v, %v", still, err)
	}
	if err := c.Thaw(dir); err != nil {
		t.Errorf("Thaw of what goes on = %v", err)
	}
}

// Processes that do not stand still in time are let go, with an error that says why.
func TestFreezeLosesPatience(t *testing.T) {
	dir := fake2(t)
	c := client()
	c.Patience = 20 * time.Millisecond
	_, err := c.Freeze(context.Background(), dir)
	if err == nil || !strings.Contains(err.Error(), "do not all stand still after 20ms") || !strings.Contains(err.Error(), "is FREEZING") {
		t.Errorf("Freeze = %v", err)
	}
	is(t, filepath.Join(dir, freezeFile), "0")

	ctx, cancel := context.WithCancel(context.Background())
	c.Patience = time.Minute
	c.Runner.Started = func(string) { time.AfterFunc(100*time.Millisecond, cancel) }
	if _, err := c.Freeze(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("Freeze that is cancelled = %v", err)
	}
	is(t, filepath.Join(dir, freezeFile), "0")
}

// Nothing is frozen without a guard.
func TestFreezeWithoutAGuard(t *testing.T) {
	old := filepath.Join(t.TempDir(), "vz7ct")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho \"vz7ct: unknown command $1\" >&2\nexit 2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{
		"/nonexistent/vz7ct": "no such program",
		old:                  "exit status 2: vz7ct: unknown command thaw-guard; is " + old + " of the plugin's release?",
		"/bin/true":          "has not said that it is ready",
	} {
		dir := fake(t)
		_, err := Client{Program: program}.Freeze(context.Background(), dir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Freeze with guard %s = %v, want %q", program, err, want)
		}
		is(t, filepath.Join(dir, stateFile), "THAWED")
	}
	// One that ends at once is no guard.
	brief := filepath.Join(t.TempDir(), "vz7ct")
	if err := os.WriteFile(brief, []byte("#!/bin/sh\necho ready\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := fake2(t)
	c := Client{Program: brief, Patience: time.Minute}
	go func() { // all stand still when the guard has ended
		time.Sleep(200 * time.Millisecond)
		_ = os.WriteFile(filepath.Join(dir, eventsFile), []byte("frozen 1\n"), 0o644)
	}()
	if _, err := c.Freeze(context.Background(), dir); err == nil || !strings.Contains(err.Error(), "has ended before its time") {
		t.Errorf("Freeze with a guard that ends = %v", err)
	}
	is(t, filepath.Join(dir, freezeFile), "0")
}

// The words of the state files, and what is none.
func TestStates(t *testing.T) {
	for _, tt := range []struct{ state, freeze, events, want string }{
		{state: "THAWED\n", want: "THAWED"},
		{state: "FREEZING\n", want: "FREEZING"},
		{state: "FROZEN\n", want: "FROZEN"},
		{state: "frozen?\n", want: `state "frozen?" is not known`},
		{state: " ", want: "is not known"},
		{freeze: "0\n", events: "populated 1\nfrozen 0\n", want: "THAWED"},
		{freeze: "1\n", events: "populated 1\nfrozen 0\n", want: "FREEZING"},
		{freeze: "1\n", events: "populated 1\nfrozen 1\n", want: "FROZEN"},
		{freeze: "0\n", events: "frozen 1\n", want: "FROZEN"}, // by a group above
		{freeze: "0\n", events: "populated 1\n", want: "does not tell"},
		{freeze: "1\n", want: "no such file"},
		{want: "can be frozen: it has neither"},
	} {
		dir := t.TempDir()
		for name, content := range map[string]string{stateFile: tt.state, freezeFile: tt.freeze, eventsFile: tt.events} {
			if content != "" {
				put(t, filepath.Join(dir, name), content)
			}
		}
		var s state
		g, err := open(dir)
		if err == nil {
			s, err = g.state()
		}
		if got := fmt.Sprint(s, err); err == nil && string(s) != tt.want || !strings.Contains(got, tt.want) {
			t.Errorf("%+v: state = %q, %v", tt, s, err)
		}
		if still, err := (Client{}).Frozen(dir); still != (tt.want == "FROZEN") || (err == nil) != (s != "") {
			t.Errorf("%+v: Frozen = %v, %v", tt, still, err)
		}
	}
}

// What thaws is idempotent, and does not hide that something stands still.
func TestThaw(t *testing.T) {
	var c Client
	if err := c.Thaw(filepath.Join(t.TempDir(), "gone")); err != nil {
		t.Errorf("Thaw of a group that has gone = %v", err)
	}
	if err := c.Thaw(t.TempDir()); err == nil {
		t.Error("Thaw of a directory that is no group = nil")
	}
	if err := c.Thaw("machine.slice/101"); err == nil {
		t.Error("Thaw of a relative path = nil")
	}
	dir := fake2(t)
	put(t, filepath.Join(dir, eventsFile), "frozen 1\n")
	if err := c.Thaw(dir); err == nil || !strings.Contains(err.Error(), "a group above it must be frozen") {
		t.Errorf("Thaw below a frozen group = %v", err)
	}
	if got, want := ByHand(dir), "echo 0 > "+dir+"/cgroup.freeze"; got != want {
		t.Errorf("ByHand = %q, want %q", got, want)
	}
	if got, want := ByHand("/gone"), "echo THAWED > /gone/freezer.state"; got != want {
		t.Errorf("ByHand = %q, want %q", got, want)
	}
}

// A guard thaws at the end of its input, at a signal, and when its time is over.
func TestGuard(t *testing.T) {
	for _, what := range []string{"end", "signal", "bound"} {
		dir := fake(t)
		in, pipe := io.Pipe()
		said, out := io.Pipe()
		signals, bound := make(chan os.Signal, 1), time.Minute
		if what == "bound" {
			bound = 50 * time.Millisecond
		}
		result := make(chan error, 1)
		go func() { result <- Guard(dir, in, out, signals, bound) }()
		line := make([]byte, 6)
		if _, err := io.ReadFull(said, line); err != nil || string(line) != "ready\n" {
			t.Fatalf("the guard says %q, %v", line, err)
		}
		put(t, filepath.Join(dir, stateFile), "FROZEN")
		switch what {
		case "end":
			pipe.Close()
		case "signal":
			signals <- os.Interrupt
		}
		if err := <-result; err != nil {
			t.Errorf("%s: Guard = %v", what, err)
		}
		is(t, filepath.Join(dir, stateFile), "THAWED")
	}
	// Of what it could not thaw it does not say that it is ready.
	var said strings.Builder
	if err := Guard(t.TempDir(), strings.NewReader(""), &said, nil, time.Minute); err == nil || said.Len() > 0 {
		t.Errorf("Guard of no group = %v, says %q", err, &said)
	}
}
