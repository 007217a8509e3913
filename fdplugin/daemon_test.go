// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/prlctl"
	"github.com/bareos-contrib/vz7ct/restore"
)

// TestMain keeps the tests off the disk, if it can: the journal syncs every step,
// and here that is nothing but time.
func TestMain(m *testing.M) {
	if os.Getenv("TMPDIR") == "" {
		if dir, err := os.MkdirTemp("/dev/shm", "fdplugin-"); err == nil {
			defer os.RemoveAll(dir)
			os.Setenv("TMPDIR", dir)
		}
	}
	m.Run()
}

// webNode is a node with a running container of two disks.
func webNode(t *testing.T) *fakeNode {
	t.Helper()
	n := emptyNode(t)
	private := n.path("private/" + webID)
	for name, content := range map[string]string{
		"ve.conf":       "VEID=\"" + webID + "\"\nDISK=\"uuid={" + dataID + "},enabled=yes,mnt=/data,image=data.hdd\"\n",
		"scripts/start": "#!/bin/sh\n", ".uptime": "1", "dump/Dump": "memory", ".owner": "node1",
		"root.hdd/root.hds.mnt": "", "root.hdd/.statfs": "", "data.hdd/DiskDescriptor.xml.lck": "",
	} {
		put(t, filepath.Join(private, name), content)
	}
	must(t, os.Symlink("5", filepath.Join(private, ".ve.layout")))
	for disk, tree := range map[string]string{"root.hdd": "tree-root", "data.hdd": "tree-data"} {
		descriptor := filepath.Join(private, disk, "DiskDescriptor.xml")
		must(t, n.write(descriptor, ""))
		n.trees[descriptor] = n.path(tree)
		must(t, os.MkdirAll(n.path(tree+"/lost+found"), 0o700))
	}
	tree := n.path("tree-root")
	for name, content := range map[string]string{
		"etc/hostname": "web\n", "home/a": "first", "K\xdcBLER.csv": "1;2", "two\nlines": "3", "empty": "",
		"data/hidden": "below a mount point", "var/cache/x/y": "not saved", "aquota.user": "no quota file",
	} {
		put(t, filepath.Join(tree, name), content)
	}
	must(t, os.Link(filepath.Join(tree, "home/a"), filepath.Join(tree, "home/b")))
	must(t, os.Symlink("/etc/hostname", filepath.Join(tree, "etc/link")))
	must(t, unix.Mkfifo(filepath.Join(tree, "etc/fifo"), 0o640))
	must(t, unix.Mknod(filepath.Join(tree, "etc/socket"), unix.S_IFSOCK|0o600, 0))
	must(t, os.Chmod(filepath.Join(tree, "home"), 0o750))
	holes := filepath.Join(tree, "home/holes")
	put(t, holes, "begin")
	must(t, os.Truncate(holes, 1<<20))
	put(t, n.path("tree-data/file"), "on the data disk")
	put(t, n.path("conf/"+webID+".mount"), "#!/bin/sh\n")
	put(t, n.path("conf/"+webID+".conf"), "not a script")
	put(t, n.path("conf/vps.mount"), "the node's own")
	must(t, os.MkdirAll(n.path("root/"+webID+"/etc"), 0o755))

	conf, err := prlctl.ReadConfig(filepath.Join(private, "ve.conf"))
	must(t, err)
	n.list = []prlctl.Container{{UUID: oldID, Name: "old", State: "stopped"}, {UUID: webID, Name: "web", State: "running"}}
	n.place = prlctl.Place{CTID: webID, Private: private, Root: n.path("root/" + webID), Lock: n.path("vzlock/" + webID + ".lck"), Config: conf}
	return n
}

// put writes a file and the directories above it, with a time that is long past.
func put(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: 1e9}, {Sec: 1e9, Nsec: 123456789}}, 0))
}

// jobLog keeps what a job says, a line "level: message" each.
type jobLog struct {
	mu    sync.Mutex
	lines []string
	told  func(line string) // if set, is told of each line
}

func (*jobLog) Levels() []logrus.Level { return logrus.AllLevels }

func (l *jobLog) Fire(e *logrus.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, e.Level.String()+": "+e.Message)
	if l.told != nil {
		l.told(e.Message)
	}
	return nil
}

