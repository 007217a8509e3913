// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/exclude"
	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// Choice says what of a container is not saved, beside excluded_backup_paths.
type Choice struct {
	// Patterns are those of exclude, and of the Files of exclude_file once they were read.
	Patterns []string
	Files    []string
	List     *exclude.List
	// Std leaves out what /tmp and the like hold, Caches what is marked as a cache, NoDump
	// what has the flag of chattr +d, Tenants what the container's own rule files say.
	Std, Caches, NoDump, Tenants bool
	// Larger is the size of the largest file that is saved, 0 if there is no limit.
	Larger uint64
	// Disks are the disks that are saved.
	Disks DiskChoice
}

// choosingOptions are the rows of the table for Choice, and for how much may go wrong.
func choosingOptions() []option {
	return []option{
		{
			key: "exclude", many: true, adds: true, list: true, valid: "patterns, with commas between them, such as '/var/cache/*','*.tmp','build/'",
			help: "Not saved. Patterns as those of rsync and vzdump, see [below](#what-to-save). May be given several times, and in several levels: all of them count.",
			set: func(o *Options, v string) error {
				patterns, err := splitList(v)
				if err != nil {
					return err
				}
				o.Choice.Patterns = append(o.Choice.Patterns, patterns...)
				_, err = exclude.NewList(patterns)
				return err
			},
		},
		{
			key: "exclude_file", many: true, adds: true, valid: "an absolute path on the node",
			help: "A file of such patterns, one a line; lines with # in front are comments. It is read at the beginning of a backup. Must belong to root and be writable by nobody else. May be given several times, and in several levels: all of them count.",
			set: func(o *Options, v string) error {
				if err := absolute(v); err != nil {
					return err
				}
				if o.Choice.Files = append(o.Choice.Files, v); len(o.Choice.Files) > maxLists {
					return fmt.Errorf("is one too many: %d files can be given", maxLists)
				}
				return nil
			},
		},
		{
			key: "std_excludes", valid: "yes or no", def: "no",
			help: "Whether what /tmp, /var/tmp and /run of the container hold is left out. The directories are saved.",
			set:  func(o *Options, v string) (err error) { o.Choice.Std, err = parseBool(v); return err },
		},
		{
			key: "exclude_caches", valid: "yes or no", def: "no",
			help: "Whether a directory with a CACHEDIR.TAG (bford.info/cachedir) is saved without what it holds, but for that file.",
			set:  func(o *Options, v string) (err error) { o.Choice.Caches, err = parseBool(v); return err },
		},
		{
			key: "honor_nodump", valid: "yes or no", def: "no",
			help: "Whether files and directories with the flag of chattr +d are left out, directories with all they hold.",
			set:  func(o *Options, v string) (err error) { o.Choice.NoDump, err = parseBool(v); return err },
		},
		{
			key: "exclude_larger_than", valid: "a number of bytes, or a size with K, M, G or T",
			help: "Regular files that are larger are left out.",
			set:  func(o *Options, v string) (err error) { o.Choice.Larger, err = parseSize(v, 1); return err },
		},
		{
			key: "tenant_excludes", valid: "yes or no", def: "no",
			help: "Whether the container says what is left out of it: by .bareosignore files, and .nobackup in a directory. Whoever has root in it can hide files from the backup then. See [below](#what-to-save).",
			set:  func(o *Options, v string) (err error) { o.Choice.Tenants, err = parseBool(v); return err },
		},
		{
			key: "disks", list: true, valid: "root, mount points such as /data, or {uuid}, with commas between them; or each with ! in front",
			help: "The disks that are saved; with ! those that are not. Without it all are. restore=ct needs the root disk.",
			set:  func(o *Options, v string) (err error) { o.Choice.Disks, err = parseDisks(v); return err },
		},
		{
			key: "max_errors", valid: "a number, 0 for none",
			help: "How many files may fail to be read, or to be read completely, before the job fails. Without it any number: each is named, and the job ends with warnings. With it the plugin reads files itself where the daemon would, to see what fails.",
			set: func(o *Options, v string) error {
				n, err := strconv.ParseUint(v, 10, 31)
				if err != nil {
					return errors.New("is no number")
				}
				limit := int64(n)
				o.MaxErrors = &limit
				return nil
			},
		},
	}
}

// maxLists is how many files of patterns one job may have.
const maxLists = 16

// readLists reads the files of exclude_file and puts all patterns together. What is in
// a file that is none of ours is not told.
func (c *Choice) readLists() error {
	for _, path := range c.Files {
		patterns, err := readList(path)
		if err != nil {
			return fmt.Errorf("exclude_file %s: %w", text.Name(path), err)
		}
		c.Patterns = append(c.Patterns, patterns...)
	}
	list, err := exclude.NewList(c.Patterns)
	if err != nil {
		return fmt.Errorf("exclude: %w", err)
	}
	c.List = list
	return nil
}

func readList(path string) ([]string, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	if err := trusted(f); err != nil {
		return nil, err
	}
	data, err := regular.Read(f, maxOptionFile)
	if err != nil {
		return nil, err
	}
	return exclude.ParseList(data)
}

// selection is a digest of all that decides what of a disk is left out, "" if nothing
// does. Two jobs with the same one leave out by the same rules. Which disks are saved is
// not in it.
func (o Options) selection() string {
	c := o.Choice
	if len(o.ExcludedPaths) == 0 && len(c.Patterns) == 0 && !c.Std && !c.Caches && !c.NoDump && !c.Tenants && c.Larger == 0 {
		return ""
	}
	h := sha256.New()
	for _, list := range [][]string{o.ExcludedPaths, c.Patterns} {
		// What order they were written in does not matter.
		list = slices.Compact(slices.Sorted(slices.Values(list)))
		fmt.Fprintf(h, "%q\n", list)
	}
	fmt.Fprintln(h, c.Std, c.Caches, c.NoDump, c.Tenants, c.Larger)
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// DiskChoice are disks of the container, or all but these. The zero value means all.
type DiskChoice struct {
	Names []string
	Not   bool
}

// parseDisks reads the value of disks.
func parseDisks(v string) (DiskChoice, error) {
	names, err := splitList(v)
	if err != nil {
		return DiskChoice{}, err
	}
	var c DiskChoice
	for n, name := range names {
		name, not := strings.CutPrefix(name, "!")
		if n > 0 && not != c.Not {
			return DiskChoice{}, errors.New("has disks that are saved beside some that are not")
		}
		switch {
		case name == "root", name == "/":
			name = "root"
		case strings.HasPrefix(name, "/"):
			name = filepath.Clean(name)
		default:
			id, ok := prlctl.ParseUUID(name)
			if !ok || name[0] != '{' {
				return DiskChoice{}, fmt.Errorf("%q is neither root, a mount point nor a UUID in braces", name)
			}
			name = "{" + id + "}"
		}
		c.Not = not
		c.Names = append(c.Names, name)
	}
	if len(c.Names) == 0 {
		return DiskChoice{}, errors.New("names no disk")
	}
	return c, nil
}
