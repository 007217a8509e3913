// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/bareos-contrib/vz7ct/internal/veconf"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// Anywhere says what restore=ct makes of a container that is not to be what it was,
// or not where it was.
type Anywhere struct {
	// Name and UUID are those it gets, "" for those of the backup; the UUID may be
	// newIdentity.
	Name, UUID string
	// Dir is the directory in which its private area is made, "" for the node's own.
	Dir string
	// Addresses: its IP addresses are taken over; nil: only with the UUID of the backup.
	Addresses *bool
	// Trust keeps what reaches the node.
	Trust bool
	// Encryption is the key id for disks that were encrypted, clear for none, "" if
	// it was not said.
	Encryption string
}

const (
	newIdentity = "new"
	inClear     = "none"
)

// areaPath is what restore_private may be: it becomes a line of ve.conf.
var areaPath = regexp.MustCompile(`^(/[A-Za-z0-9_.,:+@=-]+)+/?$`)

// keyID is what an encryption key's id may be: ploop's helper splits a command line
// that has it at blanks (scripts/crypthelper, vz7-u22).
var keyID = regexp.MustCompile(`^[A-Za-z0-9_.:+@=][A-Za-z0-9_.:+@=-]{0,254}$`)

// targetOptions are the rows of the table for what a restore writes to.
func targetOptions() []option {
	return []option{
		{
			key: "restore", valid: "ct, file, files or dir", def: "ct",
			help: "What a restore writes to: ct makes the whole container anew, file writes into one that is running or stopped, dir to a directory of the File Daemon's machine, which need not have any container.",
			set: func(o *Options, v string) error {
				if v == "files" {
					v = "file"
				}
				o.Restore = Mode(v)
				return oneOf(v, "ct", "file", "dir")
			},
		},
		{
			key: "restore_dir", valid: "an absolute path",
			help: "With restore=dir the directory that files are restored to, see [below](#to-a-directory). With restore=file a directory in the container, in place of where: files go below it with their whole paths.",
			set:  func(o *Options, v string) (err error) { o.Directory, err = parseDirectory(v); return err },
		},
		{
			key: "disk_size", aliases: []string{"disk", "diskspace"}, valid: "a number of GiB, or a size with K, M, G or T", def: "as recorded",
			help: "The size of the root disk that restore=ct makes.",
			set: func(o *Options, v string) (err error) {
				o.DiskSize, err = parseSize(v, 1<<30)
				if err == nil && o.DiskSize < 64<<20 {
					return fmt.Errorf("is smaller than 64 MiB")
				}
				return err
			},
		},
		{
			key: "replace_ct", valid: "yes or no", def: "no",
			help: "Whether restore=ct replaces the container if it is there, to roll it back. Does not count in a FileSet, which comes with the backup. See [below](#roll-a-container-back).",
			set:  func(o *Options, v string) (err error) { o.Replace, err = parseBool(v); return err },
		},
		{
			key: "start", valid: "yes or no", def: "no",
			help: "Whether restore=ct starts the container when it is complete.",
			set:  func(o *Options, v string) (err error) { o.Start, err = parseBool(v); return err },
		},
	}
}

// anywhereOptions are the rows of the table for Anywhere.
func anywhereOptions() []option {
	return []option{
		{
			key: "restore_name", valid: "a name that Virtuozzo takes: letters, digits, blanks and + - _ . { }",
			help: "The name of the container that restore=ct makes, instead of the recorded one.",
			set: func(o *Options, v string) error {
				if o.Anywhere.Name = v; !veconf.CanBeName(v) {
					return errors.New("cannot be the name of a container")
				}
				return nil
			},
		},
		{
			key: "restore_uuid", valid: "a UUID, with or without braces, or new",
			help: "The UUID of the container that restore=ct makes, instead of the recorded one; new makes one up. With another UUID than the recorded one its network cards get new hardware addresses. See [below](#beside-the-original).",
			set: func(o *Options, v string) error {
				id, ok := prlctl.ParseUUID(v)
				if v == newIdentity {
					id, ok = v, true
				}
				if o.Anywhere.UUID = id; !ok || id == prlctl.RootDisk {
					return errors.New("is no UUID, and not new")
				}
				return nil
			},
		},
		{
			key: "restore_private", valid: "an absolute path on the node without blanks",
			help: "The directory in which restore=ct makes the private area, instead of that of VE_PRIVATE in vz.conf. The area is called by the container's UUID in it. It must exist, be root's alone, and hold nothing but private areas.",
			set: func(o *Options, v string) error {
				if !areaPath.MatchString(v) {
					return errors.New("is no absolute path of letters, digits and . , : + @ = - _")
				}
				o.Anywhere.Dir = filepath.Clean(v)
				return nil
			},
		},
		{
			key: "restore_addresses", valid: "yes or no",
			help: "Whether restore=ct takes over the container's IP addresses. Without it: yes, but no with another restore_uuid.",
			set: func(o *Options, v string) error {
				yes, err := parseBool(v)
				o.Anywhere.Addresses = &yes
				return err
			},
		},
		{
			key: "restore_trust_config", valid: "yes or no",
			help: "Whether restore=ct keeps what of the recorded configuration reaches the node: devices, features and capabilities, settings that are not known, action scripts, owners and links in the private area. Without it: no. Does not count in a FileSet, which comes with the backup. See [below](#what-is-not-trusted).",
			set:  func(o *Options, v string) (err error) { o.Anywhere.Trust, err = parseBool(v); return err },
		},
		{
			key: "encryption", valid: "the id of a key, or none",
			help: "What restore=ct does with disks that were encrypted: a key id encrypts the new ones with it, none leaves them in clear. Without it such a container is not restored.",
			set: func(o *Options, v string) error {
				if o.Anywhere.Encryption = v; !keyID.MatchString(v) {
					return errors.New("is no key id of letters, digits and . : + @ = - _")
				}
				return nil
			},
		},
	}
}
