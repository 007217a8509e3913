// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/mounts"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// Down takes everything of a lab away, whatever state it is in: it thaws, stops, unmounts, detaches, aborts. With keep the
// node's files stay, for Up or for a look. No step can hang it: what may wait in the kernel is done by a child.
func (l Lab) Down(keep bool) error {
	s, err := l.State()
	if err != nil {
		s = State{} // a torn file must not keep us from cleaning up
	}
	if s.Conn == 0 {
		s.Conn = l.findConn()
	}
	healthy := s.Server.Alive() && l.step(3*time.Second, "_ping") == nil
	if !healthy {
		l.abort(s)
	}
	// Thaw first: no process in a frozen control group dies, and a frozen file system whose last mount goes is leaked until the machine restarts.
	l.thawGroups(false)
	l.eachInside(5*time.Second, "_thaw-all")
	l.killInside(s.Holder)
	l.eachInside(15*time.Second, "_umount-all")
	detachAll(l.Loops, l, 5*time.Second)
	s.Server.Signal(unix.SIGTERM)
	if !s.Server.Wait(5 * time.Second) {
		l.abort(s)
	}
	s.Holder.Signal(unix.SIGKILL)
	s.Holder.Wait(5 * time.Second)
	l.killInside(Process{})
	l.abort(s)
	_ = unix.Unmount(l.Below(server.MountName), unix.MNT_DETACH)
	_ = unix.Unmount(l.Below("ctl"), unix.MNT_DETACH)
	detachAll(l.Loops, l, 10*time.Second)
	l.unplug(s)
	return l.leave(keep)
}

// step runs one of the program's hidden commands in a child and gives up on it after limit: a child stuck in the kernel
// goes when the connection is aborted.
func (l Lab) step(limit time.Duration, arg ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, "/proc/self/exe", append(arg[:1:1], append([]string{l.Dir}, arg[1:]...)...)...)
	c.WaitDelay = time.Second
	done := make(chan error, 1)
	if err := c.Start(); err != nil {
		return err
	}
	go func() { done <- c.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit + 2*time.Second):
		return fmt.Errorf("%s: %w", arg[0], context.DeadlineExceeded)
	}
}

// eachInside runs a hidden command in the namespace. If there is more than one, left by the dead, it runs in each.
func (l Lab) eachInside(limit time.Duration, what string) {
	list, err := l.inside()
	if err != nil {
		return
	}
	seen := map[string]bool{}
	for _, p := range list {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", p.PID))
		if err != nil || seen[ns] {
			continue
		}
		seen[ns] = true
		_ = l.step(limit, what, strconv.Itoa(p.PID), strconv.FormatUint(p.Start, 10))
	}
}

// killInside kills every process of the namespace but one.
func (l Lab) killInside(but Process) {
	end := time.Now().Add(10 * time.Second)
	for time.Now().Before(end) {
		list, err := l.inside()
		if err != nil {
			return
		}
		list = slices.DeleteFunc(list, func(p Process) bool { return p == but || p.PID == os.Getpid() || !p.Alive() })
		if len(list) == 0 {
			return
		}
		for _, p := range list {
			p.Signal(unix.SIGKILL)
		}
		list[0].Wait(200 * time.Millisecond)
	}
}

// abort ends the FUSE connection, which fails every request that waits, and the server.
func (l Lab) abort(s State) {
	if s.Conn != 0 {
		ctl := l.Below("ctl")
		file := filepath.Join(ctl, strconv.FormatUint(uint64(s.Conn), 10), "abort")
		if _, err := os.Stat(file); err != nil {
			_ = os.MkdirAll(ctl, 0o755)
			_ = unix.Mount("vz7ct-lab", ctl, "fusectl", 0, "")
		}
		_ = os.WriteFile(file, []byte("1\n"), 0o200)
	}
	s.Server.Signal(unix.SIGKILL)
	s.Server.Wait(3 * time.Second)
}

