// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"os"
	"strings"
	"testing"
)

// replay is a transcript at work: the real tool's paths lie in the node's own folders here.
type replay struct {
	*lab
	names *names
}

var (
	intoNode = strings.NewReplacer("/data/", "/vz/data/", "/mnt/", "/mnt/bareos/")
	fromNode = strings.NewReplacer("/vz/data/", "/data/", "/mnt/bareos/", "/mnt/")
)

func newReplay(t *testing.T) *replay {
	t.Helper()
	l := up(t, "--dialect", "vz9")
	l.sh("mkdir -p /vz/data /mnt/bareos/live /mnt/bareos/snap /mnt/bareos/snap2")
	return &replay{lab: l, names: newNames()}
}

// run gives a command of the transcript to the lab's ploop.
func (r *replay) run(cmd string) result {
	r.t.Helper()
	cmd = replace(intoNode.Replace(cmd), r.names.toNew)
	got := r.try(strings.Fields(cmd)...)
	got.out, got.err = fromNode.Replace(got.out), fromNode.Replace(got.err)
	return got
}

// quietly does what was done between the commands of a transcript and is not in it.
func (r *replay) quietly(script string) func() {
	return func() {
		r.t.Helper()
		r.sh(replace(intoNode.Replace(script), r.names.toNew))
	}
}

// left are commands that are not replayed, each kind with its reason.
var left = []struct{ prefix, why string }{
	{"grep ", "reads /proc/mounts; what is mounted is compared in other tests"},
	{"lsblk", "no such devices here"},
	{"dmsetup ", "no device mapper here"},
	{"cat ", "contents of the files of that day"},
	{"touch ", "not ploop"},
	{"e2fsck ", "not ploop"},
	{"umount ", "not ploop: done as a step between"},
	{"mount ", "not ploop: done as a step between"},
}

// play replays a transcript. before holds what was done before the command on a line. It counts what was left out.
func (r *replay) play(name string, before map[int]func(), races map[int]string) (played, out int) {
	r.t.Helper()
	for _, s := range readTranscript(r.t, name) {
		if fn := before[s.line]; fn != nil {
			fn()
			delete(before, s.line)
		}
		why := races[s.line]
		for _, l := range left {
			if strings.HasPrefix(s.cmd, l.prefix) {
				why = l.why
			}
		}
		if why != "" {
			r.t.Logf("left out: %s:%d: %s (%s)", name, s.line, s.cmd, why)
			out++
			continue
		}
		played++
		if diff := compare(s, r.run(s.cmd), r.names); diff != "" {
			r.t.Errorf("%s:%d (%s): %s\n%s", name, s.line, s.heading, s.cmd, diff)
		}
	}
	for line := range before {
		r.t.Errorf("%s has no command on line %d: the step before it was not done", name, line)
	}
	return played, out
}

// lineOf finds the nth command that begins so after a heading; the first is 0.
func lineOf(t *testing.T, name, heading, cmd string, nth int) int {
	t.Helper()
	for _, s := range readTranscript(t, name) {
		if strings.HasPrefix(s.heading, heading) && strings.HasPrefix(s.cmd, cmd) {
			if nth == 0 {
				return s.line
			}
			nth--
		}
	}
	t.Fatalf("%s: no command %q below %q", name, cmd, heading)
	return 0
}

// expect asserts how much was replayed, so that nothing is left out silently.
func expect(t *testing.T, name string, played, out, wantPlayed, wantOut int) {
	t.Helper()
	t.Logf("%s: %d commands replayed, %d left out", name, played, out)
	if played != wantPlayed || out != wantOut {
		t.Errorf("%s: %d commands replayed and %d left out, want %d and %d", name, played, out, wantPlayed, wantOut)
	}
}

