// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openFuse mounts a file system that this process has to serve, for as long as it
// lives.
func openFuse(target, mode string) (server int) {
	server, err := tryFuse(target, mode)
	if err != nil {
		panic(fmt.Sprintf("mount fuse at %s: %v", target, err))
	}
	return server
}

func tryFuse(target, mode string) (server int, err error) {
	_ = unix.Mknod("/dev/fuse", unix.S_IFCHR|0o600, int(unix.Mkdev(10, 229)))
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR, 0)
	check(err)
	return fd, unix.Mount("silent", target, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=%s,user_id=0,group_id=0,allow_other", fd, mode))
}

// silentFuse mounts a file system whose server never answers.
func silentFuse(target, mode string) { openFuse(target, mode) }

// rootThatHangs makes a file system the root of this process, and then answers no more.
// The first questions have to be answered, or this process itself would hang.
func rootThatHangs(target string) {
	fd := openFuse(target, "40000")
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		check(unix.Chroot(target))
		check(os.Chdir("/"))
	}()
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		for {
			select {
			case <-moved:
				return
			default:
				answer(fd)
			}
		}
	}()
	<-moved
}

// answer answers one question of the kernel, as include/uapi/linux/fuse.h has it: its
// version 7.12 is one of the shortest.
func answer(fd int) {
	in := make([]byte, 64<<10)
	// Not for ever: nobody asks any more when the root is taken.
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10); n < 1 {
		return
	}
	n, err := unix.Read(fd, in)
	if err != nil || n < 40 {
		return
	}
	const (
		getattr = 3
		begin   = 26
		enosys  = 38
	)
	le := binary.LittleEndian
	out := make([]byte, 16)
	switch le.Uint32(in[4:]) {
	case begin:
		for _, v := range []uint32{7, 12, 0, 0, 0, 4096} {
			out = le.AppendUint32(out, v)
		}
	case getattr:
		attr := make([]byte, 16+88)
		le.PutUint64(attr[16:], 1)                     // ino
		le.PutUint32(attr[16+60:], unix.S_IFDIR|0o755) // mode
		le.PutUint32(attr[16+64:], 2)                  // nlink
		out = append(out, attr...)
	default:
		le.PutUint32(out[4:], ^uint32(enosys)+1)
	}
	le.PutUint32(out, uint32(len(out)))
	copy(out[8:16], in[8:16])
	_, _ = unix.Write(fd, out)
}
