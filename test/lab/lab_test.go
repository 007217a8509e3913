// SPDX-License-Identifier: AGPL-3.0-only

// Package lab_test proves the stand-in node as a whole. All of it needs root; see README.md.
package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binary is the lab program, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if why := cannot(); why != "" {
			fmt.Println("the lab's root tests are skipped:", why) //nolint:forbidigo // a skip must say why
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "lab-bin-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir) //nolint:errcheck // scratch
		binary = filepath.Join(dir, "lab")
		cmd := exec.Command("go", "build", "-o", binary, "./cmd/lab")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build lab: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// cannot says why root tests cannot run here; "" if they can.
func cannot() string {
	switch {
	case os.Getenv("VZ7CT_ROOT_TESTS") != "1":
		return "VZ7CT_ROOT_TESTS is not 1"
	case os.Geteuid() != 0:
		return "not root"
	}
	for _, f := range []string{"/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(f); err != nil {
			return err.Error()
		}
	}
	return ""
}

// full says whether the long versions are wanted.
func full() bool { return os.Getenv("VZ7CT_FULL") == "1" }

// needs skips a test that cannot run, naming what it lacks.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	skip := t.Skip
	if os.Getenv("VZ7CT_ROOT_TESTS") == "1" {
		skip = t.Fatal // they were asked for
	}
	if why := cannot(); why != "" {
		skip(why)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%s is missing: install what packages.txt lists", p)
		}
	}
}

// result is what a command said.
type result struct {
	out, err string
	code     int
}

// lab is one lab of a test.
type lab struct {
	t   *testing.T
	dir string
}

// command runs a program with a time limit.
func command(t *testing.T, limit time.Duration, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	var out, errw strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errw
	err := cmd.Run()
	r := result{out: out.String(), err: errw.String()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%q did not end within %v\n%s%s", argv, limit, r.out, r.err)
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		t.Fatalf("%q: %v", argv, err)
	}
	return r
}

const patience = 60 * time.Second

// up makes a lab that is taken down at the end of the test.
func up(t *testing.T, args ...string) *lab {
	t.Helper()
	l := &lab{t: t, dir: filepath.Join(t.TempDir(), "lab")}
	t.Cleanup(func() {
		if _, err := os.Stat(l.dir); err == nil {
			if t.Failed() {
				b, _ := os.ReadFile(filepath.Join(l.dir, "log", "server.log"))
				t.Logf("server.log: %s", b)
			}
			if r := command(t, patience, binary, "down", l.dir); r.code != 0 {
				t.Errorf("lab down = %d: %s", r.code, r.err)
			}
		}
	})
	l.do(append([]string{"up", l.dir}, args...)...)
	return l
}

// do runs the lab program and demands success.
func (l *lab) do(args ...string) string {
	l.t.Helper()
	r := command(l.t, 2*patience, append([]string{binary}, args...)...)
	if r.code != 0 {
		l.t.Fatalf("lab %q = %d\n%s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// try runs a command inside the node.
func (l *lab) try(argv ...string) result {
	l.t.Helper()
	return command(l.t, 2*patience, append([]string{binary, "exec", l.dir, "--"}, argv...)...)
}

// in runs a command inside the node and demands success.
func (l *lab) in(argv ...string) string {
	l.t.Helper()
	r := l.try(argv...)
	if r.code != 0 {
		l.t.Fatalf("%q = %d\n%s%s", argv, r.code, r.out, r.err)
	}
	return r.out
}

// want runs a command inside the node and demands an exit status and, if not empty, a part of what it says.
func (l *lab) want(code int, part string, argv ...string) {
	l.t.Helper()
	r := l.try(argv...)
	if r.code != code || !strings.Contains(r.out+r.err, part) {
		l.t.Fatalf("%q = %d\n%s%swant exit status %d and %q", argv, r.code, r.out, r.err, code, part)
	}
}

// sh runs a script inside the node.
func (l *lab) sh(script string) string {
	l.t.Helper()
	return l.in("sh", "-ec", script)
}

// outside names a file of the node as the machine sees it.
func (l *lab) outside(path string) string {
	for place, name := range map[string]string{
		"/vz/": "vz", "/etc/vz/": "etc-vz", "/mnt/bareos/": "mnt-bareos", "/var/lib/vz7ct/": "var-lib-vz7ct", "/run/": "run",
	} {
		if rest, ok := strings.CutPrefix(path, place); ok {
			return filepath.Join(l.dir, "node", name, rest)
		}
	}
	l.t.Fatalf("%s is no path of the node's own", path)
	return ""
}

// smallTree is a root with a shell, enough for tests that are not about trees.
func smallTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"bin", "etc", "root", "tmp", "var/lib", "var/log"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"sh", "cat", "ls", "sleep", "dd", "sync"} {
		path, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		r := command(t, patience, "sh", "-ec", `for f in "$1" $(ldd "$1" | grep -o '/[^ ]*'); do
			mkdir -p "$2/$(dirname "$f")"; cp -Ln "$f" "$2/$f"; done; [ "$1" = "$2/bin/$3" ] || cp -L "$1" "$2/bin/$3"`, "sh", path, dir, p)
		if r.code != 0 {
			t.Fatalf("copy %s: %s", p, r.err)
		}
	}
	return dir
}

const (
	ctUUID = "6c9a0000-0000-4000-8000-000000000001"
	rootDD = "/vz/private/" + ctUUID + "/root.hdd/DiskDescriptor.xml"
	snapU  = "{99999999-1111-4111-8111-111111111111}"
	topU   = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
)

// container makes one and gives its name.
func (l *lab) container(args ...string) string {
	l.t.Helper()
	l.do(append([]string{
		"create", l.dir, "--name", "web", "--uuid", ctUUID, "--size", "1G", "--tree", smallTree(l.t),
	}, args...)...)
	return "web"
}
