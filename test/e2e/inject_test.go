// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// exports are the functions of Go that the plugin's C side calls, as the source has
// them.
func exports(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../../cgo/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^//export (\w+)$`).FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
	}
	if len(names) < 15 {
		t.Fatalf("exports = %v", names)
	}
	return names
}

// calledIn says in which kind of job the daemon makes the plugin call each export.
var calledIn = map[string]string{
	"goOpen": "backup", "goClose": "backup", "goOptions": "options", "goStartBackup": "backup", "goNext": "backup", "goDone": "backup",
	"goOpenFile": "backup", "goCloseFile": "backup", "goXattrs": "backup", "goEndBackup": "backup",
	"goObject": "restore", "goStartRestore": "restore", "goCreate": "restore", "goOpenRestored": "restore", "goSetXattr": "restore",
	"goEndFile": "restore", "goEndRestore": "restore",
	"goReadFailed": "unread", "goTook": "paced", "goKeeps": "accurate", "goCancel": "cancel", "goSweep": "sweep",
}

// A panic in any function that C calls fails the job that it comes up in, with a
// message and with what the daemon takes for a failure; another job in the same
// daemon goes on; nothing is left on the node. The object that panics is built for
// this test alone: see cgo/inject.go.
func TestPanicInEveryExport(t *testing.T) {
	w := &panicking{world: &world{T: t}}
	w.newNode()
	tree := filepath.Join(w.dir, "tree")
	w.must(os.MkdirAll(filepath.Join(tree, "etc"), 0o755))
	for _, name := range []string{"etc/hostname", "a", "b"} {
		w.must(os.WriteFile(filepath.Join(tree, name), []byte(name), 0o644))
		w.must(unix.Setxattr(filepath.Join(tree, name), "user.x", []byte("y"), 0))
	}
	w.must(os.Link(filepath.Join(tree, "a"), filepath.Join(tree, "c")))
	w.create(rig.Container{Name: "web1", UUID: webUUID, Size: "512M", Tree: tree})
	w.create(rig.Container{Name: "web2", UUID: oldUUID, Size: "512M", Tree: tree})
	w.clean()
	w.control()
	names := exports(t)
	for name := range calledIn {
		if !slices.Contains(names, name) {
			t.Errorf("%s is no export any more", name)
		}
	}
	layouts := []string{"bareos25", "bacula15"}
	if os.Getenv("VZ7CT_FULL") != "" {
		layouts = []string{"bareos17", "bareos21", "bareos22", "bareos23", "bareos25", "bareos26", "bacula9", "bacula15"}
	}
	for n, name := range names {
		for l, layout := range layouts {
			if len(layouts) == 2 && n%2 != l && calledIn[name] != "options" {
				continue // without VZ7CT_FULL each in one of the two families
			}
			w.layout = layout
			switch calledIn[name] {
			case "backup":
				w.backup(name)
			case "unread":
				w.unread(name)
			case "paced":
				w.backup(name, ":read_rate=1G")
			case "accurate":
				w.accurate(name)
			case "options":
				if strings.HasPrefix(layout, "bareos") { // the others send none
					w.backup(name)
					w.foreign(name)
				}
			case "restore":
				w.restore(name)
			case "cancel":
				w.cancel(name)
			case "sweep":
				w.sweep(name)
			default:
				t.Errorf("%s is new: say in calledIn when it is called", name)
			}
		}
	}
	t.Logf("panics: %d exports, %d jobs failed by one, %d others went on", len(names), w.failed, w.others)
}

// panicking is a world whose plugin panics where the test wants it to.
type panicking struct {
	*world
	layout string
	// whole are the lists of the archives that jobs make when nothing goes wrong.
	whole          map[string]string
	failed, others int
}

// store returns a directory for archives.
func (w *panicking) store(kind string) string {
	w.Helper()
	dir := filepath.Join(w.dir, "store-"+kind)
	w.must(os.MkdirAll(dir, 0o755))
	return dir
}

