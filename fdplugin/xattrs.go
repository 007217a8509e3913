// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/chattr"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// What the daemons carry of a file's extended attributes, with what they and we add to each.
const (
	// BareosXattrs: from here on, all attributes of the file are dropped (MAX_XATTR_STREAM
	// in findlib/xattr.h, PluginBuildXattrStreams in filed/fd_plugins.cc, 17 to 26).
	BareosXattrs = 1 << 20
	// BaculaXattrs: a longer message ends the job (lib/bsock.c, "insane msglen", 9.6 and 15).
	BaculaXattrs = 4000000
)

// xattrHead is more than either adds to an attribute, or to them all: Bareos three numbers
// of 4 bytes, we two (cgo/pack.c).
const xattrHead = 12

// attributesOf reads the extended attributes of a file, and before them, as one more, the
// flags and the project that the daemons have no field for.
func attributesOf(e *walk.Entry) func() ([]walk.Xattr, error) {
	return func() ([]walk.Xattr, error) {
		list, err := e.Xattrs()
		own, err2 := e.Inode()
		if value := own.Encode(); value != nil {
			list = append([]walk.Xattr{{Name: chattr.Name, Value: value}}, list...)
		}
		return list, errors.Join(err, err2)
	}
}

// xattrs returns what the daemon gets of the file at hand.
func (b *backup) xattrs() []walk.Xattr {
	if b.next == nil || b.next.xattrs == nil {
		return nil
	}
	list, err := b.next.xattrs()
	if err != nil && !b.bad {
		b.bad = true
		b.missing(b.next)
		b.unreadable(b.next.Name, 0, b.next.disk, err)
	}
	list, err2 := fitting(list, b.job.Daemon.MaxXattrs)
	if err := errors.Join(err, err2); err != nil {
		b.count.failed++
		b.job.warnFile(b.count.failed, "extended attributes of %s are not complete: %v", text.Name(b.next.Name), err)
	}
	return list
}

// maxNamed is how many attributes of one file are named that are left out.
const maxNamed = 10

// fitting leaves out what is too much for the daemon. What programs keep in user. goes
// first: without capabilities and access lists a file is another one.
func fitting(list []walk.Xattr, limit int) ([]walk.Xattr, error) {
	total := xattrHead
	for _, x := range list {
		total += xattrHead + len(x.Name) + len(x.Value)
	}
	if limit == 0 || total < limit {
		return list, nil
	}
	all := total
	list = append([]walk.Xattr(nil), list...)
	sort.SliceStable(list, func(i, j int) bool {
		return !strings.HasPrefix(list[i].Name, "user.") && strings.HasPrefix(list[j].Name, "user.")
	})
	total = xattrHead
	var kept []walk.Xattr
	var left []string
	more := 0
	for _, x := range list {
		size := xattrHead + len(x.Name) + len(x.Value)
		switch {
		case total+size < limit:
			total += size
			kept = append(kept, x)
		case len(left) < maxNamed:
			left = append(left, fmt.Sprintf("%s (%s bytes)", text.Name(x.Name), text.Count(int64(len(x.Value)))))
		default:
			more++
		}
	}
	if more > 0 {
		left = append(left, fmt.Sprintf("%s more", text.Count(int64(more))))
	}
	return kept, fmt.Errorf("they have %s bytes, the daemon carries less than %s for one file; left out: %s",
		text.Count(int64(all)), text.Count(int64(limit)), strings.Join(left, ", "))
}
