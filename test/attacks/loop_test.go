// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// loop makes a block device of a file. It goes when it is closed.
func loop(path string) (dev *os.File, number int) {
	check(os.Truncate(path, 4096))
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	check(err)
	defer ctl.Close()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(err)
	defer f.Close()
	for range 20 { // another one may be quicker
		number, err = unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		check(err)
		dev, err = os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		check(err)
		if err = unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_SET_FD, int(f.Fd())); err != nil {
			dev.Close()
			continue
		}
		info := unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}
		check(unix.IoctlLoopSetStatus64(int(dev.Fd()), &info))
		return dev, number
	}
	panic(err)
}
