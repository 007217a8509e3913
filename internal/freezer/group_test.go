// SPDX-License-Identifier: AGPL-3.0-only

package freezer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a node of Virtuozzo 7, of release 9 with one hierarchy, and with both has.
const (
	v1Mounts = "25 19 0:22 / %/sys rw - sysfs sysfs rw\n34 25 0:31 / %/cg/cpu rw - cgroup cgroup rw,cpuacct,cpu\n37 25 0:34 / %/cg/free\\040zer rw shared:9 - cgroup cgroup rw,freezer\n"
	v2Mounts = "41 31 0:38 / %/cg2 rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	// Seen of a part of the hierarchy, as in a container of another kind.
	partMounts = "37 25 0:34 /lab %/part rw - cgroup cgroup rw,freezer\n"
)

func TestFind(t *testing.T) {
	const own = "6:freezer:/system.slice\n0::/system.slice/bareos-fd.service\n"
	for name, tt := range map[string]struct {
		mounts, init, self string
		groups             []string // below the test's directory
		ctid, want         string   // the group below it, or words of the error
	}{
		"v1":                    {v1Mounts, "11:cpuacct,cpu:/machine.slice/C\n6:freezer:/machine.slice/C\n", own, []string{"cg/free zer/machine.slice/C"}, "C", "/cg/free zer/machine.slice/C"},
		"v1 of a subgroup":      {v1Mounts, "6:freezer:/machine.slice/C/docker/77/C\n", own, []string{"cg/free zer/machine.slice/C"}, "C", "/cg/free zer/machine.slice/C"},
		"v1 without a slice":    {v1Mounts, "6:freezer:/101\n", own, []string{"cg/free zer/101"}, "101", "/cg/free zer/101"},
		"v1 with others":        {strings.ReplaceAll(v1Mounts, "rw,freezer", "rw,pids,freezer"), "6:pids,freezer:/machine.slice/C\n", own, []string{"cg/free zer/machine.slice/C"}, "C", "/cg/free zer/machine.slice/C"},
		"v1 before v2":          {v2Mounts + v1Mounts, "6:freezer:/machine.slice/C\n0::/machine.slice/C\n", own, []string{"cg/free zer/machine.slice/C", "cg2/machine.slice/C"}, "C", "/cg/free zer/machine.slice/C"},
		"v1 seen in part":       {partMounts, "6:freezer:/lab/machine.slice/C\n", own, []string{"part/machine.slice/C"}, "C", "/part/machine.slice/C"},
		"v2":                    {v2Mounts, "0::/machine.slice/C/init.scope\n", own, []string{"cg2/machine.slice/C"}, "C", "/cg2/machine.slice/C"},
		"v2 beside a v1 unused": {v1Mounts + v2Mounts, "6:freezer:/\n0::/machine.slice/C\n", own, []string{"cg2/machine.slice/C"}, "C", "/cg2/machine.slice/C"},

		"root group":         {v1Mounts, "6:freezer:/\n", own, nil, "C", "which is the topmost"},
		"no container's":     {v1Mounts, "6:freezer:/machine.slice\n", own, nil, "C", `in group "/machine.slice", which is not that of container C`},
		"another container":  {v1Mounts, "6:freezer:/machine.slice/D\n", own, nil, "C", "which is not that of container C"},
		"a name in a name":   {v1Mounts, "6:freezer:/machine.slice/1010\n", own, nil, "101", "which is not that of container 101"},
		"no ctid":            {v1Mounts, "6:freezer:/machine.slice/C\n", own, nil, "", "which is not that of container"},
		"we are in it":       {v1Mounts, "6:freezer:/machine.slice/C\n", "6:freezer:/machine.slice/C\n", nil, "C", "this process is itself in group"},
		"we are below it":    {v1Mounts, "6:freezer:/machine.slice/C\n", "6:freezer:/machine.slice/C/x/y\n", nil, "C", "this process is itself in group"},
		"out of our sight":   {v1Mounts, "6:freezer:/../C\n", own, nil, "C", "that this process does not see"},
		"no freezer":         {"", "11:cpu:/machine.slice/C\n", own, nil, "C", "is in no group of it"},
		"not mounted":        {"", "6:freezer:/machine.slice/C\n", own, nil, "C", "it is not mounted here"},
		"the mount's root":   {strings.ReplaceAll(partMounts, "/lab", "/machine.slice/C"), "6:freezer:/machine.slice/C\n", own, nil, "C", "it is not mounted here, or not so"},
		"mounted elsewhere":  {partMounts, "6:freezer:/labor/machine.slice/C\n", own, nil, "C", "it is not mounted here, or not so"},
		"no directory":       {v1Mounts, "6:freezer:/machine.slice/C\n", own, nil, "C", "no such file"},
		"frozen by somebody": {v1Mounts, "6:freezer:/machine.slice/C\n", own, []string{"cg/free zer/machine.slice/C=FROZEN"}, "C", "is FROZEN already: somebody else has frozen it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir+"/proc/4711/cgroup", tt.init)
			put(t, dir+"/proc/self/cgroup", tt.self)
			put(t, dir+"/proc/self/mountinfo", strings.ReplaceAll(tt.mounts, "%", dir))
			for _, g := range tt.groups {
				path, state, _ := strings.Cut(g, "=")
				if state == "" {
					state = "THAWED"
				}
				if strings.HasPrefix(path, "cg2") {
					put(t, filepath.Join(dir, path, freezeFile), "0\n")
					put(t, filepath.Join(dir, path, eventsFile), "populated 1\nfrozen 0\n")
				} else {
					put(t, filepath.Join(dir, path, stateFile), state+"\n")
				}
			}
			c := Client{Program: os.Args[0], Proc: dir + "/proc"}
			got, err := c.Find(4711, tt.ctid)
			if strings.HasPrefix(tt.want, "/") {
				if err != nil || got != dir+tt.want {
					t.Errorf("Find = %q, %v, want %q", got, err, dir+tt.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Find = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestMounted(t *testing.T) {
	for mounts, want := range map[string]string{
		v2Mounts + v1Mounts: "cgroup v1 at %/cg/free zer", v2Mounts: "cgroup v2 at %/cg2", partMounts: "",
		"37 25 0:34 / %/x rw - tmpfs freezer rw,freezer\n": "", "garbage": "", "": "",
	} {
		if got, ok := Mounted(mounts); got != want || ok != (want != "") {
			t.Errorf("Mounted(%q) = %q, %v, want %q", mounts, got, ok, want)
		}
	}
}

// It is told before anything is touched that the guard is not installed.
func TestFindWithoutTheCommand(t *testing.T) {
	_, err := Client{Program: "/nonexistent/vz7ct"}.Find(os.Getpid(), ctid)
	if err == nil || !strings.Contains(err.Error(), "is not installed: put it to /usr/bin: no such program: looked for [/nonexistent/vz7ct]") {
		t.Errorf("Find = %v", err)
	}
	if _, err := (Client{Program: os.Args[0]}).Find(1<<30, ctid); err == nil {
		t.Error("Find of no process = nil")
	}
}

// Whatever is in these files, nothing is found that is not called by the ctid.
func FuzzGroups(f *testing.F) {
	f.Add("/machine.slice/C", v1Mounts)
	f.Add("/machine.slice/C/docker/../../..", v2Mounts)
	f.Add("/lab/./C", partMounts)
	f.Add("//C\n", "1 2 3:4 /\\040 / rw - cgroup cgroup freezer")
	f.Fuzz(func(t *testing.T, path, mounts string) {
		top, err := topOf(path, "C")
		if err != nil {
			return
		}
		if !strings.HasSuffix(top, "/C") || !strings.HasPrefix(path, strings.TrimPrefix(top, "/")) && !strings.HasPrefix(path, top) || strings.Contains(top, "/../") {
			t.Errorf("topOf(%q) = %q", path, top)
		}
		for _, unified := range []bool{false, true} {
			if dir, err := (hierarchy{unified: unified}).dir(mounts, top); err == nil && filepath.Base(dir) != "C" {
				t.Errorf("dir(%q, %q) = %q", mounts, top, dir)
			}
		}
	})
}
