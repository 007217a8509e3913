// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

const (
	webID  = "4b16639b-dbb9-45a5-b4c2-9f7ae90dfe2c"
	dataID = "2d109ae4-5231-475f-bc44-5cabf5d8503b"
	oldID  = "9a31e19b-34a7-4b22-b8c4-0b1f2a3c4d5e"
)

// fakeNode is a node in a directory: prlctl and ploop with all that they would
// have changed, each call recorded, and one of them failing if a test wants it.
// A mount moves the disk's tree to the mount point, and an unmount moves it back.
type fakeNode struct {
	dir   string
	list  []prlctl.Container
	place prlctl.Place
	// calls are the steps taken; the one numbered failAt (from 1) fails, after it
	// has done its work if late is set.
	calls  []string
	failAt int
	late   bool
	// fault, if set, is asked at each step for the error to fail with.
	fault func(step string) error
	// hang is the number of a step that is not awaited: it does its work when wake
	// is called. Until then it holds what kept is locked by.
	hang int
	wake func() error
	kept *os.File
	// finishers is how often a process was started to take back the rest.
	finishers int
	// at, if set, is called before each step.
	at func(n int)

	shots  map[string]string // snapshots by descriptor
	mounts map[string]string // descriptors by mount point
	trees  map[string]string // content of disks by descriptor
	// what a restore has done, in words.
	registered, started []string
	// owners: register and unregister write and remove the file .owner.
	owners bool
	// users and repair are what is found on disks that are not safe.
	users  func() []string
	repair func(descriptor string) error
	// completed are the disks whose snapshots may have been cut off.
	completed []string
	// owner is what .owner says if another node has the container, or noOwner.
	owner string
	// keys are those that new disks were to be encrypted with.
	keys []string
	// free is how many bytes the node has, 0 enough.
	free uint64
	// mountAs and unmountAs, if set, mount and unmount snapshots in truth.
	mountAs   func(descriptor, dir string) error
	unmountAs func(dir string) error
	// frozen is the control group that stands still now.
	frozen string
}

// noOwner: there is no file .owner.
const noOwner = "-"

// The tools are the same fake to all interfaces.
var (
	_ Containers = (*fakeNode)(nil)
	_ Registry   = (*fakeNode)(nil)
	_ Snapshots  = (*fakeNode)(nil)
	_ Images     = (*fakeNode)(nil)
	_ Freezer    = (*fakeNode)(nil)
)

// emptyNode is a node without containers.
func emptyNode(t *testing.T) *fakeNode {
	t.Helper()
	n := &fakeNode{dir: t.TempDir(), shots: map[string]string{}, mounts: map[string]string{}, trees: map[string]string{}}
	for _, d := range []string{"conf", "mnt", "vzlock", "private", "root"} {
		must(t, os.Mkdir(filepath.Join(n.dir, d), 0o755))
	}
	put(t, n.path("uptime"), "100000.00 300000.00\n")
	// See mountsOf.
	must(t, os.Symlink("/proc/sys", filepath.Join(n.dir, "mnt", "other")))
	return n
}

// mountsOf is the directory of mount points. To the kernel the path leads over a
// link to another file system, cleaned it is mnt: so what is made below it seems
// to be mounted, and no test needs root for a real mount.
func (n *fakeNode) mountsOf() string { return n.dir + "/mnt/other/.." }

func (n *fakeNode) node() Node {
	return Node{
		Containers: n, Registry: n, Snapshots: n, Images: n, Freezer: n,
		State: n.path("state"), Mounts: n.mountsOf(), Scripts: n.path("conf"), Compact: n.path("pcompact.pid"), Uptime: n.path("uptime"),
		Keep: func(f *os.File) { n.kept = f }, Finish: func() error { n.finishers++; return nil }, Pause: time.Microsecond,
		Free: func(string) (uint64, error) { return cmp.Or(n.free, 1<<50), nil },
	}
}

func (n *fakeNode) path(name string) string { return filepath.Join(n.dir, name) }

