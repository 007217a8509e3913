// SPDX-License-Identifier: AGPL-3.0-only

package run

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
)

// tail keeps the last `keep` bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (n int, err error) {
	defer caught(&err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - keep; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// caught makes an error of a panic: package exec calls Write on goroutines of its own.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("internal fault: %v", p)
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// lines splits what is written to it into lines, for a reader on another goroutine.
type lines struct {
	all  tail
	more chan struct{} // has one element when whole lines are waiting
	mu   sync.Mutex
	rest []byte
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (n int, err error) {
	defer caught(&err)
	if _, err := l.all.Write(p); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) < keep {
		l.rest = append(l.rest, p...)
	}
	if bytes.IndexByte(p, '\n') >= 0 {
		select {
		case l.more <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

// whole takes the complete lines that have come.
func (l *lines) whole() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := bytes.LastIndexByte(l.rest, '\n')
	if end < 0 {
		return nil
	}
	out := split(string(l.rest[:end]))
	l.rest = append(l.rest[:0], l.rest[end+1:]...)
	return out
}

// flush takes everything that is left, a last line without an end included.
func (l *lines) flush() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := split(string(l.rest))
	l.rest = nil
	return out
}

func (l *lines) text() string { return l.all.String() }

// split cuts text into its lines and leaves out empty ones.
func split(text string) []string {
	var out []string
	for l := range strings.SplitSeq(text, "\n") {
		if l = strings.TrimRight(l, "\r \t"); l != "" {
			out = append(out, l)
		}
	}
	return out
}

func lastLine(text string) string {
	if l := split(text); len(l) > 0 {
		return l[len(l)-1]
	}
	return ""
}
