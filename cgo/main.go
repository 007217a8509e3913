// SPDX-License-Identifier: AGPL-3.0-only

// The runtime would keep files of the daemon's control group open to adapt its
// threads to it: nothing of ours needs that, and the daemon's descriptors are its own.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command vz7ct-fd is the shared object that a File Daemon loads: the only place
// where C and Go meet. The C files speak the daemons' dialects and hand neutral
// packets to the functions in export.go, each of which decodes, calls one method
// of a fdplugin.Job, and encodes. Nothing is decided here.
package main

import (
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "unversioned"

// The one init of the program: a write to a broken pipe must not end the
// daemon, which ignores SIGPIPE itself but cannot do so for Go's descriptors 1
// and 2 (seen: exit status 141).
func init() { signal.Ignore(syscall.SIGPIPE) }

// main is never called: the program is a library.
func main() {}
