// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/prlctl"
)

// The table from which all about options follows is complete in itself.
func TestOptionTable(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range options() {
		if o.key == "" || o.valid == "" || o.help == "" || o.set == nil {
			t.Errorf("option %q lacks its key, valid values, help or set", o.key)
		}
		if !strings.HasSuffix(o.help, ".") {
			t.Errorf("help of %s is no sentence: %q", o.key, o.help)
		}
		for _, k := range append([]string{o.key}, o.aliases...) {
			if seen[k] || k != strings.ToLower(k) || strings.ContainsAny(k, " :=\\") {
				t.Errorf("key %q is there twice or cannot be written", k)
			}
			seen[k] = true
			if found, ok := find(k); !ok || found.key != o.key {
				t.Errorf("find(%q) = %q, %v, want %q", k, found.key, ok, o.key)
			}
		}
		if !strings.Contains(keys(), o.key) {
			t.Errorf("keys() = %q, without %s", keys(), o.key)
		}
	}
	for _, k := range []string{"", "Name", "ct", "excluded", "disk_siz"} {
		if o, ok := find(k); ok {
			t.Errorf("find(%q) = %q, want none", k, o.key)
		}
	}
}

// judged are values of every option: good ones with what they do, bad ones with
// words of the error.
var judged = map[string]struct {
	good map[string]func(Options) bool
	bad  map[string]string
}{
	"name": {
		map[string]func(Options) bool{
			"web": func(o Options) bool { return o.Name == "web" }, `"web server"`: func(o Options) bool { return o.Name == "web server" },
		},
		map[string]string{"": "is empty", "''": "is empty"},
	},
	"uuid": {
		map[string]func(Options) bool{
			"101": func(o Options) bool { return o.UUID == "101" }, "0101": func(o Options) bool { return o.UUID == "101" },
			webID: isWeb, "{" + webID + "}": isWeb, strings.ToUpper(webID): isWeb, "'{" + strings.ToUpper(webID) + "}'": isWeb,
		},
		map[string]string{"": "neither a UUID nor a number", webID + "0": "neither", "{" + webID: "neither", "0": "neither", "-101": "neither", "{101}": "neither", "9999999999": "neither"},
	},
	"blocker": {
		map[string]func(Options) bool{
			"tmp/x":      func(o Options) bool { return len(o.Blockers) == 1 && o.Blockers[0].Text == "tmp/x" },
			"/srv/*/a b": func(o Options) bool { return len(o.Blockers[0].Names) == 3 },
		},
		map[string]string{"": "names no file", "/": "names no file", "../etc/shadow": "leaves the container", "a/[b": "pattern"},
	},
	"lockfile": {
		map[string]func(Options) bool{"/tmp/x/../l": func(o Options) bool { return o.Lockfile == "/tmp/l" }},
		map[string]string{"": "no absolute path", "tmp/l": "no absolute path", "/tmp/": "no absolute path"},
	},
	"lock_wait": {
		map[string]func(Options) bool{
			"0": func(o Options) bool { return o.LockWait == 0 }, "90": func(o Options) bool { return o.LockWait == 90*time.Second },
			"2h30m": func(o Options) bool { return o.LockWait == 150*time.Minute },
		},
		map[string]string{"": "is no time", "soon": "is no time", "-1": "is no time", "-1s": "is no time", "99999999999": "is no time"},
	},
	"pcompact": {
		map[string]func(Options) bool{
			"block": func(o Options) bool { return o.BlockCompact }, "ignore": func(o Options) bool { return !o.BlockCompact },
		},
		map[string]string{"": "is none of block, ignore", "no": "is none of block, ignore", "Block": "is none of"},
	},
	"excluded_backup_paths": {
		map[string]func(Options) bool{
			"'/a,b', /c*": func(o Options) bool {
				_, ab := o.Excludes.Match("a,b")
				_, cd := o.Excludes.Match("cd")
				_, a := o.Excludes.Match("a")
				return ab && cd && !a
			},
			"": func(o Options) bool { _, any := o.Excludes.Match("a"); return !any },
		},
		map[string]string{"/": "means the whole container", "'/a": "does not end", "/a,[": "pattern", "'/a' '/b'": "without a comma"},
	},
	"min_free": {
		map[string]func(Options) bool{
			"10G":  func(o Options) bool { return o.MinFree == MinFree{Bytes: 10 << 30} },
			"2.5%": func(o Options) bool { return o.MinFree == MinFree{Percent: 2.5} },
			"1":    func(o Options) bool { return o.MinFree == MinFree{Bytes: 1} },
		},
		map[string]string{"": "is no size", "0": "is no size", "-1": "is no size", "0%": "no share", "100%": "no share", "NaN%": "no share", "x%": "no share", "%": "no share"},
	},
	"tool_wait": {
		map[string]func(Options) bool{
			"90": func(o Options) bool { return o.ToolWait == 90*time.Second }, "2h": func(o Options) bool { return o.ToolWait == 2*time.Hour },
		},
		map[string]string{"": "is no time", "0": "shorter than a second", "10ms": "shorter than a second", "-1h": "is no time", "soon": "is no time"},
	},
	"multi_disk": {
		map[string]func(Options) bool{
			"freeze": func(o Options) bool { return o.Freeze }, "skew": func(o Options) bool { return !o.Freeze },
		},
		map[string]string{"": "is none of freeze, skew", "Freeze": "is none of", "yes": "is none of"},
	},
	"exclude": {
		map[string]func(Options) bool{
			"'/a,b', *.o":   func(o Options) bool { return slices.Equal(o.Choice.Patterns, []string{"/a,b", "*.o"}) },
			"a\\:exclude=b": func(o Options) bool { return slices.Equal(o.Choice.Patterns, []string{"a:exclude=b"}) },
			"a:exclude=b":   func(o Options) bool { return slices.Equal(o.Choice.Patterns, []string{"a", "b"}) },
			"":              func(o Options) bool { return len(o.Choice.Patterns) == 0 },
		},
		map[string]string{"/": "means the whole container", "'a": "does not end", "x,[": "pattern", "../x": "component"},
	},
	"exclude_file": {
		// It is not read here.
		map[string]func(Options) bool{"/none/x": func(o Options) bool { return slices.Equal(o.Choice.Files, []string{"/none/x"}) }},
		map[string]string{"": "no absolute path", "x": "no absolute path", "/x/": "no absolute path", "/x" + strings.Repeat(":exclude_file=/x", maxLists): "one too many"},
	},
	"scan": {
		map[string]func(Options) bool{
			"auto": func(o Options) bool { return o.Scan == ScanAuto }, "ext4": func(o Options) bool { return o.Scan == ScanTables },
			"walk": func(o Options) bool { return o.Scan == ScanWalk },
		},
		map[string]string{"": "none of these", "xfs": "none of these"},
	},
	"std_excludes": {
		map[string]func(Options) bool{
			"yes": func(o Options) bool { return o.Choice.Std }, "no": func(o Options) bool { return !o.Choice.Std },
		},
		map[string]string{"": "neither yes nor no"},
	},
	"exclude_caches": {
		map[string]func(Options) bool{
			"yes": func(o Options) bool { return o.Choice.Caches }, "no": func(o Options) bool { return !o.Choice.Caches },
		},
		map[string]string{"": "neither yes nor no"},
	},
	"honor_nodump": {
		map[string]func(Options) bool{
			"yes": func(o Options) bool { return o.Choice.NoDump }, "no": func(o Options) bool { return !o.Choice.NoDump },
		},
		map[string]string{"": "neither yes nor no"},
	},
	"exclude_larger_than": {
		map[string]func(Options) bool{
			"10G": func(o Options) bool { return o.Choice.Larger == 10<<30 }, "4096": func(o Options) bool { return o.Choice.Larger == 4096 },
		},
		map[string]string{"": "is no size", "0": "is no size", "big": "is no size"},
	},
	"tenant_excludes": {
		map[string]func(Options) bool{
			"yes": func(o Options) bool { return o.Choice.Tenants }, "no": func(o Options) bool { return !o.Choice.Tenants },
		},
		map[string]string{"": "neither yes nor no"},
	},
	"disks": {
		map[string]func(Options) bool{
			"root, '/my data/'": func(o Options) bool {
				return slices.Equal(o.Choice.Disks.Names, []string{"root", "/my data"}) && !o.Choice.Disks.Not
			},
			"!/scratch,!{" + strings.ToUpper(dataID) + "}": func(o Options) bool {
				return slices.Equal(o.Choice.Disks.Names, []string{"/scratch", "{" + dataID + "}"}) && o.Choice.Disks.Not
			},
			"/": func(o Options) bool { return slices.Equal(o.Choice.Disks.Names, []string{"root"}) },
		},
		map[string]string{"": "names no disk", "data": "neither root, a mount point", "root,!/data": "beside some that are not", "!root,/data": "beside some", dataID: "neither root", "{1}": "neither root", "'/x": "does not end"},
	},
	"max_errors": {
		map[string]func(Options) bool{
			"0": func(o Options) bool { return *o.MaxErrors == 0 }, "25": func(o Options) bool { return *o.MaxErrors == 25 },
		},
		map[string]string{"": "is no number", "-1": "is no number", "few": "is no number", "99999999999": "is no number"},
	},
	"nice": {
		map[string]func(Options) bool{
			"0": func(o Options) bool { return o.Polite == (standing{}) }, "19": func(o Options) bool { return o.Polite == standing{nice: 19} },
		},
		map[string]string{"": "is no number from 0 to 19", "20": "is no number from", "-5": "is no number from", "300": "is no number from", "low": "is no number from"},
	},
	"ionice": {
		map[string]func(Options) bool{
			"idle": func(o Options) bool { return o.Polite.io == 3<<13 }, "best-effort": func(o Options) bool { return o.Polite.io == 2<<13|4 },
			"best-effort/0": func(o Options) bool { return o.Polite.io == 2<<13 }, `best-effort\:7`: func(o Options) bool { return o.Polite.io == 2<<13|7 },
		},
		map[string]string{"": "is neither idle nor best-effort", "realtime": "is neither", "idle/7": "is neither", "best-effort/8": "is neither", "best-effort/": "is neither", "best-effort/-1": "is neither", "3": "is neither"},
	},
	"read_rate": {
		map[string]func(Options) bool{
			"64K": func(o Options) bool { return o.ReadRate == 64<<10 }, "20M": func(o Options) bool { return o.ReadRate == 20<<20 },
			"100000": func(o Options) bool { return o.ReadRate == 100000 }, "1GiB": func(o Options) bool { return o.ReadRate == 1<<30 },
		},
		map[string]string{"": "is no size", "0": "is no size", "63K": "is less than 64K a second", "1": "is less than", "fast": "is no size", "20M/s": "is no size"},
	},
	"restore": {
		map[string]func(Options) bool{
			"ct":   func(o Options) bool { return o.Restore == RestoreContainer },
			"file": func(o Options) bool { return o.Restore == RestoreFiles }, "files": func(o Options) bool { return o.Restore == RestoreFiles },
			"dir": func(o Options) bool { return o.Restore == RestoreDirectory },
		},
		map[string]string{"": "is none of ct, file", "all": "is none of ct, file", "container": "is none of"},
	},
	"restore_dir": {
		map[string]func(Options) bool{
			"/srv/r": func(o Options) bool { return o.Directory == "/srv/r" }, "/srv//r/": func(o Options) bool { return o.Directory == "/srv/r" },
		},
		map[string]string{"": "no absolute path", "srv": "no absolute path", "/": "no absolute path", "/srv/../etc": "without . and ..", "/srv/.": "without . and .."},
	},
	"disk_size": {
		map[string]func(Options) bool{
			"250": func(o Options) bool { return o.DiskSize == 250<<30 }, "64M": func(o Options) bool { return o.DiskSize == 64<<20 },
		},
		map[string]string{"": "is no size", "63M": "smaller than 64 MiB", "0": "is no size", "10X": "is no size", "1.5T": "is no size", "9999999999T": "is no size"},
	},
	"replace_ct": {
		map[string]func(Options) bool{
			"yes": func(o Options) bool { return o.Replace }, "no": func(o Options) bool { return !o.Replace },
		},
		map[string]string{"": "neither yes nor no", "force": "neither yes nor no"},
	},
	"start": {
		map[string]func(Options) bool{
			"yes": func(o Options) bool { return o.Start }, "No": func(o Options) bool { return !o.Start }, "on": func(o Options) bool { return o.Start },
		},
		map[string]string{"": "neither yes nor no", "maybe": "neither yes nor no", "2": "neither yes nor no"},
	},
	"restore_name": {
		map[string]func(Options) bool{"web 2": func(o Options) bool { return o.Anywhere.Name == "web 2" }},
		map[string]string{"": "cannot be the name", "../../cron.d/x": "cannot be the name", "-a": "cannot be the name", "a$b": "cannot be the name"},
	},
	"restore_uuid": {
		map[string]func(Options) bool{
			"new":                              func(o Options) bool { return o.Anywhere.UUID == newIdentity },
			"{" + strings.ToUpper(webID) + "}": func(o Options) bool { return o.Anywhere.UUID == webID },
		},
		map[string]string{"": "is no UUID, and not new", "101": "is no UUID", "New": "is no UUID", prlctl.RootDisk: "is no UUID"},
	},
	"restore_private": {
		map[string]func(Options) bool{"/pool/private/": func(o Options) bool { return o.Anywhere.Dir == "/pool/private" }},
		map[string]string{"": "no absolute path", "pool": "no absolute path", "/": "no absolute path", "/a b": "no absolute path", "/$VEID": "no absolute path", "/a;b": "no absolute path"},
	},
	"restore_addresses": {
		map[string]func(Options) bool{
			"yes": func(o Options) bool { return *o.Anywhere.Addresses }, "no": func(o Options) bool { return !*o.Anywhere.Addresses },
		},
		map[string]string{"": "neither yes nor no", "new": "neither yes nor no"},
	},
	"restore_trust_config": {
		map[string]func(Options) bool{"no": func(o Options) bool { return !o.Anywhere.Trust }},
		map[string]string{},
	},
	"encryption": {
		map[string]func(Options) bool{
			"none": func(o Options) bool { return o.Anywhere.Encryption == inClear }, "key-1": func(o Options) bool { return o.Anywhere.Encryption == "key-1" },
		},
		map[string]string{"": "is no key id", "a b": "is no key id", "-w": "is no key id", "a;b": "is no key id"},
	},
	"defaults_file": {
		map[string]func(Options) bool{"GOOD": func(o Options) bool { return o.Name == "of the file" }},
		map[string]string{"": "no absolute path", "conf": "no absolute path", "/none/x": "no such file"},
	},
	"overrides_file": {
		map[string]func(Options) bool{"'GOOD'": func(o Options) bool { return o.Name == "of the file" }},
		map[string]string{"": "no absolute path", "../conf": "no absolute path", "/proc/self/": "no absolute path", "/dev/null": "is no regular file"},
	},
}