// call records a step and fails if it is its turn. work is what the step does.
func (n *fakeNode) call(ctx context.Context, what string, work func() error) error {
	n.calls = append(n.calls, what)
	if n.at != nil {
		n.at(len(n.calls))
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: not started: %w", what, err) // as run.Runner does
	}
	if len(n.calls) == n.hang {
		return n.leave(what, work)
	}
	fault := fmt.Errorf("planted fault in %s", what)
	if len(n.calls) == n.failAt && !n.late {
		return fault
	}
	if n.fault != nil {
		if err := n.fault(what); err != nil {
			return err
		}
	}
	if err := work(); err != nil {
		return fmt.Errorf("fake %s: %w", what, err)
	}
	if len(n.calls) == n.failAt {
		return fault
	}
	return nil
}

// left is the error of a tool that is not awaited any longer, as run.Error.
type left struct{ what string }

func (l left) Error() string   { return l.what + " is not awaited any longer" }
func (l left) StillRuns() bool { return true }

// leave is a tool that outlasts its job.
func (n *fakeNode) leave(what string, work func() error) error {
	input, err := unix.Dup(int(n.kept.Fd()))
	if err != nil {
		return err
	}
	n.wake = func() error {
		defer unix.Close(input)
		return work()
	}
	return left{what}
}

func (n *fakeNode) List(ctx context.Context) ([]prlctl.Container, error) {
	err := n.call(ctx, "list", func() error { return nil })
	if err != nil {
		return nil, err
	}
	return n.list, nil
}

func (n *fakeNode) Describe(ctx context.Context, uuid string) (prlctl.Place, error) {
	err := n.call(ctx, "describe", func() error { return nil })
	if err != nil {
		return prlctl.Place{}, err
	}
	return n.place, nil
}

func (n *fakeNode) Owns(private string) (bool, string, error) {
	err := n.call(context.Background(), "owns", func() error { return nil })
	if n.owner == noOwner {
		return true, "", err
	}
	return n.owner == "", cmp.Or(n.owner, "node1"), err
}

func (n *fakeNode) Snapshot(ctx context.Context, descriptor, uuid string) error {
	return n.call(ctx, "snapshot", func() error {
		if n.shots[descriptor] != "" {
			return errors.New("there is one already")
		}
		n.shots[descriptor] = uuid
		return n.write(descriptor, uuid)
	})
}

func (n *fakeNode) Mount(ctx context.Context, descriptor, uuid, dir string) error {
	return n.call(ctx, "mount", func() error {
		if n.shots[descriptor] != uuid {
			return errors.New("no such snapshot")
		}
		if n.mountAs != nil {
			n.mounts[dir] = descriptor
			return n.mountAs(descriptor, dir)
		}
		if err := os.Remove(dir); err != nil {
			return err
		}
		n.mounts[dir] = descriptor
		return os.Rename(n.trees[descriptor], dir)
	})
}

func (n *fakeNode) Unmount(ctx context.Context, _, _, dir string) error {
	return n.call(ctx, "unmount", func() error { return n.unmount(dir) })
}

func (n *fakeNode) unmount(dir string) error {
	descriptor, there := n.mounts[dir]
	if !there {
		return ploop.ErrNotMounted
	}
	if open := openBelow(dir); len(open) > 0 {
		return fmt.Errorf("busy: %q", open)
	}
	delete(n.mounts, dir)
	if n.unmountAs != nil {
		return n.unmountAs(dir)
	}
	return errors.Join(os.Rename(dir, n.trees[descriptor]), os.Mkdir(dir, 0o700))
}

func (n *fakeNode) Merge(ctx context.Context, descriptor, uuid string) error {
	return n.call(ctx, "merge", func() error {
		switch {
		case n.shots[descriptor] == "":
			return ploop.ErrNoSnapshot
		case n.shots[descriptor] != uuid:
			return errors.New("that snapshot is another job's")
		}
		for dir, d := range n.mounts {
			if d == descriptor {
				return fmt.Errorf("still mounted at %s", dir)
			}
		}
		delete(n.shots, descriptor)
		return n.write(descriptor, "")
	})
}

