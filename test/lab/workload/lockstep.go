// SPDX-License-Identifier: AGPL-3.0-only

package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A program that writes to several disks in lock step: a counter to the first, durably, then to the next, and so on, and
// only then the next number. Whoever sees all disks as they were at one moment sees at most one number in flight.

// lockstepName is the counter's file on the disk that is mounted at mount.
func lockstepName(mount string) string {
	if mount == "/" {
		return filepath.Join(rootBase, "lockstep")
	}
	return filepath.Join(mount, "workload", "lockstep")
}

// counterFormat has always the same length: the file is overwritten in place, within one block.
const counterFormat = "%020d\n"

// lockstep counts, rounds times a second, until ctx ends. It goes on where it was ended.
func lockstep(ctx context.Context, mounts []string, rounds int) (err error) {
	var files []*os.File
	for _, m := range mounts {
		name := lockstepName(m)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // every write was synced
		files = append(files, f)
	}
	n := int64(1)
	if last, err := counter(lockstepName(mounts[0])); err == nil {
		n = last + 1
	}
	tick := time.NewTicker(time.Second / time.Duration(rounds))
	defer tick.Stop()
	for ; wait(ctx, tick.C); n++ {
		for _, f := range files {
			if _, err := f.WriteAt(fmt.Appendf(nil, counterFormat, n), 0); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	return nil
}

// counter reads a counter.
func counter(name string) (int64, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(string(b), "\n"), 10, 64)
	if err != nil || n < 1 || string(b) != fmt.Sprintf(counterFormat, n) {
		return 0, fmt.Errorf("%s: %q is no counter", name, b)
	}
	return n, nil
}

// ErrNotOneMoment says that disks are not those of one moment.
var ErrNotOneMoment = errors.New("the disks are not of one moment")

// Lockstep reads the counters of a container's disks, mounted below root, "/" first, and judges whether they can have been
// so at one moment: none is ahead of the one before it, and all together are apart by one at most.
func Lockstep(root string, mounts []string) (counters []int64, err error) {
	for _, m := range mounts {
		n, err := counter(filepath.Join(root, lockstepName(m)))
		if err != nil {
			return counters, err
		}
		counters = append(counters, n)
	}
	if len(counters) < 2 {
		return counters, errors.New("one disk is always of one moment")
	}
	for i, n := range counters {
		if i > 0 && n > counters[i-1] || counters[0]-n > 1 {
			return counters, ErrNotOneMoment
		}
	}
	return counters, nil
}