func isWeb(o Options) bool { return o.UUID == webID }

// Every option takes its good values and refuses bad ones, naming its key, the
// value, where it was written, and what would be valid.
func TestEveryOption(t *testing.T) {
	file := filepath.Join(t.TempDir(), "options")
	put(t, file, "[backup]\nname=of the file\n")
	for _, o := range options() {
		row, ok := judged[o.key]
		if !ok {
			t.Errorf("option %s is not tested", o.key)
		}
		for v, check := range row.good {
			v = strings.ReplaceAll(v, "GOOD", file)
			got, _, err := new(layers).effective("vz7ct:"+o.key+"="+v, backupPhase)
			if err != nil || !check(got) {
				t.Errorf("%s=%s: %+v, %v", o.key, v, got, err)
			}
		}
		for v, want := range row.bad {
			_, _, err := new(layers).effective("vz7ct:"+o.key+"="+v, backupPhase)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), o.key) || !strings.Contains(err.Error(), strings.Split(v, ":")[0]) {
				t.Errorf("%s=%s: error %v, want key, value and %q", o.key, v, err, want)
			}
			// What is wrong with a file is said of the file.
			if err != nil && !strings.HasSuffix(o.key, "_file") &&
				(!strings.Contains(err.Error(), "(FileSet)") || !strings.Contains(err.Error(), "; valid is "+o.valid)) {
				t.Errorf("%s=%s: error %v, want origin and %q", o.key, v, err, o.valid)
			}
		}
	}
}