// host runs fdhost with the plugin that panics, and returns its exit status too.
func (w *panicking) host(args ...string) (string, int) {
	w.Helper()
	all := append([]string{rig.Build("fdhost"), "--plugin", rig.Build("inject/vz7ct-fd.so"), "--layout", w.layout}, args...)
	out, err := w.node.Run(all...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out, 0
	case errors.As(err, &exit):
		return out, exit.ExitCode()
	default:
		w.Fatalf("fdhost: %v\n%s", err, lastLines(out, 30))
		return "", -1
	}
}

// inject has an export panic, once.
func (w *panicking) inject(export string) {
	w.Helper()
	path, err := w.node.Outside("/run/vz7ct-inject")
	w.must(err)
	w.must(os.WriteFile(strings.TrimSuffix(path, "/"), []byte(export), 0o600))
}

// clean makes the archives without a panic: the plugin that could panic is as good
// as the other one otherwise.
func (w *panicking) clean() {
	w.Helper()
	w.whole = map[string]string{}
	for _, layout := range []string{"bareos25", "bacula9"} {
		w.layout = layout
		out, status := w.host("backup", "--fileset", "vz7ct:name=web{}", "--store", w.store(layout), "--parallel", "2")
		if status != 0 || strings.Contains(out, "violation ") {
			w.Fatalf("a backup without a panic: exit status %d\n%s", status, lastLines(out, 30))
		}
		for _, job := range []string{"job1", "job2"} {
			w.whole[layout[:6]+job] = w.list(w.store(layout) + "/" + job)
		}
	}
	w.nothingLeft()
}

// control plays jobs in which nothing panics, and then such as have all failed for another
// reason: the judge must say so.
func (w *panicking) control() {
	w.Helper()
	w.layout = "bareos25"
	for _, fileset := range []string{"vz7ct:name=web{}", "vz7ct:name=none{}"} {
		w.inject("goNothing")
		out, status := w.host("backup", "--fileset", fileset, "--store", w.store("spoiled"), "--parallel", "2")
		if _, faults := w.judge("goNothing", out, status, 1); len(faults) < 2 {
			w.Errorf("control: without a panic the judge says %q", faults)
		}
	}
	w.failed, w.others = 0, 0
}

// list returns the names in an archive.
func (w *panicking) list(store string) string {
	w.Helper()
	out, err := exec.Command(rig.Build("fdhost"), "list", "--store", store).Output()
	w.must(err)
	var names []string
	for line := range strings.SplitSeq(string(out), "\n") {
		if _, name, ok := strings.Cut(line, " name="); ok {
			name, _, _ = strings.Cut(name, " link=")
			if !strings.HasSuffix(name, "/.owner") && !strings.HasSuffix(name, "/dump/") { // of which a restored container has none
				names = append(names, name)
			}
		}
	}
	slices.Sort(names) // a restored directory has another order
	return strings.Join(names, "\n")
}

// judge looks at what fdhost says of jobs of which one was to panic. good are the jobs
// that must have come to their end, as many as there are besides that one. It returns
// those that have, and what is wrong.
func (w *panicking) judge(export, out string, status, good int) (ended, faults []string) {
	w.Helper()
	fail := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s, %s: ", w.layout, export)+fmt.Sprintf(format, args...))
	}
	fault := "internal fault, please report it: injected into " + export
	if n := strings.Count(out, fault); n != 1 || status != 3 || strings.Contains(out, "violation ") {
		fail("exit status %d, want 3, and %q %d times, want 1\n%s", status, fault, n, lastLines(out, 40))
	}
	failed := regexp.MustCompile(`(?m)^job \d+: status=f`).FindAllString(out, -1)
	for _, m := range regexp.MustCompile(`(?m)^job (\d+): status=T`).FindAllStringSubmatch(out, -1) {
		ended = append(ended, "job"+m[1])
	}
	if len(failed) != 1 || len(ended) != good {
		fail("%d jobs have failed, want 1, and %d have ended well, want %d\n%s", len(failed), len(ended), good, lastLines(out, 40))
	}
	path, err := w.node.Outside("/run/vz7ct-inject")
	w.must(err)
	if err := os.Remove(strings.TrimSuffix(path, "/")); err == nil {
		fail("it has not panicked")
	}
	left, err := w.node.Leftovers()
	w.must(err)
	if len(left) > 0 {
		fail("left on the node: %q", left)
	}
	w.failed += len(failed)
	w.others += len(ended)
	return ended, faults
}

