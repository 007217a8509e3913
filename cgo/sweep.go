// SPDX-License-Identifier: AGPL-3.0-only

package main

// #include "job.h"
import "C"

import (
	"context"
	"fmt"

	"github.com/sirupsen/logrus"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/node"
	"github.com/bareos-contrib/vz7ct/internal/syslog"
)

// goSweep takes back what dead jobs have left on the node, on a thread of its own
// when the daemon has started: no job may come for days. A job of ours that comes
// meanwhile waits for it, by the sweep's lock; others do not notice it. There is
// no job log for what it has to say: it goes to the system's log. A node that has
// just booted may have to start containers first: theirs is left for later.
//
//export goSweep
func goSweep() {
	log := systemLog()
	defer func() {
		if p := recover(); p != nil {
			log.Errorf("internal fault while taking back what dead jobs have left, please report it: %v", p)
		}
	}()
	hook()
	n, _ := node.New(log)
	if _, err := (fdplugin.Cleaner{Node: n, Log: log, LetStart: true}).Sweep(context.Background(), false); err != nil {
		next := "it is tried again in the background by vz7ct recover --wait"
		if err := n.Finish(); err != nil {
			next = fmt.Sprintf("it is tried again by the next job (not in the background: %v)", err)
		}
		log.Errorf("leftovers of earlier jobs: %v; %s", err, next)
	}
}

// systemLog returns a logger that writes to the system's log, or nowhere if there
// is none.
func systemLog() *logrus.Entry {
	l := logrus.New()
	l.SetFormatter(&logrus.TextFormatter{DisableColors: true, DisableTimestamp: true})
	l.SetOutput(syslog.Writer("vz7ct-fd"))
	return logrus.NewEntry(l)
}
