// SPDX-License-Identifier: AGPL-3.0-only

// Package node puts together the machine that jobs work on: prlctl and ploop,
// started through internal/run and told of on a log, and the fixed places. The
// plugin and the vz7ct command have the same. Nothing is started here.
package node

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/freezer"
	"github.com/bareos-contrib/vz7ct/internal/run"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// scope is found out with the first command that changes something.
var scope = sync.OnceValue(func() []string { return run.Scope(context.Background(), run.Runner{}) })

// New returns this node for one job, or for one who takes back what jobs have
// left, and its disks. What its tools write to their standard error goes to the log.
func New(log *logrus.Entry) (fdplugin.Node, ploop.Client) {
	var kept atomic.Pointer[os.File]
	r := run.Runner{
		Scope:   scope,
		Keep:    kept.Load,
		Started: func(command string) { log.Debugf("running %s", command) },
		Stderr:  func(program, line string) { log.Infof("%s: %s", program, text.Name(line)) },
		Waiting: func(command string, elapsed time.Duration) {
			log.Infof("still running, since %s: %s", text.Duration(elapsed), command)
		},
	}
	containers, disks := prlctl.Client{Runner: r}, ploop.Client{Runner: r}
	return fdplugin.Node{
		Containers: containers, Registry: containers, Snapshots: disks, Images: disks,
		Freezer: freezer.Client{Runner: r},
		State:   fdplugin.StateDir, Mounts: fdplugin.MountDir, Scripts: fdplugin.ScriptDir, Compact: fdplugin.CompactFile, Uptime: fdplugin.UptimeFile,
		Keep:   kept.Store,
		Finish: func() error { return finish(r) },
	}, disks
}

// finish starts the companion command, which takes back what is left when the
// tools that are at work have ended. It outlives the daemon.
func finish(r run.Runner) error {
	path, err := run.Companion("")
	if err != nil {
		return err
	}
	return r.Detach(run.Command{Path: path, Args: []string{"recover", "--wait"}})
}
