// SPDX-License-Identifier: AGPL-3.0-only

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
