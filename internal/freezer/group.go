// SPDX-License-Identifier: AGPL-3.0-only

package freezer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// state is that of a group, in the words of cgroup v1.
type state string

const (
	thawed   state = "THAWED"
	freezing state = "FREEZING"
	frozen   state = "FROZEN"
)

// group is one control group that can be frozen.
type group struct {
	dir string
	// unified: it is one of cgroup v2.
	unified bool
}

// Files of a group. The root of a hierarchy has none of them, so it is never taken
// for a group (CFTYPE_NOT_ON_ROOT in the kernel's source).
const (
	stateFile  = "freezer.state" // v1: THAWED, FREEZING, FROZEN; read and written
	freezeFile = "cgroup.freeze" // v2: what was asked for, 0 or 1
	eventsFile = "cgroup.events" // v2: "frozen 1" when all stand still
)

// open takes a directory for what its files say. It returns os.ErrNotExist if there
// is no such directory.
func open(dir string) (group, error) {
	if !filepath.IsAbs(dir) {
		return group{}, fmt.Errorf("control group %q is no absolute path", dir)
	}
	if _, err := os.Stat(dir); err != nil {
		return group{}, fmt.Errorf("control group: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, stateFile)); err == nil {
		return group{dir: dir}, nil
	}
	if _, err := os.Lstat(filepath.Join(dir, freezeFile)); err == nil {
		return group{dir: dir, unified: true}, nil
	}
	return group{}, fmt.Errorf("%s is no control group that can be frozen: it has neither %s nor %s", dir, stateFile, freezeFile)
}

// control returns the file and what is written to it for a state.
func (g group) control(to state) (file, word string) {
	switch {
	case !g.unified:
		return filepath.Join(g.dir, stateFile), string(to)
	case to == frozen:
		return filepath.Join(g.dir, freezeFile), "1"
	default:
		return filepath.Join(g.dir, freezeFile), "0"
	}
}

func (g group) set(to state) error {
	name, word := g.control(to)
	f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(word)
	return errors.Join(err, f.Close())
}

// state reads the group's state. An unknown word is an error, never a guess.
func (g group) state() (state, error) {
	if !g.unified {
		b, err := os.ReadFile(filepath.Join(g.dir, stateFile))
		if err != nil {
			return "", err
		}
		switch s := state(strings.TrimSpace(string(b))); s {
		case thawed, freezing, frozen:
			return s, nil
		default:
			return "", fmt.Errorf("%s/%s: state %q is not known", g.dir, stateFile, s)
		}
	}
	events, err := os.ReadFile(filepath.Join(g.dir, eventsFile))
	if err != nil {
		return "", err
	}
	asked, err := os.ReadFile(filepath.Join(g.dir, freezeFile))
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(string(events), "\n") {
		switch {
		case line == "frozen 1":
			return frozen, nil
		case line == "frozen 0" && strings.TrimSpace(string(asked)) == "0":
			return thawed, nil
		case line == "frozen 0":
			return freezing, nil
		}
	}
	return "", fmt.Errorf("%s/%s does not tell whether it is frozen: %q", g.dir, eventsFile, events)
}

// freeze waits until all processes of the group stand still.
func (g group) freeze(ctx context.Context, patience time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := g.set(frozen); err != nil {
		return err
	}
	end := time.NewTimer(patience)
	defer end.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		s, err := g.state()
		if err != nil || s == frozen {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return fmt.Errorf("its processes do not all stand still after %s (control group %s is %s): one of them waits in the kernel, for a disk, a network file system or a FUSE server", patience, g.dir, s)
		case <-time.After(pause):
		}
	}
}

