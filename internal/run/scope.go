// SPDX-License-Identifier: AGPL-3.0-only

package run

import (
	"context"
	"os"
	"time"
)

// Scope finds out how a command can be started outside the daemon's own service:
// systemd ends all processes of a service with it (KillMode=control-group), a
// ploop in the midst of a merge too. It returns the words to put before such a
// command, none where systemd does not run or does not answer.
func Scope(ctx context.Context, r Runner) []string {
	return scope(ctx, r, "/run/systemd/system", "/usr/bin/systemd-run", "/bin/systemd-run")
}

func scope(ctx context.Context, r Runner, booted string, programs ...string) []string {
	if _, err := os.Stat(booted); err != nil {
		return nil
	}
	path, err := Find(programs...)
	if err != nil {
		return nil
	}
	// systemd 219, of CentOS 7, knows these options; the program replaces itself
	// by the command, so that its exit status is the command's.
	words := []string{path, "--scope", "--quiet", "--"}
	try := Command{Path: path, Args: append(words[1:len(words):len(words)], "/bin/true"), Limit: 10 * time.Second}
	if _, err := r.Run(ctx, try); err != nil {
		return nil
	}
	return words
}
