// SPDX-License-Identifier: AGPL-3.0-only

package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Ready is the line by which a program that is held says that it is at work.
const Ready = "ready"

// ErrNotReady is the reason in an Error of a program that has not said so.
var ErrNotReady = errors.New("it has not said that it is ready")

// Held is a program at work for as long as its caller holds a pipe to it.
type Held struct {
	command Command
	cmd     *exec.Cmd
	// pipe is the caller's end of its standard input.
	pipe *os.File
	err  *spooled // nil where no file can be had
	// ended is closed when the program has ended, with result.
	ended  chan struct{}
	result error
}

// Hold starts c with a pipe for its standard input, and returns when it has
// written the line Ready to its standard output; c.Limit is the time that it has
// for that. From then on it is never killed, and its standard output leads
// nowhere.
//
// The pipe ends with Release, and with this process in whatever way it dies. No
// other program that is started here has the caller's end: it is close-on-exec
// from its beginning. A process whose last thread stands still in the kernel does
// not end its pipes: the program needs a limit of time of its own.
func (r Runner) Hold(ctx context.Context, c Command) (*Held, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: not started: %w", c, err)
	}
	if r.Started != nil {
		r.Started(c.String())
	}
	cmd := r.command(c)
	in, pipe, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: not started: %w", c, err)
	}
	defer in.Close()
	said, out, err := os.Pipe()
	if err != nil {
		pipe.Close()
		return nil, fmt.Errorf("%s: not started: %w", c, err)
	}
	defer said.Close()
	defer out.Close()
	h := &Held{command: c, cmd: cmd, pipe: pipe, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout = in, out
	if spool, err := newSpool(); err == nil {
		h.err, cmd.Stderr = spool, spool.err
	}
	started, done := start(cmd)
	if err := <-started; err != nil {
		pipe.Close()
		h.close()
		return nil, &Error{Command: c.String(), Exit: -1, Err: err}
	}
	// Ours, by which its end would not be seen.
	out.Close()
	go func() {
		defer close(h.ended)
		defer func() {
			if p := recover(); p != nil {
				h.result = fmt.Errorf("internal fault: %v", p)
			}
		}()
		h.result = <-done
	}()
	if err := h.await(ctx, said); err != nil {
		pipe.Close()
		// It is not at work, so nothing can be left half done.
		_ = cmd.Process.Kill()
		<-h.ended
		defer h.close()
		return nil, h.failure(err)
	}
	return h, nil
}

// await waits for the line.
func (h *Held) await(ctx context.Context, said *os.File) error {
	if err := said.SetReadDeadline(time.Now().Add(h.command.Limit)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		defer func() { _ = recover() }()
		_ = said.SetReadDeadline(time.Now())
	})
	defer stop()
	line, err := bufio.NewReader(io.LimitReader(said, 1<<10)).ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w within %s", ErrNotReady, h.command.Limit)
	case err != nil || line != Ready+"\n":
		return ErrNotReady
	}
	return nil
}

// Running reports whether the program has not ended by itself.
func (h *Held) Running() bool {
	select {
	case <-h.ended:
		return false
	default:
		return true
	}
}

// Release ends the pipe and waits for the program's end, for so long at most. It
// returns an *Error unless the program has ended with status 0. It is called once.
func (h *Held) Release(limit time.Duration) error {
	h.pipe.Close()
	defer h.close()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-h.ended:
	case <-t.C:
		return &Error{Command: h.command.String(), Exit: -1, Err: fmt.Errorf("it has not ended within %s", limit)}
	}
	if h.result == nil {
		return nil
	}
	return h.failure(h.result)
}

// failure is the Error of a program that has ended, or was ended for a reason.
func (h *Held) failure(why error) *Error {
	e := &Error{Command: h.command.String(), Exit: -1, Err: why}
	if h.err != nil {
		h.err.read()
		e.Stderr = h.err.text()
	}
	var exit *exec.ExitError
	if errors.As(h.result, &exit) && exit.Exited() {
		e.Exit = exit.ExitCode()
	}
	return e
}

func (h *Held) close() {
	if h.err != nil {
		h.err.close()
	}
}
