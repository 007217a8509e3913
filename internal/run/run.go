// SPDX-License-Identifier: AGPL-3.0-only

// Package run is the one door to other programs: prlctl, ploop, and the companion
// command as a guard. It starts a program from an absolute path with an argument
// list and an environment of its own, keeps what it printed, and turns a bad end
// into an Error.
//
// It knows no shell, reads no output for meaning and retries nothing. A program
// that changes a disk is never killed, whatever happens to the job: a killed
// ploop leaves a container's I/O suspended (ploop 9.0.30, seen; the library of
// Virtuozzo 7 leaves images half merged).
package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Command is one call of a program.
type Command struct {
	// Path is absolute: see Find.
	Path string
	Args []string
	// Changes marks a command that alters a disk or a container. It is never killed:
	// when the context is done, it is not awaited any longer.
	Changes bool
	// Limit ends a command that changes nothing after this time. 0 means 60 s. To
	// Hold it is the time in which a program must have said that it is ready.
	Limit time.Duration
}

// String shows the command as an operator would type it.
func (c Command) String() string {
	words := []string{filepath.Base(c.Path)}
	for _, a := range c.Args {
		if a == "" || strings.ContainsAny(a, " \t\n\"'$&|;()<>*?[]\\`") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// Result is what a command that ended with status 0 printed, and how long it took.
type Result struct {
	Stdout   string
	Duration time.Duration
}

// Error tells how a command ended that did not end with status 0.
type Error struct {
	Command string
	// Exit is the exit status, -1 if there was none (a signal, or no start).
	Exit int
	// Stderr is the end of what the command wrote there, Stdout likewise.
	Stderr, Stdout string
	// Err is the reason where Exit is -1.
	Err error
}

func (e *Error) Error() string {
	last := lastLine(e.Stderr)
	if last == "" {
		last = lastLine(e.Stdout)
	}
	switch {
	case e.Exit >= 0 && last != "":
		return fmt.Sprintf("%s: exit status %d: %s", e.Command, e.Exit, last)
	case e.Exit >= 0:
		return fmt.Sprintf("%s: exit status %d", e.Command, e.Exit)
	case last != "":
		return fmt.Sprintf("%s: %v: %s", e.Command, e.Err, last)
	default:
		return fmt.Sprintf("%s: %v", e.Command, e.Err)
	}
}

func (e *Error) Unwrap() error { return e.Err }

// ErrLimit is the reason in an Error whose command was ended after its Limit.
var ErrLimit = errors.New("no answer within the time limit")

// ErrLeft is the reason in an Error whose command was not awaited any longer. It
// still runs.
var ErrLeft = errors.New("is not awaited any longer; it is never ended by force, and goes on by itself")

// StillRuns reports that the command has not ended.
func (e *Error) StillRuns() bool { return errors.Is(e.Err, ErrLeft) }

// ExitStatus returns the exit status that err carries, and -1 if err is no Error
// or the command had no exit status.
func ExitStatus(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Exit
	}
	return -1
}

// Runner starts commands. The zero value is ready to use. Its functions are
// called on the goroutine that called Run, never on another one: the daemon's
// job log may be written from the job's own thread only.
type Runner struct {
	// Started is told each command before it is started.
	Started func(command string)
	// Stderr is told every line that a command writes to its standard error.
	Stderr func(program, line string)
	// Waiting is called every 30 s while a command runs.
	Waiting func(command string, elapsed time.Duration)
	// Scope returns words to put before a command that changes something: see Scope
	// below. Keep returns a file that it has as its standard input, nil for none:
	// what the job has locked by it stays locked until the command ends, whatever
	// becomes of the daemon. Both may be nil.
	Scope func() []string
	Keep  func() *os.File
}

// keep is how much of a command's output is kept at most. What ploop and prlctl
// print for one container is far below it.
const keep = 16 << 20

// Run starts c and waits for its end. It returns an *Error unless the command
// ended with status 0, and the context's error, without a start, if ctx is done.
func (r Runner) Run(ctx context.Context, c Command) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("%s: not started: %w", c, err)
	}
	if r.Started != nil {
		r.Started(c.String())
	}
	cmd := r.command(c)
	if c.Changes && r.Keep != nil {
		if f := r.Keep(); f != nil {
			cmd.Stdin = f
		}
	}
	out := r.output(c, cmd)
	defer out.close()
	// Whoever inherited the pipes and lives on is not waited for.
	cmd.WaitDelay = 2 * time.Second

	begin := time.Now()
	started, done := start(cmd)
	if err := <-started; err != nil {
		return Result{}, &Error{Command: c.String(), Exit: -1, Err: err}
	}
	err := r.wait(ctx, c, cmd, out, done)
	r.report(c, out.flush())
	res := Result{Stdout: out.stdout(), Duration: time.Since(begin)}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() {
		return res, nil
	}
	e := &Error{Command: c.String(), Exit: -1, Stderr: out.text(), Stdout: res.Stdout, Err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		e.Exit = exit.ExitCode()
	}
	return res, e
}

