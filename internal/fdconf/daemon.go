// SPDX-License-Identifier: AGPL-3.0-only

package fdconf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Daemon is a File Daemon of this node, as far as its configuration says which
// plugins it loads.
type Daemon struct {
	// Family is "bareos" or "bacula".
	Family string
	// Path is the file or directory with the configuration.
	Path string
	// PluginDirectory is "" if the daemon loads no plugins.
	PluginDirectory string
	// PluginNames are those that Bareos loads; none means all. Bacula has no such list.
	PluginNames []string
	// Err tells why the configuration could not be read as a whole.
	Err error
}

// Daemons reads the configurations that lie in the usual places below root. A
// daemon that was started with -c reads others: it is not asked.
func Daemons(root string) []Daemon {
	var list []Daemon
	// Bareos reads the directory if there is no such file (parse_conf.cc,
	// FindConfigPath), and there the files one level down.
	if one := filepath.Join(root, "etc/bareos/bareos-fd.conf"); exists(one) {
		list = append(list, daemon("bareos", root, one, []string{one}))
	} else if dir := filepath.Join(root, "etc/bareos/bareos-fd.d"); exists(dir) {
		files, err := below(dir)
		d := daemon("bareos", root, dir, files)
		d.Err = errors.Join(err, d.Err)
		list = append(list, d)
	}
	for _, p := range []string{"etc/bacula/bacula-fd.conf", "opt/bacula/etc/bacula-fd.conf"} {
		if p = filepath.Join(root, p); exists(p) {
			list = append(list, daemon("bacula", root, p, []string{p}))
		}
	}
	return list
}

// below returns the files of a configuration directory: TYPE/NAME.conf.
func below(dir string) ([]string, error) {
	types, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	var errs []error
	for _, t := range types {
		sub := filepath.Join(dir, t.Name())
		if info, err := os.Stat(sub); err != nil || !info.IsDir() {
			continue
		}
		names, err := os.ReadDir(sub)
		if err != nil {
			errs = append(errs, err)
		}
		for _, n := range names {
			if strings.HasSuffix(n.Name(), ".conf") && !strings.HasPrefix(n.Name(), ".") {
				files = append(files, filepath.Join(sub, n.Name()))
			}
		}
	}
	return files, errors.Join(errs...)
}

func daemon(family, root, path string, files []string) Daemon {
	r := reader{root: root, d: Daemon{Family: family, Path: path}}
	for _, f := range files {
		if err := r.file(f, 0); err != nil {
			r.d.Err = errors.Join(r.d.Err, err)
		}
		r.depth, r.words, r.value = 0, nil, false
	}
	return r.d
}

// reader understands as much of the daemons' language (lex.cc of both) as it
// takes to find two directives: resources in braces, key = value up to the end of
// the line or a semicolon, quotes, comments, @ and the name of another file.
type reader struct {
	root     string
	d        Daemon
	files    int
	resource string
	depth    int
	key      string
	words    []string
	value    bool // words are those behind the =
}

func (r *reader) file(path string, depth int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if r.files++; depth > 10 || r.files > 10000 || info.Size() > 1<<20 || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no usual configuration file, or there are too many", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := r.text(strings.TrimPrefix(string(data), "\ufeff"), depth); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// ends are the characters that end a word without quotes.
const ends = " \t\r\n={};,#\""

func (r *reader) text(s string, depth int) error {
	var errs []error
	for s != "" {
		c := s[0]
		s = s[1:]
		switch c {
		case ' ', '\t', '\r', ',':
		case '#':
			_, after, _ := strings.Cut(s, "\n")
			s = after
			r.end()
		case '\n', ';':
			r.end()
		case '{':
			if r.depth == 0 {
				r.resource = keyword(r.words)
			}
			r.depth++
			r.words, r.value = nil, false
		case '}':
			r.end()
			r.depth = max(r.depth-1, 0)
		case '=':
			if !r.value {
				r.key, r.words, r.value = keyword(r.words), nil, true
			}
		case '"':
			var word string
			word, s = quoted(s)
			r.words = append(r.words, word)
		case '@':
			var name string
			if strings.HasPrefix(s, `"`) {
				name, s = quoted(s[1:])
			} else {
				name, s = word(s)
			}
			errs = append(errs, r.include(name, depth))
		default:
			w, after := word(s)
			r.words, s = append(r.words, string([]byte{c})+w), after
		}
	}
	r.end()
	return errors.Join(errs...)
}

// end takes what a directive says, if it is one of the two.
func (r *reader) end() {
	words, value := r.words, r.value
	r.words, r.value = nil, false
	if !value || r.depth != 1 || r.resource != "client" && r.resource != "filedaemon" || len(words) == 0 {
		return
	}
	switch r.key {
	case "plugindirectory":
		r.d.PluginDirectory = words[0]
	case "pluginnames":
		for _, w := range words {
			for name := range strings.SplitSeq(w, ":") { // as StorePluginNames in res.cc
				if name != "" && !slices.Contains(r.d.PluginNames, name) {
					r.d.PluginNames = append(r.d.PluginNames, name)
				}
			}
		}
	}
}

// include reads another file in the middle of this one.
func (r *reader) include(name string, depth int) error {
	if !filepath.IsAbs(name) {
		return fmt.Errorf("@%s is not read: it is no file with an absolute path", name)
	}
	found, err := filepath.Glob(filepath.Join(r.root, name))
	if err != nil || len(found) == 0 && !strings.ContainsAny(name, "*?[") {
		return fmt.Errorf("@%s: no such file", name)
	}
	var errs []error
	for _, f := range found {
		errs = append(errs, r.file(f, depth+1))
	}
	return errors.Join(errs...)
}

// keyword brings a directive's name into one spelling: blanks and case do not count.
func keyword(words []string) string { return strings.ToLower(strings.Join(words, "")) }

// word cuts s behind its first word.
func word(s string) (first, rest string) {
	if i := strings.IndexAny(s, ends); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// quoted cuts s, which begins behind a quote, behind the next one.
func quoted(s string) (text, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}
