// SPDX-License-Identifier: AGPL-3.0-only

package veconf

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	oldID  = "4b16639b-dbb9-45a5-b4c2-9f7ae90dfe2c"
	newID  = "9a31e19b-34a7-4b22-b8c4-0b1f2a3c4d5e"
	dataID = "2d109ae4-5231-475f-bc44-5cabf5d8503b"
)

// genuine is a configuration as vzctl leaves it.
const genuine = `# by hand: "do not touch"
ONBOOT="yes"
PHYSPAGES="262144:262144"
RATE="eth0:1:8000"
CPUMASK="0-3,8"
NETFILTER="full"
VE_ROOT="/vz/root/$VEID"
VE_PRIVATE="/vz/private/$VEID"
OSTEMPLATE=".centos-7-x86_64"
TECHNOLOGIES="x86_64 nptl"
DESCRIPTION="Shop; Käthe's & co #1"
FEATURES=""
VEID="` + oldID + `"
UUID="` + oldID + `"
NAME="web"
IP_ADDRESS="192.0.2.7/255.255.255.0 2001:db8::7"
NETIF="ifname=eth0,mac=00:18:51:AA:BB:CC,host_mac=FE:18:51:AA:BB:CC,host_ifname=vethaabbcc,network=Bridged,gw=192.0.2.1,ip=192.0.2.8/255.255.255.0:,ip6=2001:db8::8,2001:db8::9"
DISK="uuid={` + dataID + `},enabled=yes,size=1048576,mnt=/data,mnt_opts=noatime,autocompact=yes,image=data.hdd"
`

// same is the container as it was.
func same() Target {
	return Target{
		UUID: oldID, CTID: oldID, Name: "web", Private: "/vz/private/" + oldID, Root: "/vz/root/" + oldID,
		WasCTID: oldID, WasPrivate: "/vz/private/" + oldID, WasRoot: "/vz/root/" + oldID, Addresses: true,
		Disks: []Disk{{UUID: dataID, Mount: "/data", Image: "data.hdd"}, {UUID: rootDisk, Mount: "/", Image: "root.hdd"}},
		MAC:   func() string { return "C4:37:72:01:02:03" },
	}
}

// aside is a copy beside the original.
func aside() Target {
	t := same()
	t.UUID, t.CTID, t.Name, t.Private, t.Root, t.Copy, t.Addresses = newID, newID, "web2", "/pool/"+newID, "/vz/root/"+newID, true, false
	return t
}

func TestGenuineConfigurationStays(t *testing.T) {
	conf, warnings, err := Judge(genuine, same())
	if err != nil || conf != genuine || len(warnings) > 0 {
		t.Errorf("Judge = %q, %q, %v, want no change", conf, warnings, err)
	}
}

func TestCopyHasItsOwnIdentity(t *testing.T) {
	conf, warnings, err := Judge(genuine, aside())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`VEID="` + newID + `"`, `UUID="` + newID + `"`, `NAME="web2"`, `VE_ROOT="/vz/root/$VEID"`, `VE_PRIVATE="/pool/` + newID + `"`,
		`NETIF="ifname=eth0,mac=C4:37:72:01:02:03,host_mac=FE:37:72:01:02:03,network=Bridged"`, `NETFILTER="full"`,
	} {
		if !strings.Contains(conf, want+"\n") {
			t.Errorf("a copy has no line %s:\n%s", want, conf)
		}
	}
	for _, never := range []string{oldID, "192.0.2", "2001:db8", "AA:BB:CC", "vethaabbcc"} {
		if strings.Contains(conf, never) {
			t.Errorf("a copy has %s:\n%s", never, conf)
		}
	}
	all := strings.Join(warnings, "\n")
	for _, want := range []string{"IP_ADDRESS=", "gw=192.0.2.1", "ip=192.0.2.8", "ip6=2001:db8::8"} {
		if !strings.Contains(all, want) || strings.Count(all, "restore_addresses=yes") != 4 {
			t.Errorf("warnings %q do not name %s", warnings, want)
		}
	}
	to := aside()
	to.Addresses = true
	if conf, warnings, _ = Judge(genuine, to); len(warnings) > 0 || !strings.Contains(conf, "ip6=2001:db8::8,2001:db8::9") || strings.Contains(conf, "AA:BB:CC") {
		t.Errorf("with addresses: %s, %q", conf, warnings)
	}
}

