// SPDX-License-Identifier: AGPL-3.0-only

package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/mounts"
)

// A container's processes are in a control group of their own, as libvzctl puts them: machine.slice/CTID, here below a
// group of the lab. On a node the freezer is that of cgroup v1; cgroup v2 is what the next release has.

// hierarchy is where control groups can be frozen on this machine.
type hierarchy struct {
	name    string // v1 or v2
	mount   string
	control string // file of a group, and what thaws it
	thawed  string
}

// hierarchies lists what the machine has, v1 first.
func hierarchies() ([]hierarchy, error) {
	list, err := mounts.Of(0)
	if err != nil {
		return nil, err
	}
	var v1, v2 []hierarchy
	for _, m := range list {
		switch {
		case m.Root != "/":
		case m.Type == "cgroup" && slices.Contains(strings.Split(m.Super, ","), "freezer"):
			v1 = append(v1, hierarchy{"v1", m.Point, "freezer.state", "THAWED"})
		case m.Type == "cgroup2":
			v2 = append(v2, hierarchy{"v2", m.Point, "cgroup.freeze", "0"})
		}
	}
	// A hierarchy that is mounted twice is the same one.
	return slices.Concat(v1[:min(1, len(v1))], v2[:min(1, len(v2))]), nil
}

// top is the lab's own group in a hierarchy.
func (l Lab) top(h hierarchy) string {
	name := strings.TrimSuffix(filepath.Base(l.registered()), ".json")
	return filepath.Join(h.mount, "vz7ct-lab-"+name)
}

// MakeGroup makes the control group of a container, by the setting cgroup. It returns "" if it is "none", or if nothing is
// set and the machine has no freezer in which groups can be made.
func (l Lab) MakeGroup(ctid string) (string, error) {
	c, err := l.Config()
	if err != nil || c.Cgroup == "none" {
		return "", err
	}
	list, err := hierarchies()
	if err != nil {
		return "", err
	}
	for _, h := range list {
		if c.Cgroup != "" && c.Cgroup != h.name {
			continue
		}
		dir := filepath.Join(l.top(h), "machine.slice", ctid)
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			_, err = os.Stat(filepath.Join(dir, h.control))
		}
		if err == nil {
			return dir, nil
		}
		if c.Cgroup != "" {
			return "", err
		}
	}
	if c.Cgroup != "" {
		return "", fmt.Errorf("setting cgroup=%s: this machine has it not", c.Cgroup)
	}
	return "", nil
}

// Join puts a process, 0 for the caller, into a control group.
func Join(group string, pid int) error {
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, pid), 0o644)
}

// Become puts this process into a control group and makes it another program, locked into a root: GROUP ROOT PROGRAM
// ARG... It returns on error only.
func Become(arg []string) error {
	if len(arg) < 3 {
		return fmt.Errorf("%v: too few arguments", arg)
	}
	if err := Join(arg[0], 0); err != nil {
		return err
	}
	if err := errors.Join(unix.Chroot(arg[1]), unix.Chdir("/")); err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", arg[2], unix.Exec(arg[2], arg[2:], os.Environ()))
}

// DropGroups removes the groups of a container that has no processes any more, "" for all containers, and what is above
// them if nothing else is there.
func (l Lab) DropGroups(ctid string) error {
	list, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range list {
		top := l.top(h)
		below := top
		if ctid != "" {
			below = filepath.Join(top, "machine.slice", ctid)
		}
		err = errors.Join(err, removeGroups(below))
		_ = unix.Rmdir(filepath.Join(top, "machine.slice"))
		_ = unix.Rmdir(top)
	}
	return err
}

// removeGroups removes a group with those below it. The kernel may still be at work on processes that have ended.
func removeGroups(dir string) error {
	end := time.Now().Add(5 * time.Second)
	for {
		var all []string
		err := walkGroups(dir, func(d string) { all = append(all, d) })
		slices.Reverse(all)
		for _, d := range all {
			if e := unix.Rmdir(d); e != nil && e != unix.ENOENT {
				err = errors.Join(err, fmt.Errorf("remove control group %s: %w", d, e))
			}
		}
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// walkGroups calls f for a group and all below it, those above first.
func walkGroups(dir string, f func(dir string)) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && e.IsDir() {
			f(path)
		}
		return err
	})
	return err
}

// thawGroups lets all go on: what is frozen cannot be killed. With kill, they are.
func (l Lab) thawGroups(kill bool) {
	list, err := hierarchies()
	if err != nil {
		return
	}
	for _, h := range list {
		_ = walkGroups(l.top(h), func(d string) {
			f, err := os.OpenFile(filepath.Join(d, h.control), os.O_WRONLY|os.O_TRUNC, 0)
			if err != nil {
				return
			}
			_, _ = f.WriteString(h.thawed)
			_ = f.Close()
			b, _ := os.ReadFile(filepath.Join(d, "cgroup.procs"))
			for _, n := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(n); err == nil && pid > 1 && kill {
					_ = unix.Kill(pid, unix.SIGKILL)
				}
			}
		})
	}
}

// Groups tells of the lab's control groups: which of them are frozen, or on their way to it, and which have been left by
// containers that do not run. freezer is where the next container's will be made, "" for nowhere.
func (l Lab) Groups() (frozen, left []string, freezer string, err error) {
	c, err := l.Config()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, "", err
	}
	list, err := hierarchies()
	if err != nil {
		return nil, nil, "", err
	}
	for _, h := range list {
		if freezer == "" && (c.Cgroup == "" || c.Cgroup == h.name) {
			freezer = h.name + " " + h.mount
		}
		top := l.top(h)
		used := map[string]bool{}
		var all []string
		err := walkGroups(top, func(d string) {
			all = append(all, d)
			if b, err := os.ReadFile(filepath.Join(d, h.control)); err == nil && strings.TrimSpace(string(b)) != h.thawed {
				frozen = append(frozen, fmt.Sprintf("%s %s", strings.TrimSpace(string(b)), d))
			}
			b, err := os.ReadFile(filepath.Join(d, "cgroup.procs"))
			for up := d; err == nil && len(b) > 0 && len(up) >= len(top); up = filepath.Dir(up) {
				used[up] = true
			}
		})
		if err != nil {
			return nil, nil, "", err
		}
		for _, d := range all {
			// What a container makes in its group is its own.
			if rel, _ := filepath.Rel(top, d); !used[d] && strings.Count(rel, "/") <= 1 {
				left = append(left, d)
			}
		}
	}
	if c.Cgroup == "none" {
		freezer = ""
	}
	return frozen, left, freezer, nil
}
