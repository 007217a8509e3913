// SPDX-License-Identifier: AGPL-3.0-only

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the examples take from the default configurations.
const (
	bareosRest = `
Director { Name = dir; QueryFile = "/dev/null"; Password = x; Messages = Standard; WorkingDirectory = "%" }
Catalog { Name = C; DB Name = none; DB User = none; DB Password = ""; DB Address = "%" }
Messages { Name = Standard; console = all }
Client { Name = node1-fd; Address = localhost; Password = x; Catalog = C }
Storage { Name = File; Address = localhost; Password = x; Device = D; Media Type = File }
Pool { Name = Full; Pool Type = Backup }
Schedule { Name = WeeklyCycle
  Run = Full sat at 21:00
}
`
	baculaRest = `
Director { Name = dir; QueryFile = "/dev/null"; Password = x; Messages = Standard; WorkingDirectory = "%"; PidDirectory = "%" }
Catalog { Name = C; dbname = none; dbuser = ""; dbpassword = "" }
Messages { Name = Standard; console = all }
Client { Name = node1-fd; Address = localhost; Password = x; Catalog = C }
Storage { Name = File1; Address = localhost; Password = x; Device = D; Media Type = File }
Pool { Name = File; Pool Type = Backup }
Schedule { Name = WeeklyCycle
  Run = Full sat at 21:00
}
`
	fdRest = `
Director { Name = dir; Password = x }
Messages { Name = M; director = dir = all }
`
)

// program finds a daemon: in PATH, in the prefix of E2E_BAREOS, below /opt/bareos.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, p := range []string{filepath.Join(os.Getenv("E2E_BAREOS"), "sbin", name), "/usr/sbin/" + name} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	if found, _ := filepath.Glob("/opt/bareos/*/sbin/" + name); len(found) > 0 {
		return found[0]
	}
	t.Skip("there is no " + name + " on this machine")
	return ""
}

// compose writes one configuration file of all that a daemon reads.
func compose(t *testing.T, s *set, prefix, rest string) string {
	t.Helper()
	dir := t.TempDir()
	text := strings.ReplaceAll(rest, "%", dir)
	for name, c := range s.conf {
		if strings.HasPrefix(name, prefix) {
			text += c
		}
	}
	p := filepath.Join(dir, "daemon.conf")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// accepts runs a daemon's own check of its configuration. The Directors look for
// their catalogue after that: not to find it means that all was read.
func accepts(program, conf string, args ...string) (string, bool) {
	out, err := exec.Command(program, append(args, "-c", conf)...).CombinedOutput()
	low := strings.ToLower(string(out))
	return string(out), !strings.Contains(low, "config error") && (err == nil || strings.Contains(low, "could not open catalog"))
}

func TestParsersOfTheDaemons(t *testing.T) {
	// The Director of Bareos tries for half a minute to reach its catalogue after
	// it has checked its configuration; --xc writes it out and ends.
	director := "--xc"
	if os.Getenv("VZ7CT_FULL") == "1" {
		director = "-t"
	}
	for _, tt := range []struct{ program, flavour, prefix, rest, flag, old, planted string }{
		{"bareos-dir", "bareos", "bareos-dir.d/", bareosRest, director, "HardLinks", "HardLings"},
		{"bareos-fd", "bareos", "bareos-fd.d/", fdRest, "-t", "Plugin Names", "Plugin Nemes"},
		{"bacula-dir", "bacula", "bacula/vz7ct-dir.conf", baculaRest, "-t", "HardLinks", "HardLings"},
		{"bacula-fd", "bacula", "bacula/vz7ct-fd.conf", fdRest, "-t", "Plugin Directory", "Plugin Dirextory"},
	} {
		t.Run(tt.program, func(t *testing.T) {
			p := program(t, tt.program)
			s := load(t)[tt.flavour]
			if out, ok := accepts(p, compose(t, s, tt.prefix, tt.rest), tt.flag); !ok {
				t.Errorf("%s does not accept the examples: %s", p, out)
			}
			for name := range s.conf {
				s.conf[name] = strings.ReplaceAll(s.conf[name], tt.old, tt.planted)
			}
			if out, ok := accepts(p, compose(t, s, tt.prefix, tt.rest), tt.flag); ok {
				t.Errorf("control: %s accepts %q: %s", p, tt.planted, out)
			}
		})
	}
}

// A Bareos Director writes out what it has read: the option strings must be
// those that the other tests have judged, escapes included.
func TestOptionStringsAsTheDirectorReadsThem(t *testing.T) {
	p := program(t, "bareos-dir")
	s := load(t)["bareos"]
	out, err := exec.Command(p, "--xc", "-c", compose(t, s, "bareos-dir.d/", bareosRest)).CombinedOutput()
	if err != nil {
		t.Skipf("%s --xc: %v (releases before 23 have no such option)", p, err)
	}
	n := 0
	for name, text := range s.conf {
		rs, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			values := r.get("fdpluginoptions")
			for _, inc := range r.subs {
				values = append(values, inc.get("plugin")...)
			}
			for _, v := range values {
				n++
				if !strings.Contains(string(out), `"`+v+`"`) {
					t.Errorf("%s: %q is not what the Director has read:\n%s", name, v, out)
				}
			}
		}
	}
	if n < 7 {
		t.Errorf("%d option strings compared, want at least 7", n)
	}
}
