// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

var layouts = []string{"bareos17", "bareos21", "bareos22", "bareos23", "bareos25", "bareos26", "bacula9", "bacula15"}

// host runs fdhost with the built plugin on the node. It returns all that was
// printed; the exit status must be the one wanted.
func (w *world) host(program string, want int, args ...string) string {
	w.Helper()
	all := append([]string{rig.Build(program), "--plugin", rig.Build("vz7ct-fd.so")}, args...)
	out, err := w.node.Run(all...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		got = -1
	}
	if got != want || strings.Contains(out, "violation ") {
		w.Errorf("fdhost %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, want, lastLines(out, 30))
	}
	return out
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Whole jobs in the layout of every release, judged by the mini daemon: under
// AddressSanitizer in the layouts of the releases that are out there.
func TestLayouts(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1500M", Disks: []string{"mnt=/data,size=512M"}, Tree: smallTree})
	root, data := w.scan(descriptor(webUUID, "root.hdd")), w.scan(descriptor(webUUID, "disk-1.hdd"))
	for _, layout := range layouts {
		program := "fdhost"
		switch layout {
		case "bareos21", "bareos25", "bareos26", "bacula9", "bacula15":
			program = "fdhost-sanitize"
		}
		store := filepath.Join(w.dir, "store-"+layout)
		bareos := strings.HasPrefix(layout, "bareos")
		fileset, options := "vz7ct:name=web", []string{}
		if bareos {
			fileset, options = "vz7ct:blocker=tmp/nothing", []string{"--job-options", "vz7ct:name=web", "--job-options", "python3:name=other:restore=what"}
		}
		out := w.host(program, 0, append([]string{"--layout", layout, "backup", "--fileset", fileset, "--store", store}, options...)...)
		if strings.Contains(out, "could not be read") {
			t.Errorf("%s: files that this daemon has read count as not read:\n%s", layout, lastLines(out, 30))
		}
		w.levels(program, layout, store, fileset, options)
		w.host(program, 0, "--layout", layout, "foreign")
		w.host(program, 0, "--layout", layout, "estimate", "--fileset", "vz7ct:name=web")
		w.nothingLeft()

		w.run("prlctl", "destroy", "web")
		restore := []string{"--layout", layout, "restore", "--store", store, "--where", "/tmp/where"}
		if bareos {
			restore = append(restore, "--job-options", "vz7ct:restore=ct")
		}
		w.host(program, 0, restore...)
		w.same(root, w.scan(descriptor(webUUID, "root.hdd")), mountPoint)
		w.same(data, w.scan(descriptor(webUUID, "disk-1.hdd")), nil)
		w.nothingLeft()
	}
}

// levels plays jobs that go by the one whose archive is given: nothing has changed since,
// then all has; and one that goes by a job that nobody knows.
func (w *world) levels(program, layout, full, fileset string, options []string) {
	w.Helper()
	count := func(dir string) (tree, rest int) {
		out, err := w.node.Must(rig.Build("fdhost"), "list", "--store", dir)
		w.must(err)
		for line := range strings.SplitSeq(out, "\n") {
			switch {
			case strings.Contains(line, "name=/mnt/bareos/"):
				tree++
			case strings.Contains(line, "name=/vz/private/"):
				rest++
			}
			if strings.Contains(line, " deleted ") {
				w.Errorf("%s: recorded as deleted: %s", layout, line)
			}
		}
		return tree, rest
	}
	whole, conf := count(full)
	if whole == 0 || conf == 0 {
		w.Errorf("%s: the full backup has %d files and %d of the configuration", layout, whole, conf)
	}
	for _, c := range []struct {
		how  []string
		want int
	}{
		{[]string{"--since", "4000000000"}, 0},
		{[]string{"--since", "1"}, whole},
		{[]string{"--since", "1", "--accurate"}, 0},
	} {
		store := full + strings.Join(c.how, "")
		args := append([]string{"--layout", layout, "backup", "--level", "I", "--previous", full, "--fileset", fileset, "--store", store}, c.how...)
		w.host(program, 0, append(args, options...)...)
		if tree, rest := count(store); tree != c.want || rest != conf-1 { // a manifest is the full job's alone
			w.Errorf("%s: level I with %v has %d files and %d of the configuration, want %d and %d", layout, c.how, tree, rest, c.want, conf-1)
		}
	}
	args := append([]string{"--layout", layout, "backup", "--level", "I", "--since", "1", "--fileset", fileset, "--store", full + "-none"}, options...)
	if out := w.host(program, 3, args...); !strings.Contains(out, "A new full level backup of this job is required.") {
		w.Errorf("%s: a job that goes by none does not ask for a full one:\n%s", layout, lastLines(out, 10))
	}
}

// What goes wrong around a job: cancel, an end without the end events, signals,
// jobs side by side, the daemon's end while a job is inside the plugin.
func TestTroubleInLayouts(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Tree: smallTree})
	w.create(rig.Container{Name: "web1", UUID: oldUUID, Size: "1G", Tree: smallTree})
	w.create(rig.Container{Name: "web2", UUID: "3d109ae4-5231-475f-bc44-5cabf5d8503b", Size: "1G", Tree: smallTree})
	w.run("prlctl", "start", "web")
	store := filepath.Join(w.dir, "store")
	backup := func(layout string, more ...string) []string {
		return append([]string{"--layout", layout, "backup", "--fileset", "vz7ct:name=web", "--store", store}, more...)
	}
	for _, layout := range []string{"bareos21", "bareos25", "bacula9", "bacula15"} {
		w.host("fdhost-sanitize", 0, backup(layout, "--cancel-at", "1")...)
		w.nothingLeft()
		w.host("fdhost-sanitize", 0, backup(layout, "--cancel-at", "60")...)
		w.nothingLeft()
		w.host("fdhost-sanitize", 0, backup(layout, "--die-early=20")...)
		w.nothingLeft()
		w.host("fdhost-sanitize", 0, backup(layout, "--end-twice")...)
		w.nothingLeft()
		// Without a sanitizer, which has handlers of its own.
		w.host("fdhost", 0, backup(layout, "--storm")...)
		w.nothingLeft()
		w.host("fdhost", 0, "--layout", layout, "backup", "--fileset", "vz7ct:name=web{}", "--store", store, "--parallel", "2")
		w.nothingLeft()
		w.host("fdhost", 3, "--layout", layout, "backup", "--fileset", "vz7ct:name=nosuch", "--store", store)
		w.nothingLeft()
	}
	for _, iface := range []string{"9,144", "21,144", "22,160", "7,176", "99,176", "10,144", "14,176"} {
		w.host("fdhost", 0, "--iface", iface)
	}
}

