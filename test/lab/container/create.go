// SPDX-License-Identifier: AGPL-3.0-only

package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/image"
	"github.com/bareos-contrib/vz7ct/test/lab/nasty"
	"github.com/bareos-contrib/vz7ct/test/lab/node"
)

// NewDisk is a further disk of a container to be made.
type NewDisk struct {
	Mount string
	Size  string // as ploop takes it
}

// Spec says what container to make.
type Spec struct {
	Name, UUID string
	CTID       string // "" = UUID
	Size       string
	Disks      []NewDisk
	Tree       string // folder or tar file that becomes the root
	Blocksize  uint32 // sectors, 0 = default
	Version    int    // of the image, 0 = default
	Format     string // expanded, preallocated or raw; "" = expanded
}

// Create makes a container as `prlctl create` leaves it: stopped and registered.
func Create(lab node.Lab, s Spec) (err error) {
	if s.CTID == "" {
		s.CTID = s.UUID
	}
	if s.Name == "" || len(s.UUID) != 36 || s.Size == "" || s.Tree == "" {
		return errors.New("create: name, uuid, size and tree are needed")
	}
	private := filepath.Join(PrivateDir, s.CTID)
	if err := os.Mkdir(private, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(private))
		}
	}()
	conf := s.conf(private)
	for _, d := range []string{"scripts", "dump", "root.hdd/templates"} {
		if err := os.MkdirAll(filepath.Join(private, d), 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(
		os.Symlink("5", filepath.Join(private, ".ve.layout")),
		os.Symlink("root.hdd/templates", filepath.Join(private, "templates")),
		os.WriteFile(filepath.Join(private, ".owner"), []byte("0\n"), 0o644),
		os.WriteFile(filepath.Join(private, ".uptime"), []byte("0 0 0 0\n"), 0o644),
		os.WriteFile(filepath.Join(private, "root.hdd/templates/.centos-7-x86_64"), []byte("centos-7-x86_64\n"), 0o644),
		conf.Store(filepath.Join(private, "ve.conf")),
	); err != nil {
		return err
	}
	c := &Container{CTID: s.CTID, UUID: s.UUID, Name: s.Name, Conf: conf, lab: lab}
	for i, d := range c.Disks() {
		tree, size := s.Tree, s.Size
		if i > 0 {
			tree, size = "", s.Disks[i-1].Size
		}
		if err := s.makeDisk(lab, d, size, tree); err != nil {
			return fmt.Errorf("disk %s: %w", d.Mount, err)
		}
	}
	return c.Register()
}

// conf writes the settings a container has.
func (s Spec) conf(private string) *Conf {
	c := &Conf{}
	for _, kv := range [][2]string{
		{"ONBOOT", "no"},
		{"PHYSPAGES", "262144:262144"},
		{"SWAPPAGES", "131072:131072"},
		{"CPUUNITS", "1000"},
		{"VE_ROOT", "/vz/root/$VEID"},
		{"VE_PRIVATE", private},
		{"OSTEMPLATE", ".centos-7-x86_64"},
		{"DISTRIBUTION", "centos"},
		{"TECHNOLOGIES", "x86_64 nptl"},
		{"VEID", s.CTID},
		{"UUID", s.UUID},
		{"NAME", s.Name},
		{"HOSTNAME", s.Name},
		{"VETYPE", "regular"},
		{"NETIF", "ifname=eth0,network=Bridged"},
		{"FEATURES", ""},
	} {
		c.Set(kv[0], kv[1])
	}
	var disks []string
	for i, d := range s.Disks {
		disks = append(disks, fmt.Sprintf("uuid={%08x-0000-4000-8000-%s},enabled=yes,size=%d,mnt=%s,mnt_opts=,autocompact=yes,image=disk-%d.hdd",
			i+1, s.UUID[24:], kib(d.Size), d.Mount, i+1))
	}
	if len(disks) > 0 {
		c.Set("DISK", strings.Join(disks, ";"))
	}
	return c
}

// kib turns 10G into KiB.
func kib(size string) uint64 {
	n, err := strconv.ParseUint(strings.TrimRight(size, "KkMmGgTt"), 10, 64)
	if err != nil || size == "" {
		return 0
	}
	switch size[len(size)-1] {
	case 'K', 'k':
		return n
	case 'M', 'm':
		return n << 10
	case 'G', 'g':
		return n << 20
	case 'T', 't':
		return n << 30
	}
	return n / 2
}

// makeDisk makes one disk and fills it.
func (s Spec) makeDisk(lab node.Lab, d Disk, size, tree string) (err error) {
	if err := os.MkdirAll(d.Image, 0o755); err != nil {
		return err
	}
	file := filepath.Join(d.Image, "root.hds")
	args := []string{"init", "-s", size, "-t", "ext4"}
	if s.Blocksize != 0 {
		args = append(args, "-b", strconv.FormatUint(uint64(s.Blocksize), 10))
	}
	if s.Format != "" {
		args = append(args, "-f", s.Format)
	}
	if err := ploop(append(args, file)...); err != nil {
		return err
	}
	if tree == "" {
		return s.downgrade(file)
	}
	mnt := file + ".mnt"
	if err := os.MkdirAll(mnt, 0o755); err != nil {
		return err
	}
	if err := ploop("mount", "-m", mnt, d.Descriptor()); err != nil {
		return errors.Join(err, os.Remove(mnt))
	}
	if err = fill(tree, mnt); err == nil {
		err = sockets(mnt)
	}
	if conf, e := lab.Config(); e == nil && conf.Dialect == "vz9" {
		err = errors.Join(err, ploop("umount", "-m", mnt))
	} else {
		err = errors.Join(err, ploop("umount", d.Descriptor())) // remembers the file system's size in .statfs
	}
	if e := os.Remove(mnt); !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	return s.downgrade(file)
}

// downgrade makes a version 1 image of a closed one. The tool of Virtuozzo 7 cannot: it converts a disk to version 2
// whenever it mounts it for writing, and so does a start of the container. Old disks that were never mounted since exist.
func (s Spec) downgrade(file string) error {
	if s.Version != 1 || s.Format == "raw" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	m, err := image.Open(image.OS(f), false)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(m.Convert(1), m.Close())
}

// ploop runs the node's ploop.
func ploop(args ...string) error {
	out, err := exec.Command("/usr/sbin/ploop", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ploop %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// sockets adds what no archive carries.
func sockets(mnt string) error {
	if _, err := os.Stat(filepath.Join(mnt, nasty.Name, "special")); err != nil {
		return nil //nolint:nilerr // another tree
	}
	return nasty.MakeSockets(mnt)
}

// fill puts a tree into a mounted disk, with all its metadata.
func fill(tree, mnt string) error {
	keep := []string{"--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"}
	st, err := os.Stat(tree)
	if err != nil {
		return err
	}
	unpack := exec.Command("tar", append(keep, "--same-owner", "-xpf", "-", "-C", mnt)...)
	var source *exec.Cmd
	if st.IsDir() {
		source = exec.Command("tar", append(keep, "--sparse", "--format=posix", "-cf", "-", "-C", tree, ".")...)
		if unpack.Stdin, err = source.StdoutPipe(); err != nil {
			return err
		}
		if err := source.Start(); err != nil {
			return err
		}
	} else {
		f, err := os.Open(tree)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only read
		unpack.Stdin = f
	}
	out, err := unpack.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("unpack %s: %w\n%s", tree, err, out)
	}
	if source != nil {
		err = errors.Join(err, source.Wait())
	}
	return err
}

// Register makes the links by which the node knows the container.
func (c *Container) Register() error {
	if err := os.MkdirAll(c.Root(), 0o755); err != nil {
		return err
	}
	for _, l := range []struct{ to, at string }{
		{filepath.Join(c.Private(), "ve.conf"), filepath.Join(ConfDir, c.CTID+".conf")},
		{filepath.Join(ConfDir, c.CTID+".conf"), filepath.Join(NamesDir, c.Name)},
	} {
		_ = os.Remove(l.at)
		if err := os.Symlink(l.to, l.at); err != nil {
			return err
		}
	}
	host, err := unixHost()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Private(), ".owner"), []byte(host+"\n"), 0o644)
}

// unixHost is what this node writes into .owner.
func unixHost() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(u.Nodename[:]), nil
}

// Unregister removes the links. The private area stays.
func (c *Container) Unregister() error {
	_ = os.Remove(c.stateFile())
	_ = os.Remove(filepath.Join(c.Private(), ".owner"))
	_ = os.Remove(filepath.Join(NamesDir, c.Name))
	_ = os.Remove(c.Root())
	return os.Remove(filepath.Join(ConfDir, c.CTID+".conf"))
}
