// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CallsName is the file in which calls of ploop and prlctl are counted while a fault is set. A test removes it to count anew.
const CallsName = "calls"

// Call runs one call of ploop or prlctl, with the fault that was set for it: "N:WHEN:WHAT", for the call number N (from 1;
// 0 counts only), WHEN before or after its work, WHAT hold or fail. One that fails exits with the status given.
func (l Lab) Call(fault string, failed int, run func() int) int {
	f := strings.Split(fault, ":")
	if len(f) != 3 {
		return run()
	}
	number, err := strconv.Atoi(f[0])
	n, countErr := l.count()
	if err != nil || countErr != nil || n != number {
		return run()
	}
	if f[1] == "before" {
		if f[2] == "fail" {
			fmt.Fprintln(os.Stderr, "lab: planted fault, nothing was done")
			return failed
		}
		l.PauseAt(fmt.Sprintf("before call %d", n))
		return run()
	}
	exit := run()
	if f[2] == "fail" {
		fmt.Fprintln(os.Stderr, "lab: planted fault, all was done")
		return failed
	}
	l.PauseAt(fmt.Sprintf("after call %d", n))
	return exit
}

// PauseAt says in DIR/paused where a tool stands, and waits for that file to go, a minute at most.
func (l Lab) PauseAt(point string) {
	file := l.Below("paused")
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d %s\n", os.Getpid(), point), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return
	}
	for range 1200 {
		if _, err := os.Stat(file); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// count returns the number of this call.
func (l Lab) count() (int, error) {
	f, err := os.OpenFile(l.Below(CallsName), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // one byte
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return 0, err
	}
	if _, err := f.WriteString("."); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return int(info.Size()), nil
}