func (n *fakeNode) Settle(descriptor, _ string) error {
	n.completed = append(n.completed, descriptor)
	return nil
}

func (n *fakeNode) Users(context.Context, string) ([]string, error) {
	if n.users == nil {
		return nil, nil
	}
	return n.users(), nil
}

func (n *fakeNode) Repair(ctx context.Context, descriptor, _ string) error {
	return n.call(ctx, "repair", func() error {
		if n.repair == nil {
			return ploop.ErrNoRepair
		}
		return n.repair(descriptor)
	})
}

func (n *fakeNode) Init(ctx context.Context, i ploop.New) error {
	descriptor := filepath.Join(filepath.Dir(i.Image), "DiskDescriptor.xml")
	return n.call(ctx, "init", func() error {
		if _, err := os.Lstat(i.Image); err == nil {
			return errors.New("the image exists")
		}
		n.trees[descriptor] = n.path("tree-" + filepath.Base(filepath.Dir(i.Image)))
		n.keys = append(n.keys, i.KeyID)
		return errors.Join(os.RemoveAll(n.trees[descriptor]), n.write(descriptor, ""))
	})
}

func (n *fakeNode) MountWritable(ctx context.Context, descriptor, dir string) error {
	return n.call(ctx, "mount", func() error {
		if n.trees[descriptor] == "" {
			return errors.New("no such disk")
		}
		for at, d := range n.mounts {
			if d == descriptor {
				return fmt.Errorf("already used: mounted at %s", at)
			}
		}
		n.mounts[dir] = descriptor
		if _, err := os.Lstat(n.trees[descriptor]); err == nil {
			return errors.Join(os.Remove(dir), os.Rename(n.trees[descriptor], dir))
		}
		// As mkfs makes it; and so the mount point cannot be removed, as in truth.
		return os.Mkdir(filepath.Join(dir, "lost+found"), 0o700)
	})
}

func (n *fakeNode) UnmountWritable(ctx context.Context, descriptor, dir string) error {
	return n.call(ctx, "unmount", func() error {
		if at := n.mounts[dir]; at != "" && at != descriptor {
			return errors.New("another disk is mounted there")
		}
		return n.unmount(dir)
	})
}

func (n *fakeNode) Areas() (string, error) { return n.path("private/*"), nil }

func (n *fakeNode) PrivateFor(ctid string) (string, error) {
	return n.path("private/" + ctid), n.call(context.Background(), "private", func() error { return nil })
}

func (n *fakeNode) RootFor(ctid string) (string, error) {
	return n.path("root/" + ctid), n.call(context.Background(), "root", func() error { return nil })
}

func (n *fakeNode) HasTemplate(name string) (bool, error) {
	switch name {
	case ".gone-1-x86_64":
		return false, nil
	case ".odd-1-x86_64":
		return false, errors.New("planted fault in template")
	}
	return true, nil
}

func (n *fakeNode) Register(ctx context.Context, private string) error {
	return n.call(ctx, "register", func() error {
		for _, f := range []string{"ve.conf", ".ve.layout", "root.hdd/DiskDescriptor.xml"} {
			if _, err := os.Lstat(filepath.Join(private, f)); err != nil {
				return err
			}
		}
		if len(n.mounts) > 0 {
			return fmt.Errorf("its disks are in use: %v", n.mounts)
		}
		conf, err := prlctl.ReadConfig(filepath.Join(private, "ve.conf"))
		if err != nil {
			return err
		}
		for _, k := range n.list {
			if k.UUID == conf.Get("UUID") {
				return errors.New("it is registered already")
			}
		}
		if n.owners {
			if err := os.WriteFile(filepath.Join(private, ownerName), []byte("node1\n"), 0o644); err != nil {
				return err
			}
		}
		n.registered = append(n.registered, private)
		n.list = append(n.list, prlctl.Container{UUID: conf.Get("UUID"), CTID: filepath.Base(private), Name: conf.Get("NAME"), State: "stopped"})
		return nil
	})
}

