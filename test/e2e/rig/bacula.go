// SPDX-License-Identifier: AGPL-3.0-only

package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// bacula is Debian's Bacula 9.6 with an SQLite catalogue.
type bacula struct{}

const password = "vz7ct-e2e"

func (bacula) prepare(s *System) error {
	// Debian's script changes to /var/lib/bacula and has a placeholder for the
	// name of the database.
	b, err := os.ReadFile("/usr/share/bacula-director/make_sqlite3_tables")
	if err != nil {
		return fmt.Errorf("%w (package bacula-director-sqlite3)", err)
	}
	script := strings.ReplaceAll(string(b), "cd /var/lib/bacula", "cd "+filepath.Join(s.Dir, "dir"))
	script = strings.ReplaceAll(script, "XXX_DBNAME_XXX", "cat")
	path := filepath.Join(s.Dir, "make_tables")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		return err
	}
	if out, err := command(time.Minute, "sh", path); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	// What the job options of Bareos do, an overrides file does here.
	return s.override("")
}

func (bacula) release(*System) {}

// override writes the options file that all Plugin lines name.
func (s *System) override(options string) error {
	content := "[restore]\n"
	for o := range strings.SplitSeq(options, ":") {
		content += o + "\n"
	}
	return os.WriteFile(filepath.Join(s.Dir, "overrides.conf"), []byte(content), 0o600)
}

func (bacula) pluginLine(s *System, j Job, line string) string {
	words := []string{"vz7ct"}
	for _, w := range []string{line, j.Options, "overrides_file=" + filepath.Join(s.Dir, "overrides.conf")} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, ":")
}

func (bacula) restore(s *System, r Restore) (string, error) {
	if len(r.Files) > 1 {
		// The console takes one name, or a list of them.
		list := filepath.Join(s.Dir, "files.list")
		if err := os.WriteFile(list, []byte(strings.Join(r.Files, "\n")+"\n"), 0o644); err != nil {
			return "", err
		}
		r.Files = []string{"<" + list}
	}
	return restoreLine(r, "fd"), s.override(r.Options)
}

func (bacula) console(s *System) []string {
	return []string{"bconsole", "-n", "-c", filepath.Join(s.Dir, "bconsole.conf")}
}

func (bacula) commands(s *System) map[string][]string {
	run := func(name, conf string) []string {
		return []string{name, "-f", "-P", "-c", filepath.Join(s.Dir, conf)}
	}
	return map[string][]string{
		"dir": run("/usr/sbin/bacula-dir", "dir.conf"),
		"sd":  run("/usr/sbin/bacula-sd", "sd.conf"),
		"fd":  run("/usr/sbin/bacula-fd", "fd.conf"),
	}
}

