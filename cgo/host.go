// SPDX-License-Identifier: AGPL-3.0-only

package main

// #include <stdlib.h>
// #include "job.h"
//
// static const char *job_name(struct job *j) { return j->daemon->job_name(j); }
// static const char *job_release(struct job *j) { return j->daemon->release(j); }
// static int job_file_index(struct job *j) { return j->daemon->file_index(j); }
// static enum family job_family(struct job *j) { return j->daemon->family; }
// static int job_accurate(struct job *j) { return j->daemon->accurate(j); }
// static const char *job_previous(struct job *j) { return j->daemon->previous(j); }
// static int job_since(struct job *j) { return j->daemon->since(j); }
import "C"

import (
	"errors"
	"unsafe"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/fdconf"
	"github.com/bareos-contrib/vz7ct/internal/node"
)

// host is the daemon's side of a job for fdplugin.
type host struct{ job *C.struct_job }

func (h host) FileIndex() int { return int(C.job_file_index(h.job)) }

func (h host) Accurate() bool { return C.job_accurate(h.job) != 0 }

func (h host) Previous() string { return C.GoString(C.job_previous(h.job)) }

// Since is told in 32 bits, which last to 2106 without a sign.
func (h host) Since() int64 { return int64(uint32(C.job_since(h.job))) }

// Accepts lets pass what there is no memory to ask about.
func (h host) Accepts(e *fdplugin.Entry) bool { return h.ask(e, e.Link, 0) != 0 }

func (h host) Changed(e *fdplugin.Entry) (bool, error) { return tampered(e, h.changed) }

func (h host) changed(e *fdplugin.Entry) (bool, error) {
	// With Strip Path in the FileSet an accurate job cuts the head off both names where
	// they are, and reads both whatever the file is (StripPath in Bareos'
	// filed/backup.cc 17 to 26, strip_path in Bacula's filed/backup.c): there must be a
	// link, in memory of its own. A directory's is its name.
	link := e.Link
	if e.Kind == fdplugin.Directory {
		link = e.Name
	}
	switch h.ask(e, link, 1) {
	case 1:
		return true, nil
	case 0:
		return false, nil
	}
	return true, errors.New("the daemon does not say")
}

// ask asks the daemon about a file. It is done for each file of the container, so that
// nothing is allocated: the strings go where those of the last one were.
func (h host) ask(e *fdplugin.Entry, link string, changed C.int) C.int {
	j := h.job
	need := len(e.Name) + len(link) + 2
	if C.size_t(need) > j.asked_room && C.job_ask_room(j, C.size_t(max(need, 4096))) != 0 {
		return -1
	}
	text := unsafe.Slice((*byte)(unsafe.Pointer(j.asked_text)), need)
	at := copy(text, e.Name)
	text[at] = 0
	copy(text[at+1:], link)
	text[need-1] = 0
	j.asked.name = (*C.char)(unsafe.Pointer(&text[0]))
	j.asked.link = (*C.char)(unsafe.Pointer(&text[at+1]))
	j.asked.kind = C.enum_kind(e.Kind)
	j.asked.st = *(*C.struct_stat)(unsafe.Pointer(&e.Stat))
	return C.job_ask(j, changed)
}

// open puts a job together: the daemon, the node, the job log.
func (s *state) open() {
	defer s.remember()
	hook()
	job := s.of
	log, lines := newLog(job)
	lines.enter()
	defer lines.leave()
	j := &fdplugin.Job{
		Version: version,
		Name:    C.GoString(C.job_name(job)),
		Log:     log,
		Host:    host{job},
		Daemon:  daemonOf(job),
	}
	j.Node, _ = node.New(log)
	j.Open()
	s.job, s.log = j, lines
}

func daemonOf(job *C.struct_job) fdplugin.Daemon {
	release := C.GoString(C.job_release(job))
	if C.job_family(job) == C.FAMILY_BACULA {
		return fdplugin.Daemon{Name: "Bacula " + release, AlwaysXattrs: true, DeafToWarnings: true, Plain: fdconf.Plain(), MaxXattrs: fdplugin.BaculaXattrs, MaxObject: fdplugin.MaxObject}
	}
	return fdplugin.Daemon{Name: "Bareos " + release, OwnLinks: true, Plain: fdconf.Plain(), MaxXattrs: fdplugin.BareosXattrs}
}
