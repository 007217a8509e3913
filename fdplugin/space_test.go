// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMinFreeOf(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		m           MinFree
		total, want uint64
	}{
		{MinFree{Bytes: 2 * gib, Percent: 5, Default: true}, 10 * gib, gib / 2},
		{MinFree{Bytes: 2 * gib, Percent: 5, Default: true}, 4000 * gib, 2 * gib},
		{MinFree{Percent: 10}, 10 * gib, gib},
		{MinFree{Bytes: 3 * gib}, gib, 3 * gib},
		{MinFree{Percent: 99.5}, 1 << 62, 1 << 62 / 1000 * 995},
		{MinFree{}, gib, 0},
	} {
		// A share is a float: a millionth of it does not matter.
		if got := tt.m.Of(tt.total); got+got/1e6 < tt.want || got > tt.want+tt.want/1e6+1 {
			t.Errorf("%+v.Of(%d) = %d, want %d", tt.m, tt.total, got, tt.want)
		}
	}
}

func TestRoomFor(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	v := j.backup.volumes[0]
	var st unix.Statfs_t
	must(t, unix.Statfs(n.dir, &st))
	free := st.Bavail * uint64(st.Bsize)
	for _, tt := range []struct {
		min, merge uint64
		want       string
	}{
		{1, 0, ""},
		{free / 2, free / 4, ""},
		{2 * free, 0, "make room, or lower min_free"},
		{free / 2, free, "to merge what was written since the snapshot"},
	} {
		err := roomFor(v, MinFree{Bytes: tt.min}, tt.merge)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("roomFor(%d, %d) of %d = %v, want %q", tt.min, tt.merge, free, err, tt.want)
		}
	}
	// What the merge may need is the size of the image that takes the writes.
	delta := filepath.Join(filepath.Dir(v.disk.Descriptor), "root.hds.{6314aba7-96e2-4525-8443-31018c30328e}")
	must(t, os.WriteFile(delta, make([]byte, 3<<20), 0o600))
	if got := v.written(); got < 3<<20 || got > 4<<20 {
		t.Errorf("written = %d with an image of 3 MiB above the snapshot", got)
	}
	j.EndBackup()
	if got := v.written(); got != 0 {
		t.Errorf("written = %d without a snapshot", got)
	}
}

// The watch ends the snapshot between two calls of the daemon, even with a file
// open, and the daemon learns of it at its next call.
func TestWatchGivesTheSnapshotUp(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	b := j.backup
	if b.look() {
		t.Fatal("look with room enough = true")
	}
	var fd int
	for {
		e, err := j.NextFile(Flags{HardLinks: true, Xattrs: true})
		must(t, err)
		if strings.HasSuffix(e.Name, "/etc/hostname") {
			fd, err = j.OpenFile()
			must(t, err)
			break
		}
		j.FileDone()
	}
	b.opts.MinFree = MinFree{Bytes: 1 << 62}
	j.mu.Lock() // the daemon is in a call: nothing is done now
	if b.look() {
		t.Error("look during a call = true")
	}
	j.mu.Unlock()
	if len(n.shots) != 2 {
		t.Fatalf("%d snapshots, want 2", len(n.shots))
	}
	if !b.look() {
		t.Error("look without room = false")
	}
	if len(n.shots)+len(n.mounts) > 0 {
		t.Errorf("after look: snapshots %v, mounts %v", n.shots, n.mounts)
	}
	// The daemon reads on from the descriptor that it has.
	if got, err := unix.Read(fd, make([]byte, 10)); got != 0 || err != nil {
		t.Errorf("Read = %d, %v, want the end of the file", got, err)
	}
	if _, err := j.OpenFile(); err != ErrStop {
		t.Errorf("OpenFile = %v, want ErrStop", err)
	}
	j.CloseFile()
	if j.FileDone() {
		t.Error("FileDone = true")
	}
	if _, err := j.NextFile(Flags{}); err != ErrStop {
		t.Errorf("NextFile = %v, want ErrStop", err)
	}
	j.EndBackup()
	if got := log.all("fatal"); strings.Count(got, "the snapshot was given up: ") != 1 {
		t.Errorf("the job ends with %q, want the reason once", got)
	}
	if left := n.left(t); len(left) > 0 || strings.Contains(log.all(), "container web saved") {
		t.Errorf("left behind: %q\n%s", left, log.all())
	}
	if !b.look() {
		t.Error("look after the end = false: the watch would go on for ever")
	}
}

// A fault in the watch fails the job, which would go on without it.
func TestWatchPanics(t *testing.T) {
	n := webNode(t)
	j, log := n.job(t, bareos)
	must(t, j.StartBackup(cmd))
	b := j.backup
	b.watch.stop()
	whole := b.volumes
	b.volumes = []*volume{nil}
	tick := make(chan time.Time, 1)
	b.watch = watchRoom(b, tick)
	tick <- time.Time{}
	<-b.watch.done
	b.volumes = whole
	if got := log.all("fatal"); !strings.Contains(got, "internal fault in the watch over free space, please report it: runtime error") {
		t.Errorf("said %s", got)
	}
	if e, err := j.NextFile(Flags{}); err != ErrStop {
		t.Errorf("NextFile = %v, %v, want ErrStop", e, err)
	}
	j.EndBackup()
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// After faults that keep a job from being closed nothing is held: the next job takes
// back what it has done.
func TestAbandon(t *testing.T) {
	n := webNode(t)
	j, _ := n.job(t, bareos)
	must(t, j.StartBackup(cmd+":lockfile="+n.path("lock")))
	_, err := j.NextFile(Flags{})
	must(t, err)
	j.Abandon()
	j.Abandon()
	j.Close()
	if len(n.shots) != 2 || len(n.left(t)) == 0 || len(openBelow(n.dir)) > 0 {
		t.Errorf("after Abandon: snapshots %v, left %q", n.shots, n.left(t))
	}
	if _, log, err := run(t, n, cmd); err != nil || !strings.Contains(log.all(), "has not ended properly") {
		t.Errorf("the next job = %v\n%s", err, log.all())
	}
	if left := n.left(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	other, _ := emptyNode(t).job(t, bareos)
	other.Abandon() // of a job that has done nothing
}

func TestSummaryOfCounters(t *testing.T) {
	var c counters
	for kind, n := range map[Kind]int{Regular: 3, Empty: 2, Directory: 4, Symlink: 5, Special: 6, HardLink: 7, Object: 8} {
		for range n {
			c.add(&Entry{Kind: kind, Stat: unix.Stat_t{Size: 10}})
		}
	}
	if want := (counters{files: 5, dirs: 4, links: 5, specials: 6, hardLinks: 7, bytes: 50}); c != want {
		t.Errorf("counters = %+v, want %+v", c, want)
	}
}
