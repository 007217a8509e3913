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
// that is dead may still run, and will change the descriptor that is to be read.
// The tool holds an flock on DiskDescriptor.xml.lck for as long as it works. It
// fails when the disk is still busy after a while.
func (c Client) settle(ctx context.Context, descriptor string) error {
	const pauses = 120
	path := descriptor + ".lck"
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whether the disk is in use: %w", err)
	}
	defer f.Close()
	for n := 0; ; n++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil // closing gives it up
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", path, err)
		case n == pauses:
			return fmt.Errorf("%s is still locked by a ploop command that works on the disk", path)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(c.pause() / 5):
		}
	}
}
