// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// TestNewCall is the control of TestOldKernel: it makes a call that is newer.
func TestNewCall(t *testing.T) {
	if os.Getenv("VZ7CT_NEW_CALL") == "" {
		t.Skip("is run by TestOldKernel under a filter")
	}
	_, err := unix.MemfdCreate("x", 0)
	t.Logf("memfd_create: %v", err)
}

// waiting starts a job of the slow storage in a container that runs, and returns
// when it has stopped in the midst of the data. On the way a Storage Daemon keeps
// 500 messages, sockets keep some MiB: 1000 files of 64 KiB are more than both.
func (w *world) waiting(job string) int {
	w.Helper()
	w.run("sh", "-c", "mkdir -p /vz/root/"+webUUID+"/var/lib/many && cd /vz/root/"+webUUID+"/var/lib/many && "+
		"head -c 64M /dev/urandom | split -a 4 -b 64K")
	id, err := w.sys.Begin(job)
	w.must(err)
	w.must(w.sys.WaitLog(id, "snapshot mounted in"))
	w.must(w.sys.WaitLog(id, "Cannot find any appendable volumes"))
	return id
}

// eventually waits until nothing is left on the node.
func (w *world) eventuallyNothingLeft(limit time.Duration) {
	w.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		left, err := w.node.Leftovers()
		w.must(err)
		if len(left) == 0 {
			return
		}
	}
	w.nothingLeft()
}

// The locks of a job, as others see them: scripts, the Python plugin, pcompact,
// another job on the same container.
func TestLocks(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{
		{Name: "web", Slow: true, Plugin: []string{"name=web:lockfile=/run/backup"}},
		{Name: "again", Plugin: []string{"name=web"}},
		{Name: "brief", Plugin: []string{"name=web:lockfile=/run/held:lock_wait=1"}},
		{Name: "ignore", Plugin: []string{"name=web:pcompact=ignore"}},
	}})
	free := func(file string, want bool) {
		t.Helper()
		_, err := w.node.Run("flock", "-n", "-x", file, "true")
		if (err == nil) != want {
			t.Errorf("flock %s: %v, want free %v", file, err, want)
		}
	}
	w.run("prlctl", "start", "web")
	w.run("sh", "-c", "echo 17 > /run/pcompact.pid")
	id := w.waiting("web")
	free("/run/backup", false)
	free("/var/run/pcompact.pid", false)
	if _, err := w.node.Run("ln", "/run/pcompact.pid", "/run/backup.lock"); err == nil {
		t.Error("the link of Python's lockfile module can be made while the job runs")
	}
	other, err := w.sys.Begin("again")
	w.must(err)
	w.must(w.sys.WaitLog(other, "waiting for another job on container "+webUUID))
	w.must(w.sys.Label("V1", 0))
	for _, n := range []int{id, other} {
		r, err := w.sys.Wait(n)
		w.must(err)
		if !r.OK() {
			t.Errorf("job %d: %s\n%s", n, r.Termination, r.Log)
		}
	}
	free("/run/backup", true)
	free("/var/run/pcompact.pid", true)
	if got := w.run("cat", "/run/pcompact.pid"); got != "17\n" {
		t.Errorf("pcompact's file has %q, want it untouched", got)
	}
	w.nothingLeft()

	// A lock of the Python module, and one that is held by flock.
	w.run("sh", "-c", "touch /run/held /run/node-1a.4711 && ln /run/node-1a.4711 /run/held.lock")
	r := w.refused("brief", "waiting for lockfile=/run/held", "the owner of /run/node-1a.4711", "still after 1s")
	_ = r
	w.run("rm", "/run/held.lock")
	holder := exec.Command(rig.Build("lab"), "exec", w.node.Dir, "--", "flock", "-o", "-x", "/run/held", "sleep", "60")
	w.must(holder.Start())
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	w.run("sh", "-c", "for i in $(seq 100); do flock -n -x /run/held true || exit 0; sleep 0.05; done; exit 1")
	w.refused("brief", "(flock)", "still after 1s")

	// pcompact at work: a job waits for it, unless it is told not to.
	compact := exec.Command(rig.Build("lab"), "exec", w.node.Dir, "--", "flock", "-o", "-x", "/run/pcompact.pid", "sleep", "60")
	w.must(compact.Start())
	defer func() { _ = compact.Process.Kill(); _ = compact.Wait() }()
	w.run("sh", "-c", "for i in $(seq 100); do flock -n -x /run/pcompact.pid true || exit 0; sleep 0.05; done; exit 1")
	w.backup("ignore")
	id, err = w.sys.Begin("again")
	w.must(err)
	w.must(w.sys.WaitLog(id, "waiting for pcompact"))
	w.must(compact.Process.Kill())
	if r, err := w.sys.Wait(id); err != nil || !r.OK() {
		t.Errorf("after pcompact has ended: %v %s", err, r)
	}
	w.nothingLeft()
}