func (b bacula) configure(s *System) error {
	var jobs strings.Builder
	for _, j := range s.cfg.Jobs {
		jobs.WriteString(b.job(s, j))
	}
	return s.write(map[string]string{
		"dir.conf": fmt.Sprintf(`
Director { Name = dir; DIRport = %[1]d; DIRAddress = 127.0.0.1; QueryFile = "/etc/bacula/scripts/query.sql"
  WorkingDirectory = %[4]s/dir; PidDirectory = %[4]s/dir; Maximum Concurrent Jobs = 100; Password = %[5]s; Messages = M
  FD Connect Timeout = 20 seconds; SD Connect Timeout = 20 seconds }
Catalog { Name = C; dbname = cat; dbuser = ""; dbpassword = "" }
Messages { Name = M; stdout = all; console = all, !skipped, !saved }
Client { Name = fd; Address = 127.0.0.1; FDPort = %[2]d; Catalog = C; Password = %[5]s; Maximum Concurrent Jobs = 100; AutoPrune = no }
Storage { Name = S; Address = 127.0.0.1; SDPort = %[3]d; Password = %[5]s; Device = D; Media Type = File; Maximum Concurrent Jobs = 100 }
Storage { Name = Slow; Address = 127.0.0.1; SDPort = %[3]d; Password = %[5]s; Device = Slow; Media Type = Slow; Maximum Concurrent Jobs = 100 }
Pool { Name = P; Pool Type = Backup; AutoPrune = no; Recycle = no; Maximum Volumes = 1000; Label Format = "V-"; Next Pool = Whole }
Storage { Name = Whole; Address = 127.0.0.1; SDPort = %[3]d; Password = %[5]s; Device = Whole; Media Type = File; Maximum Concurrent Jobs = 100 }
Pool { Name = Whole; Pool Type = Backup; AutoPrune = no; Recycle = no; Maximum Volumes = 1000; Storage = Whole; Label Format = "W-" }
Storage { Name = Null; Address = 127.0.0.1; SDPort = %[3]d; Password = %[5]s; Device = Null; Media Type = Null; Maximum Concurrent Jobs = 100 }
Pool { Name = Names; Pool Type = Backup; AutoPrune = no; Recycle = no; Label Format = "N-" }
Pool { Name = Nothing; Pool Type = Backup; AutoPrune = no; Recycle = no; Label Format = "Z-"; Catalog Files = no }
Pool { Name = Slow; Pool Type = Backup; AutoPrune = no; Recycle = no }
FileSet { Name = none; Include { Options { signature = MD5 } File = /nonexistent } }
Job { Name = restore; Type = Restore; Client = fd; FileSet = none; Storage = S; Pool = P; Messages = M; Where = /; Maximum Concurrent Jobs = 100 }
%[6]s`, s.ports.dir, s.ports.fd, s.ports.sd, s.Dir, password, jobs.String()),
		"sd.conf": fmt.Sprintf(`
Storage { Name = sd; SDPort = %d; SDAddress = 127.0.0.1; WorkingDirectory = %[2]s/sd; Pid Directory = %[2]s/sd; Maximum Concurrent Jobs = 100 }
Director { Name = dir; Password = %[3]s }
Device { Name = D; Media Type = File; Archive Device = %[2]s/volumes; LabelMedia = yes; Random Access = yes; AutomaticMount = yes
  RemovableMedia = no; AlwaysOpen = no; Maximum Concurrent Jobs = 100 }
Device { Name = Slow; Media Type = Slow; Archive Device = %[2]s/slow; LabelMedia = no; Random Access = yes; AutomaticMount = yes
  RemovableMedia = no; AlwaysOpen = no; Maximum Concurrent Jobs = 100 }
Device { Name = Whole; Media Type = File; Archive Device = %[2]s/volumes; LabelMedia = yes; Random Access = yes; AutomaticMount = yes
  RemovableMedia = no; AlwaysOpen = no; Maximum Concurrent Jobs = 100 }
Device { Name = Null; Media Type = Null; Device Type = Fifo; Archive Device = /dev/null; LabelMedia = yes; Random Access = no; AutomaticMount = no
  RemovableMedia = no; AlwaysOpen = no; Maximum Concurrent Jobs = 100 }
Messages { Name = M; director = dir = all }
`, s.ports.sd, s.Dir, password),
		"fd.conf": fmt.Sprintf(`
FileDaemon { Name = fd; FDPort = %d; FDAddress = 127.0.0.1; WorkingDirectory = %[2]s/fd; Pid Directory = %[2]s/fd
  Maximum Concurrent Jobs = 100; Plugin Directory = %[2]s/plugins
  %[4]s
}
Director { Name = dir; Password = %[3]s }
Messages { Name = M; director = dir = all, !skipped, !restored }
`, s.ports.fd, s.Dir, password, s.cfg.FD),
		"bconsole.conf": fmt.Sprintf("Director { Name = dir; DIRport = %d; Address = 127.0.0.1; Password = %s }\n", s.ports.dir, password),
	})
}

func (b bacula) job(s *System, j Job) string {
	var include strings.Builder
	for _, p := range j.Plugin {
		fmt.Fprintf(&include, "    Plugin = %s\n", quoted(b.pluginLine(s, j, p)))
	}
	for _, p := range j.Raw {
		fmt.Fprintf(&include, "    Plugin = %s\n", quoted(p))
	}
	for _, f := range j.Files {
		fmt.Fprintf(&include, "    File = %s\n", quoted(f))
	}
	return fmt.Sprintf(`FileSet { Name = %[1]s; Ignore FileSet Changes = yes; Include { Options { signature = MD5
      %[2]s
    }
%[3]s  } }
Job { Name = %[1]s; Type = Backup; Level = Full; Client = fd; FileSet = %[1]s; %[5]s; Messages = M
  Maximum Concurrent Jobs = 100; Accurate = %[4]s }
`, j.Name, j.Block, include.String(), yesNo(j.Accurate), j.storage())
}

// quoted writes a string as the configuration files of both families want it.
func quoted(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// write writes files into the system's directory.
func (s *System) write(files map[string]string) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}