// What reaches the node is left out and named, unless the configuration is trusted.
func TestWhatReachesTheNode(t *testing.T) {
	for _, tt := range []struct{ line, want, word string }{
		{`DEVNODES="fuse:rw net/tun:rw "`, "", "devices of this node"},
		{`DEVICES="b:8:0:rw"`, "", "devices of this node"},
		{`PCI="0000:01:00.0"`, "", "PCI devices"},
		{`NETDEV="eth1"`, "", "network cards of this node"},
		{`CAPABILITY="SYS_ADMIN:on"`, "", "capabilities"},
		{`BINDMOUNT="/etc:/mnt,ro"`, "", "directories of this node"},
		{`TEMPLATE="/root"`, "", "what is this node's"},
		{`LOCKDIR="/etc"`, "", "what is this node's"},
		{`FEATURES="nfs:on sit:off time:on"`, `FEATURES="sit:off"`, "nfs:on is left out: it reaches the kernel"},
		{`DISTRIBUTION="../../../vz/root/x/tmp/evil"`, "", "no such value"},
		{`OSTEMPLATE="-x"`, "", "no such value"},
		{`TEMPLATES=".php --install x"`, "", "no such value"},
		{`IP_ADDRESS="1.2.3.4; reboot"`, "", "no such value"},
		{`OSTEMPLATE="a/b"`, "", "no such value"},
		{`ORIGIN_SAMPLE=".."`, "", "no such value"},
		{`HOSTNAME="x;reboot"`, "", "no such value"},
		{`SOME_NEW_SETTING="yes"`, "", "is not known"},
		{`DEVNODES=""`, `DEVNODES=""`, ""},
		{`NETIF="ifname=eth0,host_ifname=eth0,mac_filter=off,ip_filter=on,evil=1"`, `NETIF="ifname=eth0,ip_filter=on"`, "mac_filter=off"},
		{`NETIF="mac=00:18:51:AA:BB:CC"`, `NETIF=""`, "names no network card"},
		{`DISK="uuid={` + dataID + `},image=/dev/../etc,mnt=/etc,mnt_opts=noatime,device=/dev/sda"`, `DISK="uuid={` + dataID + `},image=data.hdd,mnt=/data,mnt_opts=noatime"`, "device=/dev/sda is left out"},
		{`DISK="uuid={` + newID + `},device=/dev/sda,mnt=/x"`, `DISK="uuid={` + dataID + `},enabled=yes,mnt=/data,image=data.hdd"`, "device of this node"},
		{`DISK="uuid={` + dataID + `},image=/vz/private/x/root.hdd,mnt=/etc,mnt_opts=journal_path=/dev/sda,foo=bar"`, `DISK="uuid={` + dataID + `},image=data.hdd,mnt=/data,mnt_opts="`, "foo=bar"},
		{`DISK="uuid={` + newID + `},image=other.hdd;uuid={` + dataID + `},image=data.hdd;uuid={` + dataID + `},image=x"`, `DISK="uuid={` + dataID + `},image=data.hdd"`, "named twice"},
		{`VE_ROOT="/etc"`, `VE_ROOT="/vz/root/` + oldID + `"`, "mounted at"},
	} {
		conf, warnings, err := Judge(tt.line+"\n", same())
		if err != nil {
			t.Fatal(err)
		}
		key, _, _ := strings.Cut(tt.line, "=")
		got := lineOf(conf, key)
		if key != "DISK" && strings.Contains(conf, "DISK=") {
			warnings = slices.DeleteFunc(warnings, func(w string) bool { return strings.HasPrefix(w, "DISK: ") })
		}
		if got != tt.want || (tt.word == "") != (len(warnings) == 0) || !strings.Contains(strings.Join(warnings, "\n"), tt.word) {
			t.Errorf("%s becomes %q with %q, want %q and a word on %q", tt.line, got, warnings, tt.want, tt.word)
		}
		to := same()
		to.Trust = true
		conf, _, _ = Judge(tt.line+"\n", to)
		switch got := lineOf(conf, key); {
		case key == "DISK" && strings.Contains(got, "image=/"), key == "NETIF", key == "DISK":
		case got != tt.line:
			t.Errorf("trusted, %s becomes %q", tt.line, got)
		}
	}
}