// none reports what is wrong.
func (w *panicking) none(faults []string) {
	w.Helper()
	for _, f := range faults {
		w.Error(f)
	}
}

// backup plays two backups side by side, one of which panics.
func (w *panicking) backup(export string, options ...string) {
	w.Helper()
	w.must(os.RemoveAll(w.store("spoiled")))
	store := w.store("spoiled")
	args := []string{"backup", "--fileset", "vz7ct:name=web{}" + strings.Join(options, ""), "--store", store, "--parallel", "2"}
	if strings.HasPrefix(w.layout, "bareos") {
		args = append(args, "--job-options", "vz7ct:lock_wait=10m")
	}
	w.inject(export)
	out, status := w.host(args...)
	ended, faults := w.judge(export, out, status, 1)
	w.none(faults)
	for _, job := range ended {
		if got, want := w.list(store+"/"+job), w.whole[w.layout[:6]+job]; got != want || want == "" {
			w.Errorf("%s, %s: the other job has saved\n%s\nwant\n%s", w.layout, export, got, want)
		}
	}
}

// unread plays two backups side by side, one of which panics when it is told of a file
// that cannot be read.
func (w *panicking) unread(export string) {
	w.Helper()
	w.run("prlctl", "mount", "web1")
	if out, err := w.node.Lab("spoil", w.node.Dir, "/vz/root/"+webUUID+"/etc/hostname", "0", "4096"); err != nil {
		w.Fatalf("spoil: %v: %s", err, out)
	}
	w.run("prlctl", "umount", "web1")
	w.backup(export, ":max_errors=9")
	if out, err := w.node.Lab("heal", w.node.Dir); err != nil {
		w.Fatalf("heal: %v: %s", err, out)
	}
}

// accurate plays an accurate incremental that lacks a file, and panics when the daemon
// asks whether the file is gone.
func (w *panicking) accurate(export string) {
	w.Helper()
	w.must(os.RemoveAll(w.store("spoiled")))
	full := w.store(map[bool]string{true: "bareos25", false: "bacula9"}[strings.HasPrefix(w.layout, "bareos")])
	w.inject(export)
	out, status := w.host("backup", "--level", "I", "--since", "1", "--accurate", "--previous", full+"/job1",
		"--fileset", "vz7ct:name=web1:exclude=hostname", "--store", w.store("spoiled"))
	_, faults := w.judge(export, out, status, 0)
	w.none(faults)
}

// foreign plays jobs that are none of the plugin's, in which it panics: nobody hears
// of it.
func (w *panicking) foreign(export string) {
	w.Helper()
	w.inject(export)
	out, status := w.host("foreign", "--job-options", "python:x=y")
	if status != 0 || strings.Contains(out, "violation ") || strings.Contains(out, "internal fault") {
		w.Errorf("%s, %s in a foreign job: exit status %d\n%s", w.layout, export, status, lastLines(out, 30))
	}
	path, err := w.node.Outside("/run/vz7ct-inject")
	w.must(err)
	_ = os.Remove(strings.TrimSuffix(path, "/")) // not every release sends strings to others
}

