// SPDX-License-Identifier: AGPL-3.0-only

package prlctl

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/internal/run"
)

const id = "4b16639b-dbb9-45a5-b4c2-9f7ae90dfe2c"

// fake answers by the beginning of the arguments and records calls.
type fake struct {
	calls  []string
	stdout string
	err    error
}

func (f *fake) Run(_ context.Context, c run.Command) (run.Result, error) {
	f.calls = append(f.calls, strings.Join(c.Args, " "))
	return run.Result{Stdout: f.stdout}, f.err
}

func TestParseList(t *testing.T) {
	got, err := parseList(`[
    {
        "uuid": "` + strings.ToUpper(id) + `",
        "name": "name with \"blanks\"",
        "status": "running"
    },{
        "uuid": "{2d109ae4-5231-475f-bc44-5cabf5d8503b}",
        "envid": "101",
        "name": "-",
        "status": "stopped"
    }
]`)
	want := []Container{
		{id, `name with "blanks"`, id, "running"},
		{"2d109ae4-5231-475f-bc44-5cabf5d8503b", "", "101", "stopped"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseList = %v, %v, want %v", got, err, want)
	}
	if got, err := parseList("[\n\n]"); err != nil || len(got) != 0 {
		t.Errorf("parseList(empty) = %v, %v", got, err)
	}
	for _, bad := range []string{"", "{", "UUID NAME STATUS", `[{"uuid":"x","status":"running"}]`, `[{"uuid":"` + id + `"}]`, `[1]`} {
		if got, err := parseList(bad); err == nil {
			t.Errorf("parseList(%q) = %v, want an error", bad, got)
		}
	}
}

func files(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for n, c := range content {
		p := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(c), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDescribe(t *testing.T) {
	dir := files(t, map[string]string{
		"vz.conf":         "## node\nVE_ROOT=/vz/root/$VEID\nVE_PRIVATE=\"/vz/private/$VEID\" # where\nLOCKDIR=/vz/lock\n",
		id + "/ve.conf":   "VEID=\"" + id + "\"\n",
		"101/ve.conf":     "VE_ROOT='/srv/${VEID}/root'\n",
		"evil/ve.conf":    "VEID=../../etc\n",
		"nowhere/ve.conf": "VE_ROOT=relative\n",
	})
	c := Client{Path: "/usr/bin/prlctl", Conf: filepath.Join(dir, "vz.conf")}
	for _, tt := range []struct{ home, ctid, root string }{
		{id, id, "/vz/root/" + id},
		{"101", "101", "/srv/101/root"},
		{"evil", "", ""},
		{"nowhere", "", ""},
		{"missing", "", ""},
	} {
		env := ""
		if tt.ctid == "101" {
			env = `"EnvID": "101", `
		}
		f := &fake{stdout: `[{"ID": "` + id + `", ` + env + `"Home": "` + filepath.Join(dir, tt.home) + `"}]`}
		c.Runner = f
		p, err := c.Describe(context.Background(), id)
		if tt.ctid == "" {
			if err == nil {
				t.Errorf("Describe(%s) = %+v, want an error", tt.home, p)
			}
			continue
		}
		if err != nil || p.CTID != tt.ctid || p.Root != tt.root || p.Private != filepath.Join(dir, tt.home) || p.Lock != "/vz/lock/"+tt.ctid+".lck" {
			t.Errorf("Describe(%s) = %+v, %v, want %s and %s", tt.home, p, err, tt.ctid, tt.root)
		}
	}
	for _, out := range []string{"", "[]", `[{"ID":"2d109ae4-5231-475f-bc44-5cabf5d8503b","Home":"/x"}]`, `[{"ID":"` + id + `","Home":""}]`} {
		c.Runner = &fake{stdout: out}
		if p, err := c.Describe(context.Background(), id); err == nil {
			t.Errorf("Describe with output %q = %+v, want an error", out, p)
		}
	}
	if got, err := c.PrivateFor("77"); err != nil || got != "/vz/private/77" {
		t.Errorf("PrivateFor = %q, %v", got, err)
	}
}

func TestLockDir(t *testing.T) {
	for conf, want := range map[string]string{"": "/vz/lock", "LOCKDIR=": "/vz/lock", `LOCKDIR="/var/vz/"`: "/var/vz", "LOCKDIR=lock": ""} {
		c, err := parseConfig(conf)
		if got := c.LockDir(); err != nil || got != want {
			t.Errorf("LockDir of %q = %q, %v, want %q", conf, got, err, want)
		}
	}
}

func TestDisks(t *testing.T) {
	conf, err := parseConfig(`DISK="uuid={` + id + `},enabled=yes,size=10485760K,mnt=/data,image=disk-1.hdd;` +
		`uuid={2d109ae4-5231-475f-bc44-5cabf5d8503b},enabled=no,image=/pool/d.hdd,mnt=;` +
		`uuid={3d109ae4-5231-475f-bc44-5cabf5d8503b},device=/dev/sdb1,mnt=/raw"`)
	if err != nil {
		t.Fatal(err)
	}
	disks, err := conf.Disks("/vz/private/x")
	if err != nil || len(disks) != 4 {
		t.Fatalf("Disks = %v, %v, want 4", disks, err)
	}
	for i, want := range []ConfiguredDisk{
		{UUID: RootDisk, Dir: "/vz/private/x/root.hdd", Mount: "/", Enabled: true},
		{UUID: id, Dir: "/vz/private/x/disk-1.hdd", Mount: "/data", Enabled: true, Size: 10485760},
		{UUID: "2d109ae4-5231-475f-bc44-5cabf5d8503b", Dir: "/pool/d.hdd"},
		{UUID: "3d109ae4-5231-475f-bc44-5cabf5d8503b", Mount: "/raw", Enabled: true, External: "/dev/sdb1"},
	} {
		disks[i].Line = ""
		if disks[i] != want {
			t.Errorf("disk %d = %+v, want %+v", i, disks[i], want)
		}
	}
	for _, bad := range []string{"mnt=/x", "uuid=zz,image=a", "uuid={" + id + "},size=big,image=a", "uuid={" + id + "},mnt=/a"} {
		conf, _ := parseConfig(`DISK="` + bad + `"`)
		if d, err := conf.Disks("/p"); err == nil {
			t.Errorf("Disks(%q) = %v, want an error", bad, d)
		}
	}
	moved, _ := parseConfig(`DISK="uuid={` + RootDisk + `},image=/pool/root.hdd,mnt=/"`)
	if d, err := moved.Disks("/p"); err != nil || len(d) != 1 || d[0].Dir != "/pool/root.hdd" {
		t.Errorf("Disks of a moved root = %v, %v", d, err)
	}
}

func TestParseUUID(t *testing.T) {
	for in, want := range map[string]string{id: id, "{" + id + "}": id, strings.ToUpper(id): id, " " + id + " ": id} {
		if got, ok := ParseUUID(in); !ok || got != want {
			t.Errorf("ParseUUID(%q) = %q, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "101", id + "0", "{" + id, strings.Replace(id, "-", "+", 1), strings.Replace(id, "4", "g", 1)} {
		if got, ok := ParseUUID(in); ok {
			t.Errorf("ParseUUID(%q) = %q, want refusal", in, got)
		}
	}
}

func TestCalls(t *testing.T) {
	f := &fake{stdout: "[]"}
	c := Client{Runner: f, Path: "/usr/bin/prlctl"}
	_, _ = c.List(context.Background())
	_ = c.Register(context.Background(), "/vz/private/"+id)
	_ = c.Start(context.Background(), id)
	_ = c.Stop(context.Background(), id)
	_ = c.Unregister(context.Background(), id)
	want := []string{"list -a --vmtype ct -o uuid,envid,name,status -j", "register /vz/private/" + id + " --preserve-uuid", "start " + id, "stop " + id, "unregister " + id}
	if !reflect.DeepEqual(f.calls, want) {
		t.Errorf("calls = %q, want %q", f.calls, want)
	}
}

// A container on which somebody else works is told from one that cannot be started.
func TestLocked(t *testing.T) {
	for stderr, locked := range map[string]bool{"Operation \"starting\" failed: Cannot lock the Container\n": true, "Failed to start the CT\n": false} {
		c := Client{Runner: &fake{err: &run.Error{Command: "prlctl start", Exit: 255, Stderr: stderr}}, Path: "/usr/bin/prlctl"}
		if err := c.Start(context.Background(), id); errors.Is(err, ErrLocked) != locked || !strings.Contains(err.Error(), strings.TrimSpace(stderr)) {
			t.Errorf("Start = %v", err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(`DISK="uuid={` + id + `},size=1K,image=a;;,=,"` + "\nexport A='b")
	f.Add(`DISK="uuid=` + id + `,image=../a;uuid=` + RootDisk + `,image=/a/../b,mnt=$VEID` + "\nVEID=${VEID}\r\n")
	f.Add("DISK='uuid={" + id + "},device=/dev/x,mnt=\xff'\x00")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig(text)
		if err != nil {
			return
		}
		disks, err := c.Disks("/p")
		seen := map[string]bool{}
		for n, d := range disks {
			switch {
			case err != nil:
			case d.Dir != "" && (!filepath.IsAbs(d.Dir) || filepath.Clean(d.Dir) != d.Dir || strings.ContainsRune(d.Dir, 0)):
				t.Errorf("Disks(%q) has the directory %q", text, d.Dir)
			case d.Dir == "" && d.External == "", (d.UUID == RootDisk) != (n == 0), seen[d.UUID]:
				t.Errorf("Disks(%q) = %+v", text, disks)
			}
			seen[d.UUID] = true
		}
	})
}

func TestOwns(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(host, ".")
	for _, tt := range []struct {
		owner, server string
		ours          bool
	}{
		{"", "", true}, // no such file
		{host + "\n", "", true},
		{short + ".example.com", "", true},
		{"x" + host, "", false},
		{"{" + strings.ToUpper(id) + "}", id, true},
		{id, "2d109ae4-5231-475f-bc44-5cabf5d8503b", false},
		{id, "", false}, // a UUID where this node has none
		{host, id, true},
	} {
		content := map[string]string{"vz.conf": "SERVER_UUID=\"" + tt.server + "\"\n", "p/x": ""}
		if tt.owner != "" {
			content["p/.owner"] = tt.owner
		}
		dir := files(t, content)
		c := Client{Conf: filepath.Join(dir, "vz.conf")}
		ours, owner, err := c.Owns(filepath.Join(dir, "p"))
		if ours != tt.ours || owner != strings.TrimSuffix(tt.owner, "\n") || err != nil {
			t.Errorf("Owns(%q, server %q) = %v, %q, %v, want %v", tt.owner, tt.server, ours, owner, err, tt.ours)
		}
	}
}

func TestHasTemplate(t *testing.T) {
	dir := files(t, map[string]string{"vz.conf": "", "t/centos/7/x86_64/config/os/default/package_manager": "", "t/fedora-core/16/x86/x": "", "t/debian/9.0/x86_64/x": "", "t/file/1/x86_64": ""})
	if err := os.WriteFile(filepath.Join(dir, "vz.conf"), []byte("TEMPLATE=\""+dir+"/t\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Client{Conf: filepath.Join(dir, "vz.conf")}
	for name, want := range map[string]bool{
		".centos-7-x86_64": true, "centos-7-x86_64": true, ".centos-7-x86_64-minimal": true, "fedora-core-16-x86": true, "debian-9.0-x86_64": true,
		".centos-8-x86_64": false, ".centos-7-x86": false, "": false, "centos": false, ".file-1-x86_64": false, "../..-7-x86_64": false, "/etc-7-x86_64": false,
	} {
		if got, err := c.HasTemplate(name); err != nil || got != want {
			t.Errorf("HasTemplate(%q) = %v, %v, want %v", name, got, err, want)
		}
	}
	c.Conf = filepath.Join(dir, "none")
	if _, err := c.HasTemplate(".centos-7-x86_64"); err == nil {
		t.Error("HasTemplate without vz.conf = nil")
	}
}
