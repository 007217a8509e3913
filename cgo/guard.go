// SPDX-License-Identifier: AGPL-3.0-only

package main

// #include "job.h"
import "C"

import (
	"fmt"
	"runtime/cgo"
	"runtime/debug"

	"github.com/sirupsen/logrus"

	"github.com/bareos-contrib/vz7ct/fdplugin"
)

// state is the Go side of one struct job.
type state struct {
	job *fdplugin.Job
	log *jobLog
}

// guard is the choke point of all calls from the daemon: it finds the job, lets
// messages through to the job log while f runs, and keeps a panic from ending
// the daemon and its other jobs. A panic fails this job.
func guard[T any](h C.uintptr_t, failed T, f func(*fdplugin.Job) T) (result T) {
	s, ok := lookup(h)
	if !ok {
		return failed
	}
	s.log.enter()
	defer s.log.leave()
	defer func() {
		if p := recover(); p != nil {
			result = failed
			s.job.Cancel()
			s.job.Log.Log(logrus.FatalLevel, fmt.Sprintf("internal fault, please report it: %v", p))
			s.job.Log.Errorf("%s", debug.Stack())
		}
	}()
	return f(s.job)
}

// lookup finds the state behind a handle. A handle that is no more valid, which
// only a daemon's fault could bring, is no reason to end it.
func lookup(h C.uintptr_t) (s *state, ok bool) {
	defer func() {
		if recover() != nil {
			s, ok = nil, false
		}
	}()
	s, ok = cgo.Handle(h).Value().(*state)
	return s, ok
}

// none is the result of calls that have none.
type none struct{}

// code turns an error, which has been reported, into the C side's result.
func code(err error) C.int {
	if err != nil {
		return -1
	}
	return 0
}
