// SPDX-License-Identifier: AGPL-3.0-only

package main

// #include <stdlib.h>
// #include "job.h"
import "C"

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// jobLog is the logrus hook that writes to the daemon's job log. The daemon's
// function may be called on the job's own thread only, and only while the
// daemon is calling us: what is said elsewhere waits for the next call.
type jobLog struct {
	job *C.struct_job

	mu      sync.Mutex
	thread  int // that is in a call, 0 if none is
	depth   int
	waiting []message
}

type message struct {
	severity C.int
	text     string
}

// newLog returns a logger that writes to the job log and nowhere else.
func newLog(job *C.struct_job) (*logrus.Entry, *jobLog) {
	hook := &jobLog{job: job}
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.DebugLevel)
	l.AddHook(hook)
	return logrus.NewEntry(l), hook
}

func (*jobLog) Levels() []logrus.Level { return logrus.AllLevels }

// Fire takes one message.
func (l *jobLog) Fire(e *logrus.Entry) error {
	m := message{severity(e.Level), shorten(text.Message("vz7ct: " + e.Message + fields(e)))}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.thread != unix.Gettid() {
		l.waiting = append(l.waiting, m)
		return nil
	}
	l.flush()
	l.say(m)
	return nil
}

// enter says that this thread is in a call of the daemon until leave.
func (l *jobLog) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.thread = unix.Gettid()
	l.depth++
	l.flush()
}

func (l *jobLog) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	if l.depth--; l.depth == 0 {
		l.thread = 0
	}
}

func (l *jobLog) flush() {
	for _, m := range l.waiting {
		l.say(m)
	}
	l.waiting = nil
}

// maxMessage is how much of one message is written: other programs' words are in it.
const maxMessage = 32 << 10

func shorten(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return fmt.Sprintf("%s... (%d bytes more)", strings.ToValidUTF8(s[:maxMessage], ""), len(s)-maxMessage)
}

// maxLine is the longest text that a daemon takes in one message: Bacula cuts at
// 2000 bytes. A longer one is written in pieces.
const maxLine = 1900

func (l *jobLog) say(m message) {
	for rest := m.text; rest != ""; {
		n := min(len(rest), maxLine)
		for n < len(rest) && !utf8.RuneStart(rest[n]) {
			n--
		}
		c := C.CString(rest[:n])
		rest = rest[n:]
		C.job_say(l.job, m.severity, c)
		C.free(unsafe.Pointer(c))
	}
}

func severity(level logrus.Level) C.int {
	switch level {
	case logrus.PanicLevel, logrus.FatalLevel:
		return C.SAY_FATAL
	case logrus.ErrorLevel:
		return C.SAY_ERROR
	case logrus.WarnLevel:
		return C.SAY_WARNING
	case logrus.InfoLevel:
		return C.SAY_INFO
	case logrus.DebugLevel, logrus.TraceLevel:
		return C.SAY_DEBUG
	default:
		return C.SAY_ERROR
	}
}

// fields writes the fields of an entry behind its message.
func fields(e *logrus.Entry) string {
	var words []string
	for k, v := range e.Data {
		words = append(words, fmt.Sprintf(" %s=%v", k, v))
	}
	sort.Strings(words)
	return strings.Join(words, "")
}
