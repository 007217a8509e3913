// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// maxListed is how many names of what one reason leaves out are in the job log.
const maxListed = 20

// tally counts what one reason has left out.
type tally struct {
	// files are all that are no directories, with the bytes of the regular ones; dirs are
	// left out with all that they hold, of contents only that.
	files, bytes, dirs, contents, disks int64
	last                                string // what contents has counted last
	names                               []string
}

// leavings is all that a backup leaves out, and what it does not get.
type leavings struct {
	by [reasons]tally
	// sockets have nothing to save. unread files could not be read, or not completely;
	// bytes are theirs, where they are known.
	sockets, unread, bytes int64
	// refused are rule files of the container.
	refused int64
	// mounts are file systems in the container that are none of its disks, hidden the
	// places where a disk's mount point hides something.
	mounts, hidden []string
}

func (l *tally) name(path string) {
	if len(l.names) < maxListed {
		l.names = append(l.names, short("/"+path))
	}
}

// leave counts a path of the container that is left out.
func (b *backup) leave(why reason, path string, st *unix.Stat_t) {
	l := &b.left.by[why]
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		l.dirs++
	case unix.S_IFREG:
		l.bytes += st.Size
		l.files++
	default:
		l.files++
	}
	l.name(path)
	b.tear(why)
}

// leaveContent counts the directory at path once, of what it holds anything is left out.
func (b *backup) leaveContent(why reason, path string) {
	l := &b.left.by[why]
	if l.contents == 0 || l.last != path {
		l.contents++
		l.last = path
		l.name(path)
	}
	b.tear(why)
}

// leaveDisk counts a disk that is left out.
func (b *backup) leaveDisk(why reason, v *volume) {
	l := &b.left.by[why]
	l.disks++
	if len(l.names) < maxListed {
		l.names = append(l.names, fmt.Sprintf("%s (a disk, %s in images)", short(v.mountName()), text.Size(v.images())))
	}
}

// tear lets files be saved with all their names where a rule may have left one out that
// it did not leave out in the job before, although the options are the same.
func (b *backup) tear(why reason) {
	switch why {
	case byTenant, byCache, byNoDump, bySize:
		for _, v := range b.volumes {
			if v.groups != nil {
				v.groups.torn = true
			}
		}
	}
}

// rule is a reason as it stands in the options.
func (b *backup) rule(why reason) string {
	switch why {
	case byDisks:
		return "disks"
	case byPaths:
		return "excluded_backup_paths"
	case byPatterns:
		if len(b.opts.Choice.Files) > 0 {
			return "exclude and exclude_file"
		}
		return "exclude"
	case byStd:
		return "std_excludes=yes"
	case byTenant:
		return "tenant_excludes=yes"
	case byCache:
		return "exclude_caches=yes"
	case byNoDump:
		return "honor_nodump=yes"
	case bySize:
		return "exclude_larger_than=" + strings.ReplaceAll(text.Size(int64(b.opts.Choice.Larger)), " ", "")
	default:
		return "the FileSet's Options"
	}
}

// some writes a number with a word for what it counts; many is empty if one is.
func some(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return text.Count(n) + " " + many
}

// line says what a reason has left out, "" if that is nothing.
func (l *tally) line() string {
	var words []string
	if l.disks > 0 {
		words = append(words, some(l.disks, "disk", "disks"))
	}
	if l.files > 0 {
		words = append(words, some(l.files, "file", "files")+" of "+text.Size(l.bytes))
	}
	if l.dirs > 0 {
		words = append(words, some(l.dirs, "directory with all it holds", "directories with all they hold"))
	}
	if l.contents > 0 {
		words = append(words, "the content of "+some(l.contents, "directory", "directories"))
	}
	if len(words) == 0 {
		return ""
	}
	names := strings.Join(l.names, ", ")
	if more := l.disks + l.files + l.dirs + l.contents - int64(len(l.names)); more > 0 {
		names += fmt.Sprintf(", and %s more", text.Count(more))
	}
	last := len(words) - 1
	if last > 0 {
		words = []string{strings.Join(words[:last], ", ") + " and " + words[last]}
	}
	return words[0] + ": " + names
}

// tellLeft says what is not in the backup, a line for each reason.
func (b *backup) tellLeft() {
	log := b.job.Log
	for why := range reasons {
		if line := b.left.by[why].line(); line != "" {
			log.Infof("%s left out %s", b.rule(why), line)
		}
	}
	if len(b.left.mounts) > 0 {
		log.Infof("not saved, since they are no disks of the container: %s", strings.Join(b.left.mounts, ", "))
	}
	if n := b.left.sockets; n > 0 {
		log.Infof("not saved: %s", some(n, "socket, which holds nothing", "sockets, which hold nothing"))
	}
	if n := b.left.unread; n > 0 {
		size := ""
		if b.left.bytes > 0 {
			size = " of " + text.Size(b.left.bytes)
		}
		log.Warnf("could not be read, or not completely: %s%s; they are named above", some(n, "file or directory", "files and directories"), size)
	}
}
