// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settle waits until no ploop works on the disk: one that was started by a job
// that is dead may still run, and will change what is to be looked at. The tool
// holds an flock on DiskDescriptor.xml.lck for as long as it works. It reports
// false when the disk is still busy after a while: the tool waits once more.
func (c Client) settle(ctx context.Context, descriptor string) (bool, error) {
	const pauses = 120
	for n := 0; ; n++ {
		busy, err := Busy(descriptor)
		if err != nil || !busy || n == pauses {
			return !busy, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(c.pause() / 5):
		}
	}
}

// Busy reports whether a ploop command works on the disk now.
func Busy(descriptor string) (bool, error) {
	f, err := os.OpenFile(descriptor+".lck", os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether the disk is in use: %w", err)
	}
	defer f.Close() // gives the lock up
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return false, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return true, nil
		case !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}