func TestReplayNormalCourse(t *testing.T) {
	needs(t, "lsof", "mkfs.ext4")
	const name = "1-init-mount-snapshot-merge.txt"
	r := newReplay(t)
	at := func(heading, cmd string, nth int) int { return lineOf(t, name, heading, cmd, nth) }
	r.sh("mkdir -p /vz/data/ct101/root.hdd")
	played, out := r.play(name, map[int]func(){
		at("snapshot", "ploop snapshot -u", 0): r.quietly("echo before >/mnt/live/marker; sync -f /mnt/live"),
		at("umount while busy", "ploop umount", 0): func() {
			r.do("set", r.dir, "busy_seconds=1")
			r.sh("cd /mnt/bareos/snap; sleep 60 >/dev/null 2>&1 & echo $! >/run/busy")
		},
		at("umount while busy", "ploop umount", 1): func() {
			r.sh("kill $(cat /run/busy)")
			r.do("set", r.dir, "busy_seconds=60")
		},
	}, nil)
	expect(t, name, played, out, 41, 12)
}

func TestReplayErrorsAndLocks(t *testing.T) {
	needs(t, "mkfs.ext4")
	const name = "2-errors-busy-lock-kill.txt"
	r := newReplay(t)
	at := func(heading, cmd string, nth int) int { return lineOf(t, name, heading, cmd, nth) }
	const dd = " /data/ct102/root.hdd/DiskDescriptor.xml"
	r.sh("mkdir -p /vz/data/ct102/root.hdd; ploop init -s 1g -t ext4 /vz/data/ct102/root.hdd/root.hds >/dev/null 2>&1")
	race := at("concurrency", "ploop snapshot -u deadbeef", 0)
	played, out := r.play(name, map[int]func(){
		// The check that comes with the mount of a live top repairs what lies on disk, so all must lie there.
		at("mounted live", "ploop mount -r -c bk -u 5fbaabe3", 0): r.quietly("sync -f /mnt/live"),
		at("umount by umount(8)", "ploop umount -m", 0):           r.quietly("umount /mnt/snap"),
		at("mount without -m", "ploop umount -m", 0): func() {
			r.quietly("mount -o ro,noload $(ls /dev/mapper/ploop*p1 | grep -v $(grep -o 'ploop[0-9]*p1 .*/live ' /proc/mounts | cut -d' ' -f1)) /mnt/snap")()
		},
		// The command on the line before ran beside a snapshot-delete, whose outcome stays.
		at("concurrency", "ploop snapshot-list", 1): r.quietly("ploop snapshot-delete -u {33333333-3333-4333-8333-333333333333}" + dd),
	}, map[int]string{race: "ran at the same time as another command, and failed by chance"})
	expect(t, name, played, out, 69, 5)
}

