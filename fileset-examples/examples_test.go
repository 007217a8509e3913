// SPDX-License-Identifier: AGPL-3.0-only

// Package examples tests the configuration files of this folder and of the
// README: every option string is judged by the plugin's own option table, every
// FileSet by what it needs to lose nothing, and the whole by the daemons'
// parsers, where they are installed.
package examples

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/fdplugin"
)

// set is a group of files that one Director or daemon reads together.
type set struct {
	// options are the option files of the node, by their path there.
	options map[string]string
	conf    map[string]string
	bacula  bool
}

// load reads the files of both flavours.
func load(t *testing.T) map[string]*set {
	t.Helper()
	sets := map[string]*set{"bareos": {options: map[string]string{}, conf: map[string]string{}}, "bacula": {options: map[string]string{}, conf: map[string]string{}, bacula: true}}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(p) != ".conf" {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		s := sets["bareos"]
		if strings.HasPrefix(p, "bacula/") {
			s = sets["bacula"]
		}
		if rest, ok := strings.CutPrefix(p, "bacula/vz7ct/"); ok {
			s.options["/etc/vz7ct/"+rest] = string(b)
		} else {
			s.conf[p] = string(b)
		}
		if !strings.HasPrefix(string(b), "# SPDX-License-Identifier: AGPL-3.0-only\n") {
			t.Errorf("%s does not begin with its licence", p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sets
}

// findings are what a check has found: faults, and how many of what were judged.
type findings struct {
	faults []string
	judged map[string]int
	// named are the option files that option strings name.
	named map[string]bool
}

func (f *findings) fault(format string, args ...any) {
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

// judge counts an option string and has the option table judge it.
func (f *findings) judge(what, where, value string) {
	f.judged[what]++
	if !strings.HasPrefix(value, fdplugin.PluginName+":") {
		f.fault("%s: %s %q does not begin with %s:", where, what, value, fdplugin.PluginName)
	} else if err := fdplugin.CheckOptions(value); err != nil {
		f.fault("%s: %s: %v", where, what, err)
	}
	for _, m := range optionFile.FindAllStringSubmatch(value, -1) {
		f.judged["option file named"]++
		f.named[m[1]] = true
	}
}

var (
	optionFile = regexp.MustCompile(`(?:defaults|overrides)_file=([^:]*)`)
	typed      = regexp.MustCompile(`\bpluginoptions="([^"]*)"`)
	console    = regexp.MustCompile(`(?m)^[#\s]*(restore (?:restorejob|client)=.*)$`)
	commented  = regexp.MustCompile(`(?m)^#(\w+ = )`)
)

// check judges a set.
func check(s *set) *findings {
	f := &findings{judged: map[string]int{}, named: map[string]bool{}}
	var all []*resource
	for name, text := range s.conf {
		rs, err := parse(text)
		if err != nil {
			f.fault("%s: %v", name, err)
			continue
		}
		for _, r := range rs {
			f.resource(name, r, s.bacula)
		}
		all = append(all, rs...)
		f.commands(name, text, s.bacula)
	}
	f.together(all, s.bacula)
	for name, text := range s.options {
		// What is commented out is there to be used.
		for _, t := range []string{text, commented.ReplaceAllString(text, "$1")} {
			if err := fdplugin.CheckOptionFile(t); err != nil {
				f.fault("%s: %v", name, err)
			}
		}
		f.judged["option file"]++
		if s.bacula && !f.named[name] {
			f.fault("%s: no example names this file", name)
		}
	}
	for name := range f.named {
		if _, ok := s.options[name]; !ok {
			f.fault("there is no example of the option file %s", name)
		}
	}
	return f
}

// resource judges one resource by itself.
func (f *findings) resource(where string, r *resource, bacula bool) {
	where += ": " + r.kind + " " + r.one("name")
	f.judged[r.kind]++
	for _, v := range r.get("fdpluginoptions") {
		f.judge("FdPluginOptions", where, v)
		if bacula {
			f.fault("%s: Bacula has no FdPluginOptions", where)
		}
	}
	switch r.kind {
	case "fileset":
		f.fileset(where, r)
	case "client", "filedaemon":
		if r.one("plugindirectory") == "" {
			f.fault("%s: no Plugin Directory", where)
		}
		if !bacula && !strings.Contains(r.one("pluginnames"), fdplugin.PluginName) {
			f.fault("%s: Plugin Names is %q, without %s", where, r.one("pluginnames"), fdplugin.PluginName)
		}
	case "job":
		if r.one("type") == "Restore" && r.one("where") != "/" {
			f.fault("%s: Where = %q, want /", where, r.one("where"))
		}
	}
}

func (f *findings) fileset(where string, r *resource) {
	for _, inc := range r.subs {
		if inc.kind != "include" {
			f.fault("%s: has %s", where, inc.kind)
			continue
		}
		for _, p := range inc.pairs {
			if p.key != "plugin" {
				f.fault("%s: has %s = %s; only Plugin lines can be restored", where, p.key, p.value)
				continue
			}
			f.judge("Plugin", where, p.value)
		}
		if len(inc.get("plugin")) == 0 {
			f.fault("%s: has no Plugin line", where)
		}
		last := len(inc.subs) - 1
		if last < 0 || inc.subs[last].kind != "options" {
			f.fault("%s: has no Options of its own", where)
			continue
		}
		for _, key := range []string{"hardlinks", "xattrsupport", "aclsupport"} {
			if v := inc.subs[last].one(key); v != "yes" {
				f.fault("%s: %s = %q, want yes", where, key, v)
			}
		}
		if inc.subs[last].one("signature") == "" {
			f.fault("%s: no signature", where)
		}
		for _, o := range inc.subs[:last] {
			f.excludes(where, o)
		}
	}
	if len(r.subs) == 0 {
		f.fault("%s: has no Include", where)
	}
}

// excludes judges Options that leave something out: they fit names of the catalogue.
func (f *findings) excludes(where string, o *resource) {
	f.judged["Options that exclude"]++
	if o.kind != "options" || o.one("exclude") != "yes" {
		f.fault("%s: has Options before the last that exclude nothing", where)
	}
	wild := slices.Concat(o.get("wild"), o.get("wilddir"), o.get("wildfile"))
	if len(wild) == 0 {
		f.fault("%s: has Options that exclude everything", where)
	}
	for _, w := range wild {
		if !strings.HasPrefix(w, "/mnt/bareos/*") {
			f.fault("%s: %q is no name of the catalogue", where, w)
		}
	}
}

// commands judges the console commands of comments and texts.
func (f *findings) commands(where, text string, bacula bool) {
	for _, m := range console.FindAllStringSubmatch(text, -1) {
		f.judged["console command"]++
		if strings.Contains(m[1], "pluginoptions=") && !typed.MatchString(m[1]) {
			f.fault("%s: pluginoptions without quotes: %s", where, m[1])
		}
	}
	for _, m := range typed.FindAllStringSubmatch(text, -1) {
		v := m[1]
		if v == fdplugin.PluginName+":..." {
			continue // how it is written, not an example
		}
		f.judge("pluginoptions", where, v)
		if strings.ContainsAny(v, " \t") {
			f.fault("%s: pluginoptions %q has a blank, which the console does not take", where, v)
		}
		if bacula {
			f.fault("%s: Bacula has no pluginoptions", where)
		}
	}
}

// together judges what resources say of each other: what is referred to is
// there, and every backup says which container it means.
func (f *findings) together(all []*resource, bacula bool) {
	find := func(kind, name string) *resource {
		for _, r := range all {
			if r.kind == kind && r.one("name") == name {
				return r
			}
		}
		return nil
	}
	for _, j := range all {
		if j.kind != "job" {
			continue
		}
		where := "job " + j.one("name")
		words := append([]string(nil), j.get("fdpluginoptions")...)
		fileset, kind := j.one("fileset"), j.one("type")
		if name := j.one("jobdefs"); name != "" {
			d := find("jobdefs", name)
			if d == nil {
				f.fault("%s: there are no JobDefs %s", where, name)
				continue
			}
			if fileset == "" {
				fileset = d.one("fileset")
			}
			kind = d.one("type")
		}
		fs := find("fileset", fileset)
		if fs == nil {
			f.fault("%s: there is no FileSet %q", where, fileset)
			continue
		}
		for _, inc := range fs.subs {
			words = append(words, inc.get("plugin")...)
		}
		if line := strings.Join(words, ":"); kind == "Backup" && !strings.Contains(line, ":name=") && !strings.Contains(line, ":uuid=") {
			f.fault("%s: names no container", where)
		}
		f.judged[kind]++
	}
}

func TestExamples(t *testing.T) {
	total := map[string]int{}
	for flavour, s := range load(t) {
		f := check(s)
		for _, fault := range f.faults {
			t.Errorf("%s: %s", flavour, fault)
		}
		for what, n := range f.judged {
			total[what] += n
		}
	}
	// A check that finds nothing to judge is none.
	for what, least := range map[string]int{
		"Plugin": 4, "FdPluginOptions": 5, "pluginoptions": 2, "option file": 2, "option file named": 4,
		"fileset": 5, "Options that exclude": 1, "Backup": 6, "Restore": 3, "client": 1, "filedaemon": 1, "console command": 6,
	} {
		if total[what] < least {
			t.Errorf("%d times judged: %s, want at least %d", total[what], what, least)
		}
	}
	controls(t)
}

// controls plants faults in copies of the examples: each must be reported.
func controls(t *testing.T) {
	t.Helper()
	const (
		fileset  = "bareos-dir.d/fileset/vz7ct.conf"
		choose   = "bareos-dir.d/fileset/vz7ct-choose.conf"
		node     = "bareos-dir.d/job/vz7ct-node1.conf"
		whole    = "bareos-dir.d/job/vz7ct-restore-ct.conf"
		fd       = "bareos-fd.d/client/myself.conf"
		director = "bacula/vz7ct-dir.conf"
		override = "/etc/vz7ct/overrides.conf"
	)
	for _, c := range []struct{ flavour, file, old, planted, want string }{
		{"bareos", fileset, "HardLinks = yes", "", `hardlinks = ""`},
		{"bareos", fileset, "HardLinks = yes", "HardLinks = no", `hardlinks = "no"`},
		{"bareos", fileset, "XattrSupport = yes", "", "xattrsupport"},
		{"bareos", fileset, "AclSupport = yes", "", "aclsupport"},
		{"bareos", fileset, "Signature = MD5", "", "no signature"},
		{"bareos", fileset, "    Plugin =", "    File = /etc\n    Plugin =", "only Plugin lines"},
		{"bareos", fileset, "vz7ct:blocker", "vz7ct:block", "unknown option block="},
		{"bareos", fileset, "vz7ct:blocker=tmp/backup_blocker", "vz7ct:lockfile=tmp/x", "no absolute path"},
		{"bareos", fileset, "vz7ct:blocker", "blocker", "does not begin with vz7ct:"},
		{"bareos", fileset, "vz7ct:blocker", "python3:module_name=x:blocker", "does not begin with vz7ct:"},
		{"bareos", choose, "WildDir = \"/mnt/bareos/*/var/cache", "WildDir = \"/var/cache", "is no name of the catalogue"},
		{"bareos", choose, "      Exclude = yes\n", "", "exclude nothing"},
		{"bareos", choose, "Wild", "# Wild", "exclude everything"},
		{"bareos", choose, "HardLinks = yes", "", `hardlinks = ""`},
		{"bareos", choose, "disks=!/scratch", "disks=scratch", "neither root, a mount point"},
		{"bareos", fileset, `Name = "vz7ct"`, `Name = "other"`, `there is no FileSet "vz7ct"`},
		{"bareos", node, "name=shop:", "", "names no container"},
		{"bareos", node, "4b16639b-dbb9", "4b16639b-dbb", "is neither a UUID nor a number"},
		{"bareos", node, `a\\:b`, `a\:b`, "is no key=value"},
		{"bareos", whole, "pluginoptions=\"vz7ct:restore=ct", "pluginoptions=\"restore=ct", "does not begin with vz7ct:"},
		{"bareos", whole, "pluginoptions=\"vz7ct:restore=ct:disk_size=250G:start=yes\"", "pluginoptions=restore=ct", "without quotes"},
		{"bareos", whole, "disk_size=250G", "disk_size=big", "is no size"},
		{"bareos", whole, "start=yes\" done", "name=old container\" done", "has a blank"},
		{"bareos", whole, "Where = /", "Where = /tmp", "want /"},
		{"bareos", fd, `Plugin Names = "vz7ct"`, `Plugin Names = "python3"`, "without vz7ct"},
		{"bacula", director, "overrides_file=/", "overrides_file=", "no absolute path"},
		{"bacula", director, "/etc/vz7ct/overrides.conf\"", "/etc/vz7ct/others.conf\"", "no example of the option file"},
		{"bacula", director, "overrides_file=/etc/vz7ct/overrides.conf", "", "no example names this file"},
		{"bacula", director, "Level = Full", "FdPluginOptions = \"vz7ct:name=web\"", "Bacula has no"},
		{"bacula", override, "#restore = file", "#restore = everything", "restore=everything"},
		{"bacula", override, "[restore]", "[restored]", "unknown section"},
	} {
		s := load(t)[c.flavour]
		files := s.conf
		if _, ok := s.options[c.file]; ok {
			files = s.options
		}
		if !strings.Contains(files[c.file], c.old) {
			t.Errorf("control: %s has no %q to be replaced", c.file, c.old)
			continue
		}
		files[c.file] = strings.ReplaceAll(files[c.file], c.old, c.planted)
		if faults := strings.Join(check(s).faults, "\n"); !strings.Contains(faults, c.want) {
			t.Errorf("control: %q for %q in %s is not reported as %q, but: %q", c.planted, c.old, c.file, c.want, faults)
		}
	}
}

// The README's own examples: blocks marked conf are configuration files, blocks
// marked ini option files; its commands may stand anywhere.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	s := &set{conf: map[string]string{}, options: map[string]string{}}
	texts := readme(string(b), s)
	f := check(s)
	f.commands("README.md", texts, false)
	if n := f.judged["console command"]; n < 3 {
		t.Errorf("%d console commands in the README, want at least 3", n)
	}
	for _, fault := range f.faults {
		t.Error(fault)
	}
	for what, least := range map[string]int{"Plugin": 1, "FdPluginOptions": 1, "pluginoptions": 2, "fileset": 1, "client": 1, "Backup": 1} {
		if f.judged[what] < least {
			t.Errorf("%d times judged in the README: %s, want at least %d", f.judged[what], what, least)
		}
	}
	t.Run("bareos-dir", func(t *testing.T) {
		director := &set{conf: map[string]string{}}
		for name, text := range s.conf {
			if strings.Contains(text, "FileSet {") {
				director.conf[name] = text
			}
		}
		if out, ok := accepts(program(t, "bareos-dir"), compose(t, director, "README.md", bareosRest), "--xc"); !ok {
			t.Errorf("the Director does not accept the README's FileSet and Job: %s", out)
		}
	})
	planted := &set{conf: map[string]string{}, options: map[string]string{}}
	readme(strings.ReplaceAll(string(b), "HardLinks = yes", "HardLinks = no"), planted)
	if len(check(planted).faults) == 0 {
		t.Error("control: a README with HardLinks = no is not reported")
	}
}

var block = regexp.MustCompile("(?s)```(\\w+)\n(.*?)```")

// readme puts a text's blocks into a set and returns the rest.
func readme(text string, s *set) string {
	for n, m := range block.FindAllStringSubmatch(text, -1) {
		name := fmt.Sprintf("README.md, block %d", n+1)
		switch m[1] {
		case "conf":
			s.conf[name] = m[2]
		case "ini":
			s.options["/etc/vz7ct/overrides.conf"] = m[2]
		}
	}
	return regexp.MustCompile("(?s)```conf\n.*?```").ReplaceAllString(text, "")
}