// A job that is cancelled while its snapshot exists leaves nothing.
func TestCancel(t *testing.T) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{{Name: "web", Slow: true, Plugin: []string{"name=web:lockfile=/run/backup"}}, {Name: "held", Plugin: []string{"name=web:lockfile=/run/held"}}}})
	w.run("prlctl", "start", "web")
	id := w.waiting("web")
	mounts := w.run("grep", " /mnt/bareos/", "/proc/self/mountinfo")
	for line := range strings.SplitSeq(strings.TrimSpace(mounts), "\n") {
		if f := strings.Fields(line); !strings.Contains(f[5], "nosuid") || !strings.Contains(f[5], "nodev") || !strings.HasPrefix(f[5], "ro") {
			t.Errorf("mount options %s at %s, want ro, nosuid, nodev", f[5], f[4])
		}
	}
	// Somebody unmounts a snapshot: its device must go with the job all the same.
	w.run("umount", "-l", strings.Fields(mounts)[4])
	w.must(w.sys.Cancel(id))
	w.eventuallyNothingLeft(time.Minute)
	if r, err := w.sys.Wait(id); err != nil || r.OK() {
		t.Errorf("a cancelled job: %v %s", err, r)
	}
	// While it waits for a lock.
	holder := exec.Command(rig.Build("lab"), "exec", w.node.Dir, "--", "flock", "-o", "-x", "/run/held", "sleep", "60")
	w.must(holder.Start())
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	w.run("sh", "-c", "for i in $(seq 100); do flock -n -x /run/held true || exit 0; sleep 0.05; done; exit 1")
	id, err := w.sys.Begin("held")
	w.must(err)
	w.must(w.sys.WaitLog(id, "waiting for lockfile=/run/held"))
	w.must(w.sys.Cancel(id))
	w.eventuallyNothingLeft(30 * time.Second)
	if out := w.run("prlctl", "list", "-a", "-H", "-o", "status"); strings.TrimSpace(out) != "running" {
		t.Errorf("container is %q", out)
	}
}

// A File Daemon that is killed, or stopped by its service, leaves a journal: the
// next one takes back what it describes when it has started, without any job.
func TestNextDaemonTakesBackWhatADeadOneLeft(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) { dies(t, sig) })
	}
}

func dies(t *testing.T, sig syscall.Signal) {
	w := newWorld(t, rig.Config{Jobs: []rig.Job{
		{Name: "web", Slow: true, Plugin: []string{"name=web:lockfile=/run/backup"}}, {Name: "other", Plugin: []string{"name=other"}}}})
	w.create(rig.Container{Name: "other", UUID: oldUUID, Size: "1G", Tree: smallTree})
	w.run("prlctl", "start", "web")
	w.waiting("web")
	w.sys.StopDaemon("fd", sig)
	left, err := w.node.Leftovers()
	w.must(err)
	if len(left) == 0 {
		t.Fatal("nothing is left, so nothing is tested")
	}
	w.must(w.sys.StartDaemon("fd"))
	w.eventuallyNothingLeft(30 * time.Second)
	w.backup("other")
	w.nothingLeft()
	if out := w.run("prlctl", "list", "-a", "-H", "-o", "status", "web"); strings.TrimSpace(out) != "running" {
		t.Errorf("container is %q", out)
	}
}