func lineOf(conf, key string) string {
	for line := range strings.SplitSeq(conf, "\n") {
		if strings.HasPrefix(line, key+"=") {
			return line
		}
	}
	return ""
}

// No line survives by which a shell or libvzctl would do anything else than set a
// variable, whoever is trusted.
func TestOnlyPlainLines(t *testing.T) {
	for _, line := range []string{
		`NAME="$(touch x)"`, "NAME=\"`touch x`\"", `ONBOOT=yes;touch x`, `ONBOOT="yes";touch x`, `ONBOOT="yes" touch x`, `touch x`, `ONBOOT=yes touch x`,
		`ONBOOT="a\" ; touch x ; \"`, `ONBOOT='a'"$(touch x)"`, `DESCRIPTION="${IFS}"`, `DESCRIPTION="$HOME"`, `export ONBOOT="yes"`, `. /tmp/x`, `ONBOOT+="x"`,
		"ONBOOT=\"yes\rtouch x\"", "ONBOOT=\"a\x00b\"", `ONBOOT="never ends`, `ONBOOT='a"`, `PATH[$(touch x)]="y"`, `ONBOOT = "yes"`, `ONBOOT=~root`, `ONBOOT=*`,
		`ONBOOT="yes"#no comment`, "\x00\x00\x00\x00", `DESCRIPTION="` + strings.Repeat("x", maxLine) + `"`, `ONBOOT=<(touch x)`, `# a comment \`,
	} {
		for _, trust := range []bool{false, true} {
			to := same()
			to.Trust = trust
			conf, warnings, err := Judge("PHYSPAGES=\"1\"\n"+line+"\nSWAPPAGES=\"2\"\n", to)
			key, _, _ := strings.Cut(line, "=")
			if err != nil || len(warnings) < 2 || key != "NAME" && key != "DESCRIPTION" && lineOf(conf, key) != "" || strings.Contains(conf, "touch") || strings.Contains(conf, "$H") {
				t.Errorf("%.60q, trusted %v: %q with %q, %v", line, trust, conf, warnings, err)
			}
			if lineOf(conf, "PHYSPAGES") == "" || lineOf(conf, "SWAPPAGES") == "" {
				t.Errorf("%.60q takes other lines with it: %s", line, conf)
			}
		}
	}
	for line, want := range map[string]string{
		`ONBOOT=yes`: `ONBOOT="yes"`, `  ONBOOT='yes'  # why`: `ONBOOT="yes"`, `ONBOOT="yes"`: `ONBOOT="yes"`, `ONBOOT=`: `ONBOOT=""`, "\tONBOOT=\"a\"": `ONBOOT="a"`,
	} {
		if conf, _, _ := Judge(line, same()); lineOf(conf, "ONBOOT") != want {
			t.Errorf("%s becomes %s, want %s", line, lineOf(conf, "ONBOOT"), want)
		}
	}
	conf, warnings, _ := Judge("ONBOOT=\"yes\"\nONBOOT=\"no\"\n", same())
	if strings.Count(conf, "ONBOOT") != 1 || lineOf(conf, "ONBOOT") != `ONBOOT="no"` || !strings.Contains(strings.Join(warnings, " "), "more than once") {
		t.Errorf("a setting that is there twice: %s, %q", conf, warnings)
	}
}

