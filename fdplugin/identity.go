// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/lock"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// identity is what a restored container is on this node. Names of the backup have
// the UUID that it was saved by.
type identity struct {
	uuid, ctid, name string
	// copied: it is another one than was saved, which may still live.
	copied bool
}

// identify chooses what the container will be.
func (c *newContainer) identify() error {
	c.id = identity{uuid: c.m.UUID, ctid: c.m.CTID, name: c.m.Name}
	id := c.opts.Anywhere.UUID
	if id == newIdentity {
		var err error
		if id, err = newUUID(); err != nil {
			return err
		}
	}
	if id != "" && id != c.m.UUID {
		c.id.uuid, c.id.ctid, c.id.copied = id, id, true
	}
	if name := c.opts.Anywhere.Name; name != "" {
		c.id.name = name
	}
	return nil
}

// itself refuses to replace a container by one that is to be another.
func (c *newContainer) itself() error {
	if c.opts.Replace && c.id.copied {
		return fmt.Errorf("replace_ct=yes is for container %s (%s), which was saved, and restore_uuid=%s makes another one beside it: leave one of both out; nothing was touched",
			c.m.title(), c.m.UUID, c.opts.Anywhere.UUID)
	}
	return nil
}

// title is what the new container is called in messages.
func (c *newContainer) title() string {
	return prlctl.Container{UUID: c.id.uuid, Name: c.id.name}.Title()
}

// addresses reports whether its IP addresses are taken over.
func (c *newContainer) addresses() bool {
	if a := c.opts.Anywhere.Addresses; a != nil {
		return *a
	}
	return !c.id.copied
}

// twice refuses to make two containers of one restore the same one.
func (c *newContainer) twice(other *newContainer) error {
	if c.id.uuid == other.id.uuid || c.opts.Anywhere.Name != "" && c.id.name == other.id.name {
		return fmt.Errorf("this restore is of containers %s and %s, and restore_name and restore_uuid would make both %s (%s): restore one at a time",
			other.m.title(), c.m.title(), c.title(), c.id.uuid)
	}
	return nil
}

// taken refuses an identity that another container of the node has.
func (c *newContainer) taken(other prlctl.Container) error {
	id := other.UUID == c.id.uuid || other.Is(c.id.ctid)
	name := c.id.name != "" && other.Name == c.id.name
	var with []string
	replace := ""
	if other.UUID == c.id.uuid && !c.id.copied {
		replace = ", roll it back with replace_ct=yes"
	}
	if id {
		with = append(with, "restore_uuid=new")
	}
	if name {
		with = append(with, "restore_name=<another name>")
	}
	if with == nil {
		return nil
	}
	return fmt.Errorf("this node has container %q (%s), which is %s: nothing was touched; remove or rename it first%s, or restore beside it with %s",
		other.Name, other.UUID, other.State, replace, strings.Join(with, ":"))
}

// privateArea returns where the private area is to be made.
func (c *newContainer) privateArea() (string, error) {
	usual, err := c.job.Node.Registry.PrivateFor(c.id.ctid)
	dir := c.opts.Anywhere.Dir
	if err != nil || dir == "" {
		return usual, err
	}
	if filepath.Base(dir) == c.id.ctid {
		dir = filepath.Dir(dir) // the area itself was named
	}
	root, err := c.job.Node.Registry.RootFor(c.id.ctid)
	if err != nil {
		return "", err
	}
	if dir, err = c.job.Node.areaDir(dir, filepath.Dir(usual), filepath.Dir(root)); err != nil {
		return "", fmt.Errorf("restore_private=%s: %w; nothing was touched", text.Name(c.opts.Anywhere.Dir), err)
	}
	return filepath.Join(dir, c.id.ctid), nil
}

// home is where the private area is when the container is complete.
func (c *newContainer) home() string {
	if c.old != nil {
		return c.old.home
	}
	return c.private
}

// areaDir judges a directory in which an option wants a private area, and returns its
// real path. The option may come from a console of few rights, and the area holds all
// that the container has: it must not be made where another user, another container or
// another program of the node has it in hands. Every directory on the way is root's and
// nobody else can put another one in its place.
func (n Node) areaDir(dir, usual, roots string) (string, error) {
	real, err := lock.RealDir(dir)
	if err != nil {
		return "", err
	}
	if at, err := lock.RealDir(roots); err == nil {
		roots = at
	}
	below := func(d string) bool { return real == d || strings.HasPrefix(real, strings.TrimSuffix(d, "/")+"/") }
	if real == "/" || slices.ContainsFunc(append([]string{filepath.Clean(n.State), filepath.Clean(n.Mounts), roots, "/dev"}, systemDirs...), below) {
		return "", errors.New("is a directory of the system, of this plugin, or of mounted containers")
	}
	for part := range strings.SplitSeq(real, "/") {
		if _, uuid := prlctl.ParseUUID(part); uuid {
			return "", errors.New("is in a container's own directory")
		}
	}
	for at := real; at != "/"; at = filepath.Dir(at) {
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			return "", &os.PathError{Op: "look at", Path: at, Err: err}
		}
		others := st.Mode&0o022 != 0 && (at == real || st.Mode&unix.S_ISVTX == 0)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 && st.Uid != uint32(os.Geteuid()) || others {
			return "", fmt.Errorf("%s is not root's alone: chown root and chmod go-w", text.Name(at))
		}
	}
	if usualReal, err := lock.RealDir(usual); err == nil && real == usualReal {
		return real, nil
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		// Beside a private area may be one that is to take its place.
		if id, _, _ := strings.Cut(e.Name(), ownPrefix); e.Name() != "lost+found" && !prlctl.ValidCTID(id) {
			return "", fmt.Errorf("holds more than private areas, such as %s: make a directory for them", text.Name(e.Name()))
		}
	}
	return real, nil
}
