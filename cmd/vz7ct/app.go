// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/node"
	"github.com/bareos-contrib/vz7ct/internal/syslog"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/ploop"
)

// app is one call of the program: the node that it works on and where it writes.
type app struct {
	node fdplugin.Node
	// devices lists the open disks of the node.
	devices        func(context.Context) ([]ploop.Device, error)
	check          checker
	uid            int
	stdin          io.Reader
	stdout, stderr io.Writer
	log            *logrus.Entry
	syslog         io.Writer
	// now and pause are the clock that recover --wait looks at.
	now   func() time.Time
	pause func(time.Duration)
}

// newApp puts the real node together, as the plugin does in the daemon.
func newApp(stdout, stderr io.Writer) app {
	log := newLog(stderr)
	n, disks := node.New(log)
	return app{
		node:    n,
		devices: disks.Devices,
		check:   newChecker(),
		uid:     os.Geteuid(),
		stdin:   os.Stdin,
		stdout:  stdout, stderr: stderr, log: log, syslog: syslog.Writer("vz7ct"),
		now: time.Now, pause: time.Sleep,
	}
}

// journals is the directory of the jobs' journals.
func (a app) journals() string { return filepath.Join(a.node.State, "journal") }

func newLog(w io.Writer) *logrus.Entry {
	l := logrus.New()
	l.SetOutput(w)
	l.SetFormatter(plain{})
	return logrus.NewEntry(l)
}

// plain writes a message as a line: what matters begins with its level.
type plain struct{}

func (plain) Format(e *logrus.Entry) ([]byte, error) {
	level := ""
	if e.Level < logrus.InfoLevel {
		level = e.Level.String() + ": "
	}
	return fmt.Appendf(nil, "vz7ct: %s%s\n", level, text.Message(strings.ReplaceAll(e.Message, "\n", "; "))), nil
}

// once writes a message as plain does, unless it has written it before.
type once struct{ said *sync.Map }

func (o once) Format(e *logrus.Entry) ([]byte, error) {
	line, err := plain{}.Format(e)
	if _, before := o.said.LoadOrStore(string(line), true); before {
		return nil, err
	}
	return line, err
}
