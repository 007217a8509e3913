// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/run"
)

// Exit statuses of the tool that are decided on (SYSEXIT_* in libploop.h).
const (
	exitDevice    = 3  // DEVIOC: the kernel refused; EBUSY among others
	exitInUse     = 4  // OPEN: also "Image is in use", of one that was not closed
	exitBusy      = 17 // EBUSY: another device uses the image
	exitLock      = 23 // DiskDescriptor.xml.lck not had within 60 s
	exitParameter = 38 // also: no device is mounted there
	exitUmount    = 46 // the mount is busy, after the tool's own 60 s
)

// ErrNotMounted is returned by Unmount when there is nothing to unmount.
var ErrNotMounted = errors.New("not mounted")

// Runner starts commands; run.Runner is one.
type Runner interface {
	Run(context.Context, run.Command) (run.Result, error)
}

// Client calls the ploop tool. Calls on one disk must not overlap: a call that
// waits for the descriptor's lock uses what it has read before (ploop 9.0.30).
type Client struct {
	Runner Runner
	// Path of the tool; "" looks in the places where packages put it.
	Path string
	// Pause is the wait before a busy disk is tried again; 0 means 5 s.
	Pause time.Duration
}

func (c Client) run(ctx context.Context, changes bool, args ...string) (string, error) {
	path := c.Path
	if path == "" {
		var err error
		if path, err = run.Find("/usr/sbin/ploop", "/sbin/ploop"); err != nil {
			return "", err
		}
	}
	res, err := c.Runner.Run(ctx, run.Command{Path: path, Args: args, Changes: changes})
	return res.Stdout, err
}

// Snapshot freezes the disk as it is now under the UUID given: what is written
// from then on goes to a new image. The kernel syncs and freezes the file system
// around the switch. The caller has checked Safe.
func (c Client) Snapshot(ctx context.Context, descriptor, uuid string) error {
	_, err := c.run(ctx, true, "snapshot", "-u", guid(uuid), descriptor)
	return err
}

// component names our device of a snapshot. ploop cuts names at 63 bytes.
func component(uuid string) string { return "vz7ct-" + strings.Trim(guid(uuid), "{}") }

// Mount mounts the snapshot read-only at the directory dir, which must exist,
// through a device of its own: without -u the tool would check and change the
// live image although -r was given (vz7-u22, run), without -c it would address
// the container's own device.
func (c Client) Mount(ctx context.Context, descriptor, uuid, dir string) error {
	_, err := c.run(ctx, true, "mount", "-r", "-u", guid(uuid), "-c", component(uuid), "-m", dir, descriptor)
	if err != nil {
		return err
	}
	return restrict(dir, unix.MS_RDONLY)
}

// restrict keeps the node's own users from running a container's setuid programs
// and from opening its devices. The tool cannot: it hands its -o to the file
// system (mount_fs in libploop).
func restrict(dir string, flags uintptr) error {
	if !mounted(dir) {
		return nil // the caller looks for itself
	}
	err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV|flags, "")
	if err != nil {
		return fmt.Errorf("mount %s with nosuid,nodev: %w", dir, err)
	}
	return nil
}

// Unmount takes away what Mount has mounted at dir, and its device. A device
// whose mount point was unmounted by other hands is found by its name. It
// returns ErrNotMounted if there is neither.
func (c Client) Unmount(ctx context.Context, descriptor, uuid, dir string) error {
	err := c.retry(ctx, "umount", "-m", dir)
	if run.ExitStatus(err) != exitParameter {
		return err
	}
	name := component(uuid)
	device, found := c.find(ctx, func(d Device) bool { return d.Component == name })
	if found != nil {
		return fmt.Errorf("%w; looking for the device: %w", err, found)
	}
	if device == "" {
		return fmt.Errorf("%s: %w", dir, ErrNotMounted)
	}
	return c.retry(ctx, "umount", "-d", device)
}

// MountWritable mounts the newest state of a disk that no container uses at dir.
func (c Client) MountWritable(ctx context.Context, descriptor, dir string) error {
	_, err := c.run(ctx, true, "mount", "-m", dir, descriptor)
	if err != nil {
		return err
	}
	return restrict(dir, 0)
}

// UnmountWritable takes away what MountWritable has mounted, and the device of
// a mount that was lost. It returns ErrNotMounted if there is neither.
func (c Client) UnmountWritable(ctx context.Context, descriptor, dir string) error {
	err := c.retry(ctx, "umount", "-m", dir)
	if run.ExitStatus(err) != exitParameter || mounted(dir) {
		return err
	}
	d, readErr := Read(descriptor)
	if errors.Is(readErr, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", dir, ErrNotMounted)
	}
	if readErr != nil {
		return readErr
	}
	images := map[string]bool{}
	for _, i := range d.Images {
		images[i.File] = true
	}
	device, found := c.find(ctx, func(d Device) bool { return d.Component == "" && images[d.Image] })
	if found != nil {
		return fmt.Errorf("%w; looking for the device: %w", err, found)
	}
	if device == "" || mountedSomewhere(device) {
		return fmt.Errorf("%s: %w", dir, ErrNotMounted)
	}
	return c.retry(ctx, "umount", "-d", device)
}

