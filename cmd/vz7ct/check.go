// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/run"
)

// How grave a finding is: a job may fail with doubt, and will fail with fault.
type grade string

const (
	fine  grade = "ok  "
	doubt grade = "warn"
	fault grade = "FAIL"
)

// finding is one line of `vz7ct check`.
type finding struct {
	grade grade
	// What was found, and cure, what puts it right.
	what, cure string
}

func (f finding) String() string {
	s := string(f.grade) + " " + f.what
	if f.cure != "" {
		s += "; " + f.cure
	}
	return strings.ReplaceAll(s, "\n", "; ")
}

// checker looks at a node and changes nothing. Its fields are those of the
// machine, and in tests of a directory that looks like one.
type checker struct {
	// root is put before all paths, "" on a real node.
	root string
	// uid is who this is, owner who must own what is loaded and written.
	uid, owner int
	// release is the kernel's.
	release string
	runner  interface {
		Run(context.Context, run.Command) (run.Result, error)
	}
	found []finding
}

func newChecker() checker {
	c := checker{uid: os.Geteuid(), runner: run.Runner{}}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		c.release = unix.ByteSliceToString(u.Release[:])
	}
	return c
}

func (c *checker) ok(format string, args ...any) {
	c.found = append(c.found, finding{fine, fmt.Sprintf(format, args...), ""})
}

func (c *checker) warn(cure, format string, args ...any) {
	c.found = append(c.found, finding{doubt, fmt.Sprintf(format, args...), cure})
}

func (c *checker) fail(cure, format string, args ...any) {
	c.found = append(c.found, finding{fault, fmt.Sprintf(format, args...), cure})
}

// report is `vz7ct check`.
func (c checker) report(w io.Writer) int {
	status := done
	for _, f := range c.findings() {
		fmt.Fprintln(w, f)
		if f.grade == fault {
			status = failed
		}
	}
	return status
}

// findings are all checks, in the order in which a job would meet them.
func (c *checker) findings() []finding {
	if c.uid == 0 {
		c.ok("run by root")
	} else {
		c.fail("run it by root: what follows may be wrong otherwise", "run by user %d", c.uid)
	}
	c.tools()
	c.kernel()
	c.nodeConf()
	c.stateDir()
	c.mountDir()
	c.freeze()
	c.daemons()
	c.boot()
	return c.found
}

// existing returns the last part of a path that exists.
func existing(path string) string {
	for {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}
