// SPDX-License-Identifier: AGPL-3.0-only

package rig

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Result is how a job has ended.
type Result struct {
	ID int
	// Termination is the Director's own word, such as "Backup OK".
	Termination string
	// Log are the job's lines in the job log, without date and daemon.
	Log string
	// Files is the number of files written or restored.
	Files int
}

// OK reports an end without any errors or warnings.
func (r Result) OK() bool {
	return r.Termination == "Backup OK" || r.Termination == "Restore OK"
}

// Ours returns the lines that the plugin wrote.
func (r Result) Ours() string {
	var out []string
	for line := range strings.SplitSeq(r.Log, "\n") {
		if strings.Contains(line, "vz7ct: ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

func (r Result) String() string {
	return fmt.Sprintf("job %d: %s\n%s", r.ID, r.Termination, r.Log)
}

// jobLog is where the Director writes all messages of all jobs: to its standard
// output, line by line, since it keeps back what goes to a file.
func (s *System) jobLog() string { return filepath.Join(s.Dir, "log/dir.log") }

// Log returns the lines of a job so far.
func (s *System) Log(id int) string {
	f, err := os.Open(s.jobLog())
	if err != nil {
		return ""
	}
	defer f.Close()
	// Nothing is written of a job before it was queued; the file may be long.
	_, _ = f.Seek(s.queuedAt[id], io.SeekStart)
	b, _ := io.ReadAll(f)
	mark := fmt.Sprintf(" JobId %d: ", id)
	var out []string
	mine := false
	for line := range strings.SplitSeq(string(b), "\n") {
		if _, text, ok := strings.Cut(line, mark); ok {
			out = append(out, text)
			mine = true
		} else if mine && strings.HasPrefix(line, " ") {
			out = append(out, line)
		} else {
			mine = false
		}
	}
	return strings.Join(out, "\n")
}

var (
	termination = regexp.MustCompile(`(?m)^\s+Termination:\s+(.*?)\s*$`)
	written     = regexp.MustCompile(`(?m)^\s+(?:FD Files Written|Files Restored):\s+([\d,]+)`)
)

// Wait waits for the end of a job.
func (s *System) Wait(id int) (Result, error) {
	for end := time.Now().Add(15 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		log := s.Log(id)
		m := termination.FindStringSubmatch(log)
		if m == nil {
			continue
		}
		r := Result{ID: id, Termination: m[1], Log: log}
		if f := written.FindStringSubmatch(log); f != nil {
			r.Files, _ = strconv.Atoi(strings.ReplaceAll(f[1], ",", ""))
		}
		return r, nil
	}
	return Result{ID: id, Log: s.Log(id)}, fmt.Errorf("job %d has not ended within 15 minutes:\n%s", id, s.Log(id))
}

// WaitLog waits until a job has written a line with the text given.
func (s *System) WaitLog(id int, text string) error {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if log := s.Log(id); strings.Contains(log, text) {
			return nil
		}
	}
	return fmt.Errorf("job %d has not written %q:\n%s", id, text, s.Log(id))
}

// Listing returns the names that the catalogue has of a job.
func (s *System) Listing(id int) (string, error) {
	return s.Console(fmt.Sprintf("list files jobid=%d", id))
}