// Detach starts c as one that changes something, and leaves it to itself. What it
// prints is lost.
func (r Runner) Detach(c Command) error {
	c.Changes = true
	if r.Started != nil {
		r.Started(c.String())
	}
	started, _ := start(r.command(c))
	if err := <-started; err != nil {
		return &Error{Command: c.String(), Exit: -1, Err: err}
	}
	return nil
}

// command returns the process that c will be, without its streams. It has an
// environment and a session of its own: signals to the daemon's process group (a
// terminal, an init script) do not reach a program that is changing a disk.
func (r Runner) command(c Command) *exec.Cmd {
	argv := append([]string{c.Path}, c.Args...)
	if c.Changes && r.Scope != nil {
		argv = append(append([]string{}, r.Scope()...), argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// output connects a command's streams. Where no file can be had, the disk being
// full perhaps, a snapshot must be merged all the same: with pipes.
func (r Runner) output(c Command, cmd *exec.Cmd) output {
	if c.Changes {
		if s, err := newSpool(); err == nil {
			cmd.Stdout, cmd.Stderr = s.out, s.err
			return s
		}
	}
	p := &piped{lines: newLines()}
	cmd.Stdout, cmd.Stderr = &p.out, p.lines
	return p
}

// start runs cmd on a goroutine of its own, whose thread has the Go runtime's
// signal mask and not that of the daemon's thread: the child inherits it.
func start(cmd *exec.Cmd) (started, done chan error) {
	started, done = make(chan error, 1), make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				err := fmt.Errorf("internal fault: %v", p)
				started <- err
				done <- err
			}
		}()
		keepToOurselves()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	}()
	return started, done
}

// wait reports what the command says until it ends, and ends it if it may be ended.
func (r Runner) wait(ctx context.Context, c Command, cmd *exec.Cmd, out output, done chan error) error {
	begin := time.Now()
	alive := time.NewTicker(30 * time.Second)
	defer alive.Stop()
	look := time.NewTicker(poll)
	defer look.Stop()
	var more <-chan struct{}
	if p, ok := out.(*piped); ok {
		more = p.more
	}
	cancelled := ctx.Done()
	var limit <-chan time.Time
	if !c.Changes {
		if c.Limit == 0 {
			c.Limit = time.Minute
		}
		t := time.NewTimer(c.Limit)
		defer t.Stop()
		limit = t.C
	}
	var reason error
	var dying <-chan time.Time
	for {
		select {
		case <-dying:
			return fmt.Errorf("%w; it was killed, and has not ended within %s: it waits in the kernel", reason, dieWait)
		case err := <-done:
			if reason != nil {
				return reason
			}
			return err
		case <-more:
			r.report(c, out.whole())
		case <-look.C:
			r.report(c, out.whole())
		case <-alive.C:
			if r.Waiting != nil {
				r.Waiting(c.String(), time.Since(begin))
			}
		case <-limit:
			reason = fmt.Errorf("%w of %s", ErrLimit, c.Limit)
			killGroup(cmd)
			dying = time.After(dieWait)
		case <-cancelled:
			if c.Changes {
				return fmt.Errorf("after %s it %w", time.Since(begin).Round(time.Second), ErrLeft)
			}
			reason, cancelled = ctx.Err(), nil
			killGroup(cmd)
			dying = time.After(dieWait)
		}
	}
}

// dieWait is how long the end of a command that was killed is awaited. One that waits
// in the kernel, for a device that hangs, does not end; it changes nothing.
const dieWait = 10 * time.Second

// killGroup ends a command that changes nothing, with all it has started.
func killGroup(cmd *exec.Cmd) {
	// The session leader's pid is the group's; nobody has waited for it yet, so
	// the number cannot belong to another process.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

func (r Runner) report(c Command, lines []string) {
	if r.Stderr == nil {
		return
	}
	for _, l := range lines {
		r.Stderr(filepath.Base(c.Path), l)
	}
}
