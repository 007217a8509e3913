// SPDX-License-Identifier: AGPL-3.0-only

// Package syslog writes lines to the system's log, where there is no job log and no
// terminal. Package log/syslog would bring package net, and with it the C library's
// resolver, into the File Daemon. It keeps no connection: what is not taken is lost.
package syslog

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Writer sends each line as a message to /dev/log, as syslog(3) does. Its value is
// the name of the program.
type Writer string

const noticeOfADaemon = 3<<3 | 5 // LOG_DAEMON|LOG_NOTICE

// Write never fails.
func (w Writer) Write(line []byte) (int, error) {
	send("/dev/log", fmt.Sprintf("<%d>%s[%d]: %s", noticeOfADaemon, string(w), os.Getpid(), line))
	return len(line), nil
}

func send(path, text string) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = unix.Sendto(fd, []byte(text), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, &unix.SockaddrUnix{Name: path})
}
