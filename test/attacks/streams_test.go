// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/prlctl"
	"github.com/bareos-contrib/vz7ct/restore"
)

const (
	uuid = "4b16639b-dbb9-45a5-b4c2-9f7ae90dfe2c"
	tree = "/mnt/bareos/" + uuid
	area = "/vz/private/" + uuid
)

// streamed is a file of a hostile backup, as a daemon hands it to the plugin.
type streamed struct {
	fdplugin.Restored
	content string
	xattrs  map[string]string
}

func reg(name string) streamed { return kind(fdplugin.Regular, unix.S_IFREG|0o4755, name) }

func kind(k fdplugin.Kind, mode uint32, name string) streamed {
	s := streamed{content: "changed", Restored: fdplugin.Restored{Kind: k, Name: tree + name, Replace: restore.Always}}
	s.Stat = unix.Stat_t{Mode: mode, Uid: 7, Gid: 8, Size: 7, Mtim: unix.Timespec{Sec: 1e9}}
	return s
}

func linked(k fdplugin.Kind, name, to string) streamed {
	s := kind(k, unix.S_IFLNK|0o777, name)
	s.Link = to
	return s
}

func (s streamed) with(xattrs map[string]string) streamed {
	s.xattrs = xattrs
	return s
}

// private puts it into the container's private area.
func (s streamed) private() streamed {
	s.Name = area + strings.TrimPrefix(s.Name, tree)
	return s
}

// naively is the item that a restorer would make of it which believes everything.
func (s streamed) naively(g *ground) item {
	strip := func(name string) string {
		name = strings.ReplaceAll(name, "OUTSIDE", g.outside())
		return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(name, area), tree), "/")
	}
	it := item{content: s.content, xattrs: s.xattrs, Item: restore.Item{
		Path: strip(s.Name), Mode: s.Stat.Mode, UID: s.Stat.Uid, GID: s.Stat.Gid, Rdev: s.Stat.Rdev,
		Atime: s.Stat.Atim.Sec, Mtime: s.Stat.Mtim.Sec, Replace: s.Replace,
	}}
	switch s.Kind {
	case fdplugin.HardLink:
		it.First = strip(s.Link)
	case fdplugin.Symlink:
		it.Link = strings.ReplaceAll(s.Link, "OUTSIDE", g.outside())
	}
	return it
}

