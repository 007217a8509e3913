// SPDX-License-Identifier: AGPL-3.0-only

// Command lab makes and runs a stand-in Virtuozzo 7 node. Under the names ploop and prlctl it is these commands. It is a
// tool for tests and shares no code with the product.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/node"
	"github.com/bareos-contrib/vz7ct/test/lab/ploop"
	"github.com/bareos-contrib/vz7ct/test/lab/prlctl"
)

const usage = `usage: lab COMMAND ...
  up DIR [--dialect vz7|vz9] [--disk MIB]
                                     make a node in DIR, or start the one that was there; with a hard disk of its own
  down DIR [--keep]                  take everything away; --keep leaves the node's files
  crash DIR [--seed N]               cut the power; files stay, "up" starts the node again
  clean [FOLDER]                     take down every lab that was killed, or those below FOLDER
  exec DIR [--] CMD...               run CMD inside the node
  set DIR KEY=VALUE...               change settings: see README.md
  free DIR                           make room again where a fault has filled up the node's disk
  create DIR --name NAME --uuid UUID --size SIZE --tree TAR|DIR [--ctid N] [--disk mnt=/data,size=SIZE]...
         [--blocksize SECTORS] [--image-version 1|2] [--preallocated|--raw]
  start DIR NAME, stop DIR NAME      prlctl start and stop
  status DIR [--json]                all that is left on the node
  check DIR                          ploop check, qemu-img, e2fsck on every disk that is not in use
  nasty ROOT                         add a folder with every kind of file and metadata
  nasty ROOT full|small|too-long     what needs a mounted disk: limits of the file system, flags; paths no daemon takes
  spoil DIR FILE OFFSET LENGTH       make a part of a file on a mounted disk of the node unreadable
  heal DIR                           make all that was spoilt readable again
  slow DIR TIME                      each random read of a disk takes so much longer, such as 2ms; 0 for none
  now                                the monotonic time of ledgers and logs, in nanoseconds
  workload-verify --ledger F --before TIME ROOT
                                     judge a restored tree by what was durable in the container before TIME
  lockstep ROOT MOUNT MOUNT...       are these disks of one moment? Needs the setting lockstep, "/" comes first`

func main() {
	os.Exit(run(os.Args))
}

func run(argv []string) int {
	switch filepath.Base(argv[0]) {
	case "ploop":
		return standIn(ploop.Main, argv[1:])
	case "prlctl":
		return standIn(prlctl.Main, argv[1:])
	}
	if len(argv) < 2 {
		_, _ = fmt.Fprintln(os.Stderr, usage)
		return 2
	}
	if err := command(argv[1], argv[2:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}

// standIn runs a command of the node's own lab.
func standIn(cmd func(node.Lab, []string, io.Writer, io.Writer) int, args []string) int {
	l, err := node.Mine()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return cmd(l, args, os.Stdout, os.Stderr)
}

var errUsage = errors.New(usage)

func command(name string, args []string) error {
	if strings.HasPrefix(name, "_") {
		return hidden(name, args)
	}
	commands := map[string]func([]string) error{
		"up": up, "down": down, "crash": crash, "clean": clean, "exec": execIn, "set": set, "free": free, "create": create,
		"spoil": spoil, "heal": heal, "slow": slow, "start": start, "stop": stop, "status": status, "check": check, "nasty": makeNasty, "now": now,
		"workload": runWorkload, "workload-verify": verify, "lockstep": lockstep,
	}
	cmd, ok := commands[name]
	if !ok {
		return errUsage
	}
	return cmd(args)
}

func hidden(name string, args []string) error {
	switch name {
	case "_guard":
		return ploop.Guard()
	case "_create":
		return createInside(args)
	case "_spoil":
		return spoilInside(args)
	case "_join":
		fmt.Fprintln(os.Stderr, "Failed to execute the command:", node.Become(args))
		os.Exit(255)
	}
	return node.Step(append([]string{name}, args...))
}

// lab takes the folder from the front of args.
func lab(args []string) (node.Lab, []string, error) {
	if len(args) == 0 {
		return node.Lab{}, nil, errUsage
	}
	l, err := node.Open(args[0])
	return l, args[1:], err
}
