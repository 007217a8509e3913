// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// Scan is how the names and attributes of a disk's files are read.
type Scan string

const (
	// ScanAuto reads them from the tables on the device if it can, else as ScanWalk does.
	ScanAuto Scan = "auto"
	// ScanTables reads them from the tables of ext4, or fails the job.
	ScanTables Scan = "ext4"
	// ScanWalk asks the kernel, directory by directory.
	ScanWalk Scan = "walk"
)

func speedOptions() []option {
	return []option{{
		key: "scan", valid: "auto, ext4 or walk", def: "auto",
		help: "How the attributes of files are read: ext4 reads the tables of the file system from the snapshot's device, in one go, which is many times faster; walk asks the kernel about each file. auto is ext4 where the tables are of a known kind, are without fault and agree with a sample of what the kernel says, else walk. ext4 fails the job instead.",
		set: func(o *Options, v string) error {
			switch o.Scan = Scan(v); o.Scan {
			case ScanAuto, ScanTables, ScanWalk:
				return nil
			}
			return errors.New("is none of these")
		},
	}}
}

// maxStrayed is how many directories of a disk are named that the kernel was asked about.
const maxStrayed = 20

// diskCursor goes over the tree of a disk.
type diskCursor interface {
	cursor
	Root() *walk.Entry
	Obey(walk.Rules)
}

// openDisk opens the tree of a disk's snapshot in the way that the options want.
func (b *backup) openDisk(v *volume) (diskCursor, error) {
	if b.opts.Scan == ScanWalk {
		return openWalk(v.dir)
	}
	begin := time.Now()
	s, err := walk.OpenScan(b.job.ctx, v.dir)
	switch {
	case err == nil:
		b.job.Log.Infof("disk %s: the tables of its file system have %s inodes and were read in %s", v.mountName(), text.Count(int64(s.Inodes)), text.Duration(time.Since(begin)))
		s.ByContent = !b.job.partial() && !b.estimate
		strayed := 0
		s.Strayed = func(path string, why error) {
			if strayed++; strayed > maxStrayed {
				return
			}
			b.job.Log.Infof("disk %s: the kernel is asked for what is in /%s, since its tables cannot be read: %v", v.mountName(), text.Name(path), why)
		}
		return s, nil
	case b.job.ctx.Err() != nil:
		return nil, b.job.ctx.Err()
	case b.opts.Scan == ScanTables:
		return nil, fmt.Errorf("scan=ext4: the tables cannot be read (scan=walk needs none): %w", err)
	}
	b.job.Log.Infof("disk %s: files are looked at one by one, since the file system's tables cannot be used: %v", v.mountName(), err)
	return openWalk(v.dir)
}

func openWalk(dir string) (diskCursor, error) {
	c, err := walk.Open(dir)
	if err != nil {
		return nil, err
	}
	c.Scouts = true
	return c, nil
}