// streams are hostile backups. OUTSIDE stands for the place outside of the root.
func streams() []*attack {
	symlink := func(name, to string) streamed { return linked(fdplugin.Symlink, name, to) }
	hardlink := func(name, to string) streamed { return linked(fdplugin.HardLink, name, to) }
	directory := func(name string) streamed { return kind(fdplugin.Directory, unix.S_IFDIR|0o777, name) }
	settings := reg("/etc/hostname")
	settings.Stat.Mode, settings.Stat.Uid, settings.Stat.Gid = unix.S_IFREG|0o644, 0, 0
	long, short, none := reg("/etc/hostname"), reg("/etc/hostname"), reg("/etc/hostname")
	long.Stat.Size, short.Stat.Size, none.Stat.Size = 1<<50, 1, -1
	device := kind(fdplugin.Special, unix.S_IFCHR|0o666, "/../outside/device")
	device.Stat.Rdev = unix.Mkdev(1, 3)
	return []*attack{
		{name: "stream: name that climbs", stream: []streamed{reg("/../outside/flag")}},
		{name: "stream: name that climbs from inside", stream: []streamed{reg("/a/b/../../../outside/flag")}},
		{name: "stream: directory that climbs", stream: []streamed{directory("/../outside/b/")}},
		{name: "stream: device outside", stream: []streamed{device}},
		{name: "stream: a NUL behind dots", stream: []streamed{directory("/..\x00x")}},
		{name: "stream: a link, then names below it", stream: []streamed{symlink("/way", "OUTSIDE"), reg("/way/flag"), directory("/way/b/")}},
		{name: "stream: a relative link, then names below it", stream: []streamed{symlink("/a/way", "../../outside"), reg("/a/way/flag")}},
		{name: "stream: a link, then a file of its name", stream: []streamed{symlink("/target", "OUTSIDE/flag"), reg("/target")}},
		{name: "stream: a link, then a directory of its name", stream: []streamed{symlink("/dir", "OUTSIDE/b"), directory("/dir/")}},
		{name: "stream: a directory that becomes a link", stream: []streamed{reg("/dir/x"), symlink("/dir2", "OUTSIDE"), reg("/dir2/b/flag")}},
		{name: "stream: attributes of a link", stream: []streamed{symlink("/target", "OUTSIDE/flag").with(map[string]string{
			"trusted.evil": "x", "security.evil": "x", "user.evil": "x", "system.evil": "x", "nonsense": "x", strings.Repeat("n", 300): "x"})}},
		{name: "stream: hard link to a file outside", naive: byNode, stream: []streamed{hardlink("/target", tree+"/../outside/flag")}},
		{name: "stream: hard link behind a link", naive: byNode, stream: []streamed{symlink("/way", "OUTSIDE"), hardlink("/target", tree+"/way/flag")}},
		{name: "stream: hard link to a link", stream: []streamed{symlink("/first", "OUTSIDE/flag"), hardlink("/target", tree+"/first")}},
		{name: "stream: the container's root never answers", plant: func(*ground) { rootThatHangs("/mnt") }, stream: []streamed{reg("/x")}, hangs: true},
		{name: "stream: sizes that lie", stream: []streamed{long, short, none}, seen: func(g *ground) []string {
			if b, err := os.ReadFile(g.root() + "/etc/hostname"); string(b) != "inside" {
				return []string{fmt.Sprintf("what was there has become %q, %v", b, err)}
			}
			return nil
		}},
		{name: "stream: the kernel's settings", plant: links("/proc/sys/kernel", "/etc"), stream: []streamed{settings}},
	}
}

// node is a node with one running container, of which the plugin asks no more than
// where it is.
type fakeNode struct{ place prlctl.Place }

func (n fakeNode) List(context.Context) ([]prlctl.Container, error) {
	return []prlctl.Container{{UUID: uuid, CTID: uuid, Name: "web", State: "running"}}, nil
}
func (n fakeNode) Describe(context.Context, string) (prlctl.Place, error) { return n.place, nil }
func (n fakeNode) Owns(string) (bool, string, error)                      { return true, "node", nil }
func (n fakeNode) Areas() (string, error)                                 { return n.place.Private, nil }

func (n fakeNode) Snapshot(context.Context, string, string) error        { return errLooked }
func (n fakeNode) Mount(context.Context, string, string, string) error   { return errLooked }
func (n fakeNode) Unmount(context.Context, string, string, string) error { return errLooked }
func (n fakeNode) Merge(context.Context, string, string) error           { return errLooked }
func (n fakeNode) Users(context.Context, string) ([]string, error)       { return nil, errLooked }
func (n fakeNode) Repair(context.Context, string, string) error          { return errLooked }
func (n fakeNode) Settle(string, string) error                           { return errLooked }

// messages keeps what a job says.
type messages struct{ bytes.Buffer }

func (m *messages) Levels() []logrus.Level { return logrus.AllLevels }
func (m *messages) Fire(e *logrus.Entry) error {
	fmt.Fprintf(m, "%s: %s\n", e.Level, e.Message)
	return nil
}

