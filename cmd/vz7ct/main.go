// SPDX-License-Identifier: AGPL-3.0-only

// Command vz7ct is the plugin's companion on the node: it takes back what dead
// jobs have left, shows whose the snapshots of the containers are and what jobs
// have under way, and says whether the node is ready.
//
// It saves and restores nothing, and needs no daemon. No option and no variable
// of the environment names a program or a path.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/freezer"
)

// version is set by the linker.
var version = "unversioned"

// Exit statuses.
const (
	done   = 0
	failed = 1
	misuse = 2
)

const help = `vz7ct - companion of the vz7ct plugin for the File Daemons of Bareos and Bacula

Usage:
  vz7ct recover             take back what dead jobs have left on this node
  vz7ct recover --dry-run   only tell what would be taken back
  vz7ct recover --boot      only what must be gone before containers start
  vz7ct recover --wait      try again until nothing is left, for 24 hours at most
  vz7ct list [--json]       containers, their disks, and whose the snapshots are
  vz7ct status [--json]     what jobs have under way, and what dead ones have left
  vz7ct check               is this node ready? Each finding with its cure
  vz7ct --help | --version

recover unmounts and merges what the journals of dead jobs name, and nothing else.
It is safe beside running jobs: theirs is left alone. What could not be taken back
is named, with the commands that do it by hand; it stays in the journal, and every
later job and recover tries again.

recover --boot unmounts, and removes mount directories and lock files. It merges
nothing, so that no container waits for it, and needs no prlctl. What it leaves for
later is named.

recover --wait tries every 30 seconds, and says nothing twice. It does not wait for
running jobs. What a tool of a dead job still works on is left alone until that ends.

list marks disks that are not safe to snapshot. A snapshot is "ours" if a journal
names it, or if it is mounted under a name that only this plugin gives. "other" are
those of which neither is true; whether a user or a program made them is not known.

status calls a job "dead" if it has left something and nobody holds its journal,
and "being taken back" if somebody else than its own process holds it.

check looks at the usual places: /etc/bareos, /etc/bacula, /opt/bacula/etc, and the
units of systemd. A daemon started with another configuration is not looked at.

All but check must be run as root; check run by somebody else sees less.

Exit status:
  recover   0  nothing of a dead job is left     1  something is, or could not be read
  --dry-run 0  nothing would be taken back       1  something would be
  --boot    0  nothing that must be gone is left 1  something is, or could not be read
  --wait    0  nothing of a dead job is left     1  something is after 24 hours, or
                                                    could not be read
  list      0  all could be read                 1  something could not
  status    0  all could be read                 1  something could not
  check     0  no line begins with FAIL          1  at least one does
  all       2  wrong use
`

func main() { os.Exit(newApp(os.Stdout, os.Stderr).run(os.Args[1:])) }

// run does what the arguments say and returns the exit status.
func (a app) run(args []string) int {
	err := errors.New("no command is given")
	if len(args) > 0 {
		switch command, rest := args[0], args[1:]; command {
		case "--help", "-h", "-help", "help":
			fmt.Fprint(a.stdout, help)
			return done
		case "--version", "-version":
			fmt.Fprintf(a.stdout, "vz7ct %s\n", version)
			return done
		case "recover":
			var how string
			if how, err = option(rest, dryRun, atBoot, waiting); err == nil {
				return a.asRoot(func() int { return a.recover(how) })
			}
		case "list":
			var as string
			if as, err = option(rest, asJSON); err == nil {
				return a.asRoot(func() int { return a.list(as == asJSON) })
			}
		case "status":
			var as string
			if as, err = option(rest, asJSON); err == nil {
				return a.asRoot(func() int { return a.status(as == asJSON) })
			}
		case "check":
			if _, err = option(rest); err == nil {
				return a.check.report(a.stdout)
			}
		case freezer.GuardCommand:
			if err = errors.New("thaw-guard is the plugin's own"); len(rest) == 1 {
				return a.asRoot(func() int { return a.guard(rest[0]) })
			}
		default:
			err = fmt.Errorf("unknown command %q", command)
		}
	}
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(a.stdout, help)
		return done
	}
	fmt.Fprintf(a.stderr, "vz7ct: %s; see vz7ct --help\n", err)
	return misuse
}

// The switches of the commands.
const (
	dryRun  = "dry-run"
	atBoot  = "boot"
	waiting = "wait"
	asJSON  = "json"
)

// option parses the arguments of a command that knows these switches, of which
// one can be given. It returns that, or "".
func option(args []string, names ...string) (given string, err error) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	set := make([]bool, len(names))
	for i, name := range names {
		flags.BoolVar(&set[i], name, false, "")
	}
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	if flags.NArg() > 0 {
		return "", fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	for i, name := range names {
		switch {
		case set[i] && given != "":
			return "", fmt.Errorf("--%s and --%s cannot be used together", given, name)
		case set[i]:
			given = name
		}
	}
	return given, nil
}

// asRoot refuses to work with the half of a node that others may see.
func (a app) asRoot(work func() int) int {
	if a.uid != 0 {
		fmt.Fprintln(a.stderr, "vz7ct: this must be run as root")
		return failed
	}
	return work()
}

// complain writes each of the errors that err joins.
func (a app) complain(err error) {
	if err == nil {
		return
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the outermost one only
		all = joined.Unwrap()
	}
	for _, e := range all {
		a.log.Error(strings.ReplaceAll(e.Error(), "\n", "; "))
	}
}
