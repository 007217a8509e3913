// SPDX-License-Identifier: AGPL-3.0-only

// Package mounts reads /proc/PID/mountinfo. It mounts nothing.
package mounts

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Mount is one line.
type Mount struct {
	Major, Minor uint32
	Root         string // what of the file system is mounted
	Point        string
	Options      string // of the mount
	Type         string
	Source       string
	Super        string // options of the file system
}

// Of lists the mounts a process sees, in order; pid 0 is the caller.
func Of(pid int) ([]Mount, error) {
	name := "self"
	if pid > 0 {
		name = strconv.Itoa(pid)
	}
	return read("/proc/" + name + "/mountinfo")
}

// OfThread lists the mounts the calling thread sees, which may have a namespace of its own.
func OfThread() ([]Mount, error) { return read("/proc/thread-self/mountinfo") }

func read(file string) ([]Mount, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(string(b))
}

// Parse reads the text of a mountinfo file.
func Parse(text string) ([]Mount, error) {
	var l []Mount
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 6 || len(g) < 3 {
			return nil, fmt.Errorf("mountinfo line %q", line)
		}
		m := Mount{Root: unescape(f[3]), Point: unescape(f[4]), Options: f[5], Type: g[0], Source: unescape(g[1]), Super: g[2]}
		if _, err := fmt.Sscanf(f[2], "%d:%d", &m.Major, &m.Minor); err != nil {
			return nil, fmt.Errorf("mountinfo line %q: %w", line, err)
		}
		l = append(l, m)
	}
	return l, nil
}

// unescape undoes \040 and its like.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
