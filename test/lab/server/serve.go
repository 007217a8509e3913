// SPDX-License-Identifier: AGPL-3.0-only

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Run serves the lab in dir until ctx ends. ready is called when orders are taken.
func Run(ctx context.Context, dir string, ready func()) error {
	fs := newDisks()
	mnt := filepath.Join(dir, MountName)
	// The options a feasibility study found: 1 MiB requests; splice would need larger pipes than it gets.
	srv, err := fuse.NewServer(fs, mnt, &fuse.MountOptions{
		FsName: "vz7ct-lab", Name: "vz7ct", DirectMountStrict: true, AllowOther: true,
		MaxWrite: 1 << 20, MaxBackground: 64, DisableSplice: true, DisableXAttrs: true, DisableReadDirPlus: true,
	})
	if err != nil {
		return fmt.Errorf("mount %s: %w", mnt, err)
	}
	go srv.Serve() // WaitMount would look at the mount from inside: see the package's comment
	l, err := listen(dir)
	if err != nil {
		return fmt.Errorf("listen in %s: %w", dir, err)
	}
	go func() {
		<-ctx.Done()
		_ = l.Close()
	}()
	ready()
	for {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return finish(fs)
		}
		if err != nil {
			return err
		}
		go serve(fs, c)
	}
}

// finish closes what is still there when the server is told to go: clean images even if nobody unmounted them first.
func finish(fs *disks) error {
	var all error
	for _, d := range fs.all() {
		d.mu.Lock()
		d.removed = true
		d.mu.Unlock()
		all = errors.Join(all, d.chain.Close())
	}
	return all
}

// serve takes one order.
func serve(fs *disks, c *net.UnixConn) {
	defer c.Close() //nolint:errcheck // nothing is buffered
	var r request
	files, err := receive(c, &r)
	if err != nil {
		if !errors.Is(err, io.EOF) {
			fmt.Fprintln(os.Stderr, "order:", err)
		}
		return
	}
	start := time.Now()
	var a Answer
	if err := order(fs, c, r, files, &a); err != nil {
		a.Error, a.Errno = err.Error(), int(errno(err))
	}
	a.MS = float64(time.Since(start).Microseconds()) / 1000
	if err := send(c, &a, nil); err != nil && !errors.Is(err, unix.EPIPE) { // a caller that died does not read it
		fmt.Fprintln(os.Stderr, "answer to", r.Op+":", err)
	}
}

// order carries one order out. Files belong to it.
func order(fs *disks, c *net.UnixConn, r request, files []*os.File, a *Answer) error {
	switch r.Op {
	case "ping":
		return nil
	case "list":
		for _, d := range fs.all() {
			d.mu.Lock()
			a.Devices = append(a.Devices, d.info)
			d.mu.Unlock()
		}
		return nil
	case "heal":
		fs.heal()
		return nil
	case "slow":
		a.Served = fs.pace.set(time.Duration(r.DelayUS) * time.Microsecond)
		return nil
	case "add":
		d, err := newDevice(r.Device, files)
		if err != nil {
			return err
		}
		if err := fs.add(d); err != nil {
			return errors.Join(err, d.chain.Close())
		}
		return nil
	}
	d := fs.byName(r.Device.Name)
	if d == nil {
		closeAll(files)
		return fmt.Errorf("no device %s: %w", r.Device.Name, unix.ENODEV)
	}
	switch r.Op {
	case "attach":
		d.mu.Lock()
		defer d.mu.Unlock()
		d.info.Loop, d.info.Part = r.Device.Loop, r.Device.Part
		return nil
	case "remove":
		err := d.remove(5 * time.Second)
		if err == nil || d.isRemoved() {
			fs.drop(d)
		}
		a.Clean = err == nil
		return err
	case "snapshot":
		if len(files) != 1 || len(r.Device.Levels) != 1 {
			closeAll(files)
			return unix.EINVAL
		}
		return d.snapshot(r.Device.Levels[0].Path, files[0])
	case "spoil":
		return fs.spoil(d, r.Offset, r.Length)
	case "grow":
		return d.grow(r.Device.Sectors)
	case "merge":
		return mergeOrder(d, c, r, files, a)
	}
	closeAll(files)
	return fmt.Errorf("order %q: %w", r.Op, unix.ENOSYS)
}

func (d *device) isRemoved() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.removed
}

// mergeOrder runs or joins a merge and ends it if the caller is still there. The driver does the same: a tool that was
// killed leaves the device in the state "merge" until another one asks.
func mergeOrder(d *device, c *net.UnixConn, r request, files []*os.File, a *Answer) error {
	var below *os.File
	if len(files) == 1 {
		below = files[0]
	} else {
		closeAll(files)
	}
	m, err := d.startMerge(r, below)
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		var b [1]byte
		_, _ = c.Read(b[:]) // returns when the caller closes, or dies
		m.gone.Store(true)
	}()
	<-m.done
	select {
	case <-gone:
		if m.middle {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.abandon()
		}
		return errGone
	default:
	}
	a.Merge = m.stats
	return d.endMerge(m)
}