func TestReplayMoreErrors(t *testing.T) {
	needs(t, "mkfs.ext4")
	const name = "5-more-errors.txt"
	r := newReplay(t)
	at := func(heading, cmd string, nth int) int { return lineOf(t, name, heading, cmd, nth) }
	const dd = " /data/ct106/root.hdd/DiskDescriptor.xml"
	const u1 = "{11111111-1111-4111-8111-111111111111}"
	// A file system of its own, to be filled up.
	r.sh("mount -t tmpfs -o size=900m none /vz/data; mkdir -p /vz/data/ct106/root.hdd; touch /vz/data/ct106/root.hdd/root.hds")
	dirty := func(file string) string {
		return "printf 'Ynot' | dd of=" + file + " bs=1 seek=44 conv=notrunc status=none;"
	}
	unclean := r.quietly("ploop mount -m /mnt/live" + dd + "; echo hello >/mnt/live/h; ploop snapshot -u " + u1 + dd +
		"; ploop umount -m /mnt/live; for f in /data/ct106/root.hdd/root.hds*; do " + dirty("$f") + " done")
	played, out := r.play(name, map[int]func(){
		at("init over", "ploop init", 1): r.quietly("rm /data/ct106/root.hdd/root.hds"),
		at("init over", "ploop mount", 1): r.quietly("rm /data/ct106/root.hdd/*; " +
			"ploop init -s 1g -t ext4 /data/ct106/root.hdd/root.hds >/dev/null 2>&1"),
		at("unclean end", "ploop list", 0): func() {
			unclean()
			// The transcript names the delta that was made between its commands.
			file := strings.TrimSpace(r.sh("cd /vz/data/ct106/root.hdd; ls | grep -o '{.*}'"))
			r.names.bind("{23f8d6ef-238f-413a-8c85-e5fe274b601b}", file)
		},
		at("unclean end", "ploop mount -m", 0): r.quietly("ploop umount -m /mnt/snap"),
		at("same component", "ploop mount", 0): r.quietly("ploop snapshot -u " + u1 + dd),
		at("umount -d of", "ploop umount", 0): func() {
			r.quietly("ploop mount -r -c bk -u " + u1 + dd)()
			dev := strings.Fields(r.sh("ploop list | grep bk"))[0]
			r.names.bind("ploop29713", dev)
		},
		at("snapshot with the underlying", "ploop snapshot-delete", 0): func() {
			file := strings.TrimSpace(r.sh("cd /vz/data/ct106/root.hdd; ls | grep -o '{.*}'"))
			r.names.bind("{48441ff9-acbb-49eb-8871-0fe45852106c}", file)
		},
		at("snapshot with the underlying", "ploop snapshot -u", 0): r.quietly("sync -f /mnt/live; cat /dev/zero >/data/fill || true"),
		at("snapshot with the underlying", "ploop snapshot -u", 1): r.quietly("rm /data/fill; test -e /data/ct106/root.hdd/DiskDescriptor.xml.tmp.tmp"),
	}, nil)
	expect(t, name, played, out, 34, 1)
}

// The other transcripts are left out as a whole.
func TestReplayLeftOut(t *testing.T) {
	for name, why := range map[string]string{
		"3-lvm-snapshots.txt":             "LVM: no ploop command in it",
		"4-debian-ploop-1.15-offline.txt": "Debian's 1.15 is not a dialect of the lab",
	} {
		t.Logf("left out: %s: %s", name, why)
		if _, err := os.Stat("testdata/ploop-transcripts/" + name); err != nil {
			t.Error(err)
		}
	}
	for _, s := range readTranscript(t, "3-lvm-snapshots.txt") {
		if strings.HasPrefix(s.cmd, "ploop") {
			t.Errorf("line %d is a ploop command: %s", s.line, s.cmd)
		}
	}
}

// The comparison is not blind: planted differences are seen.
func TestReplaySeesDifferences(t *testing.T) {
	good := step{
		cmd: "ploop x", out: []string{"Opening delta /data/a", "Adding delta dev=/dev/mapper/ploop12345 img=/data/a (ro)", "DM message: x"},
		err: []string{"load ddxml"}, code: 0,
	}
	answer := func() result {
		return result{out: "Opening delta /data/a\nAdding delta dev=/dev/mapper/ploop54321 img=/data/a (ro)\n", err: "load ddxml\n"}
	}
	if diff := compare(good, answer(), newNames()); diff != "" {
		t.Fatalf("an equal answer differs: %s", diff)
	}
	for what, change := range map[string]func(*result){
		"exit status":   func(r *result) { r.code = 1 },
		"missing line":  func(r *result) { r.out = r.out[strings.Index(r.out, "\n")+1:] },
		"changed line":  func(r *result) { r.out = strings.Replace(r.out, "(ro)", "(rw)", 1) },
		"added line":    func(r *result) { r.out += "Clear inuse state\n" },
		"stderr line":   func(r *result) { r.err = "" },
		"other stream":  func(r *result) { r.out, r.err = r.out+r.err, "" },
		"swapped lines": func(r *result) { l := strings.SplitAfter(r.out, "\n"); r.out = l[1] + l[0] },
	} {
		a := answer()
		change(&a)
		if compare(good, a, newNames()) == "" {
			t.Errorf("%s: not seen", what)
		}
	}
	n := newNames()
	n.bind("ploop12345", "ploop99999") // the transcript's device is another one here
	if compare(good, answer(), n) == "" {
		t.Error("another device: not seen")
	}
}
