// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/ploop"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// wholes are hostile backups of whole containers: what is in the private area is read,
// and acted upon, by the node's root.
func wholes() []*attack {
	symlink := func(name, to string) streamed { return linked(fdplugin.Symlink, name, to) }
	list := []*attack{
		{name: "whole: name that climbs out of the private area", stream: []streamed{reg("/../outside/flag").private()}},
		{name: "whole: name that climbs out of the disk", stream: []streamed{reg("/a/../../outside/flag")}},
		{name: "whole: a link in the private area, then names below it",
			stream: []streamed{symlink("/scripts", "OUTSIDE").private(), reg("/scripts/flag").private()}},
		{name: "whole: a relative link in the private area", stream: []streamed{symlink("/a/way", "../../outside").private(), reg("/a/way/flag").private()}},
		{name: "whole: a link on the disk, then names below it", stream: []streamed{symlink("/way", "OUTSIDE"), reg("/way/flag")}},
		{name: "whole: the configuration is a link", stream: []streamed{symlink("/ve.conf", "OUTSIDE/flag").private(), reg("/ve.conf").private()}},
		{name: "whole: the folder of action scripts is a link", stream: []streamed{symlink("/.vz7ct", "OUTSIDE").private(), reg("/.vz7ct/b/flag").private()}},
		{name: "whole: an action script is a link",
			stream: []streamed{symlink("/.vz7ct/etc-vz-conf/"+uuid+".mount", "OUTSIDE/flag").private(), reg("/.vz7ct/etc-vz-conf/" + uuid + ".mount").private()}},
		{name: "whole: hard link to a file outside", naive: byNode, stream: []streamed{linked(fdplugin.HardLink, "/target", tree+"/../outside/flag")}},
		{name: "whole: hard link between the disk and the private area", naive: byNode,
			stream: []streamed{symlink("/way", "OUTSIDE").private(), linked(fdplugin.HardLink, "/target", area+"/way/flag")}},
	}
	for _, a := range list {
		a.whole = true
	}
	return list
}

// newNode is a node without containers: disks are made in memory.
type newNode struct {
	fakeNode
	dir string
}

func (newNode) List(context.Context) ([]prlctl.Container, error)  { return nil, nil }
func (n newNode) PrivateFor(string) (string, error)               { return filepath.Join(n.dir, "area"), nil }
func (n newNode) RootFor(string) (string, error)                  { return filepath.Join(n.dir, "mounted"), nil }
func (n newNode) HasTemplate(string) (bool, error)                { return true, nil }
func (newNode) Openers(context.Context, string) ([]string, error) { return nil, nil }
func (newNode) Register(context.Context, string) error            { return nil }
func (newNode) Start(context.Context, string) error               { return nil }
func (newNode) Stop(context.Context, string) error                { return nil }
func (newNode) Unregister(context.Context, string) error          { return nil }

func (newNode) Init(_ context.Context, i ploop.New) error {
	disk(filepath.Dir(i.Image))
	return nil
}

func (newNode) MountWritable(_ context.Context, _, dir string) error {
	return unix.Mount("memory", dir, "tmpfs", 0, "size=64m")
}

func (newNode) UnmountWritable(_ context.Context, _, dir string) error { return unix.Unmount(dir, 0) }

// manifest is what a restore must know before its first file.
func manifest() streamed {
	s := reg("/.vz7ct/manifest.json").private()
	s.content = fmt.Sprintf(`{"vz7ct_manifest":1,"plugin":"test","job":"test","created":"2026-01-02T03:04:05Z","uuid":%[1]q,"ctid":%[1]q,"name":"web","state":"stopped",
		"private":"/vz/private/%[2]s","root":"/vz/root/%[2]s","ve_conf":"","disks":[{"uuid":"00000000-0000-0000-0000-000000000000","mount":"/","catalogue":"","image":"root.hdd/root.hds",
		"size_sectors":2097152,"cluster_sectors":2048,"image_version":2,"used_bytes":1000,"used_inodes":10}]}`, uuid, uuid)
	s.Stat.Size = int64(len(s.content))
	return s
}

// wholeOnce plays the backup as that of a whole container.
func (g *ground) wholeOnce(a *attack, r *result) error {
	err := g.wholeOne(append([]streamed{manifest(), reg("/honest")}, a.stream...))
	if !strings.Contains(err.Error(), "restoring container web") {
		r.Faults = append(r.Faults, "the restore has not begun: "+err.Error())
	}
	for _, s := range a.stream {
		err = errors.Join(err, g.wholeOne([]streamed{manifest(), s}))
	}
	return err
}

func (g *ground) wholeOne(list []streamed) error {
	j, said := g.job()
	defer j.Close()
	n := newNode{fakeNode{}, filepath.Join(g.Dir, "state", "new")}
	check(errors.Join(os.RemoveAll(n.dir), os.MkdirAll(n.dir, 0o700)))
	j.Node.Containers, j.Node.Registry, j.Node.Images, j.Node.Snapshots = n, n, n, n
	j.AddOptions("vz7ct:restore=ct:restore_trust_config=yes") // else no link of a private area comes that far
	if err := j.StartRestore("vz7ct:restore=ct"); err != nil {
		return errors.New(said.String())
	}
	g.deliver(j, list)
	return errors.New(said.String())
}
