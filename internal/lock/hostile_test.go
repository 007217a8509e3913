// SPDX-License-Identifier: AGPL-3.0-only

package lock

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

// A user of the node writes into our lock file that its holder is process
// "../../home/user/x", and comm there is a link to a file that he may not read.
func TestLinkTellsNothingOfOtherFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "x/comm"), "secret")
	for _, pid := range []string{"../.." + dir + "/x", "self", "1/../1", "-1", "01", "\x1b[31m", "99999999999999999999", ""} {
		put(t, filepath.Join(dir, "l.lock"), mark+pid+"\n")
		f, err := os.Open(filepath.Join(dir, "l.lock"))
		must(t, err)
		must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
		_, err = WithLink(filepath.Join(dir, "l"), nothing)
		wantHeld(t, err, "a process that does not tell its number")
		f.Close()
	}
}

// What lies in a shared directory may have any name, and a process any.
func TestHoldersAreNamedOnOneLine(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "two\nlines\x1b[31m")
	put(t, odd, "")
	must(t, os.Link(odd, filepath.Join(dir, "l.lock")))
	_, err := WithLink(filepath.Join(dir, "l"), nothing)
	wantHeld(t, err, `two\nlines\x1b[31m`)
	if strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("error = %q", err)
	}
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	program := filepath.Join(t.TempDir(), "a\nb\x1b")
	must(t, os.Symlink(sleep, program))
	cmd := exec.Command(program, "60")
	must(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if got, pid := process(strconv.Itoa(cmd.Process.Pid)), cmd.Process.Pid; got != fmt.Sprintf(`process %d (a\nb\x1b)`, pid) {
		t.Errorf("process(%d) = %q", pid, got)
	}
	if got := process("self"); strings.Contains(got, "self") {
		t.Errorf("process(self) = %q", got)
	}
	if got := process("1"); !strings.HasPrefix(got, "process 1 (") {
		t.Errorf("process(1) = %q", got)
	}
}

// A path over a link of somebody else leads where he wants it to.
func TestForeignLinkOnTheWay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a link of another user")
	}
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	put(t, victim+"/l.lock", mark+"1\n")
	link := func(name, target string, uid int) string {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.Symlink(target, p))
		must(t, os.Lchown(p, uid, 0))
		return p
	}
	link("a/b/good", victim, 0)
	link("a/b/relative", "../../victim", 0)
	link("bad", victim, 1234)
	link("twice", "bad", 0)
	link("theirs/l", victim, 0)
	must(t, os.Chown(filepath.Join(dir, "theirs"), 1234, 0))
	link("open/l", victim, 0)
	must(t, os.Chmod(filepath.Join(dir, "open"), 0o777))
	link("sticky/l", victim, 0)
	must(t, os.Chmod(filepath.Join(dir, "sticky"), 0o777|os.ModeSticky))
	link("circle", "circle", 0)
	link("longer", strings.Repeat("a/b/../../", 300)+"victim", 0)
	for way, want := range map[string]error{
		"a/b/good": nil, "a/b/relative": nil, "sticky/l": nil, "longer": nil, "bad": errForeignLink, "twice": errForeignLink, "theirs/l": errForeignLink,
		"open/l": errForeignLink, "circle": unix.ELOOP, "none": os.ErrNotExist, "victim/l.lock": unix.ENOTDIR,
	} {
		path := filepath.Join(dir, way, "x")
		for what, take := range map[string]func() (*Held, error){
			"WithLink": func() (*Held, error) { return WithLink(path, nothing) }, "Exclusive": func() (*Held, error) { return Exclusive(path, true) },
			"Shared": func() (*Held, error) { return Shared(path) },
		} {
			h, err := take()
			if !errors.Is(err, want) {
				t.Errorf("%s over %s = %v, want %v", what, way, err, want)
			}
			must(t, h.Release())
		}
		if want == errForeignLink {
			if removed, err := RemoveDead(filepath.Join(dir, way, "l.lock")); removed || err != nil {
				t.Errorf("RemoveDead over %s = %v, %v, want false", way, removed, err)
			}
		}
	}
	if _, err := os.Lstat(victim + "/l.lock"); err != nil {
		t.Error(err)
	}
	if removed, err := RemoveDead(filepath.Join(dir, "a/b/good/l.lock")); !removed || err != nil {
		t.Errorf("RemoveDead over root's own link = %v, %v, want true", removed, err)
	}
}