// What comes with a backup does not say that the backup is to be trusted.
func TestTrustIsNotRecorded(t *testing.T) {
	for _, tt := range []struct {
		cmd, typed string
		want       bool
	}{
		{"vz7ct:restore_trust_config=yes", "", false}, {"vz7ct:restore_trust_config=maybe", "", false}, {"vz7ct:", "vz7ct:restore_trust_config=yes", true},
		{"vz7ct:restore_trust_config=no", "vz7ct:restore_trust_config=yes", true}, {"vz7ct:restore_trust_config=yes", "vz7ct:restore_trust_config=no", false},
	} {
		l := new(layers)
		if tt.typed != "" {
			l.add(tt.typed)
		}
		if o, _, err := l.effective(tt.cmd, restorePhase); err != nil || o.Anywhere.Trust != tt.want {
			t.Errorf("%s after %s: trusted %v, %v, want %v", tt.cmd, tt.typed, o.Anywhere.Trust, err, tt.want)
		}
		l = new(layers)
		cmd, typed := strings.ReplaceAll(tt.cmd, "restore_trust_config", "replace_ct"), strings.ReplaceAll(tt.typed, "restore_trust_config", "replace_ct")
		if tt.typed != "" {
			l.add(typed)
		}
		if o, _, err := l.effective(cmd, restorePhase); err != nil || o.Replace != tt.want {
			t.Errorf("%s after %s: replaces %v, %v, want %v", cmd, typed, o.Replace, err, tt.want)
		}
	}
	l := new(layers)
	l.add("vz7ct:restore_trust_config=maybe")
	if _, _, err := l.effective("vz7ct:", restorePhase); err == nil || !strings.Contains(err.Error(), "neither yes nor no") {
		t.Errorf("restore_trust_config=maybe: %v", err)
	}
}

