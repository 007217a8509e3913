// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/exclude"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// Options are the settings of one command after all levels were merged and judged.
type Options struct {
	// Name and UUID say which container is meant; at a restore they may be empty.
	Name, UUID string
	// Recorded: at a restore, the two are those that the backup was made with.
	Recorded bool
	// Blockers: a match of one of them in the container fails the backup.
	Blockers []Blocker
	// Excludes are the paths of the container that are not saved; ExcludedPaths are
	// their patterns.
	Excludes      *exclude.Set
	ExcludedPaths []string
	// Choice says what else is not saved.
	Choice Choice
	// MaxErrors is how many files may fail to be read, nil for any number.
	MaxErrors *int64
	// Scan is how the attributes of files are read.
	Scan Scan
	// Lockfile is held for the job, after a wait of LockWait (0: without limit).
	Lockfile string
	LockWait time.Duration
	// BlockCompact keeps pcompact away while a snapshot exists.
	BlockCompact bool
	// ToolWait is how long one call of ploop or prlctl is awaited.
	ToolWait time.Duration
	// MinFree is the room that must stay on the images' file system.
	MinFree MinFree
	// Freeze lets a container with several disks stand still around its snapshots.
	Freeze bool
	// Polite is what the job's threads leave to others, ReadRate how many bytes of content a
	// second it reads at most, 0 if there is no limit.
	Polite   standing
	ReadRate uint64
	// Restore says what a restore writes to.
	Restore Mode
	// Directory is where restore=dir restores to, or in the container restore=file.
	Directory string
	// DiskSize is that of the root disk to be made, in bytes; 0: as recorded.
	DiskSize uint64
	// Replace the container that restore=ct makes, if it is there.
	Replace bool
	// Start the container after it was restored.
	Start bool
	// Anywhere is for a container that is not to be what, or where, it was.
	Anywhere Anywhere
}

// Blocker is one pattern of the blocker option.
type Blocker struct {
	Text  string
	Names []exclude.Name
}

// MinFree is a size, or a share of the file system, or by default the smaller
// one of both.
type MinFree struct {
	Bytes   uint64
	Percent float64
	Default bool
}

// Of returns the bytes that are meant for a file system of the size given.
func (m MinFree) Of(total uint64) uint64 {
	share := uint64(float64(total) * m.Percent / 100)
	switch {
	case m.Default:
		return min(share, m.Bytes)
	case m.Percent > 0:
		return share
	default:
		return m.Bytes
	}
}

// Mode is what a restore writes to.
type Mode string

const (
	// RestoreContainer makes the whole container anew.
	RestoreContainer Mode = "ct"
	// RestoreFiles writes into a container that is running or stopped.
	RestoreFiles Mode = "file"
	// RestoreDirectory writes to a directory of this machine.
	RestoreDirectory Mode = "dir"
)

// option is one row of the table from which everything about options follows:
// the parser, the error messages, the documentation.
type option struct {
	// key is the name shown; aliases are accepted too.
	key     string
	aliases []string
	// many: the option may stand several times in one string; adds: those of all levels
	// count; list: its words have quotes of their own.
	many, adds, list bool
	// valid says in words what a value may be, def what counts without one.
	valid, def string
	// help is the option's sentence in the documentation.
	help string
	// set judges a value and puts it into o.
	set func(o *Options, value string) error
}

// options is the table, in the order of the documentation.
func options() []option {
	return slices.Concat(commonOptions(), choosingOptions(), speedOptions(), politeOptions(), targetOptions(), anywhereOptions(), fileOptions())
}