// job is a job of the plugin on the ground.
func (g *ground) job() (*fdplugin.Job, *messages) {
	for _, d := range []string{"private", "conf", "run", "mounts", "locks"} {
		check(os.MkdirAll(filepath.Join(g.Dir, "state", d), 0o700))
	}
	state := func(name string) string { return filepath.Join(g.Dir, "state", name) }
	check(os.WriteFile(state("private/ve.conf"), []byte("VEID=\""+uuid+"\"\n"), 0o600))
	check(os.WriteFile(state("run/"+uuid+".init.pid"), []byte(fmt.Sprintln(g.Pid)), 0o600))
	check(os.WriteFile(state("uptime"), []byte("100000.00 1.00\n"), 0o600))
	disk(state("private/root.hdd"))
	conf, err := prlctl.ReadConfig(state("private/ve.conf"))
	check(err)
	n := fakeNode{prlctl.Place{CTID: uuid, Private: state("private"), Root: g.root(), Lock: state("locks/" + uuid + ".lck"), Config: conf, Run: state("run")}}
	log, said := logrus.New(), &messages{}
	log.SetOutput(new(bytes.Buffer))
	log.AddHook(said)
	j := &fdplugin.Job{
		Version: "test", Name: "attack", Log: logrus.NewEntry(log), Host: noHost{}, Daemon: fdplugin.Daemon{Name: "test"},
		Node: fdplugin.Node{Containers: n, Snapshots: n, State: state("plugin"), Mounts: state("mounts"), Scripts: state("conf"), Compact: state("compact"), Uptime: state("uptime")},
	}
	j.Open()
	j.SetLevel('F')
	return j, said
}

// noHost is a daemon that makes full backups of everything.
type noHost struct{}

func (noHost) FileIndex() int                        { return 0 }
func (noHost) Accepts(*fdplugin.Entry) bool          { return true }
func (noHost) Changed(*fdplugin.Entry) (bool, error) { return true, nil }
func (noHost) Accurate() bool                        { return false }
func (noHost) Previous() string                      { return "" }
func (noHost) Since() int64                          { return 0 }

// disk puts files there as a disk of one image has them: enough to be looked at.
func disk(dir string) {
	header := make([]byte, 64)
	copy(header, "WithouFreSpacExt")
	header[29] = 8
	descriptor, err := os.ReadFile("../../ploop/testdata/DiskDescriptor.0.xml")
	check(errors.Join(err, os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "root.hds"), header, 0o600),
		os.WriteFile(filepath.Join(dir, "DiskDescriptor.xml"), descriptor, 0o600)))
}

// streamOnce plays the backup into the running container by the plugin.
func (g *ground) streamOnce(a *attack, r *result) error {
	// All in one job, behind an honest file, and each in one of its own: the first may
	// end it.
	err := g.streamOne(append([]streamed{reg("/honest")}, a.stream...))
	if !a.hangs && !strings.Contains(err.Error(), "into running container web") {
		r.Faults = append(r.Faults, "the restore has not begun: "+err.Error())
	}
	for _, s := range a.stream {
		err = errors.Join(err, g.streamOne([]streamed{s}))
	}
	return err
}

func (g *ground) streamOne(list []streamed) error {
	j, said := g.job()
	defer j.Close()
	if err := j.StartRestore("vz7ct:name=web:restore=file"); err != nil {
		return errors.New(said.String())
	}
	g.deliver(j, list)
	return errors.New(said.String())
}

// deliver is a daemon's part of a restore.
func (g *ground) deliver(j *fdplugin.Job, list []streamed) {
	for _, s := range list {
		s.Name, s.Link = strings.ReplaceAll(s.Name, "OUTSIDE", g.outside()), strings.ReplaceAll(s.Link, "OUTSIDE", g.outside())
		answer, err := j.CreateFile(&s.Restored)
		if err != nil {
			break
		}
		if fd := j.OpenRestored(); answer == fdplugin.Extract && fd >= 0 {
			_, err = unix.Write(fd, []byte(s.content))
			check(err)
		}
		for name, value := range s.xattrs {
			j.SetXattr(name, []byte(value))
		}
		j.EndFile(false)
	}
	j.EndRestore(fdplugin.Good)
}
