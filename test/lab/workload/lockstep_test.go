// SPDX-License-Identifier: AGPL-3.0-only

package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLockstep(t *testing.T) {
	mounts := []string{"/", "/data", "/srv"}
	for _, tt := range []struct {
		counters []string
		good     bool
		moment   bool // the fault is that of the moment
	}{
		{[]string{"7", "7", "7"}, true, false},
		{[]string{"8", "7", "7"}, true, false},
		{[]string{"8", "8", "7"}, true, false},
		{[]string{"7", "8", "8"}, false, true}, // a later disk is newer
		{[]string{"7", "7", "8"}, false, true},
		{[]string{"9", "8", "7"}, false, true},
		{[]string{"9", "7", "7"}, false, true},
		{[]string{"7", "7", "70"}, false, true},
		{[]string{"0", "0", "0"}, false, false},
		{[]string{"7", "", "7"}, false, false},
		{[]string{"7", "x", "7"}, false, false},
	} {
		root := t.TempDir()
		for i, c := range tt.counters {
			name := filepath.Join(root, lockstepName(mounts[i]))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			text := c
			var n int64
			if _, err := fmt.Sscan(c, &n); err == nil {
				text = fmt.Sprintf(counterFormat, n)
			}
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Lockstep(root, mounts)
		if (err == nil) != tt.good || errors.Is(err, ErrNotOneMoment) != tt.moment {
			t.Errorf("Lockstep(%q) = %v, %v", tt.counters, got, err)
		}
	}
	if _, err := Lockstep(t.TempDir(), mounts); err == nil {
		t.Error("Lockstep without counters = nil")
	}
	if _, err := Lockstep(t.TempDir(), mounts[:1]); err == nil {
		t.Error("Lockstep of one disk = nil")
	}
}

// What the writer makes is good, at its end and when it is started again.
func TestLockstepWriter(t *testing.T) {
	root := t.TempDir()
	mounts := []string{filepath.Join(root, "a"), filepath.Join(root, "b")}
	var before int64
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		if err := lockstep(ctx, mounts, 500); err != nil {
			t.Fatal(err)
		}
		cancel()
		got, err := Lockstep("/", mounts)
		if err != nil || got[0] <= before {
			t.Errorf("Lockstep = %v, %v, after %d", got, err, before)
		}
		before = got[0]
	}
}
