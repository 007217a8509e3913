// SPDX-License-Identifier: AGPL-3.0-only

// Package node puts together the machine that jobs work on: prlctl and ploop,
// started through internal/run and told of on a log, and the fixed places. The
// plugin and the vz7ct command have the same. Nothing is started here.
package node

import (
	"context"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/run"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// scope is found out with the first command that changes something.
var scope = sync.OnceValue(func() []string { return run.Scope(context.Background(), run.Runner{}) })

// Tools returns the node's two tools. What they write to their standard error
// goes to the log.
func Tools(log *logrus.Entry) (prlctl.Client, ploop.Client) {
	r := run.Runner{
		Scope:   scope,
		Started: func(command string) { log.Debugf("running %s", command) },
		Stderr:  func(program, line string) { log.Infof("%s: %s", program, text.Name(line)) },
		Waiting: func(command string, elapsed time.Duration) {
			log.Infof("still running, since %s: %s", text.Duration(elapsed), command)
		},
	}
	return prlctl.Client{Runner: r}, ploop.Client{Runner: r}
}

// Of returns the node with these tools.
func Of(containers prlctl.Client, disks ploop.Client) fdplugin.Node {
	return fdplugin.Node{
		Containers: containers, Registry: containers, Snapshots: disks, Images: disks,
		State: fdplugin.StateDir, Mounts: fdplugin.MountDir, Scripts: fdplugin.ScriptDir, Compact: fdplugin.CompactFile,
	}
}