// Somebody who may rename the directory puts another one in its place while the
// lock is held: nothing there is removed, and what we have made is.
func TestDirectoryIsExchanged(t *testing.T) {
	dir := t.TempDir()
	place, victim := filepath.Join(dir, "place"), filepath.Join(dir, "victim")
	must(t, os.Mkdir(place, 0o755))
	for _, f := range []string{"l", "l.lock", "x"} {
		put(t, filepath.Join(victim, f), "precious")
	}
	h, err := WithLink(place+"/l", nothing)
	mustHold(t, h, err)
	x, err := Exclusive(place+"/x", true)
	mustHold(t, x, err)
	must(t, os.Rename(place, place+".old"))
	must(t, os.Symlink(victim, place))
	must(t, errors.Join(h.Release(), x.Release()))
	left, _ := os.ReadDir(place + ".old")
	if len(left) != 1 || left[0].Name() != "l" {
		t.Errorf("left = %v, want the lock file only", left)
	}
	for _, f := range []string{"l", "l.lock", "x"} {
		if b, err := os.ReadFile(filepath.Join(victim, f)); string(b) != "precious" {
			t.Errorf("%s = %q, %v", f, b, err)
		}
	}
}

// An option must not have root make, or lock, any file of the node.
func TestWhichFilesAnOptionMayName(t *testing.T) {
	dir := t.TempDir()
	free, plain, data := freeDirs, lockDirs, dataDirs
	defer func() { freeDirs, lockDirs, dataDirs = free, plain, data }()
	freeDirs, lockDirs, dataDirs = []string{dir + "/tmp"}, []string{dir + "/run"}, []string{dir + "/vz"}
	for _, d := range []string{"etc", "tmp/x", "tmpx", "run/systemd", "vz/x"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	put(t, dir+"/etc/passwd", "root:x:0:0\n")
	put(t, dir+"/etc/empty", "")
	put(t, dir+"/tmp/pid", "4711\n")
	must(t, os.Symlink("passwd", dir+"/etc/link"))
	must(t, os.Symlink(dir+"/etc", dir+"/tmp/way"))
	for name, want := range map[string]string{
		"tmp/new": "", "tmp/x/new": "", "tmp/pid": "", "run/new": "", "etc/empty": "",
		"vz/backup.lock": "", "vz/x/y.lck": "", "vz/backup": "is not there", "etc/passwd.lock": "is not there",
		"etc/passwd": "has content", "etc/cron.allow": "is not there, and is made only in " + dir + "/tmp, " + dir + "/run, or as *.lock ", "tmpx/new": "is not there",
		"etc/link": "symbolic link", "tmp/way/cron.allow": "is not there", "tmp/way/passwd": "has content", "run/systemd/sshd.service": "is not there",
		"tmp/nologin": "keeps users from logging in", "none/x": "no such file", "etc": "is no regular file",
		"/dev/null": "is no regular file", "/proc/kmsg": "is a file of the kernel's own", "/proc/self/x": "is not there", "relative": "is no absolute path", "/": "is no absolute path",
	} {
		path := filepath.Join(dir, name)
		if filepath.IsAbs(name) || name == "relative" {
			path = name
		}
		before := tree(t, dir)
		h, err := WithLink(path, nothing)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("WithLink(%s) = %v, want %q", name, err, want)
		}
		must(t, h.Release())
		after := tree(t, dir)
		delete(after, strings.TrimPrefix(path, dir)) // the lock file itself stays
		delete(before, strings.TrimPrefix(path, dir))
		for f, content := range before {
			if after[f] != content {
				t.Errorf("WithLink(%s): %s = %q, before %q", name, f, after[f], content)
			}
		}
		if len(after) != len(before) {
			t.Errorf("WithLink(%s): files %v, before %v", name, after, before)
		}
	}
}

