// SPDX-License-Identifier: AGPL-3.0-only

package judge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/descriptor"
	"github.com/bareos-contrib/vz7ct/test/lab/gpt"
	"github.com/bareos-contrib/vz7ct/test/lab/image"
	"github.com/bareos-contrib/vz7ct/test/lab/node"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

// ErrUnsound says that a judge found fault.
var ErrUnsound = errors.New("a disk is not sound")

// Checker runs the judges and prints a line for each.
type Checker struct {
	Lab node.Lab
	Out io.Writer
	bad bool
}

func (c *Checker) line(err error, who, what string) {
	word, why := "ok", ""
	if err != nil {
		c.bad = true
		word, why = "FAIL", ": "+strings.ReplaceAll(err.Error(), c.Lab.NodeRoot(), "")
	}
	_, _ = fmt.Fprintf(c.Out, "%-4s %-10s %s%s\n", word, who, strings.TrimPrefix(what, c.Lab.NodeRoot()), why)
}

// Run judges every disk of every container. ErrUnsound if one of them is not sound.
func (c *Checker) Run() error {
	dds, err := Descriptors(c.Lab)
	if err != nil {
		return err
	}
	var devs []server.Device
	if st, err := c.Lab.State(); err == nil && st.Server.Alive() {
		if devs, err = (server.Client{Dir: c.Lab.Dir}).List(); err != nil {
			return err
		}
	}
	for _, dd := range dds {
		if err := c.disk(dd, devs); err != nil {
			return err
		}
	}
	if c.bad {
		return ErrUnsound
	}
	return nil
}

// disk judges one disk. Images of a disk at work change while they are read, so only its descriptor is judged.
func (c *Checker) disk(dd string, devs []server.Device) error {
	d, err := descriptor.Read(dd)
	if err == nil {
		err = whole(dd, d)
	}
	c.line(err, "descriptor", dd)
	if err != nil {
		return nil //nolint:nilerr // told, and the images make no sense without it
	}
	if inUse(d, devs) {
		_, _ = fmt.Fprintf(c.Out, "skip images     %s: in use\n", strings.TrimPrefix(dd, c.Lab.NodeRoot()))
		return nil
	}
	for _, i := range d.Images {
		if i.Raw {
			continue
		}
		c.line(ploopCheck(i.File), "ploop", i.File)
		c.line(command("qemu-img", "info", "-f", "parallels", i.File), "qemu-info", i.File)
		c.line(command("qemu-img", "check", "-f", "parallels", i.File), "qemu-check", i.File)
	}
	c.line(c.fileSystem(d), "e2fsck", dd)
	return nil
}

// whole says what is wrong with a descriptor at rest: a broken chain, a mark of an unfinished merge, files it forgot.
func whole(dd string, d *descriptor.Descriptor) error {
	if d.Chain(d.Top) == nil {
		return errors.New("the top does not reach a base image")
	}
	for _, s := range d.Shots {
		if s.Temporary {
			return fmt.Errorf("snapshot %s is temporary", s.GUID)
		}
	}
	for _, i := range d.Images {
		if _, err := os.Stat(i.File); err != nil {
			return err
		}
	}
	left, err := orphans(dd, d)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left over: %s", strings.Join(left, " "))
	}
	return err
}

func inUse(d *descriptor.Descriptor, devs []server.Device) bool {
	for _, i := range d.Images {
		var st unix.Stat_t
		if unix.Stat(i.File, &st) != nil {
			continue
		}
		for _, dev := range devs {
			for _, l := range dev.Levels {
				if l.Dev == st.Dev && l.Ino == st.Ino {
					return true
				}
			}
		}
	}
	return false
}

// limit is how long one judge may take.
const limit = 3 * time.Minute

func command(argv ...string) error { return run(nil, argv...) }

func run(env []string, argv ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", err, strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", " | "))
}

// ploopCheck asks Debian's ploop 1.15. With a small environment that version overruns its stack.
func ploopCheck(file string) error {
	return run([]string{"PAD=" + strings.Repeat("x", 9000)}, "/usr/sbin/ploop", "check", "-F", "-c", "-r", file)
}

// fileSystem lets e2fsck look at the disk, laid out as a plain file: by qemu-img if it is one image, which qemu-img
// understands, by our own reader if it is a chain, which only that understands.
func (c *Checker) fileSystem(d *descriptor.Descriptor) error {
	dir := c.Lab.Below("check")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	flat := filepath.Join(dir, fmt.Sprintf("disk.%d", os.Getpid()))
	defer os.Remove(flat) //nolint:errcheck // scratch
	chain := d.Chain(d.Top)
	var err error
	if len(chain) == 1 && !chain[0].Raw {
		err = command("qemu-img", "convert", "-f", "parallels", "-O", "raw", chain[0].File, flat)
	} else {
		err = flatten(chain, d.Blocksize, flat)
	}
	if err != nil {
		return err
	}
	f, err := os.Open(flat)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	p, err := gpt.Read(f)
	if err != nil {
		return err
	}
	return command("e2fsck", "-fn", fmt.Sprintf("%s?offset=%d", flat, p.First*image.SectorSize))
}

// flatten writes what a chain shows to a file, with holes where it has nothing.
func flatten(chain []descriptor.Image, blocksize uint32, to string) (err error) {
	var levels []*image.Image
	for _, i := range chain {
		f, err := os.Open(i.File)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only read
		var m *image.Image
		if i.Raw {
			m, err = image.OpenRaw(image.OS(f), blocksize)
		} else {
			m, err = image.Open(image.OS(f), true)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", i.File, err)
		}
		levels = append(levels, m)
	}
	c, err := image.NewChain(levels, true)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(c.Size()); err != nil {
		return err
	}
	buf, zero := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); off < c.Size(); off += int64(len(buf)) {
		buf = buf[:min(int64(len(zero)), c.Size()-off)]
		if _, err := c.ReadAt(buf, off); err != nil {
			return err
		}
		if bytes.Equal(buf, zero[:len(buf)]) {
			continue
		}
		if _, err := out.WriteAt(buf, off); err != nil {
			return err
		}
	}
	return nil
}
