// SPDX-License-Identifier: AGPL-3.0-only

package main

// #include "job.h"
import "C"

import (
	"context"
	"fmt"
	"os"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/node"
)

// goSweep takes back what dead jobs have left on the node, on a thread of its own
// when the daemon has started: no job may come for days. A job of ours that comes
// meanwhile waits for it, by the sweep's lock; others do not notice it. There is
// no job log for what it has to say: it goes to the system's log. A node that has
// just booted may have to start containers first: theirs is left for later.
//
//export goSweep
func goSweep() {
	log := systemLog()
	defer func() {
		if p := recover(); p != nil {
			log.Errorf("internal fault while taking back what dead jobs have left, please report it: %v", p)
		}
	}()
	n, _ := node.New(log)
	if _, err := (fdplugin.Cleaner{Node: n, Log: log, LetStart: true}).Sweep(context.Background(), false); err != nil {
		log.Errorf("leftovers of earlier jobs: %v", err)
	}
}

// systemLog returns a logger that writes to the system's log, or nowhere if there
// is none.
func systemLog() *logrus.Entry {
	l := logrus.New()
	l.SetFormatter(&logrus.TextFormatter{DisableColors: true, DisableTimestamp: true})
	l.SetOutput(devLog{})
	return logrus.NewEntry(l)
}

// devLog writes each line as a message to /dev/log, as syslog(3) does. Package
// log/syslog would bring package net, and with it the C library's resolver.
type devLog struct{}

func (devLog) Write(line []byte) (int, error) {
	const noticeOfADaemon = 3<<3 | 5 // LOG_DAEMON|LOG_NOTICE
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return len(line), nil
	}
	defer unix.Close(fd)
	text := fmt.Sprintf("<%d>vz7ct-fd[%d]: %s", noticeOfADaemon, os.Getpid(), line)
	_ = unix.Sendto(fd, []byte(text), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, &unix.SockaddrUnix{Name: "/dev/log"})
	return len(line), nil
}