func (n *fakeNode) Start(ctx context.Context, uuid string) error {
	return n.call(ctx, "start", func() error {
		n.started = append(n.started, uuid)
		if k := n.web(); k != nil {
			k.State = "running"
		}
		return nil
	})
}

// group is the control group of the container called web.
const group = "/sys/fs/cgroup/freezer/machine.slice/" + webID

func (n *fakeNode) Find(pid int, ctid string) (string, error) {
	err := n.call(context.Background(), "find", func() error {
		if pid != os.Getpid() || ctid != webID {
			return fmt.Errorf("process %d, container %s", pid, ctid)
		}
		return nil
	})
	return group, err
}

func (n *fakeNode) Freeze(ctx context.Context, g string) (func() (time.Duration, error), error) {
	if err := n.call(ctx, "freeze", func() error { n.frozen = g; return nil }); err != nil {
		n.frozen = ""
		return nil, err
	}
	return func() (time.Duration, error) { return 143 * time.Millisecond, n.Thaw(g) }, nil
}

func (n *fakeNode) Frozen(g string) (bool, error) { return n.frozen == g, nil }

func (n *fakeNode) Thaw(g string) error {
	return n.call(context.Background(), "thaw", func() error {
		if g != group {
			return fmt.Errorf("group %q", g)
		}
		n.frozen = ""
		return nil
	})
}

// write makes a disk's descriptor and images, with the snapshot given or none.
// The descriptors are those that ploop 9.0.30 has made.
func (n *fakeNode) write(descriptor, snapshot string) error {
	file := "../ploop/testdata/DiskDescriptor.0.xml"
	if snapshot != "" {
		file = "../ploop/testdata/DiskDescriptor.1.xml"
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := strings.ReplaceAll(string(b), "11111111-1111-4111-8111-111111111111", snapshot)
	header := make([]byte, 64)
	copy(header, "WithouFreSpacExt")
	header[29] = 8
	delta := filepath.Join(filepath.Dir(descriptor), "root.hds.{6314aba7-96e2-4525-8443-31018c30328e}")
	if snapshot == "" {
		if err := os.Remove(delta); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	} else if err := os.WriteFile(delta, header, 0o600); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(descriptor, []byte(text), 0o600),
		os.WriteFile(filepath.Join(filepath.Dir(descriptor), "root.hds"), header, 0o600))
}

// openBelow names what this process has open at or below dir.
func openBelow(dir string) []string {
	var out []string
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && (to == dir || strings.HasPrefix(to, dir+"/")) {
			out = append(out, to)
		}
	}
	return out
}

// left names everything that a job has left behind on the node.
func (n *fakeNode) left(t *testing.T) []string {
	t.Helper()
	var left []string
	for _, dir := range []string{"state", "mnt", "vzlock"} {
		must(t, filepath.WalkDir(n.path(dir), func(p string, d os.DirEntry, err error) error {
			switch rel, _ := filepath.Rel(n.dir, p); rel {
			case "state", "vzlock", "mnt", "mnt/other", "state/journal", "state/locks", "state/progress":
				return nil
			case "state/descriptors":
				return filepath.SkipDir // copies that stay
			case "state/levels":
				return nil
			default:
				if filepath.Dir(rel) == "state/levels" && !strings.HasSuffix(rel, ".new") {
					return nil // what is remembered of backups
				}
				left = append(left, rel)
				return err
			}
		}))
	}
	records, err := filepath.Glob(n.path("private/*/*/" + ownPrefix + "*"))
	must(t, err)
	left = append(left, records...)
	for _, m := range []map[string]string{n.shots, n.mounts} {
		for k, v := range m {
			left = append(left, k+" "+v)
		}
	}
	if n.frozen != "" {
		left = append(left, "frozen "+n.frozen)
	}
	if f, err := os.Open(n.path("pcompact.pid")); err == nil {
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			left = append(left, "lock on pcompact.pid")
		}
		f.Close()
	}
	if _, err := os.Lstat(n.path("lock.lock")); err == nil {
		left = append(left, "lock.lock")
	}
	return append(left, openBelow(n.dir)...)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
