// SPDX-License-Identifier: AGPL-3.0-only

package syslog

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	send(path, "a line")
	b := make([]byte, 100)
	if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != "a line" {
		t.Errorf("read %q, %v", b[:max(n, 0)], err)
	}
	send(filepath.Join(t.TempDir(), "none"), "lost")
}

// Where there is no log, nobody is held up.
func TestWrite(t *testing.T) {
	if n, err := Writer("vz7ct-test").Write([]byte("x\n")); n != 2 || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
}
