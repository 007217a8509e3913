// SPDX-License-Identifier: AGPL-3.0-only

package attacks

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ground is where an attack is played: a root, and what lies outside of it on the
// same file system.
type ground struct {
	// Dir holds root, outside, and state, which is the restore's own.
	Dir string
	// Attack, Way and Restorer say what is played. Pid is the tenant's first process,
	// Node one outside.
	Attack, Way, Restorer string
	Pid, Node             int
	// For is how long the restore is repeated; 0 is once.
	For time.Duration

	tenant *exec.Cmd
	go_on  io.Closer
	racers []*racer
	// foreign: see attack.
	foreign bool
}

func (g *ground) root() string    { return filepath.Join(g.Dir, "root") }
func (g *ground) outside() string { return filepath.Join(g.Dir, "outside") }
func (g *ground) flag() string    { return filepath.Join(g.outside(), "flag") }

// inside is the root as the tenant sees it, with its mounts.
func (g *ground) inside() string { return fmt.Sprintf("/proc/%d/root", g.Pid) }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// newGround makes a root with some files, and flags outside of it.
func newGround(t *testing.T, a *attack, way, restorer string) *ground {
	t.Helper()
	// Not /tmp: hard links, attributes and flags of files need a real file system.
	dir, err := os.MkdirTemp("/var/tmp", "vz7ct-attacks-")
	check(err)
	g := &ground{Dir: dir, Attack: a.name, Way: way, Restorer: restorer, Node: os.Getpid(), foreign: a.foreign}
	t.Cleanup(func() {
		g.kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	check(os.Chmod(dir, 0o755))
	for _, d := range []string{"root/a/b/c", "root/etc", "root/proc", "root/sys", "root/dev", "root/tmp", "root/mnt", "outside/b", "state"} {
		check(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	check(os.WriteFile(filepath.Join(dir, "root/etc/hostname"), []byte("inside"), 0o644))
	for _, f := range []string{"flag", "b/flag", "hostname"} {
		p := filepath.Join(g.outside(), f)
		check(os.WriteFile(p, []byte("untouched"), 0o640))
		check(os.Chown(p, 4242, 4343))
		check(unix.Setxattr(p, "trusted.flag", []byte("untouched"), 0))
		check(os.Chtimes(p, time.Unix(981173106, 5), time.Unix(981173106, 7)))
	}
	return g
}

// command is this program in another role.
func (g *ground) command(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	b, err := json.Marshal(g)
	check(err)
	cmd.Env = append(os.Environ(), "VZ7CT_ATTACK_ROLE="+role, "VZ7CT_ATTACK="+string(b))
	cmd.Stderr = new(bytes.Buffer)
	return cmd
}

// startTenant starts the tenant and its racers. They are at work when it returns.
func (g *ground) startTenant(t *testing.T) {
	t.Helper()
	a := find(g.Attack)
	g.tenant = g.command("tenant")
	g.tenant.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC, Setpgid: true, Pdeathsig: unix.SIGKILL,
	}
	r := begin(t, g.tenant)
	g.go_on = r.in
	g.Pid = g.tenant.Process.Pid
	g.racers = append(g.racers, r)
	for _, role := range []struct {
		name string
		does bool
		n    int
	}{{"racer", a.race != nil, 2}, {"outsider", a.outsider != nil, 1}} {
		for range role.n {
			if role.does {
				cmd := g.command(role.name)
				cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
				g.racers = append(g.racers, begin(t, cmd))
			}
		}
	}
}

// racer is a process that attacks until it is told to end, and then tells how often.
type racer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func begin(t *testing.T, cmd *exec.Cmd) *racer {
	t.Helper()
	in, err := cmd.StdinPipe()
	check(err)
	out, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	r := &racer{cmd, in, bufio.NewReader(out)}
	if line, _ := r.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%v: %q, %s", cmd.Args, line, cmd.Stderr)
	}
	return r
}

// result is what a restorer tells at its end.
type result struct {
	Rounds       int
	Errors       []string
	Faults       []string // what it noticed itself
	Host         string
	Hung, Early  bool
	Way, Trouble string
}

// restore runs the restorer. Of a control that is repeated, escaped is asked now and
// then whether it may end.
func (g *ground) restore(t *testing.T, limit time.Duration, escaped func() bool) result {
	t.Helper()
	a := find(g.Attack)
	patience := 15 * time.Second
	if g.Restorer == "naive" && a.hangs {
		patience = time.Second // the product, too, has to be quicker than this
	}
	if a.racing() {
		g.For = limit
		patience += limit
	}
	cmd := g.command("restorer")
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWUTS | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	check(cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		select {
		case err := <-done:
			var r result
			if err != nil || json.Unmarshal(out.Bytes(), &r) != nil {
				t.Fatalf("restorer: %v\n%s%s", err, &out, cmd.Stderr)
			}
			return r
		case <-late:
			_ = cmd.Process.Kill()
			g.kill() // with it goes what it may wait for
			<-done
			return result{Hung: true}
		case <-tick.C:
			if a.racing() && escaped() {
				_ = cmd.Process.Kill()
				<-done
				return result{Early: true, Host: "untouched"}
			}
		}
	}
}

// end stops who attacks, and checks that they did.
func (g *ground) end(t *testing.T, r result, limit time.Duration) {
	t.Helper()
	if r.Hung || r.Early {
		g.kill()
		return
	}
	a := find(g.Attack)
	if g.Restorer == "product" && r.Way != g.Way {
		t.Errorf("paths were resolved by %s, not by %s", r.Way, g.Way)
	}
	if a.racing() && r.Rounds < 5 && limit > time.Second {
		t.Errorf("%d rounds only in %s: nothing was tested", r.Rounds, limit)
	}
	for _, c := range g.racers {
		_ = c.in.Close()
		line, _ := c.out.ReadString('\n')
		n, err := strconv.Atoi(strings.TrimSpace(line))
		races := c != g.racers[0] || a.mounts != nil
		if err != nil || races && n == 0 {
			t.Errorf("an attacker has changed %q: nothing was tested\n%s", line, c.cmd.Stderr)
		}
	}
	g.kill()
}

// kill ends all processes of the attack.
func (g *ground) kill() {
	for _, c := range g.racers {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	}
	g.racers = nil
}

// denied says what is wrong with the file called after.
func (g *ground) denied() []string {
	b, err := os.ReadFile(filepath.Join(g.inside(), "after"))
	if err != nil || string(b) != "changed" {
		return []string{fmt.Sprintf("a file was not restored: %q, %v", b, err)}
	}
	return nil
}

// play is a process in one of the roles.
func play(role string) {
	g := &ground{}
	check(json.Unmarshal([]byte(os.Getenv("VZ7CT_ATTACK")), g))
	a := find(g.Attack)
	switch role {
	case "tenant":
		g.moveIn()
		if a.plant != nil {
			a.plant(g)
		}
		g.repeat(a.mounts)
	case "racer":
		check(unix.Chroot(g.inside()))
		check(os.Chdir("/"))
		g.repeat(a.race)
	case "outsider":
		g.repeat(a.outsider)
	case "restorer":
		g.play(a)
	default:
		panic("no such role: " + role)
	}
}

// moveIn makes this process the first one of a container.
func (g *ground) moveIn() {
	check(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check(unix.Mount(g.root(), g.root(), "", unix.MS_BIND, ""))
	check(unix.Chroot(g.root()))
	check(os.Chdir("/"))
}

// repeat does f until the standard input ends, and tells how often it was of use.
func (g *ground) repeat(f func(*ground) bool) {
	fmt.Println("ready")
	var end sync.WaitGroup
	stop := make(chan struct{})
	n := 0
	if f != nil {
		end.Add(1)
		go func() {
			defer end.Done()
			for {
				select {
				case <-stop:
					return
				default:
					if f(g) {
						n++
					}
				}
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(stop)
	end.Wait()
	fmt.Println(n)
}
