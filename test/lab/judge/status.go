// SPDX-License-Identifier: AGPL-3.0-only

// Package judge looks at a lab from outside: what is left on the node, and whether its images are sound in the eyes of
// programs no one here wrote. It changes nothing.
package judge

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/loopdev"
	"github.com/bareos-contrib/vz7ct/test/lab/mounts"
	"github.com/bareos-contrib/vz7ct/test/lab/node"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// Device is a ploop device.
type Device struct {
	Name     string   `json:"name"`
	Cookie   string   `json:"cookie"`
	ReadOnly bool     `json:"readonly"`
	Images   []string `json:"images"`
	Merging  bool     `json:"merging"`
}

// Status is everything that is left on a node. Two of them can be compared.
type Status struct {
	Up         bool                `json:"up"`
	Mounts     []string            `json:"mounts"`          // "POINT SOURCE ro|rw" of file systems on the lab's disks
	Loops      []string            `json:"loops"`           // what the loop devices show
	Connection uint32              `json:"fuse_connection"` // 0 = none
	Devices    []Device            `json:"devices"`
	Snapshots  map[string][]string `json:"snapshots"` // by descriptor, without the top; "(temporary)" marked
	Leftovers  []string            `json:"leftovers"` // files beside a descriptor that it does not name
	Locks      []string            `json:"locks"`     // files in /vz/lock
	Flocks     []string            `json:"flocks"`    // files of the node that somebody has locked
	Bareos     []string            `json:"mnt_bareos"`
	Var        []string            `json:"var_lib_vz7ct"`
	Processes  []string            `json:"processes"` // names of what runs in the node
	Frozen     []string            `json:"frozen"`    // "STATE GROUP" of control groups that are frozen
	Groups     []string            `json:"groups"`    // control groups left by containers that do not run
	Freezer    string              `json:"freezer"`   // how containers can be frozen: "v1 MOUNT" or v2; "" = not at all
}

// Look makes the status of a lab.
func Look(l node.Lab) (*Status, error) {
	st, err := l.State()
	if err != nil {
		return nil, err
	}
	s := &Status{Up: st.Server.Alive() && st.Holder.Alive(), Connection: st.Conn, Snapshots: map[string][]string{}}
	loops, err := l.Loops()
	if err != nil {
		return nil, err
	}
	for _, f := range loops {
		s.Loops = append(s.Loops, filepath.Base(f))
	}
	sort.Strings(s.Loops)
	if st.Holder.Alive() {
		if err := s.mounts(st.Holder.PID, loops); err != nil {
			return nil, err
		}
	}
	if st.Server.Alive() {
		devs, err := server.Client{Dir: l.Dir}.List()
		if err != nil {
			return nil, err
		}
		for _, d := range devs {
			e := Device{Name: d.Name, Cookie: d.Cookie, ReadOnly: d.ReadOnly, Merging: d.Merging}
			for _, v := range d.Levels {
				e.Images = append(e.Images, v.Path)
			}
			s.Devices = append(s.Devices, e)
		}
	}
	if s.Processes, err = l.Processes(); err != nil {
		return nil, err
	}
	if s.Frozen, s.Groups, s.Freezer, err = l.Groups(); err != nil {
		return nil, err
	}
	return s, s.files(l)
}

func (s *Status) mounts(pid int, loops map[int]string) error {
	list, err := mounts.Of(pid)
	if err != nil {
		return err
	}
	for _, m := range list {
		if _, ours := loops[int(m.Minor)]; ours && m.Major == loopdev.Major {
			mode, _, _ := strings.Cut(m.Options, ",")
			s.Mounts = append(s.Mounts, m.Point+" "+m.Source+" "+mode)
		}
	}
	return nil
}

// files looks at the node's folders.
func (s *Status) files(l node.Lab) error {
	root := l.NodeRoot()
	for _, d := range []struct {
		dir  string
		list *[]string
	}{{"vz/lock", &s.Locks}, {"mnt-bareos", &s.Bareos}, {"var-lib-vz7ct", &s.Var}} {
		dir := filepath.Join(root, d.dir)
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && path != dir {
				*d.list = append(*d.list, strings.TrimPrefix(path, dir+"/"))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := s.flocks(root); err != nil {
		return err
	}
	dds, err := Descriptors(l)
	if err != nil {
		return err
	}
	for _, dd := range dds {
		d, err := descriptor.Read(dd)
		if err != nil {
			return fmt.Errorf("%s: %w", dd, err)
		}
		name := strings.TrimPrefix(dd, root)
		s.Snapshots[name] = []string{}
		for _, shot := range d.Shots {
			if shot.GUID == d.Top {
				continue
			}
			g := shot.GUID
			if shot.Temporary {
				g += " (temporary)"
			}
			s.Snapshots[name] = append(s.Snapshots[name], g)
		}
		left, err := orphans(dd, d)
		if err != nil {
			return err
		}
		for _, f := range left {
			s.Leftovers = append(s.Leftovers, strings.TrimPrefix(f, root))
		}
	}
	return nil
}

// orphans lists image files and half-written descriptors that a descriptor does not name.
func orphans(dd string, d *descriptor.Descriptor) ([]string, error) {
	list, err := os.ReadDir(filepath.Dir(dd))
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, i := range d.Images {
		known[filepath.Base(i.File)] = true
	}
	var l []string
	for _, e := range list {
		n := e.Name()
		if !known[n] && (strings.Contains(n, ".hds") || strings.HasPrefix(n, descriptor.Name+".tmp")) {
			l = append(l, filepath.Join(filepath.Dir(dd), n))
		}
	}
	return l, nil
}

// Descriptors lists the DiskDescriptor.xml of every container, as paths outside the node.
func Descriptors(l node.Lab) ([]string, error) {
	return filepath.Glob(filepath.Join(l.NodeRoot(), "vz/private/*/*", descriptor.Name))
}

// flocks finds which of the node's files are locked, by what the kernel tells of all locks.
func (s *Status) flocks(root string) error {
	f, err := os.Open("/proc/locks")
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	held := map[string]bool{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.Fields(sc.Text())
		if len(w) >= 6 && w[1] == "FLOCK" {
			held[w[5]] = true
		}
	}
	if len(held) == 0 {
		return nil
	}
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files come and go
		}
		if !e.Type().IsRegular() {
			return nil
		}
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			key := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
			if held[key] {
				s.Flocks = append(s.Flocks, strings.TrimPrefix(path, root))
			}
		}
		return nil
	})
}
