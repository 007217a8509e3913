// SPDX-License-Identifier: AGPL-3.0-only

// Command nosys runs a program on a kernel that pretends to be of release 3.10:
// every system call that is newer answers ENOSYS, as it would there.
//
//	nosys [-getrandom] PROGRAM [ARGUMENT...]
//
// With -getrandom that one call works: Debian's OpenSSL cannot do without.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// firstNew is the number of the first system call of x86-64 that came after
// Linux 3.10: sched_setattr, of 3.14. All numbers from there on are newer
// (arch/x86/entry/syscalls/syscall_64.tbl); 3.10 ends with finit_module, 313.
const firstNew = 314

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "nosys:", err)
		os.Exit(127)
	}
}

func run(args []string) error {
	random := len(args) > 0 && args[0] == "-getrandom"
	if random {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("usage: nosys [-getrandom] PROGRAM [ARGUMENTS]")
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := filter(random); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return unix.Exec(path, args, os.Environ())
}

// filter installs the rule for this thread and all that comes of it.
func filter(random bool) error {
	const (
		nr, arch   = 0, 4 // offsets in struct seccomp_data
		archX86_64 = 0xc000003e
		allow      = 0x7fff0000
		kill       = 0x80000000
		enosys     = 0x00050000 | uint32(unix.ENOSYS)
	)
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: arch},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: archX86_64},
		{Code: unix.BPF_RET | unix.BPF_K, K: kill},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: nr},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 1, K: firstNew},
		{Code: unix.BPF_RET | unix.BPF_K, K: enosys},
		{Code: unix.BPF_RET | unix.BPF_K, K: allow},
	}
	if random {
		code = slices.Insert(code, 4, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_GETRANDOM, Jt: 2})
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}