// restore plays two restores side by side, where the daemon can, one of which panics.
func (w *panicking) restore(export string) {
	w.Helper()
	w.run("prlctl", "destroy", "web1")
	w.run("prlctl", "destroy", "web2")
	store, args, good := w.store("bareos25"), []string{"--parallel", "2"}, 1
	if strings.HasPrefix(w.layout, "bacula") {
		store = w.store("bacula9")
	}
	if w.layout == "bacula9" { // which cannot run two with one plugin
		store, args, good = store+"/job1", nil, 0
	}
	w.inject(export)
	out, status := w.host(append([]string{"restore", "--store", store}, args...)...)
	ended, faults := w.judge(export, out, status, good)
	w.none(faults)
	// Both are there again before the next one.
	list := w.run("prlctl", "list", "-a", "-o", "uuid")
	for n, job := range []string{"job1", "job2"} {
		there := strings.Contains(list, []string{webUUID, oldUUID}[n])
		if there != slices.Contains(ended, job) {
			w.Errorf("%s, %s: container web%d is there: %v, of the jobs ended well: %v", w.layout, export, n+1, there, ended)
		}
		if there {
			continue
		}
		if out, status := w.host("restore", "--store", filepath.Join(w.store(map[bool]string{true: "bareos25", false: "bacula9"}[strings.HasPrefix(w.layout, "bareos")]), job)); status != 0 {
			w.Fatalf("%s, after %s: restore of %s: exit status %d\n%s", w.layout, export, job, status, lastLines(out, 30))
		}
	}
}

// cancel plays two backups that are cancelled; one of them panics when it is told so.
func (w *panicking) cancel(export string) {
	w.Helper()
	w.inject(export)
	out, status := w.host("backup", "--fileset", "vz7ct:name=web{}", "--store", w.store("spoiled"), "--parallel", "2", "--cancel-at", "3")
	if n := strings.Count(out, "injected into "+export); n != 1 || status != 3 || strings.Contains(out, "violation ") {
		w.Errorf("%s, %s: exit status %d, want 3, and told of the panic %d times, want 1\n%s", w.layout, export, status, n, lastLines(out, 40))
	}
	if n := len(regexp.MustCompile(`(?m)^job \d+: .* canceled$`).FindAllString(out, -1)); n != 2 {
		w.Errorf("%s, %s: %d jobs cancelled, want 2\n%s", w.layout, export, n, lastLines(out, 40))
	}
	w.nothingLeft()
	w.failed++
	w.others++
}

// sweep plays a daemon in which the sweep at its start panics: that is in the system's
// log, and a job that has begun before goes on.
func (w *panicking) sweep(export string) {
	w.Helper()
	heard := w.syslog()
	w.inject(export)
	// The job waits for another program's lock until the sweep has come.
	held, err := w.node.Outside("/run/held.lock")
	w.must(err)
	held = strings.TrimSuffix(held, "/")
	w.must(os.WriteFile(held, nil, 0o644))
	line := make(chan string, 1)
	go func() {
		line <- heard()
		os.Remove(held)
	}()
	out, status := w.host("backup", "--store", w.store("spoiled"), "--fileset", "vz7ct:name=web1:lockfile=/run/held")
	if status != 0 || strings.Contains(out, "violation ") || strings.Contains(out, "internal fault") {
		w.Errorf("%s, %s: exit status %d\n%s", w.layout, export, status, lastLines(out, 30))
	}
	if got := <-line; !strings.Contains(got, "vz7ct-fd[") || !strings.Contains(got, "please report it: injected into "+export) {
		w.Errorf("%s, %s: the system's log has %q", w.layout, export, got)
	}
	w.nothingLeft()
	w.others++
}

// syslog listens where the system's log does, and returns a function that waits for
// the first line.
func (w *panicking) syslog() func() string {
	w.Helper()
	cmd := exec.Command(rig.Build("lab"), "exec", w.node.Dir, "--", os.Args[0], "-test.run=^TestListenAsSyslog$", "-test.v")
	cmd.Env = append(os.Environ(), "VZ7CT_SYSLOG=/dev/log")
	pipe, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	lines := newLines(pipe)
	if !lines.until("listening") {
		w.Fatal("nobody listens at /dev/log")
	}
	return func() string {
		defer func() { _ = cmd.Wait() }()
		lines.until("heard ")
		return lines.last
	}
}