// mountedSomewhere reports whether a device, or a partition of it, is mounted somewhere:
// then it is not what a lost mount of ours has left.
func mountedSomewhere(device string) bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	return err != nil || mountedIn(string(b), device)
}

// mountedIn looks for the device in a mountinfo (proc(5)).
func mountedIn(info, device string) bool {
	for line := range strings.SplitSeq(info, "\n") {
		_, tail, _ := strings.Cut(line, " - ")
		f := strings.Fields(tail)
		if len(f) < 2 {
			continue
		}
		part, same := strings.CutPrefix(filepath.Base(f[1]), filepath.Base(device))
		if same && strings.Trim(strings.TrimPrefix(part, "p"), "0123456789") == "" && (part == "" || part[0] == 'p') {
			return true
		}
	}
	return false
}

// ErrNoSnapshot is returned by Merge when there is nothing to merge.
var ErrNoSnapshot = errors.New("no such snapshot")

// Merge deletes the snapshot: its image takes in what was written since. It is
// online if the container runs; else a merge that was cut off is repaired. It
// returns ErrNoSnapshot if the descriptor does not name it: it was never made, or
// is merged already.
func (c Client) Merge(ctx context.Context, descriptor, uuid string) error {
	before, err := Read(descriptor)
	if err != nil {
		return err
	}
	if _, there := before.Shot(uuid); !there {
		return fmt.Errorf("%s of %s: %w", guid(uuid), descriptor, ErrNoSnapshot)
	}
	// Whatever the tool says, the descriptor decides: after a merge that was
	// killed in its last moments it exits with 38 once, with 43 after that.
	err = c.retry(ctx, "snapshot-delete", "-u", guid(uuid), descriptor)
	if run.ExitStatus(err) == exitInUse {
		err = errors.Join(c.Repair(ctx, descriptor, uuid), err)
	}
	after, readErr := Read(descriptor)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	_, still := after.Shot(uuid)
	var left interface{ StillRuns() bool }
	switch {
	case errors.As(err, &left) && left.StillRuns():
		return err // with the descriptor written, the tool may still be at work on the images
	case !still:
		return nil
	case err != nil:
		return err
	case after.children(guid(uuid)) > 1:
		return fmt.Errorf("%d images rest on snapshot %s of %s, since the container was switched to another snapshot meanwhile: ploop merges it when all but one of them are deleted (prlctl snapshot-list, prlctl snapshot-delete)",
			after.children(guid(uuid)), guid(uuid), descriptor)
	default:
		return fmt.Errorf("ploop has not deleted snapshot %s of %s although it says so", guid(uuid), descriptor)
	}
}

// tries is how often a busy disk is asked.
const tries = 4

// retry calls the tool again while it says that the disk is busy: another
// operation on it is under way, such as a compaction or a backup that starts.
func (c Client) retry(ctx context.Context, args ...string) error {
	for n := 1; ; n++ {
		_, err := c.run(ctx, true, args...)
		switch run.ExitStatus(err) {
		case exitDevice, exitBusy, exitLock, exitUmount:
		default:
			return err
		}
		if n == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(c.pause()):
		}
	}
}

func (c Client) pause() time.Duration {
	if c.Pause == 0 {
		return 5 * time.Second
	}
	return c.Pause
}

// New describes a disk to be made.
type New struct {
	// Image is the base image's path; the descriptor is made beside it.
	Image string
	// Size and Cluster are in sectors.
	Size, Cluster uint64
	// Version is 1 or 2; 0 leaves it to the tool.
	Version int
	// Preallocated and Raw as in Disk.
	Preallocated, Raw bool
	// KeyID is that of the key to encrypt it with, "" for a disk in clear.
	KeyID string
}

// Init makes a disk with an empty ext4 file system.
func (c Client) Init(ctx context.Context, n New) error {
	format := "expanded"
	switch {
	case n.Raw:
		format = "raw"
	case n.Preallocated:
		format = "preallocated"
	}
	args := []string{"init", "-s", strconv.FormatUint(n.Size, 10), "-f", format, "-t", "ext4"}
	if n.Cluster != 0 {
		args = append(args, "-b", strconv.FormatUint(n.Cluster, 10))
	}
	if n.Version != 0 && !n.Raw {
		args = append(args, "-v", strconv.Itoa(n.Version))
	}
	if n.KeyID != "" {
		args = append(args, "-k", n.KeyID)
	}
	_, err := c.run(ctx, true, append(args, n.Image)...)
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// mounted reports whether dir is on another file system than its parent.
func mounted(dir string) bool {
	here, err1 := os.Stat(dir)
	up, err2 := os.Stat(filepath.Dir(dir))
	if err1 != nil || err2 != nil {
		return false
	}
	h, ok1 := here.Sys().(*syscall.Stat_t)
	u, ok2 := up.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && h.Dev != u.Dev
}
