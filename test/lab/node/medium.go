// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/medium"
	"github.com/bareos-contrib/vz7ct/test/lab/watch"
)

// A node may have a hard disk of its own, with two file systems: one for the system, small enough to be filled up, and one
// for /vz. Then a power cut loses what was not flushed, whoever wrote it.
const (
	mediumName  = "medium"     // the disk's FUSE mount
	mediumImage = "medium.img" // its backing file
	cutName     = "cut"        // the seed of the power cut that is asked for
	systemMiB   = 64
)

// Disk says whether the node has a disk of its own.
func (c Config) Disk() bool { return c.DiskMiB > 0 }

// makeMedium makes the disk with its file systems, unless it is there.
func (l Lab) makeMedium(mib int) error {
	if strings.HasPrefix(l.Dir, "/tmp/") {
		return fmt.Errorf("lab %s: a node with a disk has a /tmp of its own: take another folder", l.Dir)
	}
	img := l.Below(mediumImage)
	if _, err := os.Stat(img); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if mib < 2*systemMiB {
		return fmt.Errorf("a disk of %d MiB is too small for a node", mib)
	}
	if err := errors.Join(os.MkdirAll(l.Below(mediumName), 0o700), os.WriteFile(img, nil, 0o600), os.Truncate(img, int64(mib)<<20)); err != nil {
		return err
	}
	for _, w := range windows(mib) {
		out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m0", "-b4096", "-E", fmt.Sprintf("offset=%d", w.Offset), img, strconv.FormatUint(w.Size>>12, 10)).CombinedOutput()
		if err != nil {
			return errors.Join(fmt.Errorf("mkfs.ext4: %w: %s", err, out), os.Remove(img))
		}
	}
	return nil
}

// windows are the places of the two file systems, that of the system first.
func windows(mib int) [2]loopdev.Window {
	const system = systemMiB << 20
	return [2]loopdev.Window{{Size: system}, {Offset: system, Size: uint64(mib)<<20 - system}}
}

// plugIn starts the disk and gives it its block devices.
func (l Lab) plugIn(c Config, s *State) error {
	_ = os.Remove(l.Below(cutName))
	p, err := l.spawn("_medium", 0)
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	s.Medium = p
	if err := l.store(*s); err != nil {
		return err
	}
	f, err := os.OpenFile(l.Below(mediumName, medium.Name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // the loop devices have it
	for _, w := range windows(c.DiskMiB) {
		n, err := loopdev.Attach(f, w)
		if err != nil {
			return err
		}
		if err := l.note("drives", n, medium.Name); err != nil {
			return err
		}
	}
	return nil
}

// Drives lists the block devices of the node's own disk.
func (l Lab) Drives() (map[int]string, error) { return l.loops(mediumName, "drives") }

// mountMedium mounts the node's file systems in the namespace of the caller.
func (l Lab) mountMedium(c Config) error {
	drives, err := l.Drives()
	if err != nil {
		return err
	}
	for i, w := range windows(c.DiskMiB) {
		at := []string{l.Below("node"), l.Below("node", "vz")}[i]
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		found := false
		for n := range drives {
			b, err := os.ReadFile(fmt.Sprintf("/sys/block/loop%d/loop/offset", n))
			if err != nil || strings.TrimSpace(string(b)) != strconv.FormatUint(w.Offset, 10) {
				continue
			}
			found = true
			if err := unix.Mount(loopdev.Path(n), at, "ext4", 0, ""); err != nil {
				return fmt.Errorf("mount %s at %s: %w", loopdev.Path(n), at, err)
			}
		}
		if !found {
			return fmt.Errorf("no block device for %s", at)
		}
	}
	run := l.Below("node", "run")
	if err := os.MkdirAll(run, 0o755); err != nil {
		return err
	}
	return unix.Mount("vz7ct-lab", run, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
}

// unplug ends the disk, when nothing is mounted from it any more.
func (l Lab) unplug(s State) {
	detachAll(l.Drives, l, 10*time.Second)
	s.Medium.Signal(unix.SIGTERM)
	if !s.Medium.Wait(10 * time.Second) {
		s.Medium.Signal(unix.SIGKILL)
		s.Medium.Wait(3 * time.Second)
	}
	_ = unix.Unmount(l.Below(mediumName), unix.MNT_DETACH)
}

// Cut cuts the power of the node's own disk: see medium.Disk.
func (l Lab) cut(s State, seed uint64) error {
	if s.Medium.PID == 0 {
		return nil
	}
	if err := os.WriteFile(l.Below(cutName), strconv.AppendUint(nil, seed, 10), 0o644); err != nil {
		return err
	}
	s.Medium.Signal(unix.SIGTERM)
	if !s.Medium.Wait(20 * time.Second) {
		s.Medium.Signal(unix.SIGKILL)
		return errors.New("the disk does not end")
	}
	return nil
}

// serveMedium is the disk's process. At the end it loses nothing, unless a power cut is asked for.
func (l Lab) serveMedium() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	d, err := medium.Open(l.Below(mediumImage))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	var bad error
	err = medium.Serve(ctx, d, l.Below(mediumName), func() { bad = Ready() })
	b, cutErr := os.ReadFile(l.Below(cutName))
	if cutErr == nil {
		seed, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		err = errors.Join(err, d.Cut(seed))
	}
	return errors.Join(err, bad)
}

// serveWatch shows the plugin's state directory, change by change, to whoever plants faults there.
func (l Lab) serveWatch() error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	var bad error
	err := watch.Serve(ctx, l.Below("node", "var-lib-vz7ct"), "/var/lib/vz7ct", func(op, path string, do func() syscall.Errno) syscall.Errno {
		if filepath.Dir(path) != "journal" && path != "journal" {
			return do()
		}
		return l.Journal(op, do)
	}, func() { bad = Ready() })
	return errors.Join(err, bad)
}

// NodeRoot is where the node's folders are seen from outside: those of a node with a disk of its own are mounted in its
// namespace only.
func (l Lab) NodeRoot() string {
	c, err := l.Config()
	s, stateErr := l.State()
	if err == nil && stateErr == nil && c.Disk() && s.Holder.Alive() {
		return filepath.Join("/proc", strconv.Itoa(s.Holder.PID), "root", l.Below("node"))
	}
	return l.Below("node")
}