// tree reads all files below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, _ := os.ReadFile(p)
			files[strings.TrimPrefix(p, dir)] = string(b)
		}
		return err
	}))
	return files
}

// A job that dies before its link has the name leaves another one beside it.
func TestWhatIsLeftOnTheWayToALink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "l")
	h, err := WithLink(filepath.Join(dir, "live"), nothing)
	mustHold(t, h, err)
	must(t, os.Rename(filepath.Join(dir, "live.lock"), filepath.Join(dir, ownPrefix+"live")))
	put(t, filepath.Join(dir, ownPrefix+"dead"), mark+"4711\n")
	put(t, filepath.Join(dir, ownPrefix+"other"), "a user's own")
	must(t, os.Symlink(ownPrefix+"other", filepath.Join(dir, ownPrefix+"link")))
	must(t, unix.Mkfifo(filepath.Join(dir, ownPrefix+"fifo"), 0o600))
	put(t, path+".lock", mark+"4711\n")
	if removed, err := RemoveDead(path + ".lock"); !removed || err != nil {
		t.Errorf("RemoveDead = %v, %v, want true", removed, err)
	}
	for name, want := range map[string]bool{"live": true, "dead": false, "other": true, "link": true, "fifo": true} {
		if _, err := os.Lstat(filepath.Join(dir, ownPrefix+name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}

// memory returns a directory that is quicker than a disk, if there is one.
func memory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "lock-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// The path of a directory leads over root's links, and over nobody else's.
func TestRealDir(t *testing.T) {
	dir := t.TempDir()
	real, err := filepath.EvalSymlinks(dir)
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	must(t, os.Symlink("a", filepath.Join(dir, "link")))
	put(t, filepath.Join(dir, "file"), "")
	for path, want := range map[string]string{"": "", "/a/b": "/a/b", "/a//b/": "/a/b", "/link/b": "/a/b", "/none": "no such file", "/file": "not a directory"} {
		got, err := RealDir(dir + path)
		if failed := strings.Contains(want, " "); failed && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "lock file")) || !failed && (err != nil || got != real+want) {
			t.Errorf("RealDir(%s) = %q, %v, want %q", path, got, err, want)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("links of another user need root")
	}
	must(t, os.Lchown(filepath.Join(dir, "link"), 65534, 65534))
	if got, err := RealDir(dir + "/link/b"); err == nil {
		t.Errorf("RealDir over the link of another user = %q", got)
	}
}

// A directory with any number of names does not hold the job.
func TestNamesAreBounded(t *testing.T) {
	dir := memory(t)
	for n := range maxNames + 50 {
		must(t, os.Symlink("x", filepath.Join(dir, strconv.Itoa(n))))
	}
	at, err := openPlace(dir + "/l")
	must(t, err)
	defer at.close()
	if n := len(at.names()); n != maxNames {
		t.Errorf("names = %d, want %d", n, maxNames)
	}
}

// Whatever a .lock holds: it is ours to remove only if it bears our mark, and what
// is said of it fits a line.
func FuzzLink(f *testing.F) {
	for _, s := range []string{"", mark, mark + "1\n", "vz7ct", mark + "../x", "node-1.2-3", strings.Repeat(mark, 100), "\x00\n"} {
		f.Add(s)
	}
	path := filepath.Join(memory(f), "l")
	f.Fuzz(func(t *testing.T, content string) {
		put(t, path+".lock", content)
		h, err := WithLink(path, nothing)
		var held *HeldError
		switch {
		case err == nil && !strings.HasPrefix(content, mark):
			t.Errorf("the lock %q was removed", content)
		case err != nil && !errors.As(err, &held):
			t.Errorf("WithLink with %q = %v", content, err)
		case err != nil && (held.By != text.Name(held.By) || len(held.By) > 200):
			t.Errorf("WithLink with %q = %q", content, err)
		}
		must(t, h.Release())
	})
}