// all returns the lines of the levels given, of every level if none is.
func (l *jobLog) all(levels ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, line := range l.lines {
		level, _, _ := strings.Cut(line, ":")
		if len(levels) == 0 || strings.Contains(strings.Join(levels, " "), level) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

func newLog() (*logrus.Entry, *jobLog) {
	hook := &jobLog{}
	l := logrus.New()
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.DebugLevel)
	l.AddHook(hook)
	return logrus.NewEntry(l), hook
}

// counter is the daemon's side of a job: the number of the file being saved, and what
// it answers.
type counter struct {
	n        int
	accurate bool
	previous string
	since    int64
	// accepts and changed answer for a file; nil says yes.
	accepts, changed func(*Entry) bool
}

func (c *counter) FileIndex() int        { return c.n }
func (c *counter) Accurate() bool        { return c.accurate }
func (c *counter) Previous() string      { return c.previous }
func (c *counter) Since() int64          { return c.since }
func (c *counter) Accepts(e *Entry) bool { return c.accepts == nil || c.accepts(e) }
func (c *counter) Changed(e *Entry) (bool, error) {
	return c.changed == nil || c.changed(e), nil
}

var bareos = Daemon{Name: "Bareos 25", OwnLinks: true, Plain: true}

// job is a new job of the daemon on this node.
func (n *fakeNode) job(t *testing.T, d Daemon) (*Job, *jobLog) {
	t.Helper()
	log, hook := newLog()
	j := &Job{Version: "1.0", Name: "job.1", Log: log, Host: &counter{}, Daemon: d, Node: n.node()}
	j.Open()
	j.SetLevel('F')
	t.Cleanup(j.Close)
	return j, hook
}

// saved is one file on the fake daemon's volume.
type saved struct {
	Entry
	content string
}

// save is the daemon's part of a backup after StartBackup.
func save(j *Job) (list []saved, err error) {
	flags := Flags{HardLinks: true, Xattrs: true}
	for {
		e, err := j.NextFile(flags)
		if errors.Is(err, ErrStop) {
			return list, err
		}
		j.Host.(*counter).n++
		s := saved{Entry: *e}
		if e.Kind == Regular {
			if s.content, err = content(j); err != nil {
				return list, err
			}
		}
		if e.Kind != Object {
			j.Xattrs()
		}
		list = append(list, s)
		if !j.FileDone() {
			return list, nil
		}
	}
}

func content(j *Job) (string, error) {
	fd, err := j.OpenFile()
	if err != nil {
		return "", err
	}
	defer j.CloseFile()
	var out strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil || n == 0 {
			return out.String(), err
		}
		out.Write(buf[:n])
	}
}

// names are the names of a list, in order.
func names(list []saved) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.Name)
	}
	return out
}

// play is the daemon's part of a restore up to its end: objects first, then the
// files below where.
func play(j *Job, cmd, where string, list []saved) error {
	for n, s := range list {
		if s.Kind == Object {
			j.AddObject(s.Name, n+1, s.Data)
		}
	}
	if err := j.StartRestore(cmd); err != nil {
		return err
	}
	for _, s := range list {
		if s.Kind == Object {
			continue
		}
		r := &Restored{Kind: s.Kind, Name: where + s.Name, Where: where, Link: s.Link, Stat: s.Stat, Replace: restore.Always}
		if s.Kind == HardLink {
			r.Link = where + s.Link
		}
		answer, err := j.CreateFile(r)
		if err != nil {
			return err
		}
		if fd := j.OpenRestored(); answer == Extract && fd >= 0 {
			if err := writeOut(fd, s); err != nil {
				return err
			}
		}
		j.EndFile(false)
	}
	return nil
}

func readConfig(t *testing.T, n *fakeNode) prlctl.Config {
	t.Helper()
	c, err := prlctl.ReadConfig(n.path("private/" + webID + "/ve.conf"))
	must(t, err)
	return c
}

// writeOut writes a file's content: of one with a hole, which no test has more
// than one of, the part before it and the last byte, as cgo's pieces do.
func writeOut(fd int, s saved) error {
	data := []byte(s.content)
	if s.Holes == Pieces {
		if _, err := unix.Pwrite(fd, data[len(data)-1:], int64(len(data)-1)); err != nil {
			return err
		}
		data = bytes.TrimRight(data, "\x00")
	}
	_, err := unix.Pwrite(fd, data, 0)
	return err
}
