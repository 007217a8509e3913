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
  vz7ct recover [--dry-run]   take back what dead jobs have left on this node
  vz7ct list [--json]         containers, their disks, and whose the snapshots are
  vz7ct status [--json]       what jobs have under way, and what dead ones have left
  vz7ct check                 is this node ready? Each finding with its cure
  vz7ct --help | --version

recover unmounts and merges what the journals of dead jobs name, and nothing else.
It is safe beside running jobs: theirs is left alone. With --dry-run it only tells
what it would do. What could not be taken back is named, with the commands that do
it by hand; it stays in the journal, and every later job and recover tries again.

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
            (with --dry-run: 1 if something would be taken back)
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
			var dry bool
			if dry, err = option(rest, "dry-run"); err == nil {
				return a.asRoot(func() int { return a.takeBack(dry) })
			}
		case "list":
			var asJSON bool
			if asJSON, err = option(rest, "json"); err == nil {
				return a.asRoot(func() int { return a.list(asJSON) })
			}
		case "status":
			var asJSON bool
			if asJSON, err = option(rest, "json"); err == nil {
				return a.asRoot(func() int { return a.status(asJSON) })
			}
		case "check":
			if _, err = option(rest, ""); err == nil {
				return a.check.report(a.stdout)
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

// option parses the arguments of a command that knows one switch, or none if
// name is "".
func option(args []string, name string) (set bool, err error) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if name != "" {
		flags.BoolVar(&set, name, false, "")
	}
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if flags.NArg() > 0 {
		return false, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return set, nil
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
