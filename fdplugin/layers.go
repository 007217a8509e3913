// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/text"
)

// phase is the section of an option file that counts for a command.
type phase string

const (
	backupPhase  phase = "backup"
	restorePhase phase = "restore"
)

// layers collects the option strings of a job, the most specific first: the
// daemon delivers what was typed at the console before what the Job says, as
// the same event (facts of Bareos 17 to 26; in Bacula there are none).
type layers struct {
	job     []string
	ignored []string
}

// add takes a string that arrived before our command, whoever it is for.
func (l *layers) add(s string) {
	rest, ok := ours(s)
	switch {
	case !ok && len(l.ignored) < maxStrings && len(s) <= maxOptions:
		l.ignored = append(l.ignored, s)
	case ok && len(l.job) <= maxStrings:
		l.job = append(l.job, rest)
	}
}

// recorded is the origin of what stands in the FileSet. The daemon keeps it with
// the backup, for the restore.
const recorded = "FileSet"

// effective merges and judges all levels of one command: the overrides file,
// the console and the Job, the FileSet (which is cmd), the defaults file.
// It returns the options and the line that shows them with their origin.
func (l *layers) effective(cmd string, ph phase) (Options, string, error) {
	rest, ok := ours(cmd)
	if !ok {
		return Options{}, "", fmt.Errorf("command %q is not for plugin %s", cmd, PluginName)
	}
	if len(l.job) > maxStrings {
		return Options{}, "", fmt.Errorf("more than %d option strings for one job", maxStrings)
	}
	var levels [][]setting
	for i, s := range l.job {
		from := "job"
		if ph == restorePhase {
			from = "restore options"
		}
		if i > 0 {
			from = fmt.Sprintf("%s, string %d", from, i+1)
		}
		set, err := parse(s, from)
		if err != nil {
			return Options{}, "", err
		}
		levels = append(levels, set)
	}
	set, err := parse(rest, recorded)
	if err != nil {
		return Options{}, "", err
	}
	if ph == restorePhase {
		// It has come with what it says is to be trusted, and to destroy what is here.
		set = slices.DeleteFunc(set, func(s setting) bool { return s.key == "restore_trust_config" || s.key == "replace_ct" })
	}
	levels = append(levels, set)
	if levels, err = withFiles(levels, ph); err != nil {
		return Options{}, "", err
	}
	chosen, err := choose(levels, ph)
	if err != nil {
		return Options{}, "", err
	}
	o := defaults()
	for _, s := range chosen {
		opt, _ := find(s.key)
		if ph == restorePhase && s.from == recorded && (opt.key == "name" || opt.key == "uuid") {
			o.Recorded = true
		}
		if err := opt.set(&o, unquoted(opt, s.value)); err != nil {
			return Options{}, "", fmt.Errorf("option %s=%s (%s): %w; valid is %s", s.key, text.Name(s.value), s.from, err, opt.valid)
		}
	}
	return o, describe(chosen), nil
}

// unquoted takes the quotes off every value but that of a list, which does so
// for each of its elements.
func unquoted(o option, v string) string {
	if o.list {
		return v
	}
	return unquote(v)
}

// withFiles puts the settings of the two option files above and below the rest.
func withFiles(levels [][]setting, ph phase) ([][]setting, error) {
	file := func(key string) ([]setting, error) {
		for _, l := range levels {
			for _, s := range l {
				if s.key != key {
					continue
				}
				path := unquote(s.value)
				if err := absolute(path); err != nil {
					return nil, fmt.Errorf("option %s=%s (%s): %w", key, text.Name(s.value), s.from, err)
				}
				return readFile(path, key, ph)
			}
		}
		return nil, nil
	}
	over, err := file("overrides_file")
	if err != nil {
		return nil, err
	}
	under, err := file("defaults_file")
	if err != nil {
		return nil, err
	}
	return append(append([][]setting{over}, levels...), under), nil
}

