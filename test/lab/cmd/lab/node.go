// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/test/lab/badblock"
	"github.com/bareos-contrib/vz7ct/test/lab/container"
	"github.com/bareos-contrib/vz7ct/test/lab/node"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
)

func up(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	f := flag.NewFlagSet("up", flag.ContinueOnError)
	dialect := f.String("dialect", "", "vz7 or vz9")
	disk := f.Int("disk", 0, "a disk of the node's own, in MiB")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	_, err := node.Up(args[0], *dialect, *disk)
	return err
}

func down(args []string) error {
	l, rest, err := lab(args)
	if err != nil {
		return err
	}
	return l.Down(len(rest) == 1 && rest[0] == "--keep")
}

func crash(args []string) error {
	l, rest, err := lab(args)
	if err != nil {
		return err
	}
	f := flag.NewFlagSet("crash", flag.ContinueOnError)
	seed := f.Uint64("seed", 0, "which part of what was not flushed survives")
	if err := f.Parse(rest); err != nil {
		return err
	}
	return l.Crash(*seed)
}

func clean(args []string) error {
	below := "/"
	if len(args) == 1 {
		var err error
		if below, err = filepath.Abs(args[0]); err != nil {
			return err
		}
	}
	done, err := node.Clean(below)
	for _, l := range done {
		fmt.Println(l.Dir) //nolint:forbidigo // the command's output
	}
	return err
}

func execIn(args []string) error {
	l, rest, err := lab(args)
	if err != nil {
		return err
	}
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return errUsage
	}
	return l.Exec(rest)
}

// free makes room again on a node whose file systems a fault has filled up.
func free(args []string) error {
	l, _, err := lab(args)
	if err != nil {
		return err
	}
	return l.Exec([]string{l.Self(), "_free", l.Dir})
}

// spoil goes into the node, where the file is.
func spoil(args []string) error {
	l, rest, err := lab(args)
	if err != nil {
		return err
	}
	if len(rest) != 3 {
		return errUsage
	}
	return l.Exec(append([]string{l.Self(), "_spoil"}, rest...))
}

func spoilInside(args []string) error {
	l, err := node.Mine()
	if err != nil {
		return err
	}
	offset, err := strconv.ParseInt(args[1], 0, 64)
	if err != nil {
		return err
	}
	length, err := strconv.ParseInt(args[2], 0, 64)
	if err != nil {
		return err
	}
	return badblock.Make(l, args[0], offset, length)
}

func heal(args []string) error {
	l, _, err := lab(args)
	if err != nil {
		return err
	}
	return badblock.Heal(l)
}

// slow changes how slow all disks are, and says what they have served since the last change.
func slow(args []string) error {
	l, rest, err := lab(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errUsage
	}
	delay, err := time.ParseDuration(rest[0])
	if err != nil || delay < 0 || delay > time.Second {
		return fmt.Errorf("slow %s: want a time from 0 to 1s, such as 2ms", rest[0])
	}
	s, err := server.Client{Dir: l.Dir}.Slow(delay)
	if err == nil {
		fmt.Printf("random=%d sequential=%d at_once=%d\n", s.Random, s.Sequential, s.AtOnce) //nolint:forbidigo // the command's output
	}
	return err
}

func set(args []string) error {
	l, rest, err := lab(args)
	if err != nil {
		return err
	}
	return l.Set(rest)
}

func start(args []string) error { return power(args, "start") }

func stop(args []string) error { return power(args, "stop") }

func power(args []string, what string) error {
	l, rest, err := lab(args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return errUsage
	}
	return l.Exec([]string{"prlctl", what, rest[0]})
}

// diskFlags collects --disk mnt=/data,size=SIZE.
type diskFlags []container.NewDisk

func (d *diskFlags) String() string { return fmt.Sprint(*d) }

func (d *diskFlags) Set(s string) error {
	var n container.NewDisk
	for f := range strings.SplitSeq(s, ",") {
		k, v, _ := strings.Cut(f, "=")
		switch k {
		case "mnt":
			n.Mount = v
		case "size":
			n.Size = v
		default:
			return fmt.Errorf("disk %q: want mnt=DIR,size=SIZE", s)
		}
	}
	if !strings.HasPrefix(n.Mount, "/") || n.Size == "" {
		return fmt.Errorf("disk %q: want mnt=DIR,size=SIZE", s)
	}
	*d = append(*d, n)
	return nil
}

// parseCreate reads the arguments of create after the folder.
func parseCreate(args []string) (container.Spec, error) {
	var s container.Spec
	f := flag.NewFlagSet("create", flag.ContinueOnError)
	f.StringVar(&s.Name, "name", "", "name of the container")
	f.StringVar(&s.UUID, "uuid", "", "its UUID")
	f.StringVar(&s.CTID, "ctid", "", "its id, a number; the UUID if not given")
	f.StringVar(&s.Size, "size", "", "size of the root disk, as ploop takes it")
	f.StringVar(&s.Tree, "tree", "", "folder or tar file that becomes the root")
	f.IntVar(&s.Version, "image-version", 0, "1 or 2")
	block := f.Uint("blocksize", 0, "cluster size in sectors")
	pre := f.Bool("preallocated", false, "preallocated images")
	raw := f.Bool("raw", false, "raw images")
	f.Var((*diskFlags)(&s.Disks), "disk", "a further disk: mnt=/data,size=SIZE")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if f.NArg() > 0 {
		return s, fmt.Errorf("create: %q is too much", f.Arg(0))
	}
	s.Blocksize = uint32(*block)
	switch {
	case *pre && *raw:
		return s, fmt.Errorf("create: preallocated or raw, not both")
	case *pre:
		s.Format = "preallocated"
	case *raw:
		s.Format = "raw"
	}
	return s, nil
}

// create goes into the node and makes a container there.
func create(args []string) error {
	l, rest, err := lab(args)
	if err != nil {
		return err
	}
	s, err := parseCreate(rest)
	if err != nil {
		return err
	}
	tree, err := filepath.Abs(s.Tree)
	if err != nil {
		return err
	}
	return l.Exec(append([]string{l.Self(), "_create"}, append(rest, "--tree", tree)...))
}

func createInside(args []string) error {
	l, err := node.Mine()
	if err != nil {
		return err
	}
	s, err := parseCreate(args)
	if err != nil {
		return err
	}
	return container.Create(l, s)
}