func TestDefaults(t *testing.T) {
	o := defaults()
	if o.Choice.Std || o.Choice.Caches || o.Choice.NoDump || o.Choice.Tenants || o.MaxErrors != nil || o.selection() != "" {
		t.Errorf("defaults = %+v: something is left out", o)
	}
	if !o.BlockCompact || o.Restore != RestoreContainer || !o.MinFree.Default || o.Start || o.Replace || o.LockWait != 0 || o.DiskSize != 0 {
		t.Errorf("defaults = %+v", o)
	}
}

func TestParseSize(t *testing.T) {
	const gib = 1 << 30
	for in, want := range map[string]uint64{
		"1": gib, "250": 250 * gib, "10G": 10 * gib, "10g": 10 * gib, "10GB": 10 * gib, "10GiB": 10 * gib, "10 G": 10 * gib, " 1T ": 1024 * gib,
		"1K": 1024, "5M": 5 << 20, "4194303T": 4194303 << 40,
		// Refused: 0 here.
		"": 0, "0": 0, "0G": 0, "-1G": 0, "G": 0, "1GG": 0, "1KM": 0, "1.5G": 0, "1e3": 0, "0x10": 0, "+1": 0, "4194305T": 0, "18446744073709551616": 0,
		// A unit that is not there must not be taken for GiB.
		"10B": 0, "10iB": 0, "10I": 0, "10P": 0,
	} {
		got, err := parseSize(in, gib)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("parseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
}

// Several blockers may be given; a value that is there twice is no contradiction.
func TestRepeatedOptions(t *testing.T) {
	o, _, err := new(layers).effective("vz7ct:blocker=a:blocker=b:name=web:name=web:disk=5:disk_size=5", backupPhase)
	var got []string
	for _, b := range o.Blockers {
		got = append(got, b.Text)
	}
	if err != nil || !slices.Equal(got, []string{"a", "b"}) || o.DiskSize != 5<<30 {
		t.Errorf("effective = %+v, %v, want blockers a and b", o, err)
	}
	for _, tt := range []struct{ in, want string }{
		{"name=web:name=old", "options name=web and name=old (FileSet) contradict each other"},
		{"disk=5:diskspace=6", "options disk=5 and diskspace=6 (FileSet) contradict each other"},
		{"excluded_backup_paths=/a:excluded_backup_paths=/b", "contradict each other"},
		{"nmae=web", "unknown option nmae=web (FileSet); known are: blocker, defaults_file, disk_size,"},
		{"=web", "unknown option =web"},
		{"name", `FileSet: "name" is no key=value`},
	} {
		if _, _, err := new(layers).effective("vz7ct:"+tt.in, backupPhase); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("effective(%q) = %v, want %q", tt.in, err, tt.want)
		}
	}
}