// The list of what was left out is bounded, and so is the configuration.
func TestBounds(t *testing.T) {
	_, warnings, err := Judge(strings.Repeat("evil\n", 5000), same())
	if err != nil || len(warnings) > maxWarnings+2 || !strings.Contains(warnings[len(warnings)-1], "further settings") {
		t.Errorf("%d warnings, the last %q, %v", len(warnings), warnings[len(warnings)-1], err)
	}
	if _, _, err := Judge(strings.Repeat("x", maxConfig+1), same()); err == nil {
		t.Error("a configuration of a megabyte is taken")
	}
}

// A place that is the right one only by its words may be another one on the node, where
// one of its directories is a link of somebody's.
func TestPlacesAreWrittenPlainly(t *testing.T) {
	for _, trust := range []bool{false, true} {
		to := same()
		to.Trust = trust
		conf, _, err := Judge("VE_PRIVATE=\"/tmp/x/../../vz/private/$VEID\"\nVE_ROOT=\"/tmp/x/y/../../../vz/root/$VEID\"\n", to)
		if err != nil || strings.Contains(conf, "tmp") || lineOf(conf, "VE_PRIVATE") != `VE_PRIVATE="`+to.Private+`"` || lineOf(conf, "VE_ROOT") != `VE_ROOT="`+to.Root+`"` {
			t.Errorf("trusted %v: Judge = %s, %v", trust, conf, err)
		}
	}
	conf, warnings, err := Judge("VE_PRIVATE=\"/vz/private/$VEID/\"\nVE_ROOT=\"/vz/root/${VEID}/\"\n", same())
	if err != nil || lineOf(conf, "VE_PRIVATE") != `VE_PRIVATE="/vz/private/$VEID/"` || lineOf(conf, "VE_ROOT") != `VE_ROOT="/vz/root/${VEID}/"` {
		t.Errorf("a slash at the end: %s, %q, %v", conf, warnings, err)
	}
}

// Another size of the root disk is written where the tools look for it.
func TestRootDiskOfAnotherSize(t *testing.T) {
	to := same()
	to.Disks[1].KiB = 2048
	conf, warnings, err := Judge("DISKSPACE=\"1:1\"\nDISK=\"uuid={"+rootDisk+"},size=1,mnt=/,image=/pool/root.hdd\"\n", to)
	if err != nil || lineOf(conf, "DISKSPACE") != `DISKSPACE="2048:2048"` ||
		!strings.HasPrefix(lineOf(conf, "DISK"), `DISK="uuid={`+rootDisk+`},size=2048,mnt=/,image=root.hdd;uuid={`+dataID+`},enabled=yes,mnt=/data`) || len(warnings) != 1 {
		t.Errorf("Judge = %s, %q, %v", conf, warnings, err)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"web": true, "two words {b} -_.+ é日": true, "K\xdcBLER": true, strings.Repeat("x", 255): true, "": false, strings.Repeat("x", 256): false,
		"../../cron.d/x": false, "a/b": false, "a\nb": false, `a"b`: false, "-rf": false, ".": false, "..": false, "a$b": false, "a;b": false, "\x7f": false,
	} {
		if got := CanBeName(name); got != want {
			t.Errorf("CanBeName(%q) = %v, want %v", name, got, want)
		}
	}
}

