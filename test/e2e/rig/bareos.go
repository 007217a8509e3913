// SPDX-License-Identifier: AGPL-3.0-only

package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// bareos is a Bareos installed below a prefix, with a PostgreSQL of its own. The
// File Daemon may be of another release: E2E_BAREOS_FD names its program.
type bareos struct{ prefix string }

func (b bareos) fd() string {
	if fd := os.Getenv("E2E_BAREOS_FD"); fd != "" {
		return fd
	}
	return filepath.Join(b.prefix, "sbin/bareos-fd")
}

// postgres runs a program of PostgreSQL as its user.
func postgres(args ...string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + args[0])
	if len(found) == 0 {
		return "", fmt.Errorf("no PostgreSQL with %s (package postgresql)", args[0])
	}
	args[0] = found[len(found)-1]
	return command(2*time.Minute, "runuser", append([]string{"-u", "postgres", "--"}, args...)...)
}

func (b bareos) prepare(s *System) error {
	owner, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	for _, d := range []string{"pg", "pgsock"} {
		p := filepath.Join(s.Dir, d)
		if err := errors.Join(os.Mkdir(p, 0o700), os.Chown(p, uid, -1)); err != nil {
			return err
		}
	}
	data, sock := filepath.Join(s.Dir, "pg"), filepath.Join(s.Dir, "pgsock")
	if err := os.Chmod(sock, 0o755); err != nil {
		return err
	}
	ddl, err := b.find("ddl/creates/postgresql.sql")
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"initdb", "-D", data, "-A", "trust", "-E", "SQL_ASCII", "--locale=C", "--no-sync"},
		{"pg_ctl", "-D", data, "-w", "-l", data + "/log", "-o", "-k " + sock + " -c listen_addresses= -c fsync=off", "start"},
		{"psql", "-qX", "-h", sock, "-d", "postgres", "-c", "CREATE ROLE bareos SUPERUSER LOGIN",
			"-c", "CREATE DATABASE bareos OWNER bareos ENCODING 'SQL_ASCII' TEMPLATE template0"},
		{"psql", "-qX", "-h", sock, "-U", "bareos", "-d", "bareos", "-f", ddl},
	} {
		if out, err := postgres(args...); err != nil {
			return fmt.Errorf("%s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

func (bareos) release(s *System) {
	_, _ = postgres("pg_ctl", "-D", filepath.Join(s.Dir, "pg"), "-m", "immediate", "stop")
}

// find finds a file of the installation by the end of its path.
func (b bareos) find(end string) (string, error) {
	found := ""
	err := filepath.WalkDir(b.prefix, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(p, "/"+end) {
			found = p
			return fs.SkipAll
		}
		return err
	})
	if found == "" {
		return "", fmt.Errorf("no %s below %s: %w", end, b.prefix, errors.Join(err, os.ErrNotExist))
	}
	return found, nil
}

func (bareos) pluginLine(_ *System, _ Job, line string) string { return "vz7ct:" + line }

func (bareos) restore(_ *System, r Restore) (string, error) {
	line := restoreLine(r, "fd")
	if r.Options != "" {
		options := "vz7ct:" + r.Options
		if r.Raw {
			options = r.Options
		}
		line = strings.Replace(line, " done", ` pluginoptions="`+options+`" done`, 1)
	}
	return line, nil
}

func (b bareos) console(s *System) []string {
	program := filepath.Join(b.prefix, "sbin/bconsole")
	if _, err := exec.LookPath(program); err != nil {
		program = filepath.Join(b.prefix, "bin/bconsole")
	}
	return []string{program, "-c", filepath.Join(s.Dir, "bconsole.conf")}
}

func (b bareos) commands(s *System) map[string][]string {
	run := func(program, conf string) []string {
		return []string{program, "-f", "-c", filepath.Join(s.Dir, conf)}
	}
	return map[string][]string{
		"dir": run(filepath.Join(b.prefix, "sbin/bareos-dir"), "dir.conf"),
		"sd":  run(filepath.Join(b.prefix, "sbin/bareos-sd"), "sd.conf"),
		"fd":  run(b.fd(), "fd.conf"),
	}
}

func (b bareos) configure(s *System) error {
	var jobs strings.Builder
	for _, j := range s.cfg.Jobs {
		jobs.WriteString(b.job(s, j))
	}
	return s.write(map[string]string{
		"query.sql": "",
		"dir.conf": fmt.Sprintf(`
Director { Name = dir; Port = %[1]d; Address = 127.0.0.1; QueryFile = %[4]s/query.sql; Maximum Concurrent Jobs = 100
  Working Directory = %[4]s/dir; Password = %[5]s; Messages = M; Auditing = no }
Catalog { Name = C; DB Name = bareos; DB User = bareos; DB Password = ""; DB Address = %[4]s/pgsock; DB Port = 5432 }
Messages { Name = M; stdout = all; console = all, !skipped, !saved; catalog = all, !skipped, !saved }
Client { Name = fd; Address = 127.0.0.1; Port = %[2]d; Catalog = C; Password = %[5]s; Maximum Concurrent Jobs = 100; Auto Prune = no }
Storage { Name = S; Address = 127.0.0.1; Port = %[3]d; Password = %[5]s; Device = D; Media Type = File; Maximum Concurrent Jobs = 100 }
Storage { Name = Slow; Address = 127.0.0.1; Port = %[3]d; Password = %[5]s; Device = Slow; Media Type = Slow; Maximum Concurrent Jobs = 100 }
Pool { Name = P; Pool Type = Backup; Auto Prune = no; Recycle = no; Maximum Volumes = 1000; Label Format = "V-"; Next Pool = Whole
}
Storage { Name = Null; Address = 127.0.0.1; Port = %[3]d; Password = %[5]s; Device = Null; Media Type = Null; Maximum Concurrent Jobs = 100 }
Pool { Name = Names; Pool Type = Backup; Auto Prune = no; Recycle = no; Label Format = "N-" }
Pool { Name = Nothing; Pool Type = Backup; Auto Prune = no; Recycle = no; Label Format = "Z-"; Catalog Files = no }
Pool { Name = Slow; Pool Type = Backup; Auto Prune = no; Recycle = no }
FileSet { Name = none; Include { Options { signature = MD5 } File = "/nonexistent" } }
Job { Name = restore; Type = Restore; Client = fd; FileSet = none; Storage = S; Pool = P; Messages = M; Where = /; Maximum Concurrent Jobs = 100
  %[7]s
}
Storage { Name = Whole; Address = 127.0.0.1; Port = %[3]d; Password = %[5]s; Device = Whole; Media Type = File; Maximum Concurrent Jobs = 100 }
Pool { Name = Whole; Pool Type = Backup; Auto Prune = no; Recycle = no; Maximum Volumes = 1000; Storage = Whole; Label Format = "W-" }
Job { Name = consolidate; Type = Consolidate; Accurate = yes; Client = fd; FileSet = none; Storage = S; Pool = P; Messages = M
  Maximum Concurrent Jobs = 100 }
%[6]s`, s.ports.dir, s.ports.fd, s.ports.sd, s.Dir, password, jobs.String(), jobOptions(s.cfg.RestoreOptions)),
		// Reservation at once: release 25.1.0 may crash when a job ends before its
		// first data (stored/reserve.cc, TryReserveAfterUse).
		"sd.conf": fmt.Sprintf(`
Storage { Name = sd; Port = %d; Address = 127.0.0.1; Working Directory = %[2]s/sd; Backend Directory = %[4]s/lib/bareos/backends
  Maximum Concurrent Jobs = 100; Just In Time Reservation = no }
Director { Name = dir; Password = %[3]s }
Device { Name = D; Media Type = File; Device Type = File; Archive Device = %[2]s/volumes; Label Media = yes; Random Access = yes; Automatic Mount = yes
  Removable Media = no; Always Open = no; Maximum Concurrent Jobs = 100 }
Device { Name = Slow; Media Type = Slow; Device Type = File; Archive Device = %[2]s/slow; Label Media = no; Random Access = yes; Automatic Mount = yes
  Removable Media = no; Always Open = no; Maximum Concurrent Jobs = 100 }
Device { Name = Whole; Media Type = File; Device Type = File; Archive Device = %[2]s/volumes; Label Media = yes; Random Access = yes; Automatic Mount = yes
  Removable Media = no; Always Open = no; Maximum Concurrent Jobs = 100 }
Device { Name = Null; Media Type = Null; Device Type = fifo; Archive Device = /dev/null; Label Media = yes; Random Access = no; Automatic Mount = no
  Removable Media = no; Always Open = no; Maximum Concurrent Jobs = 100 }
Messages { Name = M; Director = dir = all }
`, s.ports.sd, s.Dir, password, b.prefix),
		"fd.conf": fmt.Sprintf(`
FileDaemon { Name = fd; FD Port = %d; FD Address = 127.0.0.1; Working Directory = %[2]s/fd; Plugin Directory = %[2]s/plugins; Plugin Names = %[5]s
  %[4]s
}
Director { Name = dir; Password = %[3]s }
Messages { Name = M; Director = dir = all, !skipped, !restored }
`, s.ports.fd, s.Dir, password, s.cfg.FD, quoted(strings.Join(append([]string{"vz7ct"}, s.cfg.MorePlugins...), ":"))),
		"bconsole.conf": fmt.Sprintf("Director { Name = dir; Port = %d; Address = 127.0.0.1; Password = %s }\n", s.ports.dir, password),
	})
}

func (b bareos) job(s *System, j Job) string {
	block := "HardLinks = yes; XattrSupport = yes; AclSupport = yes"
	if j.Plain {
		block = "HardLinks = no; XattrSupport = no"
	}
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
	return fmt.Sprintf(`FileSet { Name = %[1]s; Ignore FileSet Changes = yes; Include { Options { Signature = MD5; %[6]s
      %[2]s
    }
%[3]s  } }
Job { Name = %[1]s; Type = Backup; Level = Full; Client = fd; FileSet = %[1]s; %[7]s; Messages = M
  Maximum Concurrent Jobs = 100; Accurate = %[4]s
  %[5]s
  %[8]s
}
`, j.Name, j.Block, include.String(), yesNo(j.Accurate), jobOptions(j.Options), block, j.storage(), alwaysIncremental(j))
}

// alwaysIncremental is for a job whose incremental backups, but for the newest, become
// part of the full one when the job "consolidate" runs.
func alwaysIncremental(j Job) string {
	if !j.Always {
		return ""
	}
	return "Always Incremental = yes; Always Incremental Job Retention = 1 second; Always Incremental Keep Number = 1; Full Backup Pool = Whole"
}

// jobOptions is a job's directive for the plugin.
func jobOptions(options string) string {
	if options == "" {
		return ""
	}
	return "FD Plugin Options = " + quoted("vz7ct:"+options)
}
