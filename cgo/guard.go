// SPDX-License-Identifier: AGPL-3.0-only

package main

// #include <stdlib.h>
// #include "job.h"
import "C"

import (
	"fmt"
	"runtime"
	"runtime/cgo"
	"runtime/debug"
	"strings"
	"unsafe"

	"github.com/sirupsen/logrus"

	"github.com/bareos-contrib/vz7ct/fdplugin"
)

// A panic must not end the daemon and its other jobs: each call from the daemon goes
// through one of the functions below, which recover. It fails the job that it came
// up in, with a message. Which calls are taken as a failure by the daemons is known
// to the callers in C.

// state is the Go side of one struct job.
type state struct {
	of *C.struct_job
	// job and log are nil if they could not be made.
	job *fdplugin.Job
	log *jobLog
	// broken is a fault that came before the job's own command. Every plugin is sent
	// options and objects of every job: a job that is none of ours does not hear of it.
	broken string
}

// guard calls f for a job, lets messages through to the job log meanwhile, and
// returns failed after a panic.
func guard[T any](h C.uintptr_t, failed T, f func(*fdplugin.Job) T) T {
	return asked(h, failed, failed, f)
}

// asked is guard for questions that come in every job: not ours is the answer where no
// job of the plugin is.
func asked[T any](h C.uintptr_t, notOurs, failed T, f func(*fdplugin.Job) T) T {
	s, ok := lookup(h)
	if !ok || s.job == nil || s.broken != "" {
		return notOurs
	}
	result, _ := attempt(s, failed, f)
	return result
}

// command is guard for the commands that make a job one of ours. Here it is told
// what went wrong before.
func command[T any](h C.uintptr_t, failed T, f func(*fdplugin.Job) T) T {
	s, ok := lookup(h)
	if ok && s.broken != "" {
		s.say(s.broken)
		return failed
	}
	return guard(h, failed, f)
}

// early is guard for what comes before the job's own command.
func early(h C.uintptr_t, f func(*fdplugin.Job)) {
	s, ok := lookup(h)
	if !ok || s.job == nil || s.broken != "" {
		return
	}
	defer alone()()
	s.log.enter()
	defer s.log.leave()
	defer s.remember()
	hook()
	f(s.job)
}

// closing is guard for what closes a file: the daemon forgets its descriptor whatever
// comes of that, so after a panic f is called again. It reports whether there was none.
func closing(h C.uintptr_t, f func(j *fdplugin.Job, again bool)) bool {
	s, ok := lookup(h)
	if !ok || s.job == nil || s.broken != "" {
		return false
	}
	for _, again := range []bool{false, true} {
		if _, whole := attempt(s, none{}, func(j *fdplugin.Job) none { f(j, again); return none{} }); whole {
			return !again
		}
	}
	return false
}

// attempt calls f and reports a panic to the job log. whole says that there was none.
func attempt[T any](s *state, failed T, f func(*fdplugin.Job) T) (result T, whole bool) {
	defer alone()()
	s.log.enter()
	defer s.log.leave()
	defer func() {
		if p := recover(); p != nil {
			result, whole = failed, false
			s.fail(p)
		}
	}()
	hook()
	return f(s.job), true
}

// alone keeps Go's runtime from making new threads of the daemon's thread until the
// function that it returns is called: they would have its priority, which nice and ionice
// have lowered, when the job has ended. A callback does not do that by itself (newm of
// runtime/proc.go, Go 1.26, which looks for LockOSThread).
func alone() (leave func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// end closes the job. If that fails it is tried once more, and then all is let go of
// without taking it back: the next one who looks for what dead jobs have left finds it.
func (s *state) end() {
	if s.job == nil {
		return
	}
	for _, f := range []func(*fdplugin.Job){(*fdplugin.Job).Close, (*fdplugin.Job).Close, (*fdplugin.Job).Abandon} {
		if _, whole := attempt(s, none{}, func(j *fdplugin.Job) none { f(j); return none{} }); whole {
			return
		}
	}
}

// fail ends a job after a panic, on whatever thread.
func (s *state) fail(p any) {
	defer func() { _ = recover() }() // there is nobody left to tell
	s.job.Cancel()
	s.job.Log.Log(logrus.FatalLevel, fault(p))
	s.job.Log.Error(strings.ReplaceAll(string(debug.Stack()), "\t", "    "))
}

// remember keeps a panic for the job's own command. It is deferred.
func (s *state) remember() {
	if p := recover(); p != nil {
		s.broken = fault(p)
	}
}

// say ends the job with a message, without a logger: there may be none.
func (s *state) say(text string) {
	c := C.CString("vz7ct: " + text)
	defer C.free(unsafe.Pointer(c))
	C.job_say(s.of, C.SAY_FATAL, c)
}

func fault(p any) string { return fmt.Sprintf("internal fault, please report it: %v", p) }

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
