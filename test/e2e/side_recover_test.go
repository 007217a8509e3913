// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// toolCalls are the calls of ploop and prlctl on the node, in their order.
func (w *world) toolCalls() []string {
	w.Helper()
	type call struct {
		Mono int64    `json:"mono"`
		Argv []string `json:"argv"`
	}
	var calls []call
	for _, name := range []string{"ploop.jsonl", "prlctl.jsonl"} {
		b, err := os.ReadFile(filepath.Join(w.node.Dir, "log", name))
		w.must(err)
		for line := range strings.Lines(string(b)) {
			var c call
			w.must(json.Unmarshal([]byte(line), &c))
			calls = append(calls, c)
		}
	}
	slices.SortFunc(calls, func(a, b call) int { return int(a.Mono - b.Mono) })
	var words []string
	for _, c := range calls {
		words = append(words, strings.Join(c.Argv, " "))
	}
	return words
}

// ours are the snapshots, devices and mounts that jobs have on the node now.
func (w *world) ours(uuid string) string {
	w.Helper()
	return w.run("sh", "-c", "for d in /vz/private/"+uuid+"/*.hdd/DiskDescriptor.xml; do ploop snapshot-list -H -o uuid,current $d | grep -v '*'; done; "+
		"grep -o ' /mnt/bareos/"+uuid+"[^ ]*' /proc/self/mountinfo; ploop list | grep 'private/"+uuid+".*vz7ct-' | cut -d ' ' -f 1; true")
}

// Beside a job that lives, another daemon with the plugin and vz7ct recover take back
// what a dead job has left, and nothing of the one that lives. Jobs of two daemons on
// one container queue.
func TestRecoveryBesideALiveJob(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Slow: true, Plugin: []string{"name=web"}}}})
	w.create(rig.Container{Name: "other", UUID: oldUUID, Size: "1G", Tree: smallTree})
	w.run("prlctl", "start", "web")
	w.run("prlctl", "start", "other")
	host := func(fileset string) []string {
		return []string{rig.Build("fdhost"), "--plugin", rig.Build("vz7ct-fd.so"), "--layout", "bareos25", "backup", "--fileset", fileset, "--store", filepath.Join(w.dir, "store")}
	}
	job := w.waiting("web")
	live := w.ours(webUUID)
	if strings.Count(live, "\n") != 6 {
		t.Fatalf("a live job on two disks has\n%s", live)
	}

	// Another daemon's job on the same container waits for this one.
	out, err := w.node.Run(host("vz7ct:name=web:lock_wait=1")...)
	if err == nil || !strings.Contains(out, "another job on container "+webUUID) || !strings.Contains(out, fmt.Sprintf("process %d (", w.sys.Pid())) {
		t.Errorf("another daemon's job: %v %s", err, lastLines(out, 10))
	}
	// On another container it goes on. Its calls are counted, to stop the next one when
	// its snapshot is mounted.
	before := len(w.toolCalls())
	w.run(host("vz7ct:name=other")...)
	mount := slices.IndexFunc(w.toolCalls()[before:], func(c string) bool { return strings.HasPrefix(c, "mount ") })
	if mount < 0 {
		t.Fatalf("no mount among %q", w.toolCalls()[before:])
	}
	for who, recovers := range map[string]func() string{
		"another daemon": func() string { return w.run(host("vz7ct:name=other")...) },
		"vz7ct recover":  func() string { return w.run(rig.Build("vz7ct"), "recover") },
	} {
		w.dieAt(mount+1, host("vz7ct:name=other"))
		if left := w.ours(oldUUID); strings.Count(left, "\n") != 3 {
			t.Fatalf("%s: nothing is left, so nothing is tested: %q", who, left)
		}
		if out := w.run(rig.Build("vz7ct"), "status"); !strings.Contains(out, "running: job web") || !strings.Contains(out, "dead: job ") {
			t.Errorf("vz7ct status:\n%s", out)
		}
		out := recovers()
		if !strings.Contains(out, "has not ended properly: taking back what it left behind") {
			t.Errorf("%s: %s", who, lastLines(out, 20))
		}
		if left := w.ours(oldUUID); left != "" {
			t.Errorf("%s has not taken back\n%s", who, left)
		}
		if now := w.ours(webUUID); now != live {
			t.Errorf("%s: the live job has\n%s, had\n%s", who, now, live)
		}
		w.locked()
	}
	if r := w.goesOn(job); !r.OK() {
		t.Errorf("the job: %s", r)
	}
	w.nothingLeft()
	w.keptAll()
}

// dieAt runs a daemon with a job until its tool has done the call with this number,
// and kills it.
func (w *world) dieAt(call int, daemon []string) {
	w.Helper()
	paused := filepath.Join(w.node.Dir, "paused")
	_ = os.Remove(filepath.Join(w.node.Dir, "calls"))
	set := func(fault string) {
		w.Helper()
		if out, err := w.node.Lab("set", w.node.Dir, "fault="+fault); err != nil {
			w.Fatalf("lab set: %v %s", err, out)
		}
	}
	set(fmt.Sprintf("%d:after:hold", call))
	cmd := exec.Command(rig.Build("lab"), append([]string{"exec", w.node.Dir, "--"}, daemon...)...)
	w.must(cmd.Start())
	w.within("the daemon's tool stands still", "grep -qs after "+paused)
	set("")
	w.must(cmd.Process.Kill())
	_ = cmd.Wait()
	pid := strings.Fields(w.run("cat", paused))[0]
	w.must(os.Remove(paused))
	w.within("its tool has ended", "! test -d /proc/"+pid)
}
