// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/mounts"
)

// Process is a process that cannot be mistaken for a later one with its number.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
}

// stat reads state and start time of a process; ok is false when there is none.
func stat(pid int) (state byte, start uint64, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, false
	}
	// The name in brackets may hold anything, so count from the last bracket.
	i := strings.LastIndexByte(string(b), ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 20 {
		return 0, 0, false
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return f[0][0], start, err == nil
}

// Identify makes a Process of a living process.
func Identify(pid int) (Process, error) {
	_, start, ok := stat(pid)
	if !ok {
		return Process{}, fmt.Errorf("process %d: %w", pid, unix.ESRCH)
	}
	return Process{PID: pid, Start: start}, nil
}

// Alive says whether this very process still runs; a zombie does not.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	state, start, ok := stat(p.PID)
	return ok && start == p.Start && state != 'Z' && state != 'X'
}

// Signal sends a signal to this very process; none if it is gone.
func (p Process) Signal(sig unix.Signal) {
	if p.Alive() {
		_ = unix.Kill(p.PID, sig)
	}
}

// Wait waits for the end of the process and says whether it came.
func (p Process) Wait(limit time.Duration) bool {
	end := time.Now().Add(limit)
	for p.Alive() {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return true
}

// processes lists the numbers of all processes.
func processes() ([]int, error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var l []int
	for _, n := range names {
		if pid, err := strconv.Atoi(n.Name()); err == nil {
			l = append(l, pid)
		}
	}
	return l, nil
}

// inside lists the processes that live in the lab's mount namespace, known by what is mounted in it: numbers of namespaces
// are used again by the kernel, folders and loop devices are not while we look.
func (l Lab) inside() ([]Process, error) {
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	loops, err := l.Loops()
	if err != nil {
		return nil, err
	}
	drives, err := l.Drives()
	if err != nil {
		return nil, err
	}
	maps.Copy(loops, drives)
	var vz unix.Stat_t
	_ = unix.Stat(l.Below("node", "vz"), &vz) // none: then only loop devices tell
	own, _ := os.Readlink("/proc/self/ns/mnt")
	members := map[string][]Process{}
	ours := map[string]bool{}
	for _, pid := range pids {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if err != nil || ns == own {
			continue // gone, a kernel thread, or where we are
		}
		p, err := Identify(pid)
		if err != nil {
			continue
		}
		members[ns] = append(members[ns], p)
		// A chrooted process sees a part of the mounts only, so one of the namespace is enough.
		ours[ns] = ours[ns] || l.sees(pid, loops, vz)
	}
	var found []Process
	for ns, list := range members {
		if ours[ns] {
			found = append(found, list...)
		}
	}
	return found, nil
}

// sees says whether a process sees this lab's /vz, or a disk of the lab.
func (l Lab) sees(pid int, loops map[int]string, vz unix.Stat_t) bool {
	list, err := mounts.Of(pid)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(m mounts.Mount) bool {
		if _, ok := loops[int(m.Minor)]; ok && m.Major == loopdev.Major {
			return true
		}
		// The mount's root is a path in its file system, which may be mounted below the root of this machine, or be larger
		// than what is seen of it (a root that is a folder of another one).
		below := l.Below("node", "vz")
		return m.Point == "/vz" && (strings.HasSuffix(below, m.Root) || strings.HasSuffix(m.Root, below)) && unix.Mkdev(m.Major, m.Minor) == vz.Dev
	})
}

// Processes names what runs in the node, apart from the namespace's holder.
func (l Lab) Processes() ([]string, error) {
	s, err := l.State()
	if err != nil {
		return nil, err
	}
	list, err := l.inside()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range list {
		if p == s.Holder || p == s.Watch || !p.Alive() {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
		if err == nil {
			names = append(names, strings.TrimSpace(string(b)))
		}
	}
	slices.Sort(names)
	return names, nil
}