// thaw lets the group's processes go on, and sees whether they do. A group that has
// gone has none.
func (g group) thaw() error {
	err := g.set(thawed)
	var s state
	if err == nil {
		s, err = g.state()
	}
	switch {
	case err == nil && s == thawed:
		return nil
	case err == nil:
		// Only a frozen group above keeps it from going on.
		return fmt.Errorf("thaw control group %s: it is %s all the same: a group above it must be frozen", g.dir, s)
	}
	if _, there := os.Stat(g.dir); errors.Is(there, os.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("thaw control group %s: %w", g.dir, err)
}

// groupOf finds the group that holds all of a container: the part of its init's
// group that is called by its ctid. libvzctl makes <freezer>/machine.slice/<ctid>
// (get_cgroup_name in lib/cgroup.c; the slice is VE_CGROUP_SLICE of vz.conf, and
// older releases had none), and whatever the container makes is below that.
func (c Client) groupOf(pid int, ctid string) (group, error) {
	var errs []error
	for _, unified := range []bool{false, true} {
		h := hierarchy{proc: c.Proc, unified: unified}
		if h.proc == "" {
			h.proc = "/proc"
		}
		dir, err := h.find(pid, ctid)
		if err == nil {
			return open(dir)
		}
		errs = append(errs, fmt.Errorf("%s: %w", h, err))
	}
	return group{}, fmt.Errorf("no control group to freeze it by: %w; %w", errs[0], errs[1])
}

// Mounted says in words by which hierarchy of control groups containers can be
// frozen, by the text of a mountinfo file.
func Mounted(mountinfo string) (string, bool) {
	for _, h := range []hierarchy{{}, {unified: true}} {
		if dir, err := h.dir(mountinfo, "/any"); err == nil {
			return fmt.Sprintf("%s at %s", h, filepath.Dir(dir)), true
		}
	}
	return "", false
}

// hierarchy is that of the freezer of cgroup v1, or that of v2.
type hierarchy struct {
	proc    string
	unified bool
}

func (h hierarchy) String() string {
	if h.unified {
		return "cgroup v2"
	}
	return "cgroup v1"
}

// find returns the directory of the container's group.
func (h hierarchy) find(pid int, ctid string) (string, error) {
	path, err := h.path(fmt.Sprint(pid))
	if err != nil {
		return "", err
	}
	top, err := topOf(path, ctid)
	if err != nil {
		return "", fmt.Errorf("process %d %w", pid, err)
	}
	own, err := h.path("self")
	if err != nil {
		return "", err
	}
	if own == top || strings.HasPrefix(own, top+"/") {
		return "", fmt.Errorf("this process is itself in group %q: it cannot freeze it", top)
	}
	info, err := os.ReadFile(filepath.Join(h.proc, "self/mountinfo"))
	if err != nil {
		return "", err
	}
	return h.dir(string(info), top)
}

// topOf returns the part of a group's path that is called by the container's ctid.
// What is below it the container may have named as it likes.
func topOf(path, ctid string) (string, error) {
	top := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		switch part {
		case "", ".", "..":
			return "", fmt.Errorf("is in group %q, which is the topmost or one that this process does not see", path)
		case ctid:
			return top + "/" + part, nil
		}
		top += "/" + part
	}
	return "", fmt.Errorf("is in group %q, which is not that of container %s", path, ctid)
}

// path returns the group of a process.
func (h hierarchy) path(process string) (string, error) {
	b, err := os.ReadFile(filepath.Join(h.proc, process, "cgroup"))
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		// "6:freezer:/machine.slice/101"; that of v2 is "0::/machine.slice/101".
		f := strings.SplitN(line, ":", 3)
		if len(f) == 3 && h.is(f[1], f[0] == "0" && f[1] == "") {
			return f[2], nil
		}
	}
	return "", fmt.Errorf("process %s is in no group of it", process)
}

// is reports whether a list of controllers, or the hierarchy without a list, is h.
func (h hierarchy) is(controllers string, unified bool) bool {
	if h.unified || unified {
		return h.unified && unified
	}
	return slices.Contains(strings.Split(controllers, ","), "freezer")
}

// dir returns where a group is seen, by the text of a mountinfo file.
func (h hierarchy) dir(mountinfo, path string) (string, error) {
	for line := range strings.SplitSeq(mountinfo, "\n") {
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 6 || len(right) < 3 || right[0] != "cgroup" && right[0] != "cgroup2" || !h.is(right[2], right[0] == "cgroup2") {
			continue
		}
		rest, seen := strings.CutPrefix(path, strings.TrimSuffix(unescape(left[3]), "/"))
		if seen && rest != "" && rest[0] == '/' {
			return filepath.Join(unescape(left[4]), rest), nil
		}
	}
	return "", fmt.Errorf("it is not mounted here, or not so that group %q is seen", path)
}

// unescape takes back what mountinfo does to blanks and the like (\040).
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
