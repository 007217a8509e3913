// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrive collects strings in the order in which a daemon delivers them.
func arrive(strings ...string) *layers {
	l := &layers{}
	for _, s := range strings {
		l.add(s)
	}
	return l
}

// Each option is set at all levels from the lowest to one of them: the highest
// one counts, and the job log says which it was.
func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	over, under := filepath.Join(dir, "over"), filepath.Join(dir, "under")
	for _, tt := range []struct {
		levels       int // how many of them, from below, set name
		name, origin string
	}{
		{1, "under", "defaults_file " + under},
		{2, "set", "FileSet"},
		{3, "job", "restore options, string 2"},
		{4, "console", "restore options"},
		{5, "over", "overrides_file " + over},
	} {
		name := func(level int, value string) string {
			if tt.levels >= level {
				return "name=" + value
			}
			return ""
		}
		put(t, over, "[restore]\n"+name(5, "over")+"\n[backup]\nname=wrong section\n")
		put(t, under, "[restore]\n"+name(1, "under")+"\nstart=yes\n")
		l := arrive("vz7ct:"+name(4, "console"), "vz7ct:"+name(3, "job"))
		o, line, err := l.effective("vz7ct:"+name(2, "set")+":overrides_file="+over+":defaults_file="+under, restorePhase)
		if err != nil || o.Name != tt.name || !o.Start {
			t.Errorf("effective with %d levels = %+v, %v, want %s and start", tt.levels, o, err, tt.name)
		}
		for _, want := range []string{"name=" + tt.name + " (" + tt.origin + ")", "start=yes (defaults_file " + under + ")", "min_free=5% or 2G, whichever is less (default)"} {
			if !strings.Contains(line, want) {
				t.Errorf("effective with %d levels shows %q, want %q", tt.levels, line, want)
			}
		}
	}
}

// At a backup there is one string of the Job.
func TestJobOverFileSet(t *testing.T) {
	l := arrive("python:name=x", "vz7ct:name=job:pcompact=ignore", "bpipe:y")
	o, line, err := l.effective("vz7ct:name=set:min_free=1G", backupPhase)
	if err != nil || o.Name != "job" || o.BlockCompact || o.MinFree.Bytes != 1<<30 {
		t.Errorf("effective = %+v, %v", o, err)
	}
	want := "name=job (job), lock_wait=0 (default), pcompact=ignore (job), min_free=1G (FileSet), tool_wait=6h (default), multi_disk=skew (default), std_excludes=no (default), exclude_caches=no (default), honor_nodump=no (default), tenant_excludes=no (default), scan=auto (default), nice=0 (default), restore=ct (default), disk_size=as recorded (default), replace_ct=no (default), start=no (default)"
	if line != want {
		t.Errorf("effective shows\n%s, want\n%s", line, want)
	}
	if !slices.Equal(l.ignored, []string{"python:name=x", "bpipe:y"}) {
		t.Errorf("ignored = %q, want the two foreign strings", l.ignored)
	}
	if _, _, err := l.effective("python:name=set", backupPhase); err == nil || !strings.Contains(err.Error(), "is not for plugin vz7ct") {
		t.Errorf("effective of a foreign command = %v", err)
	}
}

// The first string that arrives is that of the console, on every daemon that
// has both, and it counts more.
func TestOrderOfArrival(t *testing.T) {
	for _, tt := range []struct {
		strings []string
		name    string
	}{
		{[]string{"vz7ct:name=console", "vz7ct:name=job"}, "console"},
		{[]string{"python:a=b", "vz7ct:name=console", "vz7ct:name=job"}, "console"},
		{[]string{"vz7ct:start=no", "vz7ct:name=job"}, "job"},
		{[]string{"vz7ct", "vz7ct:name=job"}, "job"},
		{[]string{"name=console", "vz7ct:name=job"}, "console"},
		{[]string{"python:name=console"}, "set"},
	} {
		o, _, err := arrive(tt.strings...).effective("vz7ct:name=set", restorePhase)
		if err != nil || o.Name != tt.name {
			t.Errorf("effective after %q = %q, %v, want %q", tt.strings, o.Name, err, tt.name)
		}
	}
}

// At a restore, name and uuid say together where to: one typed at the console
// does not belong to the other one of the FileSet.
func TestNameAndUUIDAreAGroupAtARestore(t *testing.T) {
	for _, tt := range []struct {
		console    string
		ph         phase
		name, uuid string
	}{
		{"vz7ct:name=old", restorePhase, "old", ""},
		{"vz7ct:uuid=" + oldID, restorePhase, "", oldID},
		{"vz7ct:uuid=" + oldID + ":name=old", restorePhase, "old", oldID},
		{"vz7ct:restore=file", restorePhase, "web", webID},
		{"vz7ct:name=old", backupPhase, "old", webID}, // containerOf will refuse it
		{"vz7ct:uuid=" + oldID, backupPhase, "web", oldID},
	} {
		o, line, err := arrive(tt.console).effective("vz7ct:name=web:uuid="+webID, tt.ph)
		if err != nil || o.Name != tt.name || o.UUID != tt.uuid {
			t.Errorf("%s: effective(%q) = %q %q, %v, want %q %q", tt.ph, tt.console, o.Name, o.UUID, err, tt.name, tt.uuid)
		}
		if tt.uuid == "" && strings.Contains(line, "uuid=") {
			t.Errorf("%s: %q shows a uuid that does not count", tt.ph, line)
		}
	}
}

