// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"strings"
	"testing"
)

// A unit of systemd's is read without harm, and only its [Service] counts.
func FuzzUnit(f *testing.F) {
	f.Add("[Unit]\nUser=x\n[Service]\nKillMode = process\nKillMode=\n# x\nDeviceAllow=a \\\n b\n")
	f.Add("[Service]\n=x\n==\n\x00\n[")
	f.Fuzz(func(t *testing.T, text string) {
		u := unit{settings: map[string][]string{}}
		u.read(text)
		for key, values := range u.settings {
			if len(values) == 0 || u.last(key) == "" || strings.TrimSpace(key) != key || strings.ContainsAny(key, "=\n") {
				t.Errorf("read(%q) has %q = %q", text, key, values)
			}
		}
		if len(u.settings) > 0 && !strings.Contains(text, "[Service]") {
			t.Errorf("read(%q) = %v", text, u.settings)
		}
	})
}
