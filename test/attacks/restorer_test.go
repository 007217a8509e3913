// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/restore"
)

// item is something to be restored.
type item struct {
	restore.Item
	content string
	xattrs  map[string]string
	// first is done by the restorer before: it stands for a moment in a job.
	first func(g *ground)
}

// memory is how much of a restore may go to what a tenant has in memory.
const memory = 1 << 20

// file, dir, link and after are items with the attributes of somebody else.
func file(path string) item {
	return item{content: "changed", xattrs: map[string]string{"trusted.evil": "changed"}, Item: restore.Item{
		Path: path, Mode: unix.S_IFREG | 0o4755, UID: 7, GID: 8, Atime: 1e9, Mtime: 1e9, Replace: restore.Always,
	}}
}

func dir(path string) item {
	it := file(path)
	it.Mode = unix.S_IFDIR | 0o777
	return it
}

func link(path, to string) item {
	it := file(path)
	it.Mode, it.Link = unix.S_IFLNK|0o777, to
	return it
}

func hard(path, first string) item {
	it := file(path)
	it.First = first
	return it
}

func after() item { return file("after") }

// play is the restorer's process: it restores once, or as long as it is told.
func (g *ground) play(a *attack) {
	// In namespaces of its own.
	check(unix.Sethostname([]byte("untouched")))
	check(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	if g.Way == "walk" {
		check(hideNewCalls())
	}
	r := result{Way: way()}
	once := g.productOnce
	switch {
	case g.Restorer == "naive":
		once = g.naiveOnce
	case a.whole:
		once = g.wholeOnce
	case a.stream != nil:
		once = g.streamOnce
	case a.blocker != "":
		once = g.blockerOnce
	}
	for begin := time.Now(); r.Rounds == 0 || time.Since(begin) < g.For; r.Rounds++ {
		if err := once(a, &r); err != nil && len(r.Errors) < 10 {
			r.Errors = append(r.Errors, err.Error())
		}
	}
	host, err := os.ReadFile("/proc/sys/kernel/hostname")
	check(err)
	r.Host = string(host[:len(host)-1])
	check(json.NewEncoder(os.Stdout).Encode(r))
}

// productOnce restores all items as a job does: what fails is told of, and the rest
// is restored.
func (g *ground) productOnce(a *attack, _ *result) error {
	root, err := os.OpenFile(g.inside(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(err)
	tree, err := restore.Open(root, filepath.Join(g.Dir, "state"))
	check(err)
	tree.Shared, tree.Memory = true, memory
	tree.Mountinfo = fmt.Sprintf("/proc/%d/mountinfo", g.Pid)
	var errs []error
	for _, it := range a.items {
		if it.first != nil {
			it.first(g)
		}
		if err := put(tree, it); err != nil {
			errs = append(errs, err)
		}
	}
	err = tree.Close(func(_ string, err error, _ bool) { errs = append(errs, err) })
	return errors.Join(append(errs, err)...)
}

func put(tree *restore.Tree, it item) error {
	f, err := tree.Create(it.Item)
	if err != nil {
		return err
	}
	if f.Fd() >= 0 {
		if _, err := unix.Write(f.Fd(), []byte(it.content)); err != nil {
			f.Abort()
			return err
		}
	}
	for name, value := range it.xattrs {
		f.SetXattr(name, []byte(value))
	}
	return f.Finish()
}

// way is how this process can resolve paths.
func way() string {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH})
	if err != nil {
		return ways[1]
	}
	unix.Close(fd)
	return ways[0]
}

// hideNewCalls lets every system call that came after Linux 3.10 answer ENOSYS, for
// all threads of this process: finit_module, 313, is the last one of 3.10 on x86-64.
// Nor does utimensat take a descriptor alone, as it does from 5.8 on.
func hideNewCalls() error {
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 1, K: 314},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.SYS_UTIMENSAT},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16 + 3*8}, // its flags
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: unix.AT_EMPTY_PATH},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}