// choose takes each option from the first level that has it. An option that
// may stand several times is taken whole from one level, unless all levels add
// to it. At a restore name and uuid say together where to: one of them, typed at
// the console, does not belong to the other one that the backup was made with.
func choose(levels [][]setting, ph phase) ([]setting, error) {
	var chosen []setting
	done := map[string]bool{}
	for _, level := range levels {
		here := map[string]setting{}
		for _, s := range level {
			opt, ok := find(s.key)
			if !ok {
				return nil, fmt.Errorf("unknown option %s=%s (%s); known are: %s", text.Name(s.key), text.Name(s.value), s.from, keys())
			}
			before, twice := here[opt.key]
			if twice && !opt.many {
				if before.value == s.value {
					continue
				}
				return nil, fmt.Errorf("options %s=%s and %s=%s (%s) contradict each other",
					before.key, text.Name(before.value), s.key, text.Name(s.value), s.from)
			}
			here[opt.key] = s
			if !done[opt.key] {
				chosen = append(chosen, s)
			}
		}
		for k := range here {
			opt, _ := find(k)
			done[k] = !opt.adds
			if ph == restorePhase && (k == "name" || k == "uuid") {
				done["name"], done["uuid"] = true, true
			}
		}
	}
	return chosen, nil
}

// describe writes the options that count, in the table's order, and their origin.
func describe(chosen []setting) string {
	given := map[string][]string{}
	for _, s := range chosen {
		o, _ := find(s.key)
		given[o.key] = append(given[o.key], fmt.Sprintf("%s=%s (%s)", o.key, text.Name(s.value), s.from))
	}
	var words []string
	for _, o := range options() {
		if len(given[o.key]) == 0 && o.def != "" {
			words = append(words, fmt.Sprintf("%s=%s (default)", o.key, o.def))
		}
		words = append(words, given[o.key]...)
	}
	return strings.Join(words, ", ")
}

// maxOptionFile bounds an option file.
const maxOptionFile = 1 << 20

// readFile reads one section of an option file. Its syntax is that of the
// option string, one key=value a line, so that a value means the same in both;
// a library's quoting and interpolation would change paths and patterns.
func readFile(path, key string, ph phase) ([]setting, error) {
	from := key + " " + text.Name(path)
	wrap := func(err error) error { return fmt.Errorf("%s: %w", from, err) }
	f, err := regular.Open(path)
	if err != nil {
		return nil, wrap(errors.Unwrap(err))
	}
	defer f.Close()
	if err := trusted(f); err != nil {
		return nil, wrap(err)
	}
	data, err := regular.Read(f, maxOptionFile)
	if err != nil {
		return nil, wrap(err)
	}
	set, err := parseFile(string(data), from, ph)
	if err != nil {
		return nil, wrap(err)
	}
	return set, nil
}

// trusted refuses a file that somebody else than root could have written.
func trusted(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return errors.New("has no owner")
	case int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("belongs to user %d, must belong to root", sys.Uid)
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("is writable by others (mode %04o)", st.Mode().Perm())
	}
	return nil
}

func parseFile(data, from string, ph phase) ([]setting, error) {
	var out []setting
	section := ""
	for n, line := range strings.Split(data, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' && line[len(line)-1] == ']' {
			section = strings.TrimSpace(line[1 : len(line)-1])
			if section != string(backupPhase) && section != string(restorePhase) {
				return nil, fmt.Errorf("line %d: unknown section; known are [backup] and [restore]", n+1)
			}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" {
			return nil, fmt.Errorf("line %d: no key=value in a section [backup] or [restore]", n+1)
		}
		if section != string(ph) {
			continue
		}
		key = strings.TrimSpace(key)
		// What is in a file that is none of ours is not told to whoever named it.
		if _, known := find(key); !known {
			return nil, fmt.Errorf("line %d: unknown option; known are: %s", n+1, keys())
		}
		if key == "defaults_file" || key == "overrides_file" {
			return nil, fmt.Errorf("line %d: %s cannot stand in an option file", n+1, key)
		}
		// A colon needs no backslash here, but a value copied from a FileSet has one.
		value = strings.ReplaceAll(strings.TrimSpace(value), `\:`, ":")
		out = append(out, setting{key, value, from})
	}
	return out, nil
}
