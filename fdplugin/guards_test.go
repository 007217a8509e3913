// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/ploop"
)

// bareNode is webNode with nothing on its disks but what is given.
func bareNode(t *testing.T, files map[string]string) *fakeNode {
	t.Helper()
	n := webNode(t)
	for _, tree := range []string{"tree-root", "tree-data"} {
		must(t, os.RemoveAll(n.path(tree)))
		must(t, os.MkdirAll(n.path(tree+"/lost+found"), 0o700))
	}
	for name, content := range files {
		put(t, n.path(name), content)
	}
	return n
}

// A job that saves nothing of a container that holds something fails, and says why.
func TestNothingSavedIsNoBackup(t *testing.T) {
	some := map[string]string{"tree-root/etc/hostname": "web", "tree-data/file": "x"}
	for _, tt := range []struct {
		options string
		files   map[string]string
		level   byte
		prepare func(*fakeNode, *Job)
		want    string // of the fatal message, "" if the job is fine
	}{
		{":exclude=*", some, 'F', nil, "nothing of container web would be saved but its configuration: exclude left out 1 disk and 1 directory with all it holds: /data (a disk, "},
		{":exclude=etc,file", some, 'I', nil, "nothing of container web would be saved"},
		{":excluded_backup_paths=/data,/*", some, 'F', nil, "excluded_backup_paths left out 1 disk and 1 directory with all it holds: /data (a disk, "},
		{":tenant_excludes=yes", map[string]string{"tree-root/.nobackup": "", "tree-root/x": "1"}, 'F', nil, "tenant_excludes=yes left out the content of 1 directory: /"},
		{":exclude_caches=yes", map[string]string{"tree-root/CACHEDIR.TAG": cacheMark, "tree-root/x": "1"}, 'F', nil, "exclude_caches=yes left out the content of 1 directory: /"},
		{"", some, 'F', func(_ *fakeNode, j *Job) {
			j.Host.(*counter).accepts = func(e *Entry) bool { return !strings.HasPrefix(e.Name, treeRoot) }
		}, "the FileSet's Options left out 2 disks: /data (a disk, "},
		{":disks=/data", map[string]string{"tree-root/x": "1"}, 'F', nil, "disks left out 1 disk: / (a disk, "},
		{"", map[string]string{"tree-root/" + strings.Repeat(strings.Repeat("n", 250)+"/", 10) + "x": "1"}, 'F', nil, ""},
		{":exclude=etc:std_excludes=yes:tenant_excludes=yes", nil, 'F', nil, ""},
		{"", nil, 'F', nil, ""},
		{"", some, 'I', func(_ *fakeNode, j *Job) { j.Host.(*counter).changed = func(*Entry) bool { return false } }, ""},
		{":exclude=etc", some, 'I', func(_ *fakeNode, j *Job) { j.Host.(*counter).changed = func(*Entry) bool { return false } }, ""},
		{":exclude=etc", some, 'F', nil, ""},
	} {
		for _, estimate := range []bool{false, true} {
			n := bareNode(t, tt.files)
			if tt.level != 'F' {
				fullJob(t, n, bareos)
			}
			j, log := n.job(t, bareos)
			j.SetLevel(tt.level)
			j.Host.(*counter).previous, j.Host.(*counter).accurate = j.Name, true
			if tt.prepare != nil {
				tt.prepare(n, j)
			}
			must(t, j.start(cmd+tt.options, estimate))
			for j.FileDone() {
			}
			got := log.all("fatal")
			if tt.want == "" && got != "" || tt.want != "" && !strings.Contains(got, tt.want) {
				t.Errorf("%s of level %c, estimate %v: %q, want %q", tt.options, tt.level, estimate, got, tt.want)
			}
			if saved := strings.Contains(log.all("info"), "container web saved"); saved != (tt.want == "" && !estimate) {
				t.Errorf("%s of level %c, estimate %v: said that it is saved: %v", tt.options, tt.level, estimate, saved)
			}
			if left := n.left(t); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		}
	}
}

// What could not be read and is all that there is, is no empty container.
func TestNothingReadIsNoBackup(t *testing.T) {
	b := &backup{left: leavings{unread: 3}}
	if err := b.saves(); err == nil || !strings.Contains(err.Error(), "3 files and directories could not be read") {
		t.Errorf("nothing saved, and 3 not read: %v", err)
	}
	b.count.met = 1
	if err := b.saves(); err != nil {
		t.Errorf("one saved, and 3 not read: %v", err)
	}
}

