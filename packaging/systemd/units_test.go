// SPDX-License-Identifier: AGPL-3.0-only

// Package systemd tests the units of this folder: systemd itself reads them, they
// use nothing that CentOS 7's systemd 219 does not know, and what they start is
// there.
package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// units are the files of this folder, and where they belong on a node.
func units(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.service", "*.timer", "*.d/*.conf"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(b), "# SPDX-License-Identifier: AGPL-3.0-only\n") {
				t.Errorf("%s does not begin with its licence", n)
			}
			found[n] = string(b)
		}
	}
	return found
}

// known are the directives used here. None is newer than release 188, of 2012,
// which brought TimeoutStartSec (systemd's NEWS).
var known = map[string][]string{
	"Unit":    {"Description", "Documentation", "ConditionDirectoryNotEmpty", "After", "Before"},
	"Service": {"Type", "ExecStart", "TimeoutStartSec", "KillMode"},
	"Timer":   {"OnBootSec"},
	"Install": {"WantedBy"},
}

// judge reports what in a unit systemd 219 may not know.
func judge(text string) (faults []string) {
	section := ""
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok || !slices.Contains(known[section], key) {
				faults = append(faults, fmt.Sprintf("line %d: %q in [%s] is not known to be in systemd 219", n+1, key, section))
			}
			// "+", "!" and ":" before a command came with 231, 231 and 244.
			if key == "ExecStart" && !strings.HasPrefix(value, "/") {
				faults = append(faults, fmt.Sprintf("line %d: %q is no absolute path", n+1, value))
			}
		}
	}
	return faults
}

func TestUnitsAreForSystemd219(t *testing.T) {
	for name, text := range units(t) {
		for _, f := range judge(text) {
			t.Errorf("%s: %s", name, f)
		}
	}
	for _, planted := range []string{
		"[Unit]\nStartLimitIntervalSec=0\n", "[Service]\nExecCondition=/bin/true\n", "[Service]\nExecStart=+/bin/true\n", "[Timer]\nOnClockChange=yes\n",
		"[Service]\nAfter=vz.service\n", "Description=x\n", "[Unit]\nBefore\n",
	} {
		if len(judge(planted)) == 0 {
			t.Errorf("%q is not reported", planted)
		}
	}
}

// What a node has beside our units, as far as ours name it. The order of vz and
// prl-disp is that of their packages (vzctl 9, prl-disp-service 9).
var others = map[string]string{
	"vz.service":        "[Unit]\nAfter=remote-fs.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/libexec/vz\n[Install]\nWantedBy=multi-user.target\n",
	"prl-disp.service":  "[Unit]\nAfter=network-online.target local-fs.target vz.service\nWants=vz.service\n[Service]\nExecStart=/usr/libexec/vz\n",
	"bareos-fd.service": "[Unit]\nAfter=network.target remote-fs.target\n[Service]\nExecStart=/usr/libexec/vz\n",
	"sysinit.target":    "[Unit]\n",
	"basic.target":      "[Unit]\nAfter=sysinit.target\n",
	"multi-user.target": "[Unit]\nAfter=basic.target\nWants=timers.target vz.service prl-disp.service bareos-fd.service vz7ct-boot.service vz7ct-recover.timer\n",
	"shutdown.target":   "[Unit]\n",
	"timers.target":     "[Unit]\n",
}

// verify lets systemd read units on a node that has nothing else, and returns
// what it says.
func verify(t *testing.T, files map[string]string) (said string, err error) {
	t.Helper()
	root := t.TempDir()
	put := func(name, content string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	put("usr/bin/vz7ct", "", 0o755)
	put("usr/libexec/vz", "", 0o755)
	args := []string{"verify", "--man=no", "--root=" + root}
	for name, text := range others {
		put("usr/lib/systemd/system/"+name, text, 0o644)
	}
	for name, text := range files {
		put("etc/systemd/system/"+name, text, 0o644)
		if filepath.Dir(name) == "." {
			args = append(args, name)
		}
	}
	cmd := exec.Command("systemd-analyze", append(args, "multi-user.target")...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_LOG_LEVEL=warning")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestSystemdReadsTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("VZ7CT_ROOT_TESTS") != "" {
			t.Fatalf("%v: see test/install.sh", err)
		}
		t.Skipf("%v", err)
	}
	if said, err := verify(t, units(t)); err != nil || said != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, said)
	}
	const boot, timer, dropin = "vz7ct-boot.service", "vz7ct-recover.timer", "bareos-fd.service.d/vz7ct.conf"
	for name, plant := range map[string]struct {
		in, from, to string
		// want is what systemd says.
		want string
	}{
		"misspelt":       {boot, "Before=vz", "Befor=vz", "'Befor'"},
		"no such type":   {boot, "Type=oneshot", "Type=onetime", "onetime"},
		"no such mode":   {boot, "KillMode=process", "KillMode=gently", "gently"},
		"time":           {boot, "=180", "=soon", "soon"},
		"wrong section":  {boot, "[Service]", "[Servise]", "'Servise'"},
		"no command":     {boot, "ExecStart", "#ExecStart", "no ExecStart="},
		"other command":  {boot, "/usr/bin/vz7ct", "/usr/sbin/vz7ct", "/usr/sbin/vz7ct is not executable"},
		"cycle":          {boot, "After=local-fs.target", "After=local-fs.target prl-disp.service", "ordering cycle"},
		"cycle, drop-in": {dropin, "After=", "Before=vz7ct-boot.service\nAfter=", "ordering cycle"},
		"timer":          {timer, "16min", "16 o'clock", "16 o'clock"},
	} {
		files := units(t)
		was := files[plant.in]
		files[plant.in] = strings.Replace(was, plant.from, plant.to, 1)
		if said, _ := verify(t, files); files[plant.in] == was || !strings.Contains(said, plant.want) {
			t.Errorf("%s: systemd-analyze verify says %q, want it to name %q", name, said, plant.want)
		}
	}
}

// What systemd cannot judge: that containers wait for the first unit and for no
// other.
func TestOrder(t *testing.T) {
	files := units(t)
	for _, want := range []struct{ name, line string }{
		{"vz7ct-boot.service", "Before=vz.service prl-disp.service"},
		{"vz7ct-boot.service", "Before=bareos-fd.service bareos-filedaemon.service bacula-fd.service"},
		{"vz7ct-boot.service", "After=local-fs.target"},
		{"vz7ct-boot.service", "ExecStart=/usr/bin/vz7ct recover --boot"},
		{"vz7ct-recover.service", "After=vz.service prl-disp.service"},
		{"vz7ct-recover.service", "ExecStart=/usr/bin/vz7ct recover"},
	} {
		if !slices.Contains(strings.Split(files[want.name], "\n"), want.line) {
			t.Errorf("%s has no line %q", want.name, want.line)
		}
	}
	for name := range files {
		if timer, ok := strings.CutSuffix(name, ".timer"); ok && files[timer+".service"] == "" {
			t.Errorf("%s starts a service that is not there", name)
		}
	}
	if strings.Contains(files["vz7ct-recover.service"], "[Install]") {
		t.Error("vz7ct-recover.service can be enabled: it would run before containers do")
	}
}
