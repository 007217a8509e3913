// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// ahead runs before the daemon, which asks for one file at a time and waits for the disk
// each time: the next files are open, and the kernel is reading what they begin with. All
// is done on the job's thread, since neither call waits for the content.
//
// Entries of a scan stay valid. Of those of a walk all that will be asked for is read at
// once, if the daemon will ask for it; else they come one by one.
type ahead struct {
	next func() (*item, error)
	// wanted reports whether the content of a file will be asked for, as far as one can say.
	wanted func(*item) bool
	// whole: the daemon will ask for nearly all.
	whole bool

	queue []coming
	first int     // of queue that has not come yet
	now   *opened // of the item that came last
	files int     // that are open in the queue
	bytes int64
	ended bool // next has nothing more, or fails
}

// coming is an item that the daemon will be told of, or the error in its place.
type coming struct {
	it   *item
	err  error
	open *opened // nil: it is not open
}

// lasts reports whether it is still there after the next one was looked at.
func (c *coming) lasts() bool { return c.err != nil || c.it.lasting }

// opened is a file that is open before it is asked for. It is closed by whoever has asked
// for it, or when the next file comes.
type opened struct {
	fd    int // -1: somebody has asked for it
	bytes int64
}

// How far the job runs ahead. The descriptors are the daemon's, and other jobs need some.
const (
	aheadItems = 256
	aheadFiles = 32
	aheadBytes = 16 << 20
	// announced is how much of a large file is read before it is asked for; the kernel
	// sees then that it is read from end to end.
	announced = 512 << 10
	// fewXattrs is with how many attributes the next items are looked at, too.
	fewXattrs = 16
)

// Next returns the next item, as the function that it runs before does.
func (a *ahead) Next() (*item, error) {
	a.drop(a.now)
	a.now = nil
	if n := len(a.queue) - a.first; n == 0 || n < aheadItems/2 && a.files < aheadFiles/2 {
		a.fill()
	}
	if a.first == len(a.queue) {
		return a.next()
	}
	c := a.queue[a.first]
	a.queue[a.first] = coming{}
	a.first++
	a.now = c.open
	return c.it, c.err
}

// fill looks at items until enough files are open.
func (a *ahead) fill() {
	if n := len(a.queue); n > a.first && !a.queue[n-1].lasts() {
		return
	}
	n := copy(a.queue, a.queue[a.first:])
	clear(a.queue[n:])
	a.queue, a.first = a.queue[:n], 0
	for !a.ended && len(a.queue) < aheadItems && a.files < aheadFiles && a.bytes < aheadBytes {
		it, err := a.next()
		c := coming{it: it, err: err}
		var left *walk.Error
		if a.ended = err != nil && !errors.As(err, &left); a.ended {
			a.next = func() (*item, error) { return nil, err } // it may not say so again
			return
		}
		if err == nil && (it.lasting || a.whole) && a.wanted(it) {
			c.open = a.open(it)
		}
		a.queue = append(a.queue, c)
		if err == nil && !it.lasting && a.whole && (c.open != nil || !a.wanted(it)) {
			a.keep(it)
		}
		if !c.lasts() {
			return
		}
	}
}

// open opens a file and lets the kernel read it. What cannot be opened now is tried again
// when it is asked for, and told of then; of a walk nothing is looked at before that, since
// the directory would be gone.
func (a *ahead) open(it *item) *opened {
	fd, err := it.open()
	if err != nil {
		return nil
	}
	o := &opened{fd: fd, bytes: min(it.Stat.Size, announced)}
	_ = unix.Fadvise(fd, 0, o.bytes, unix.FADV_WILLNEED)
	a.files++
	a.bytes += o.bytes
	again := it.open
	it.open = func() (int, error) {
		if fd := o.fd; fd >= 0 {
			o.fd = -1
			return fd, nil
		}
		return again()
	}
	return o
}

// keep reads what else will be asked of an item, so that it can be done without its
// directory.
func (a *ahead) keep(it *item) {
	list, err := it.xattrs()
	it.xattrs = func() ([]walk.Xattr, error) { return list, err }
	it.lasting = len(list) < fewXattrs
}

// drop closes what was opened and not asked for.
func (a *ahead) drop(o *opened) {
	if o == nil {
		return
	}
	if o.fd >= 0 {
		closeRead(o.fd)
		o.fd = -1
	}
	a.files--
	a.bytes -= o.bytes
}

// close gives up what is open. Nothing more comes then.
func (a *ahead) close() {
	a.drop(a.now)
	for _, c := range a.queue[a.first:] {
		a.drop(c.open)
	}
	a.now, a.queue, a.first, a.ended = nil, nil, 0, true
	a.next = func() (*item, error) { return nil, io.EOF }
}

// closeRead closes a file of a snapshot. Nobody else reads what the kernel keeps of it, and
// that takes the place of what containers read.
func closeRead(fd int) {
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	unix.Close(fd)
}
