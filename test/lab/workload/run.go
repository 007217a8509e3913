// SPDX-License-Identifier: AGPL-3.0-only

package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Places inside the container.
const (
	rootBase = "/var/lib/workload"
	rootLogs = "/var/log/workload"
)

// LedgerName is the ledger of one disk: that of the root disk is called after the container alone.
func LedgerName(dir, uuid, mount string) string {
	if mount == "/" {
		return filepath.Join(dir, uuid)
	}
	return filepath.Join(dir, uuid+"@"+strings.ReplaceAll(strings.Trim(mount, "/"), "/", "@"))
}

// Init is the first process of a container: it locks itself into root and works until it is killed. mounts are the
// container's disks, "/" first; ledgers lie in dir, outside. rounds are those of lockstep a second, 0 = none.
func Init(root, dir, uuid string, mounts []string, rate, rounds int) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	var writers []*Writer
	for _, m := range mounts {
		w := &Writer{Base: rootBase, Log: rootLogs, Rate: rate}
		base := rootBase + " " + rootLogs
		if m != "/" {
			w.Base, w.Log, w.Rate = filepath.Join(m, "workload"), "", max(rate/5, 1)
			base = w.Base
		}
		name := LedgerName(dir, uuid, m)
		l, err := OpenLedger(name, base)
		if err != nil {
			return err
		}
		w.Ledger = l
		if err := w.Resume(name); err != nil {
			return err
		}
		writers = append(writers, w)
	}
	if err := errors.Join(unix.Chroot(root), unix.Chdir("/")); err != nil {
		return fmt.Errorf("enter %s: %w", root, err)
	}
	var g sync.WaitGroup
	errs := make([]error, len(writers)+1)
	if rounds > 0 {
		g.Go(func() { errs[len(writers)] = lockstep(ctx, mounts, rounds) })
	}
	for i, w := range writers {
		g.Go(func() { errs[i] = w.Run(ctx) })
	}
	g.Wait()
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "workload:", err)
	}
	<-ctx.Done() // a container does not stop because a program in it failed
	return nil
}
