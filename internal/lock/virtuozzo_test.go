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
)

// libvzctl takes a lock as _lock_file of vz7-u22 does: it returns 0 if it has it,
// -2 if somebody else has it, -3 if it goes on without it, for a start beside a
// backup. Written after the facts, as the other side of the tests.
func libvzctl(t *testing.T, path string, pid int, status string) int {
	t.Helper()
	tmp := path + "Ab3dEf"
	must(t, os.WriteFile(tmp, fmt.Appendf(nil, "%d\n%s\n", pid, status), 0o600))
	defer os.Remove(tmp)
	for range 3 {
		if os.Link(tmp, path) == nil {
			return 0
		}
		b, err := os.ReadFile(path)
		must(t, err)
		var holder int
		var word string
		if n, _ := fmt.Sscanf(string(b), "%d\n%s", &holder, &word); n == 0 {
			must(t, os.Remove(path))
			continue
		}
		if _, err := os.Stat("/proc/" + strconv.Itoa(holder)); err != nil {
			must(t, os.Remove(path))
			continue
		}
		if status == "starting" && word == "Backing" {
			return -3
		}
		return -2
	}
	return -1
}

func made() error { return nil }

// deadPid is the number of a process that has ended.
func deadPid(t *testing.T) int {
	t.Helper()
	c := exec.Command("true")
	must(t, c.Run())
	return c.Process.Pid
}