// lossy is a daemon's backup in which the files named cannot be opened, or read.
func lossy(t *testing.T, options string, unopened, unread []string) (*jobLog, int) {
	t.Helper()
	n := webNode(t)
	for i := range 6 {
		put(t, n.path(fmt.Sprintf("tree-root/f/%d", i)), "12345")
	}
	j, log := n.job(t, bareos)
	j.oneByOne = true
	must(t, j.StartBackup(cmd+options))
	told := 0
	in := func(list []string, name string) bool {
		return strings.Contains(name, "/f/") && slices.Contains(list, filepath.Base(name))
	}
	for {
		if it := j.backup.next; it != nil && in(unopened, it.Name) {
			must(t, os.Remove(n.mounted("f/"+filepath.Base(it.Name))))
		}
		e, err := j.NextFile(Flags{HardLinks: true, Xattrs: true})
		if errors.Is(err, ErrStop) {
			return log, told
		}
		must(t, err)
		told++
		if e.Watched != (e.Kind == Regular && strings.Contains(options, "max_errors")) {
			t.Errorf("%s is watched: %v", e.Name, e.Watched)
		}
		if e.Paced != (e.Kind == Regular && strings.Contains(options, "read_rate")) {
			t.Errorf("%s is paced: %v", e.Name, e.Paced)
		}
		if e.Kind == Regular {
			switch fd, err := j.OpenFile(); {
			case err != nil:
			case in(unread, e.Name) && e.Watched:
				j.ReadFailed(unix.EIO)
				j.ReadFailed(unix.EIO) // the daemon tries again
			case in(unread, e.Name): // it reads by itself, and tells nobody
			default:
				_, err = unix.Seek(fd, e.Stat.Size, io.SeekStart)
				must(t, err)
			}
			j.CloseFile()
		}
		if !j.FileDone() {
			return log, told
		}
	}
}

func TestMaxErrors(t *testing.T) {
	all, whole := lossy(t, "", nil, nil)
	if strings.Contains(all.all(), "could not be read") {
		t.Errorf("nothing went wrong, and the job log:\n%s", all.all())
	}
	for _, tt := range []struct {
		options          string
		unopened, unread []string
		fatal            string
	}{
		{"", []string{"1", "2"}, []string{"3", "4"}, ""},
		{":max_errors=4", []string{"1", "2"}, []string{"3", "4"}, ""},
		{":max_errors=3", []string{"1", "2"}, []string{"3", "4"}, "max_errors=3: 4 files and directories could not be read, or not completely, the last one /mnt/bareos/" + webID + "/f/"},
		{":max_errors=0", nil, []string{"5"}, "max_errors=0: 1 file or directory could not be read, or not completely, the last one /mnt/bareos/" + webID + "/f/5: input/output error"},
		{":max_errors=0", []string{"0"}, nil, "/f/0: no such file or directory"},
		{":max_errors=0", nil, nil, ""},
		{":max_errors=0:read_rate=1G", nil, nil, ""},
	} {
		log, told := lossy(t, tt.options, tt.unopened, tt.unread)
		got, n := log.all("fatal"), len(tt.unopened)+len(tt.unread)
		if (tt.fatal == "") != (got == "") || !strings.Contains(got, tt.fatal) {
			t.Errorf("%s with %d errors: %q, want %q", tt.options, n, got, tt.fatal)
		}
		if tt.fatal == "" && told != whole || tt.fatal != "" && told >= whole {
			t.Errorf("%s with %d errors: %d entries of %d", tt.options, n, told, whole)
		}
		if said := strings.Contains(log.all("warning"), fmt.Sprintf("could not be read, or not completely: %d files and directories of %d B; they are named above", n, 5*n)); said != (tt.fatal == "" && n > 0) {
			t.Errorf("%s with %d errors: the job log:\n%s", tt.options, n, log.all())
		}
	}
}

// A file whose inode cannot be looked at counts, too.
func TestMaxErrorsOfTheWalk(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	j.oneByOne = true
	must(t, j.StartBackup(cmd+":max_errors=1"))
	emptied := false
	for {
		e, err := j.NextFile(Flags{HardLinks: true})
		if errors.Is(err, ErrStop) {
			break
		}
		must(t, err)
		if strings.Contains(e.Name, "/home/") && !emptied {
			emptied = true
			for _, f := range []string{"a", "b", "holes"} {
				must(t, os.Remove(n.mounted("home/"+f)))
			}
		}
		if !j.FileDone() {
			break
		}
	}
	if got := log.all("fatal"); !strings.Contains(got, "max_errors=1: 2 files and directories could not be read") || strings.Count(log.all("warning"), "not saved: stat home/") != 2 {
		t.Errorf("the job log:\n%s", log.all())
	}
}