func commonOptions() []option {
	return []option{
		{
			key: "name", valid: "the container's name",
			help: "The container to be saved or restored to. Name or uuid is enough; if both are given, they must belong together.",
			set:  func(o *Options, v string) error { o.Name = v; return notEmpty(v) },
		},
		{
			key: "uuid", valid: "a UUID, with or without braces, or the number of an older container",
			help: "The container's UUID, in any case; of a container that came from an older release its number, such as 101.",
			set: func(o *Options, v string) (err error) {
				id, ok := prlctl.ParseUUID(v)
				if n, err := strconv.ParseUint(v, 10, 31); err == nil && n > 0 {
					id, ok = strconv.FormatUint(n, 10), true
				}
				if o.UUID = id; !ok {
					return fmt.Errorf("is neither a UUID nor a number")
				}
				return nil
			},
		},
		{
			key: "blocker", many: true, valid: "a pattern inside the container, such as tmp/backup_blocker or /srv/*/nobackup",
			help: "If a file matches, the job fails and names it. Looked for at once in a running container and again in the snapshot, which decides. May be given several times.",
			set: func(o *Options, v string) error {
				names, err := exclude.Path(v)
				o.Blockers = append(o.Blockers, Blocker{v, names})
				return err
			},
		},
		{
			key: "lockfile", valid: "an absolute path on the node",
			help: "One job at a time for all jobs with this file. Also makes the <path>.lock file of Python's lockfile module. Elsewhere than in /tmp, /var/tmp, /dev/shm, /run, /run/lock, /var/lib/bareos and /var/lib/bacula, or as *.lock below /vz, /root, /home, /opt, /srv, /mnt and /var/lib, it must be there already, and empty.",
			set:  func(o *Options, v string) error { o.Lockfile = filepath.Clean(v); return absolute(v) },
		},
		{
			key: "lock_wait", valid: "a time such as 30m, 2h, or a number of seconds; 0 waits without limit", def: "0",
			help: "How long to wait for lockfile, for another job on the same container, for pcompact, and for Virtuozzo's lock of the container.",
			set:  func(o *Options, v string) (err error) { o.LockWait, err = parseTime(v); return err },
		},
		{
			key: "pcompact", valid: "block or ignore", def: "block",
			help: "Whether pcompact is kept from running while a snapshot exists.",
			set: func(o *Options, v string) (err error) {
				o.BlockCompact = v == "block"
				return oneOf(v, "block", "ignore")
			},
		},
		{
			key: "excluded_backup_paths", list: true, valid: "paths from the container's root, with commas between them, such as '/home/admin','/var/cache/*'",
			help: "Not saved. A path is anchored at the container's root with or without a leading slash, and literal unless it has one of * ? [. The more specific level replaces the other.",
			set: func(o *Options, v string) error {
				list, err := splitList(v)
				if err != nil {
					return err
				}
				o.ExcludedPaths = list
				o.Excludes, err = exclude.NewSet(list)
				return err
			},
		},
		{
			key: "min_free", valid: "a size such as 10G or a share such as 3%", def: "5% or 2G, whichever is less",
			help: "The room that must stay free on the file system that holds the images, besides what the merge may need. Checked before the snapshot and while the job runs; below it the job fails and the snapshot is merged.",
			set:  func(o *Options, v string) (err error) { o.MinFree, err = parseMinFree(v); return err },
		},
		{
			key: "tool_wait", valid: "a time such as 30m, 2h, or a number of seconds", def: "6h",
			help: "How long one call of ploop or prlctl that changes something is awaited. It is never ended by force: after that the job fails, and vz7ct recover --wait takes back the rest when the call has ended. A cancelled job waits 5 minutes at most.",
			set: func(o *Options, v string) (err error) {
				o.ToolWait, err = parseTime(v)
				if err == nil && o.ToolWait < time.Second {
					return fmt.Errorf("is shorter than a second")
				}
				return err
			},
		},
		{
			key: "multi_disk", valid: "freeze or skew", def: "skew",
			help: "How the disks of a running container with several are saved. skew: their snapshots are taken one after another; the time between is in the job log. freeze: all its processes stand still meanwhile, so that the disks are of one moment; for how long is in the job log. See [below](#several-disks).",
			set: func(o *Options, v string) (err error) {
				o.Freeze = v == "freeze"
				return oneOf(v, "freeze", "skew")
			},
		},
	}
}

// fileOptions name files with further options.
func fileOptions() []option {
	return []option{
		{
			key: "defaults_file", valid: "an absolute path on the node",
			help: "A file with [backup] and [restore] sections of key=value lines that count below all other levels. Must belong to root and be writable by nobody else.",
			set:  func(_ *Options, v string) error { return absolute(v) },
		},
		{
			key: "overrides_file", valid: "an absolute path on the node",
			help: "The same, above all other levels.",
			set:  func(_ *Options, v string) error { return absolute(v) },
		},
	}
}

// find returns the option that key or one of its aliases names.
func find(key string) (option, bool) {
	for _, o := range options() {
		if o.key == key {
			return o, true
		}
		for _, a := range o.aliases {
			if a == key {
				return o, true
			}
		}
	}
	return option{}, false
}

// keys lists the names of all options, for messages.
func keys() string {
	var names []string
	for _, o := range options() {
		names = append(names, o.key)
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// defaults are the options without any level.
func defaults() Options {
	return Options{
		BlockCompact: true,
		ToolWait:     toolWait,
		MinFree:      MinFree{Bytes: 2 << 30, Percent: 5, Default: true},
		Restore:      RestoreContainer,
	}
}

func notEmpty(v string) error {
	if v == "" {
		return fmt.Errorf("is empty")
	}
	return nil
}

func absolute(v string) error {
	if !filepath.IsAbs(v) || strings.HasSuffix(v, "/") {
		return fmt.Errorf("is no absolute path of a file")
	}
	return nil
}

// parseDirectory reads the path of a directory, which may end with a slash.
func parseDirectory(v string) (string, error) {
	path, ok := plain(v)
	if !filepath.IsAbs(v) || !ok || path == "" || strings.ContainsRune(v, 0) {
		return "", fmt.Errorf("is no absolute path of a directory without . and .. parts")
	}
	return "/" + path, nil
}

func oneOf(v string, valid ...string) error {
	for _, w := range valid {
		if v == w {
			return nil
		}
	}
	return fmt.Errorf("is none of %s", strings.Join(valid, ", "))
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "yes", "on", "true", "1":
		return true, nil
	case "no", "off", "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("is neither yes nor no")
}

// parseSize reads a number with an optional unit; a bare number counts in units
// of bare bytes.
func parseSize(v string, bare uint64) (uint64, error) {
	num, unit := strings.TrimSpace(v), bare
	upper := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(num), "B"), "I")
	for i, u := range "KMGT" {
		if strings.HasSuffix(upper, string(u)) {
			num, unit = upper[:len(upper)-1], 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseUint(strings.TrimSpace(num), 10, 64)
	if err != nil || n == 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("is no size")
	}
	return n * unit, nil
}

func parseMinFree(v string) (MinFree, error) {
	if num, ok := strings.CutSuffix(v, "%"); ok {
		p, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || !(p > 0 && p < 100) {
			return MinFree{}, fmt.Errorf("is no share between 0 and 100 %%")
		}
		return MinFree{Percent: p}, nil
	}
	n, err := parseSize(v, 1)
	return MinFree{Bytes: n}, err
}

func parseTime(v string) (time.Duration, error) {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("is no time")
	}
	return d, nil
}