func ls(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestVirtuozzoAndLibvzctl(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ct.lck")
	h, err := Virtuozzo(path, "mark-1", made)
	mustHold(t, h, err)
	if got, want := ls(t, dir), "ct.lck"; got != want {
		t.Errorf("files = %s, want %s", got, want)
	}
	if b, _ := os.ReadFile(path); !strings.HasPrefix(string(b), strconv.Itoa(os.Getpid())+"\nBacking up\n") {
		t.Errorf("content = %q", b)
	}
	for status, want := range map[string]int{"stopping": -2, "setting": -2, "Backing up": -2, "starting": -3} {
		if got := libvzctl(t, path, os.Getpid(), status); got != want {
			t.Errorf("libvzctl for %q beside our lock = %d, want %d", status, got, want)
		}
	}
	must(t, h.Release())
	if got := ls(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}

	// Its locks are waited for while their holder lives, and named.
	sleeper := exec.Command("sleep", "60")
	must(t, sleeper.Start())
	pid := sleeper.Process.Pid
	if got := libvzctl(t, path, pid, "migrating"); got != 0 {
		t.Fatalf("libvzctl = %d", got)
	}
	_, err = Virtuozzo(path, "mark-2", func() error { t.Error("recorded although it is held"); return nil })
	wantHeld(t, err, fmt.Sprintf("process %d (sleep) with status \"migrating\"", pid))
	must(t, sleeper.Process.Kill())
	_ = sleeper.Wait()
	h, err = Virtuozzo(path, "mark-2", made)
	mustHold(t, h, err)
	must(t, h.Release())
}

// A container that must stay at rest is not started either, and its lock stays so when it
// is taken again.
func TestVirtuozzoAtRest(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ct.lck")
	h, err := VirtuozzoAtRest(path, "mark-1", made)
	mustHold(t, h, err)
	for range 2 {
		for _, status := range []string{"stopping", "setting", "Backing up", "starting", "mounting"} {
			if got := libvzctl(t, path, os.Getpid(), status); got != -2 {
				t.Errorf("libvzctl for %q beside our lock = %d, want -2", status, got)
			}
		}
		must(t, os.Remove(path))
		if again, err := h.Retake(); !again || err != nil {
			t.Errorf("Retake = %v, %v", again, err)
		}
	}
	must(t, h.Release())
	if got := ls(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// Who had a lock and is dead, or is nobody, keeps no one waiting.
func TestVirtuozzoTakesOverFromTheDead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ct.lck")
	for name, content := range map[string]string{
		"dead":             fmt.Sprintf("%d\nstopping\n", deadPid(t)),
		"empty":            "",
		"no number":        "stopping\n",
		"negative":         "-1\nstopping\n",
		"our own dead job": fmt.Sprintf("%d\nBacking up\nvz7ct old\n", os.Getpid()),
	} {
		must(t, os.WriteFile(path, []byte(content), 0o600))
		h, err := Virtuozzo(path, "new", made)
		if err != nil {
			t.Errorf("%s: Virtuozzo = %v", name, err)
			continue
		}
		must(t, h.Release())
	}
	for name, content := range map[string]string{
		"alive":                        fmt.Sprintf("%d\nstopping\n", os.Getppid()),
		"alive without a status":       fmt.Sprintf("%d\n", os.Getppid()),
		"alive without an end of line": strconv.Itoa(os.Getppid()),
		"another daemon of ours":       fmt.Sprintf("%d\nBacking up\nvz7ct old\n", os.Getppid()),
		"this process, not by a job":   fmt.Sprintf("%d\nBacking up\n", os.Getpid()),
	} {
		must(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := Virtuozzo(path, "new", made)
		wantHeld(t, err, "process ")
		if b, _ := os.ReadFile(path); string(b) != content {
			t.Errorf("%s: content = %q, want %q", name, b, content)
		}
	}
}

// A start that was let through removes the lock when it ends. Whoever has it by
// then keeps it.
func TestVirtuozzoIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ct.lck")
	h, err := Virtuozzo(path, "mark", made)
	mustHold(t, h, err)
	if again, err := h.Retake(); again || err != nil {
		t.Errorf("Retake of what is there = %v, %v, want false", again, err)
	}
	must(t, os.Remove(path))
	if got := libvzctl(t, path, os.Getppid(), "stopping"); got != 0 {
		t.Fatalf("libvzctl = %d", got)
	}
	_, err = h.Retake()
	wantHeld(t, err, "stopping")
	must(t, os.Remove(path))
	if again, err := h.Retake(); !again || err != nil {
		t.Errorf("Retake = %v, %v, want true", again, err)
	}
	if got := libvzctl(t, path, os.Getppid(), "stopping"); got != -2 {
		t.Errorf("libvzctl beside the lock that was taken again = %d, want -2", got)
	}
	must(t, os.Remove(path))
	if got := libvzctl(t, path, os.Getppid(), "stopping"); got != 0 {
		t.Fatalf("libvzctl = %d", got)
	}
	must(t, RemoveVirtuozzo(path, "mark"))
	must(t, h.Release())
	if b, _ := os.ReadFile(path); !strings.Contains(string(b), "stopping") {
		t.Errorf("the other's lock is %q", b)
	}
	flocked, err := Exclusive(filepath.Join(dir, "l"), true)
	mustHold(t, flocked, err)
	if again, err := flocked.Retake(); again || err != nil {
		t.Errorf("Retake of a flock = %v, %v, want false", again, err)
	}
	must(t, flocked.Release())
}

// What a sweeper does: by the mark, whoever has the dead job's pid by now.
func TestRemoveVirtuozzo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ct.lck")
	ours := fmt.Sprintf("%d\nBacking up\nvz7ct mine\n", os.Getppid())
	for _, tt := range []struct {
		content, mark string
		gone          bool
	}{
		{ours, "mine", true},
		{ours, "other", false},
		{ours, "", false},
		{"17\nstopping\n", "mine", false},
		{"17\nBacking up\n", "mine", false},
		{"17\nBacking up\nmine\n", "mine", false},
	} {
		must(t, os.WriteFile(path, []byte(tt.content), 0o600))
		must(t, RemoveVirtuozzo(path, tt.mark))
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) != tt.gone {
			t.Errorf("RemoveVirtuozzo(%q) of %q: %v, want it gone: %v", tt.mark, tt.content, err, tt.gone)
		}
	}
	// Before it was linked.
	must(t, os.Remove(path))
	must(t, os.WriteFile(path+".mine", nil, 0o600))
	must(t, RemoveVirtuozzo(path, "mine"))
	must(t, RemoveVirtuozzo(path, "mine"))
	must(t, RemoveVirtuozzo(filepath.Join(dir, "none/ct.lck"), "mine"))
	if got := ls(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func TestVirtuozzoWhereItCannotBeHad(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	must(t, os.WriteFile(victim, []byte("0\n"), 0o600))
	must(t, os.Symlink(victim, filepath.Join(dir, "link.lck")))
	must(t, os.Mkdir(filepath.Join(dir, "dir.lck"), 0o700))
	for _, name := range []string{"none/ct.lck", "victim/ct.lck", "link.lck", "dir.lck"} {
		path := filepath.Join(dir, name)
		h, err := Virtuozzo(path, "mark", func() error { t.Errorf("%s: recorded", name); return nil })
		var unusable *UnusableError
		if !errors.As(err, &unusable) {
			t.Errorf("%s: Virtuozzo = %v, %v, want an UnusableError", name, h, err)
		}
		if err := RemoveVirtuozzo(path, "mark"); err != nil {
			t.Errorf("%s: RemoveVirtuozzo = %v", name, err)
		}
	}
	if got, want := ls(t, dir), "dir.lck link.lck victim"; got != want {
		t.Errorf("files = %s, want %s", got, want)
	}
	// What cannot be recorded is not made.
	full := errors.New("journal full")
	if _, err := Virtuozzo(filepath.Join(dir, "ct.lck"), "mark", func() error { return full }); !errors.Is(err, full) {
		t.Errorf("Virtuozzo = %v, want %v", err, full)
	}
	if got, want := ls(t, dir), "dir.lck link.lck victim"; got != want {
		t.Errorf("files = %s, want %s", got, want)
	}
}

// Whatever the file holds: its holder is a process or nobody, and who has not our
// mark is not taken for us.
func FuzzHolder(f *testing.F) {
	for _, s := range []string{"", "4711\nBacking up\n", "4711\nBacking up\nvz7ct m\n", "-1\nx", "99999999999999999999\n", "0x10\n", "1 2\n\n\n\nvz7ct m", "\x00\n\x1b[m\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		by := parseHolder(content)
		if by.pid < 0 || by.mark != "" && !strings.Contains(content, vzMark+by.mark) || strings.ContainsAny(by.mark+by.status, "\n") {
			t.Errorf("parseHolder(%q) = %+v", content, by)
		}
	})
}
