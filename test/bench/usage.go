// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what a process has used.
type usage struct {
	cpu      float64 // seconds, user and system
	peak     float64 // MiB, VmHWM
	switches int     // of all threads that were seen
}

// tick is what /proc/PID/stat counts in: USER_HZ, which is 100 on every architecture that Linux runs on in practice.
const tick = 100

// readUsage reads what a process has used so far; the switches are those of its present threads, by thread.
func readUsage(pid int) (u usage, switches map[string]int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, nil, err
	}
	// Behind the name, which may have anything in it: utime and stime are the fields 14 and 15 (proc(5)).
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return u, nil, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	for _, v := range f[11:13] {
		n, err := strconv.Atoi(v)
		if err != nil {
			return u, nil, err
		}
		u.cpu += float64(n) / tick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, nil, err
	}
	kib, err := strconv.Atoi(strings.TrimSuffix(field(string(status), "VmHWM:"), " kB"))
	if err != nil {
		return u, nil, fmt.Errorf("/proc/%d/status: VmHWM: %w", pid, err)
	}
	u.peak = float64(kib) / 1024
	switches = map[string]int{}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, t := range threads {
		b, err := os.ReadFile(t)
		if err != nil {
			continue // it has just ended
		}
		for _, name := range []string{"voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"} {
			n, _ := strconv.Atoi(field(string(b), name))
			switches[t] += n
		}
	}
	return u, switches, nil
}

// field returns the value of a line of /proc/PID/status.
func field(status, name string) string {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// meter follows a File Daemon through a job.
type meter struct {
	pid, port int
	base      usage
	cpu       float64
	switches  map[string]int
	connected time.Time // the Director's first connection
	busy      time.Time // when CPU time was last used
	ended     time.Time // the job
	end, done chan struct{}
}

// sampleEvery is how often threads are looked at: what a thread does in its last moments is missed.
const sampleEvery = 20 * time.Millisecond

// newMeter begins to measure a daemon that was just started.
func newMeter(pid, port int) (*meter, error) {
	base, switches, err := readUsage(pid)
	if err != nil {
		return nil, err
	}
	for _, n := range switches {
		base.switches += n
	}
	m := &meter{pid: pid, port: port, base: base, cpu: base.cpu, switches: switches, end: make(chan struct{}), done: make(chan struct{})}
	go m.follow()
	return m, nil
}

func (m *meter) follow() {
	defer close(m.done)
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		select {
		case <-m.end:
			return
		case now := <-t.C:
			if m.connected.IsZero() && hasConnection(m.port) {
				m.connected = now
			}
			m.sample()
		}
	}
}

func (m *meter) sample() {
	if u, s, err := readUsage(m.pid); err == nil {
		if u.cpu > m.cpu {
			m.cpu, m.busy = u.cpu, time.Now()
		}
		for t, n := range s {
			m.switches[t] = max(m.switches[t], n)
		}
	}
}

// hasConnection reports whether somebody is connected to a local port.
func hasConnection(port int) bool {
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false
	}
	mark := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1], mark) && f[3] == "01" { // established
			return true
		}
	}
	return false
}

// stop ends the measure and returns what was used since its beginning; the peak is that of the whole process.
func (m *meter) stop() (usage, error) {
	close(m.end)
	<-m.done
	m.sample()
	u, _, err := readUsage(m.pid)
	u.cpu -= m.base.cpu
	u.switches = -m.base.switches
	for _, n := range m.switches {
		u.switches += n
	}
	return u, err
}

// selfUsage is that of this process, or of the one that it has waited for.
func selfUsage(child bool) (usage, error) {
	var r unix.Rusage
	who := unix.RUSAGE_SELF
	if child {
		who = unix.RUSAGE_CHILDREN
	}
	if err := unix.Getrusage(who, &r); err != nil {
		return usage{}, err
	}
	cpu := time.Duration(r.Utime.Nano() + r.Stime.Nano())
	return usage{cpu.Seconds(), float64(r.Maxrss) / 1024, int(r.Nvcsw + r.Nivcsw)}, nil
}