// Whatever was recorded, what comes out sets variables when a shell reads it, and runs
// nothing; judged once more it stays as it is.
func FuzzJudge(f *testing.F) {
	f.Add(genuine, true)
	f.Add(genuine, false)
	for _, seed := range []string{
		"\n\n \nONBOOT=yes\n\n\n", "DISK=\"uuid={" + dataID + "},device=/dev/sda,=x,image=;uuid={" + newID + "},storage_url=x\"\n",
		"NAME=\"$(touch x)\"\nDISK=\"uuid={" + dataID + "},image=`touch x`\"\n", "DEVNODES=\"fuse:rw\"\n\x00\x00", "DISK=\"uuid={" + dataID + "},,=,mnt=/a;;b\"\nDISK=''",
		"NETIF=\"ifname=eth0,ip6=::1,::2,x;=;ifname=a,b=c,ip6=$VEID\"\n", "VE_ROOT=\"/x/${VEID}\"\nVE_ROOT=$VEID\n# \\\nA='\"'\n", "IP_ADDRESS=\"1\"\nFEATURES=\"a:off b:on\"\n",
		"DESCRIPTION=\"c\" #1\"\nONBOOT='yes' # \"\n",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, recorded string, trust bool) {
		for _, to := range []Target{same(), aside()} {
			to.Trust = trust
			conf, warnings, err := Judge(recorded, to)
			if err != nil {
				return
			}
			if len(warnings) > maxWarnings+1 {
				t.Errorf("%d warnings", len(warnings))
			}
			for line := range strings.SplitSeq(strings.TrimSuffix(conf, "\n"), "\n") {
				if !safe(line) {
					t.Errorf("Judge(%q) has the line %q", recorded, line)
				}
			}
			if again, _, err := Judge(conf, to); err != nil || again != conf {
				t.Errorf("Judge(%q) = %q, again %q, %v", recorded, conf, again, err)
			}
		}
	})
}

// safe is a second opinion on a line: it is empty, a comment, or KEY="..." without a
// character that means something to a shell.
func safe(line string) bool {
	if line == "" || strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") {
		return !strings.ContainsAny(line, "\x00\r\\")
	}
	key, value, ok := strings.Cut(line, `="`)
	value, end := strings.CutSuffix(value, `"`)
	value = strings.NewReplacer("$VEID", "", "${VEID}", "").Replace(value)
	return ok && end && key != "" && strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == "" && !strings.ContainsAny(value, "\"\\`$\x00\r")
}

// A shell that reads what was made of hostile lines runs none of them.
func TestShellRunsNothing(t *testing.T) {
	sh, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash to read the configuration")
	}
	dir := t.TempDir()
	flag := filepath.Join(dir, "ran")
	var lines []string
	for _, key := range []string{"ONBOOT", "DESCRIPTION", "NAME", "DISK", "NETIF", "UNKNOWN", "VE_ROOT", "IP_ADDRESS", "FEATURES"} {
		for _, form := range []string{
			"KEY=\"$(touch FLAG)\"", "KEY=\"`touch FLAG`\"", `KEY=x;touch FLAG`, `KEY="x" ;touch FLAG`, `KEY="x\";touch FLAG;\""`, `KEY='x'$(touch FLAG)`, `KEY[$(touch FLAG)]=x`,
			"KEY=\"ifname=eth0,network=$(touch FLAG)\"", "KEY=\"uuid={" + dataID + "},mnt_opts=`touch FLAG`\"", "touch FLAG # KEY",
		} {
			lines = append(lines, strings.NewReplacer("KEY", key, "FLAG", flag).Replace(form))
		}
	}
	source := func(conf string) bool {
		path := filepath.Join(dir, "ve.conf")
		if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(flag)
		_ = exec.Command(sh, "-c", ". "+path).Run() // what it says does not count
		_, err := os.Lstat(flag)
		return err == nil
	}
	if !source(strings.Join(lines, "\n")) {
		t.Fatal("the lines as they were recorded run nothing: the test proves nothing")
	}
	for _, trust := range []bool{false, true} {
		to := same()
		to.Trust = trust
		for _, recorded := range append(lines, strings.Join(lines, "\n")) {
			for _, to.Present = range []string{"", recorded} {
				conf, _, err := Judge(recorded, to)
				if err != nil || source(conf) {
					t.Errorf("trusted %v: %q runs, %v, from %q", trust, conf, err, recorded)
				}
			}
		}
	}
}
