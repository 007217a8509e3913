// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/bareos-contrib/vz7ct/internal/freezer"
)

// guard is `vz7ct thaw-guard`, which the plugin starts before it freezes a container:
// it lets the container go on when the plugin's daemon dies. It is of no use to
// people, and not in the help.
func (a app) guard(dir string) int {
	// Nothing but KILL ends it before it has done so.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	signal.Ignore(syscall.SIGPIPE)
	if err := freezer.Guard(dir, a.stdin, a.stdout, signals, freezer.Bound); err != nil {
		a.log.Errorf("%v; by hand: %s", err, freezer.ByHand(dir))
		return failed
	}
	return done
}
