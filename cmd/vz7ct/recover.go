// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"context"
	"os/signal"
	"strings"
	"syscall"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// takeBack is `vz7ct recover`.
func (a app) takeBack(dry bool) int {
	// A merge that has begun is brought to its record, even if the terminal goes.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	_, err := fdplugin.Cleaner{Node: a.node, Log: a.log}.Sweep(context.Background(), dry)
	a.complain(err)

	// What is there now counts, not what the sweep has said.
	list, unread := undo.List(a.journals())
	left := 0
	for _, e := range list {
		switch {
		case len(e.Pending) == 0:
		case e.Live:
			a.log.Infof("job %s of %s (container %s) is %s: what it has made is left alone",
				text.Name(e.Head.Job), e.Head.Started, text.Name(e.Head.Container), stateOf(e))
		default:
			left++
			a.log.Warnf("left of job %s (container %s): %s", text.Name(e.Head.Job), text.Name(e.Head.Container), inWords(e.Pending))
		}
	}
	if unread != nil {
		if err == nil {
			a.complain(unread)
		}
		a.log.Warnf("a journal in %s cannot be read: look into it, take back by hand what it names (README, When a snapshot is left over), then remove it", a.journals())
	}
	switch {
	case err != nil || unread != nil || left > 0:
		if dry && left > 0 {
			a.log.Infof("%d job(s) have left something; nothing was changed", left)
		}
		return failed
	default:
		a.log.Infof("nothing of a dead job is left")
		return done
	}
}

// inWords describes steps, the oldest first.
func inWords(steps []undo.Step) string {
	var words []string
	for _, s := range steps {
		words = append(words, fdplugin.DescribeStep(s))
	}
	return strings.Join(words, ", ")
}
