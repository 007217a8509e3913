// SPDX-License-Identifier: AGPL-3.0-only

// Package fdconf reads File Daemons' configuration files: whether the daemon that
// has loaded the plugin may encrypt what it sends, and for `vz7ct check` whether a
// daemon would load the plugin.
//
// A plugin is not told of encryption: the daemons set the flag per file, after
// the plugin was asked. But a file sent in pieces goes out in clear even if
// encryption is on (Bareos 25 findlib/attribs.cc, SelectDataStream), so it must be
// known.
//
// It understands no more of the files than that: when in doubt, the daemon
// encrypts.
package fdconf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Plain reports whether it is certain that this process, a File Daemon, does
// not encrypt: its whole configuration was found, was not changed since it was
// started, and has no PKI directive. (A FileSet's cipher needs PKI Key Pair.)
func Plain() bool {
	args, err := os.ReadFile("/proc/self/cmdline")
	if err != nil {
		return false
	}
	started, err := startTime()
	if err != nil {
		return false
	}
	return plain(strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00"), "/", started)
}

// plain decides for a command line, with all default paths below root.
func plain(args []string, root string, started time.Time) bool {
	paths := configured(args)
	if paths == nil {
		for _, p := range []string{"etc/bareos/bareos-fd.d", "etc/bareos/bareos-fd.conf", "etc/bacula/bacula-fd.conf", "opt/bacula/etc/bacula-fd.conf"} {
			// Which of them this daemon reads does not matter: all must be plain.
			if p = filepath.Join(root, p); exists(p) {
				paths = append(paths, p)
			}
		}
	}
	s := scanner{started: started}
	for _, p := range paths {
		if err := s.path(p); err != nil {
			return false
		}
	}
	return s.files > 0
}

// configured returns what -c or --config names, nil if there is none.
func configured(args []string) []string {
	for i, a := range args {
		switch {
		case i == 0:
		case (a == "-c" || a == "--config") && i+1 < len(args):
			return []string{args[i+1]}
		case strings.HasPrefix(a, "--config="):
			return []string{strings.TrimPrefix(a, "--config=")}
		case strings.HasPrefix(a, "-c") && len(a) > 2:
			return []string{a[2:]}
		}
	}
	return nil
}

// errUnsure ends the search: something may encrypt, or cannot be understood.
var errUnsure = errors.New("not certainly plain")

type scanner struct {
	started time.Time
	files   int
}

// path reads a file, or all *.conf files of a directory.
func (s *scanner) path(p string) error {
	if !filepath.IsAbs(p) {
		return fmt.Errorf("%w: the daemon has left the directory that %s is relative to", errUnsure, p)
	}
	info, err := os.Stat(p)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return s.file(p, 0)
	}
	return filepath.WalkDir(p, func(f string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := os.Stat(f); d.Type()&fs.ModeSymlink != 0 && (err != nil || info.IsDir()) {
			return errUnsure // the walk does not go there, the daemon does
		}
		if d.IsDir() || !strings.HasSuffix(f, ".conf") {
			return nil
		}
		return s.file(f, 0)
	})
}

func (s *scanner) file(p string, depth int) error {
	info, err := os.Stat(p)
	if err != nil {
		return err
	}
	if depth > 10 || s.files > 10000 || info.Size() > 1<<20 || !info.Mode().IsRegular() {
		return errUnsure
	}
	if !info.ModTime().Before(s.started) {
		return fmt.Errorf("%w: %s was changed after the daemon was started", errUnsure, p)
	}
	data, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	s.files++
	for line := range strings.SplitSeq(string(data), "\n") {
		if err := s.line(line, depth); err != nil {
			return err
		}
	}
	return nil
}

// line looks at all directives of one line. A comment is not cut off: a # may
// stand in quotes, and a PKI directive in a comment only makes us careful, but
// for a line that is one comment as a whole.
func (s *scanner) line(line string, depth int) error {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "#") {
		return nil
	}
	for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(";{}", r) }) {
		word = strings.TrimSpace(word)
		if file, ok := strings.CutPrefix(word, "@"); ok {
			file = strings.Trim(file, `"`)
			if !filepath.IsAbs(file) {
				return errUnsure // relative, or the output of a program
			}
			if err := s.file(file, depth+1); err != nil {
				return err
			}
		}
		key, _, _ := strings.Cut(word, "=")
		key = strings.ToLower(strings.Join(strings.Fields(key), ""))
		if strings.HasPrefix(strings.Trim(key, `"`), "pki") {
			return errUnsure
		}
	}
	return nil
}

// startTime returns when this process was started, to a few hundredths of a
// second (proc(5): field 22 of stat, in hundredths of a second after the boot).
func startTime() (time.Time, error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return time.Time{}, err
	}
	up, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return time.Time{}, errUnsure
	}
	ticks, err := strconv.ParseFloat(string(fields[19]), 64)
	if err != nil {
		return time.Time{}, err
	}
	seconds, _, _ := strings.Cut(string(up), " ")
	uptime, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return time.Time{}, err
	}
	return now.Add(-time.Duration((uptime - ticks/100) * float64(time.Second))), nil
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}
