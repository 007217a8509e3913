// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unit is what a systemd unit and its drop-ins say in [Service].
type unit struct {
	// name is that of the unit, path the file; "" if there is none.
	name, path string
	settings   map[string][]string
}

// unitDirs are where systemd looks for units, the first that has one counts.
var unitDirs = []string{"etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}

// readUnit reads a service's unit below root. A unit that is not there, or
// masked, has no path.
func readUnit(root, name string) (unit, error) {
	u := unit{name: name, settings: map[string][]string{}}
	file := name + ".service"
	path, masked := findUnit(root, file)
	if path == "" || masked {
		return u, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return u, err
	}
	u.path = path
	u.read(string(data))
	// Of drop-ins with one name the one in the first directory counts; all are
	// read in the order of their names.
	dropins := map[string]string{}
	for _, dir := range unitDirs {
		found, _ := filepath.Glob(filepath.Join(root+"/", dir, file+".d", "*.conf"))
		for _, f := range found {
			if _, there := dropins[filepath.Base(f)]; !there {
				dropins[filepath.Base(f)] = f
			}
		}
	}
	var names []string
	for n := range dropins {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		data, err := os.ReadFile(dropins[n])
		if err != nil {
			return u, err
		}
		u.read(string(data))
	}
	return u, nil
}

// findUnit returns the file of a unit below root that counts, "" if there is none.
func findUnit(root, file string) (path string, masked bool) {
	for _, dir := range unitDirs {
		path := filepath.Join(root+"/", dir, file)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			continue
		}
		to, err := os.Readlink(path)
		return path, err == nil && to == os.DevNull
	}
	return "", false
}

// read adds the settings of one file. An empty one takes back those before it.
func (u *unit) read(text string) {
	section := ""
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "[Service]" {
			continue
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if value == "" {
			delete(u.settings, key)
			continue
		}
		u.settings[key] = append(u.settings[key], value)
	}
}

// last returns the setting that counts, "" if there is none.
func (u unit) last(key string) string {
	if all := u.settings[key]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}
