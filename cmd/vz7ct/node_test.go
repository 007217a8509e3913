// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

const (
	webID  = "4b16639b-dbb9-45a5-b4c2-9f7ae90dfe2c"
	oldID  = "9a31e19b-34a7-4b22-b8c4-0b1f2a3c4d5e"
	shotID = "11111111-1111-4111-8111-111111111111" // that of ploop/testdata
)

// fakeNode is a node in a directory with one container. It records what is asked
// of it, and fails where a test says so.
type fakeNode struct {
	dir     string
	list    []prlctl.Container
	devices []ploop.Device
	calls   []string
	// fail has the errors of calls by their first word.
	fail map[string]error
	// owner is what .owner says if another node has the container.
	owner string
	// clock goes on when the program pauses, of which paused, if set, is told.
	clock  time.Time
	paused func()
}

var (
	_ fdplugin.Containers = (*fakeNode)(nil)
	_ fdplugin.Snapshots  = (*fakeNode)(nil)
	_ fdplugin.Images     = (*fakeNode)(nil)
)

func (n *fakeNode) call(words ...string) error {
	n.calls = append(n.calls, strings.Join(words, " "))
	return n.fail[words[0]]
}

func (n *fakeNode) Areas() (string, error) { return n.path("private/*"), n.fail["areas"] }

func (n *fakeNode) Settle(string, string) error { return nil }

func (n *fakeNode) Openers(context.Context, string) ([]string, error) { return nil, nil }

func (n *fakeNode) Users(context.Context, string) ([]string, error) { return nil, nil }

func (n *fakeNode) Repair(_ context.Context, descriptor, _ string) error {
	return n.call("repair", descriptor)
}

func (n *fakeNode) List(context.Context) ([]prlctl.Container, error) {
	return n.list, n.fail["list"]
}

func (n *fakeNode) Describe(_ context.Context, uuid string) (prlctl.Place, error) {
	private := n.private(uuid)
	conf, err := prlctl.ReadConfig(filepath.Join(private, "ve.conf"))
	return prlctl.Place{CTID: uuid, Private: private, Root: "/none", Config: conf}, err
}

func (n *fakeNode) Owns(string) (bool, string, error) {
	return n.owner == "", n.owner, n.fail["owns"]
}

func (n *fakeNode) Unmount(_ context.Context, _, _, dir string) error { return n.call("unmount", dir) }

func (n *fakeNode) Merge(_ context.Context, descriptor, uuid string) error {
	if err := n.call("merge", uuid); err != nil {
		return err
	}
	return n.write(descriptor, false)
}

var errUnasked = errors.New("recovery must not do this")

func (n *fakeNode) Snapshot(context.Context, string, string) error      { return errUnasked }
func (n *fakeNode) Mount(context.Context, string, string, string) error { return errUnasked }
func (n *fakeNode) Init(context.Context, ploop.New) error               { return errUnasked }
func (n *fakeNode) MountWritable(context.Context, string, string) error { return errUnasked }
func (n *fakeNode) UnmountWritable(_ context.Context, _, dir string) error {
	return n.call("unmount", dir)
}

func (n *fakeNode) Stop(context.Context, string) error       { return errUnasked }
func (n *fakeNode) Unregister(context.Context, string) error { return errUnasked }

func (n *fakeNode) path(name string) string    { return filepath.Join(n.dir, name) }
func (n *fakeNode) private(uuid string) string { return n.path("private/" + uuid) }
func (n *fakeNode) descriptor(disk string) string {
	return n.private(webID) + "/" + disk + "/DiskDescriptor.xml"
}

// write makes a disk as ploop 9.0.30 has made it, with a snapshot or without.
func (n *fakeNode) write(descriptor string, snapshot bool) error {
	name := "DiskDescriptor.0.xml"
	if snapshot {
		name = "DiskDescriptor.1.xml"
	}
	b, err := os.ReadFile("../../ploop/testdata/" + name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(descriptor), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(descriptor, b, 0o600); err != nil {
		return err
	}
	d, err := ploop.Read(descriptor)
	if err != nil {
		return err
	}
	for _, i := range d.Images {
		if err := os.WriteFile(i.File, header(false), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// header is an image that consists of its header.
func header(inUse bool) []byte {
	b := make([]byte, 64)
	copy(b, "WithouFreSpacExt")
	b[29] = 8
	if inUse {
		copy(b[44:], "Ynot")
	}
	return b
}

// webNode is a node with a running container of one disk, without snapshots.
func webNode(t *testing.T) *fakeNode {
	t.Helper()
	n := &fakeNode{dir: t.TempDir(), fail: map[string]error{}}
	n.list = []prlctl.Container{{UUID: webID, CTID: webID, Name: "web", State: "running"}}
	must(t, os.MkdirAll(n.path("mnt"), 0o755))
	must(t, os.MkdirAll(n.path("state/journal"), 0o700))
	put(t, n.private(webID)+"/ve.conf", "")
	must(t, n.write(n.descriptor("root.hdd"), false))
	return n
}

// run runs the program on the node.
func (n *fakeNode) run(args ...string) (status int, stdout, stderr string) {
	var out, log bytes.Buffer
	a := app{
		node:    fdplugin.Node{Containers: n, Snapshots: n, Images: n, State: n.path("state"), Mounts: n.path("mnt")},
		devices: func(context.Context) ([]ploop.Device, error) { return n.devices, n.fail["devices"] },
		stdout:  &out, stderr: &log, log: newLog(&log), syslog: io.Discard,
		now: func() time.Time { return n.clock },
		pause: func(d time.Duration) {
			n.clock = n.clock.Add(d)
			if n.paused != nil {
				n.paused()
			}
		},
	}
	status = a.run(args)
	return status, out.String(), log.String()
}

// journal makes the journal of a job with these steps, which is live until the
// test closes it.
func (n *fakeNode) journal(t *testing.T, job string, pid int, steps ...undo.Step) *undo.Journal {
	t.Helper()
	j, err := undo.Create(n.path("state/journal"), job, undo.Head{Job: job, Container: "web " + webID, PID: pid, Started: "2026-01-02T03:04:05Z"})
	must(t, err)
	for _, s := range steps {
		must(t, j.Intend(s))
	}
	return j
}

// backupSteps are those of a backup that has mounted its snapshot.
func (n *fakeNode) backupSteps(t *testing.T) []undo.Step {
	t.Helper()
	dd, dir := n.descriptor("root.hdd"), n.path("mnt/"+webID+".11111111.0")
	must(t, n.write(dd, true))
	must(t, os.Mkdir(dir, 0o700))
	return []undo.Step{
		{Do: undo.MadeSnapshot, Descriptor: dd, Snapshot: shotID, Container: webID},
		{Do: undo.MadeDir, Dir: dir},
		{Do: undo.Mounted, Descriptor: dd, Snapshot: shotID, Dir: dir},
	}
}

// files are all files of the node with their content.
func (n *fakeNode) files(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	must(t, filepath.WalkDir(n.dir, func(p string, d os.DirEntry, err error) error {
		b, _ := os.ReadFile(p)
		fmt.Fprintf(&all, "%s %q\n", p, b)
		return err
	}))
	return all.String()
}

func put(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// has fails the test for each word that is not in what was said.
func has(t *testing.T, what, said string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("%s says\n%swithout %q", what, said, w)
		}
	}
}
