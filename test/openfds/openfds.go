// SPDX-License-Identifier: AGPL-3.0-only

// Package openfds tells a test what it has open. Counting all descriptors of a process says
// little: the collector closes those that other tests have forgotten when it likes.
package openfds

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Below returns what this process has open at or below a directory, which must be named
// without links.
func Below(t testing.TB, dir string) (list []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		to = strings.TrimSuffix(to, " (deleted)")
		if errors.Is(err, unix.ENAMETOOLONG) {
			list = append(list, fd.Name()) // deeper than any place but a test's
		}
		if err == nil && (to == dir || strings.HasPrefix(to, dir+"/")) {
			list = append(list, to)
		}
	}
	return list
}