// A snapshot's mount that somebody takes away ends the job, whenever it is: what is below
// looks like an empty container.
func TestSnapshotThatVanishes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts file systems")
	}
	const gone = "is not mounted at"
	for _, when := range []string{"never", "before the walk", "within it", "between two disks", "of the disk that was saved", "while a file is read", "before links are found again"} {
		n := webNode(t)
		var dirs []string
		n.mountAs = func(descriptor, dir string) error {
			dirs = append(dirs, dir)
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
				return err
			}
			out, err := exec.Command("cp", "-a", n.trees[descriptor]+"/.", dir).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}
		n.unmountAs = func(dir string) error {
			if err := unix.Unmount(dir, 0); err != nil {
				return errors.Join(ploop.ErrNotMounted, err)
			}
			return nil
		}
		j, log := n.job(t, bareos)
		detach := func(now string, disk int) {
			if now == when {
				must(t, unix.Unmount(dirs[disk], unix.MNT_DETACH))
			}
		}
		log.told = func(line string) {
			if strings.HasPrefix(line, "snapshot mounted in") {
				detach("before the walk", 0)
			}
		}
		if when == "before links are found again" {
			fullJob(t, n, bareos)
			dirs, j.Host.(*counter).previous = nil, j.Name
			j.SetLevel('I')
			j.Host.(*counter).changed = func(e *Entry) bool {
				if strings.HasSuffix(e.Name, webID+"/") {
					detach(when, 0) // the root comes last of the walk
				}
				return true
			}
		}
		err := j.StartBackup(cmd)
		if (err != nil) != (when == "before the walk") {
			t.Errorf("unmounted %s: StartBackup = %v", when, err)
		}
		seen, last := 0, false
		for err == nil {
			var e *Entry
			if e, err = j.NextFile(Flags{HardLinks: true}); err != nil {
				break
			}
			switch {
			case strings.HasSuffix(e.Name, "/etc/hostname"):
				detach("within it", 0)
				_, _ = j.OpenFile()
				if when == "while a file is read" {
					detach(when, 0)
					j.ReadFailed(unix.EIO)
					last = true
				}
				j.CloseFile()
			case strings.HasSuffix(e.Name, "/ve.conf"):
				detach("of the disk that was saved", 1)
			case strings.HasSuffix(e.Name, "/data/"): // the last of its disk
				detach("between two disks", 0)
			}
			seen++
			if !j.FileDone() {
				break
			}
			if last {
				t.Errorf("unmounted %s: the job goes on", when)
			}
		}
		got := log.all("fatal")
		if said := log.all("warning"); strings.Contains(said, "not saved: open directory") || strings.Contains(said, "not saved: stat") {
			t.Errorf("unmounted %s: files are named as if they were gone:\n%s", when, said)
		}
		if strings.Contains(got, gone) != (when != "never") || when == "never" && got != "" {
			t.Errorf("unmounted %s: %q after %d entries, %v", when, got, seen, err)
		}
		if strings.Contains(log.all("info"), "container web saved") != (when == "never") {
			t.Errorf("unmounted %s: the job log:\n%s", when, log.all())
		}
		j.Close()
		if left := n.left(t); len(left) > 0 {
			t.Errorf("unmounted %s: left behind: %q", when, left)
		}
	}
}

// A mount is known by device and inode: another one has another device, and an empty
// directory another inode.
func TestIsRoot(t *testing.T) {
	v := &volume{}
	v.root.dev, v.root.ino = 7, 2
	for _, tt := range []struct {
		dev, ino uint64
		want     bool
	}{{7, 2, true}, {8, 2, false}, {7, 3, false}} {
		if err := v.isRoot(&unix.Stat_t{Dev: tt.dev, Ino: tt.ino}); (err == nil) != tt.want {
			t.Errorf("isRoot(%d, %d) = %v", tt.dev, tt.ino, err)
		}
	}
}

// A file whose attributes cannot be read is not read completely.
func TestMaxErrorsOfAttributes(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	j.oneByOne = true
	must(t, j.StartBackup(cmd+":max_errors=0"))
	for {
		e, err := j.NextFile(Flags{HardLinks: true, Xattrs: true})
		must(t, err)
		if strings.HasSuffix(e.Name, "/etc/hostname") {
			must(t, os.Remove(n.mounted("etc/hostname")))
			j.Xattrs()
			j.Xattrs()
			break
		}
		j.FileDone()
	}
	if got := log.all("fatal"); j.FileDone() || !strings.Contains(got, "max_errors=0: 1 file or directory could not be read, or not completely, the last one /mnt/bareos/"+webID+"/etc/hostname: ") {
		t.Errorf("the job goes on, or has said %q", got)
	}
}