// findConn looks the connection up when the state does not know it.
func (l Lab) findConn() uint32 {
	list, err := mounts.Of(0)
	if err != nil {
		return 0
	}
	for _, m := range list {
		if m.Point == l.Below(server.MountName) && strings.HasPrefix(m.Type, "fuse") {
			return m.Minor
		}
	}
	return 0
}

// detachAll detaches loop devices and waits until the kernel has let go of them.
func detachAll(list func() (map[int]string, error), l Lab, limit time.Duration) {
	end := time.Now().Add(limit)
	for {
		left, err := list()
		if err != nil || len(left) == 0 || time.Now().After(end) {
			return
		}
		for n := range left {
			_ = l.step(2*time.Second, "_detach", strconv.Itoa(n))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// leave checks that nothing is left, removes the lab's files and takes it off the register.
func (l Lab) leave(keep bool) error {
	var all error
	left, err := l.Loops()
	all = errors.Join(all, err)
	drives, err := l.Drives()
	all = errors.Join(all, err)
	maps.Copy(left, drives)
	for n := range left {
		all = errors.Join(all, fmt.Errorf("%s still shows %s", loopdev.Path(n), left[n]))
	}
	list, err := l.inside()
	all = errors.Join(all, err)
	for _, p := range list {
		if p.Alive() {
			all = errors.Join(all, fmt.Errorf("process %d still lives in the node", p.PID))
		}
	}
	all = errors.Join(all, l.DropGroups(""), l.store(State{}))
	if all != nil {
		return all // stays registered: `lab clean` comes back to it
	}
	all = errors.Join(all, os.RemoveAll(l.Below("loops")), os.RemoveAll(l.Below("drives")), os.RemoveAll(l.Below("check")))
	if !keep {
		for _, d := range []string{"bin", server.MountName, "ctl", "overlay", "node", "dev", "log", "ledger", "containers", mediumName} {
			all = errors.Join(all, os.RemoveAll(l.Below(d)))
		}
		for _, f := range []string{stateName, configName, claimName, "server.sock", "paused", mediumImage, cutName, CallsName, JournalName, PointsName} {
			if err := os.Remove(l.Below(f)); err != nil && !errors.Is(err, os.ErrNotExist) {
				all = errors.Join(all, err)
			}
		}
		_ = os.Remove(l.Dir) // only if nothing of others is in it
	}
	return errors.Join(all, locked(func() error {
		if err := os.Remove(l.registered()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return dropMountPoints()
	}))
}

// Crash is a power cut: server, workloads and daemons die at once, nothing is flushed or unmounted. The node's files stay;
// a disk of its own loses what it has not been told to flush, or with a seed a part of it.
func (l Lab) Crash(seed uint64) error {
	s, err := l.State()
	if err != nil {
		return err
	}
	if err := l.cut(s, seed); err != nil {
		return err
	}
	s.Server.Signal(unix.SIGKILL) // first, so that nothing that dies later reaches the images
	s.Server.Wait(3 * time.Second)
	return l.Down(true)
}

// Clean takes down every lab below a folder that was killed: one whose server or namespace is gone.
func Clean(below string) ([]Lab, error) {
	labs, err := All()
	if err != nil {
		return nil, err
	}
	var done []Lab
	var all error
	for _, l := range labs {
		if !strings.HasPrefix(l.Dir+"/", strings.TrimSuffix(below, "/")+"/") {
			continue
		}
		if release, err := l.claim(); err == nil {
			release()
		} else if !errors.Is(err, os.ErrNotExist) {
			continue
		}
		s, err := l.State()
		if err == nil && s.Server.Alive() && s.Holder.Alive() {
			continue
		}
		if _, err := os.Stat(l.Dir); errors.Is(err, os.ErrNotExist) {
			l.thawGroups(true)
			all = errors.Join(all, l.DropGroups(""), locked(func() error { return errors.Join(os.Remove(l.registered()), dropMountPoints()) }))
			done = append(done, l)
			continue
		}
		if err := l.Down(false); err != nil {
			all = errors.Join(all, fmt.Errorf("lab %s: %w", l.Dir, err))
			continue
		}
		done = append(done, l)
	}
	return done, all
}