// Lists of a more specific level replace the others, they are not added.
func TestListsAreReplaced(t *testing.T) {
	o, line, err := arrive("vz7ct:excluded_backup_paths=/job:blocker=j").effective("vz7ct:excluded_backup_paths=/set,/job2:blocker=a:blocker=b", backupPhase)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"job": true, "set": false, "job2": false} {
		if _, got := o.Excludes.Match(path); got != want {
			t.Errorf("excluded(%s) = %v, want %v", path, got, want)
		}
	}
	if len(o.Blockers) != 1 || o.Blockers[0].Text != "j" || strings.Contains(line, "blocker=a") {
		t.Errorf("blockers = %+v and %q, want those of the job", o.Blockers, line)
	}
	// An empty list of the job takes the FileSet's away.
	o, _, err = arrive("vz7ct:excluded_backup_paths=").effective("vz7ct:excluded_backup_paths=/set", backupPhase)
	if _, got := o.Excludes.Match("set"); got || err != nil {
		t.Errorf("excluded(set) under an empty list = %v, %v", got, err)
	}
}

// What exclude and exclude_file say counts at every level, whatever the others say.
func TestExcludesOfAllLevelsAddUp(t *testing.T) {
	dir := t.TempDir()
	over, under, list := filepath.Join(dir, "over"), filepath.Join(dir, "under"), filepath.Join(dir, "list")
	put(t, list, "# comment\n\n/list\n")
	put(t, over, "[backup]\nexclude=/over\n")
	put(t, under, "[backup]\nexclude='/un,der'\nexclude_file="+list+"\nexcluded_backup_paths=/p\n")
	l := arrive("vz7ct:exclude=/job1,/job2:exclude=/job3:excluded_backup_paths=/q")
	o, line, err := l.effective("vz7ct:exclude=/set:overrides_file="+over+":defaults_file="+under, backupPhase)
	must(t, err)
	must(t, o.Choice.readLists())
	for path, want := range map[string]bool{"over": true, "job1": true, "job2": true, "job3": true, "set": true, "un,der": true, "list": true, "p": false} {
		if _, got := o.Choice.List.Match(path, false); got != want {
			t.Errorf("exclude covers %s: %v, want %v", path, got, want)
		}
	}
	if _, p := o.Excludes.Match("p"); p {
		t.Error("excluded_backup_paths of the lowest level counts beside that of the job")
	}
	for _, want := range []string{"exclude=/over (overrides_file", "exclude=/job1,/job2 (job)", "exclude=/job3 (job)", "exclude=/set (FileSet)", "exclude='/un,der' (defaults_file"} {
		if !strings.Contains(line, want) {
			t.Errorf("the options are shown as %q, want %q", line, want)
		}
	}
}

// A mistake counts at any level, also where a higher one has the option.
func TestMistakesOfEveryLevel(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	put(t, file, "[backup]\nbad=1\n")
	for _, tt := range []struct {
		job, set, want string
	}{
		{"vz7ct:bad=1", "vz7ct:name=x", "unknown option bad=1 (job)"},
		{"vz7ct:name=x", "vz7ct:bad=1", "unknown option bad=1 (FileSet)"},
		{"vz7ct:name=x", "vz7ct:defaults_file=" + file, "defaults_file " + file + ": line 2: unknown option; known are: blocker,"},
		{"vz7ct:overrides_file=" + file, "vz7ct:name=x", "overrides_file " + file + ": line 2: unknown option; known are: blocker,"},
		{"vz7ct:name=x", "vz7ct:name=y:name=z", "contradict"},
		{"vz7ct:name", "vz7ct:name=y", "job: \"name\" is no key=value"},
		{"vz7ct:name=x", "vz7ct:name", "FileSet: \"name\" is no key=value"},
		{"vz7ct:pcompact=\x1b[2Jx\n", "vz7ct:", `option pcompact=\x1b[2Jx (job)`},
		{"vz7ct:\x1b[2J=x", "vz7ct:", `unknown option \x1b[2J=x`},
		{"vz7ct:defaults_file=a\x1b", "vz7ct:", `option defaults_file=a\x1b (job): is no absolute path`},
		{"vz7ct:defaults_file=/none/\x1b", "vz7ct:", `defaults_file /none/\x1b: `},
	} {
		_, _, err := arrive(tt.job).effective(tt.set, backupPhase)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("effective(%q, %q) = %v, want %q", tt.job, tt.set, err, tt.want)
		}
	}
}
