// SPDX-License-Identifier: AGPL-3.0-only

package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// output is where a command's two streams go and are read from.
type output interface {
	// whole takes the complete lines of standard error that have come, flush all
	// that is left of it.
	whole() []string
	flush() []string
	// text is the end of what was written there, stdout of the other stream.
	text() string
	stdout() string
	close()
}

// piped is the output of a command that may be ended with the daemon.
type piped struct {
	*lines
	out tail
}

func (p *piped) stdout() string { return p.out.String() }
func (p *piped) close()         {}

// poll is how often the output of a command that changes something is looked at.
const poll = time.Second

// spooled is the output of a command that changes something: two files without
// names. A pipe would break when the daemon dies, and the command with it.
type spooled struct {
	lines    *lines
	out, err *os.File
	at       int64
}

func newSpool() (*spooled, error) {
	s := &spooled{lines: newLines()}
	for _, f := range []**os.File{&s.out, &s.err} {
		file, err := os.CreateTemp("", "vz7ct-output-")
		if err == nil {
			err = os.Remove(file.Name())
		}
		if err != nil {
			s.close()
			return nil, fmt.Errorf("file for the output: %w", err)
		}
		*f = file
	}
	return s, nil
}

// read takes what the command has written to its standard error since.
func (s *spooled) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.err.ReadAt(buf, s.at)
		s.at += int64(n)
		_, _ = s.lines.Write(buf[:n])
		if n == 0 || err != nil {
			return
		}
	}
}

func (s *spooled) whole() []string { s.read(); return s.lines.whole() }
func (s *spooled) flush() []string { s.read(); return s.lines.flush() }
func (s *spooled) text() string    { return s.lines.text() }

func (s *spooled) stdout() string {
	info, err := s.out.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-keep)
	b, err := io.ReadAll(io.NewSectionReader(s.out, from, keep))
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	return string(b)
}

func (s *spooled) close() {
	for _, f := range []*os.File{s.out, s.err} {
		if f != nil {
			f.Close()
		}
	}
}
