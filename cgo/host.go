// SPDX-License-Identifier: AGPL-3.0-only

package main

// #include <stdlib.h>
// #include "job.h"
//
// static const char *job_name(struct job *j) { return j->daemon->job_name(j); }
// static const char *job_release(struct job *j) { return j->daemon->release(j); }
// static int job_file_index(struct job *j) { return j->daemon->file_index(j); }
// static enum family job_family(struct job *j) { return j->daemon->family; }
import "C"

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/fdconf"
	"github.com/bareos-contrib/vz7ct/internal/run"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// host is the daemon's side of a job for fdplugin.
type host struct{ job *C.struct_job }

func (h host) FileIndex() int { return int(C.job_file_index(h.job)) }

// newState puts a job together: the daemon, the node, the job log.
func newState(job *C.struct_job) *state {
	log, hook := newLog(job)
	hook.enter()
	defer hook.leave()
	j := &fdplugin.Job{
		Version: version,
		Name:    C.GoString(C.job_name(job)),
		Log:     log,
		Host:    host{job},
		Daemon:  daemonOf(job),
		Node:    node(newRunner(log)),
	}
	j.Open()
	return &state{job: j, log: hook}
}

// node is the machine with its tools.
func node(r run.Runner) fdplugin.Node {
	containers, disks := prlctl.Client{Runner: r}, ploop.Client{Runner: r}
	return fdplugin.Node{
		Containers: containers, Registry: containers, Snapshots: disks, Images: disks,
		State: fdplugin.StateDir, Mounts: fdplugin.MountDir, Scripts: fdplugin.ScriptDir, Compact: fdplugin.CompactFile,
	}
}

func daemonOf(job *C.struct_job) fdplugin.Daemon {
	release := C.GoString(C.job_release(job))
	if C.job_family(job) == C.FAMILY_BACULA {
		return fdplugin.Daemon{Name: "Bacula " + release, AlwaysXattrs: true, Plain: fdconf.Plain(), MaxObject: fdplugin.MaxObject}
	}
	return fdplugin.Daemon{Name: "Bareos " + release, OwnLinks: true, Plain: fdconf.Plain()}
}

// scope is found out with the first command that changes something.
var scope = sync.OnceValue(func() []string { return run.Scope(context.Background(), run.Runner{}) })

// newRunner starts programs and lets the job log know what they say.
func newRunner(log *logrus.Entry) run.Runner {
	return run.Runner{
		Scope:   scope,
		Started: func(command string) { log.Debugf("running %s", command) },
		Stderr:  func(program, line string) { log.Infof("%s: %s", program, text.Name(line)) },
		Waiting: func(command string, elapsed time.Duration) {
			log.Infof("still running, since %s: %s", text.Duration(elapsed), command)
		},
	}
}