// The same shared object on a kernel that knows no system call newer than 3.10.
func TestOldKernel(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Tree: smallTree})
	want := w.scan(descriptor(webUUID, "root.hdd"))
	run := func(args ...string) {
		t.Helper()
		all := append([]string{rig.Build("nosys"), rig.Build("fdhost"), "--plugin", rig.Build("vz7ct-fd.so"), "--layout", "bareos21"}, args...)
		if out, err := w.node.Run(all...); err != nil {
			t.Errorf("%v: %v\n%s", args, err, lastLines(out, 30))
		}
	}
	store := filepath.Join(w.dir, "store")
	run("backup", "--fileset", "vz7ct:name=web:blocker=a/*/b:lockfile=/run/l", "--store", store)
	w.nothingLeft()
	w.run("prlctl", "destroy", "web")
	run("restore", "--store", store)
	w.same(want, w.scan(descriptor(webUUID, "root.hdd")), nil)
	w.run("prlctl", "start", "web")
	w.run("ln", "-s", "/srv", "/vz/root/"+webUUID+"/home/link")
	run("restore", "--store", store, "--select", "/mnt/bareos/"+webUUID+"/etc", "--rename", "/etc=/home/link/etc", "--job-options", "vz7ct:restore=file")
	if got := w.run("cat", "/vz/root/"+webUUID+"/srv/etc/hostname"); got != "web\n" {
		t.Errorf("restored over a link: %q", got)
	}

	// A real daemon there, whose OpenSSL needs one of the newer calls.
	w.run("prlctl", "stop", "web")
	w.start(rig.Config{Wrap: []string{rig.Build("nosys"), "-getrandom"}, Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web:lockfile=/run/l"}}}})
	want = w.scan(descriptor(webUUID, "root.hdd"))
	r := w.backup("web")
	w.nothingLeft()
	w.run("prlctl", "destroy", "web")
	w.restore(rig.Restore{JobIDs: []int{r.ID}})
	w.same(want, w.scan(descriptor(webUUID, "root.hdd")), nil)

	// The judge's own control: a program that needs a newer call must fail.
	out, err := exec.Command(rig.Build("nosys"), "sh", "-c", "exit 0").CombinedOutput()
	if err != nil {
		t.Errorf("nosys: %v %s", err, out)
	}
	control := exec.Command(rig.Build("nosys"), os.Args[0], "-test.run=^TestNewCall$", "-test.v")
	control.Env = append(os.Environ(), "VZ7CT_NEW_CALL=1")
	if out, _ := control.CombinedOutput(); !bytes.Contains(out, []byte("memfd_create: function not implemented")) {
		t.Errorf("a newer system call is let through:\n%s", out)
	}
}
