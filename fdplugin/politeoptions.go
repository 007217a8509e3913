// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// slowest is the least read_rate: a daemon asks for 64 KiB at a time, and a job that waits
// for longer than a second for that would seem to hang.
const slowest = 64 << 10

// politeOptions are the rows of the table for what a job leaves to others.
func politeOptions() []option {
	return []option{
		{
			key: "nice", valid: "a number from 0 to 19", def: "0",
			help: "The nice value of the job's own threads while it saves or restores files. A daemon that has a higher one keeps it. That of a FileSet counts for restores of its backups too. Snapshots are taken and merged with the daemon's own priority, as all that ploop and prlctl do: containers may wait for them.",
			set: func(o *Options, v string) error {
				n, err := strconv.ParseUint(v, 10, 8)
				if o.Polite.nice = int(n); err != nil || n > 19 {
					return errors.New("is no number from 0 to 19")
				}
				return nil
			},
		},
		{
			key: "ionice", valid: "idle, best-effort, or best-effort with a level from 0 to 7, such as best-effort/7",
			help: "The priority for the disk of the same threads, as of ionice(1): idle reads when nobody else does, of the levels 7 comes last; without one it is 4. It never becomes higher than the daemon's, which usually is 4. It counts only where the scheduler of the disk is BFQ or CFQ, as on Virtuozzo 7 (/sys/block/sda/queue/scheduler).",
			set:  func(o *Options, v string) (err error) { o.Polite.io, err = parseIOPriority(v); return err },
		},
		{
			key: "read_rate", valid: "a number of bytes a second, or a size with K, M, G or T; at least 64K",
			help: "How fast the content of files is read at most, on average over the job; holes do not count. With it the plugin reads files itself where the daemon would. A restore is not slowed.",
			set: func(o *Options, v string) (err error) {
				o.ReadRate, err = parseSize(v, 1)
				if err == nil && o.ReadRate < slowest {
					return errors.New("is less than 64K a second")
				}
				return err
			},
		},
	}
}

// parseIOPriority reads what ionice(1) calls a class, and a level.
func parseIOPriority(v string) (int, error) {
	// ionice(1) has no word for both together. A colon would have to be escaped, but is taken.
	class, level, has := strings.Cut(strings.Replace(v, ":", "/", 1), "/")
	switch {
	case class == "idle" && !has:
		return ioIdle << ioClassShift, nil
	case class == "best-effort" && !has:
		return ioBestEffort<<ioClassShift | 4, nil
	case class == "best-effort" && len(level) == 1 && level >= "0" && level <= "7":
		return ioBestEffort<<ioClassShift | int(level[0]-'0'), nil
	}
	return 0, fmt.Errorf("is neither idle nor best-effort, which may have a level from /0 to /7")
}