// The images' file system fills up while the daemon waits for a volume: the
// snapshot is merged before the container gets I/O errors, and the job fails.
func TestLowSpaceEndsTheSnapshot(t *testing.T) {
	w := &world{T: t}
	dir, err := os.MkdirTemp("/var/tmp", "vz7ct-e2e-")
	w.must(err)
	w.must(os.Chmod(dir, 0o755))
	w.dir = dir
	t.Cleanup(func() { os.RemoveAll(dir) })
	small := filepath.Join(dir, "small")
	w.must(os.Mkdir(small, 0o755))
	for _, cmd := range [][]string{
		{"truncate", "-s", "1400M", small + ".img"}, {"mkfs.ext4", "-q", "-m0", small + ".img"}, {"mount", "-o", "loop", small + ".img", small},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", cmd, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", small).Run() })
	w.node, err = rig.UpNode(filepath.Join(small, "node"))
	w.must(err)
	t.Cleanup(func() {
		if err := w.node.Down(); err != nil {
			t.Errorf("node is not down: %v", err)
		}
	})
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "800M", Tree: smallTree})
	w.start(rig.Config{Jobs: []rig.Job{{Name: "web", Slow: true, Plugin: []string{"name=web:min_free=100M"}}}})
	w.run("prlctl", "start", "web")
	id := w.waiting("web")
	fill := filepath.Join(small, "fill")
	var st unix.Statfs_t
	w.must(unix.Statfs(small, &st))
	free := int64(st.Bavail) * st.Bsize
	w.must(os.WriteFile(fill, nil, 0o600))
	f, err := os.OpenFile(fill, os.O_WRONLY, 0)
	w.must(err)
	w.must(unix.Fallocate(int(f.Fd()), 0, 0, free-60<<20))
	f.Close()
	// The job still waits for its volume, the snapshot is gone.
	var snaps []string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if snaps, err = w.node.Snapshots(); err == nil && len(snaps) == 0 {
			break
		}
	}
	if err != nil || len(snaps) > 0 {
		t.Errorf("snapshots %v, %v: the snapshot was not given up", snaps, err)
	}
	w.must(os.Remove(fill))
	w.must(w.sys.Label("V1", 0))
	r, err := w.sys.Wait(id)
	w.must(err)
	w.failed(r, "the snapshot was given up", "min_free wants 100.0 MiB")
	if out := w.run("prlctl", "list", "-a", "-H", "-o", "status"); strings.TrimSpace(out) != "running" {
		t.Errorf("container is %q", out)
	}
}

// A File Daemon that encrypts: nothing of a file's content is in the volume in
// clear, files with holes included, and what comes back is the same.
func TestEncryptingDaemon(t *testing.T) {
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1G", Tree: smallTree})
	w.run("prlctl", "mount", "web")
	const marker, control = "this-must-not-be-readable-in-a-volume", "attributes-are-not-encrypted"
	w.run("sh", "-c", "cd /vz/root/"+webUUID+" && truncate -s 8M holes && echo "+marker+"-1 >> holes && yes "+marker+"-2 | head -c 300000 > plain && setfattr -n user.control -v "+control+" plain")
	w.run("prlctl", "umount", "web")
	key := filepath.Join(w.dir, "key.pem")
	out, err := exec.Command("sh", "-c", "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=vz7ct -keyout "+key+".k -out "+key+".c 2>&1 && cat "+key+".k "+key+".c > "+key).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v %s", err, out)
	}
	w.start(rig.Config{
		FD:   "PKI Signatures = Yes\n  PKI Encryption = Yes\n  PKI Keypair = " + key,
		Jobs: []rig.Job{{Name: "web", Plugin: []string{"name=web"}}},
	})
	want := w.scan(descriptor(webUUID, "root.hdd"))
	r := w.backup("web")
	volumes, err := filepath.Glob(filepath.Join(w.sys.Dir, "volumes/*"))
	w.must(err)
	if len(volumes) == 0 {
		t.Fatal("no volume")
	}
	seen := false
	for _, v := range volumes {
		// Whoever could not read the volume would find nothing either.
		seen = seen || exec.Command("grep", "-q", "-a", control, v).Run() == nil
		if out, err := exec.Command("grep", "-c", "-a", marker, v).CombinedOutput(); err == nil {
			t.Errorf("%s holds the content in clear: %s lines", v, out)
		}
	}
	if !seen {
		t.Error("the volumes do not hold an attribute, which no daemon encrypts: that they do not hold the content says nothing")
	}
	w.run("prlctl", "destroy", "web")
	w.restore(rig.Restore{JobIDs: []int{r.ID}})
	w.same(want, w.scan(descriptor(webUUID, "root.hdd")), ignoreHoles)
	w.run("prlctl", "mount", "web")
	if blocks := strings.TrimSpace(w.run("stat", "-c", "%b", "/vz/root/"+webUUID+"/holes")); len(blocks) > 2 {
		t.Errorf("a file of 8 MiB that is one hole but for a line takes %s blocks", blocks)
	}
	w.run("prlctl", "umount", "web")
}
