// SPDX-License-Identifier: AGPL-3.0-only

// Package e2e holds the end-to-end scenarios: the built plugin in a real File
// Daemon on a stand-in node. They run on Debian's Bacula, and with
// E2E_BAREOS=<prefix> on a Bareos installation.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
	"github.com/bareos-contrib/vz7ct/test/lab/nasty"
)

const (
	webUUID = "2d109ae4-5231-475f-bc44-5cabf5d8503b"
	oldUUID = "4b16639b-dbb9-45a5-b4c2-9f7ae90dfe2c"
)

// smallTree is a directory with every kind of file and little else.
var smallTree string

func TestMain(m *testing.M) {
	if why := unfit(); why != "" {
		fmt.Println("skipped: the end-to-end scenarios", why)
		if os.Getenv("VZ7CT_ROOT_TESTS") != "" {
			os.Exit(1) // they were asked for
		}
		os.Exit(0)
	}
	os.Exit(run(m))
}

func unfit() string {
	switch {
	case os.Getenv("VZ7CT_ROOT_TESTS") == "":
		return "run only with VZ7CT_ROOT_TESTS=1 (make test)"
	case os.Getuid() != 0:
		return "need root"
	}
	for _, f := range []string{"vz7ct-fd.so", "vz7ct", "lab"} {
		if _, err := os.Stat(rig.Build(f)); err != nil {
			return "need build/" + f + " (make build tools)"
		}
	}
	return ""
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("/var/tmp", "vz7ct-e2e-tree-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	smallTree = filepath.Join(dir, "tree")
	if err := makeTree(smallTree); err != nil {
		fmt.Println("make tree:", err)
		return 1
	}
	if err := flag.Set("test.parallel", strconv.Itoa(faultNodes())); err != nil {
		fmt.Println(err)
		return 1
	}
	return m.Run()
}

// makeTree makes a small root tree: directories of a system, a shell to run
// commands in the container, files of every kind.
func makeTree(root string) error {
	for _, d := range []string{"etc", "tmp", "var/lib", "var/log", "home/admin/docs", "home/other", "bin", "srv", "data", "root"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o1777); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"etc/hostname": "web\n", "etc/resolv.conf": "nameserver 192.0.2.1\n", "home/admin/a": "a", "home/admin/docs/b": "b", "home/other/c": "c",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := nasty.Make(filepath.Join(root, "srv")); err != nil {
		return err
	}
	// Most scenarios need no directory of 2,000 files.
	return filepath.WalkDir(filepath.Join(root, "srv"), func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if names, err := os.ReadDir(p); err == nil && len(names) > 500 {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
			return filepath.SkipDir
		}
		return nil
	})
}

// world is a node with a container, and daemons.
type world struct {
	*testing.T
	node *rig.Node
	sys  *rig.System
	dir  string
}

// newWorld puts up a node with one container called web and two disks, and the
// daemons. All is taken down when the test ends.
func newWorld(t *testing.T, cfg rig.Config) *world {
	t.Helper()
	w := &world{T: t}
	w.newNode()
	w.create(rig.Container{Name: "web", UUID: webUUID, Size: "1500M", Disks: []string{"mnt=/data,size=512M"}, Tree: smallTree})
	w.start(cfg)
	return w
}

// newNode puts up a node; words are further ones for `lab up`.
func (w *world) newNode(words ...string) {
	w.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "vz7ct-e2e-")
	w.must(err)
	w.must(os.Chmod(dir, 0o755)) // PostgreSQL runs as a user of its own
	w.dir = dir
	w.Cleanup(func() {
		if w.Failed() {
			w.Logf("the job log was:\n%s", w.tail("daemons/log/dir.log"))
			w.Logf("File Daemon:\n%s", w.tail("daemons/log/fd.log"))
		}
		if os.RemoveAll(dir) != nil {
			// What was restored may be immutable.
			out, _ := exec.Command("chattr", "-R", "-f", "-i", "-a", dir).CombinedOutput()
			if err := os.RemoveAll(dir); err != nil {
				w.Errorf("leave nothing: %v: %s", err, out)
			}
		}
	})
	w.node, err = rig.UpNode(filepath.Join(dir, "node"), words...)
	w.must(err)
	w.Cleanup(func() {
		if w.Failed() {
			w.Logf("image server:\n%s", w.tail("node/log/server.log"))
		}
		if err := w.node.Down(); err != nil {
			w.Errorf("node is not down: %v", err)
		}
	})
}

func (w *world) tail(name string) string {
	b, _ := os.ReadFile(filepath.Join(w.dir, name))
	if len(b) > 20000 {
		b = b[len(b)-20000:]
	}
	return string(b)
}

func (w *world) start(cfg rig.Config) {
	w.Helper()
	var err error
	w.sys, err = rig.Start(w.node, filepath.Join(w.dir, "daemons"), cfg)
	w.must(err)
	w.Cleanup(w.sys.Stop)
}

func (w *world) create(c rig.Container) {
	w.Helper()
	w.must(w.node.Create(c))
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// run runs a command on the node that has to succeed.
func (w *world) run(args ...string) string {
	w.Helper()
	out, err := w.node.Must(args...)
	w.must(err)
	return out
}

// syncNode writes the node's own file systems to their disks. A sync of the whole
// machine would wait for other nodes, whose disks may stand still for a test.
// /var/lib/vz7ct is watched through FUSE, which passes no sync on.
func (w *world) syncNode() {
	w.Helper()
	w.run("sh", "-c", "for d in /vz/root/*/data /vz/root/* /vz /etc/vz; do [ ! -d $d ] || sync -f $d; done")
}

// backup runs a job that must end without errors or warnings.
func (w *world) backup(job string, words ...string) rig.Result {
	w.Helper()
	r, err := w.sys.Backup(job, words...)
	w.must(err)
	if !r.OK() {
		w.Fatalf("backup has ended with %q:\n%s", r.Termination, r.Log)
	}
	return r
}

// refused runs a job that must fail with a message that has all the words, and
// must leave nothing on the node.
func (w *world) refused(job string, words ...string) rig.Result {
	w.Helper()
	r, err := w.sys.Backup(job)
	w.must(err)
	w.failed(r, words...)
	return r
}

func (w *world) failed(r rig.Result, words ...string) {
	w.Helper()
	if r.OK() {
		w.Errorf("job has ended with %q, want a failure", r.Termination)
	}
	for _, word := range words {
		if !strings.Contains(r.Log, word) {
			w.Errorf("the job log does not say %q:\n%s", word, r.Log)
		}
	}
	w.nothingLeft()
}

// restore runs a restore that must end without errors or warnings.
func (w *world) restore(r rig.Restore) rig.Result {
	w.Helper()
	res, err := w.sys.Restore(r)
	w.must(err)
	if !res.OK() {
		w.Fatalf("restore has ended with %q:\n%s", res.Termination, res.Log)
	}
	w.nothingLeft()
	return res
}

// restoreFails runs a restore that the plugin must end with a message that has
// all the words, and that must leave nothing on the node. It does not wait for
// the Director, who in Bacula listens for another minute to a File Daemon that
// has ended a restore by a fatal error.
func (w *world) restoreFails(r rig.Restore, words ...string) {
	w.Helper()
	id, err := w.sys.BeginRestore(r)
	w.must(err)
	for _, word := range append([]string{"Fatal error: vz7ct: "}, words...) {
		w.must(w.sys.WaitLog(id, word))
	}
	for range 100 {
		left, err := w.node.Leftovers()
		w.must(err)
		if len(left) == 0 {
			break
		}
	}
	w.nothingLeft()
}

// nothingLeft checks that no job has left anything on the node.
func (w *world) nothingLeft() {
	w.Helper()
	left, err := w.node.Leftovers()
	w.must(err)
	for _, l := range left {
		w.Errorf("left on the node: %s", l)
	}
}

// says checks that the job log has all the words.
func (w *world) says(r rig.Result, words ...string) {
	w.Helper()
	for _, word := range words {
		if !strings.Contains(r.Log, word) {
			w.Errorf("the job log does not say %q:\n%s", word, r.Log)
		}
	}
}

// scan reads the newest state of a disk of a stopped container.
func (w *world) scan(descriptor string) compare.Tree {
	w.Helper()
	dir := "/run/e2e-scan"
	w.run("mkdir", "-p", dir)
	w.run("ploop", "mount", "-r", "-m", dir, descriptor)
	defer w.run("ploop", "umount", "-m", dir)
	return w.scanMounted(dir)
}

// scanMounted reads a tree on the node, in the node's own mount namespace.
func (w *world) scanMounted(dir string) compare.Tree {
	w.Helper()
	tree, err := scanOn(w.node, dir)
	w.must(err)
	return tree
}

// same checks that two trees do not differ but in fractions of seconds.
func (w *world) same(want, got compare.Tree, ignore func(compare.Difference) bool) {
	w.Helper()
	if len(want) == 0 {
		w.Error("the tree to compare with is empty")
	}
	diffs := compare.Diff(want, got, func(d compare.Difference) bool {
		return compare.Documented(d) || ignore != nil && ignore(d)
	})
	for n, d := range diffs {
		if n == 20 {
			w.Errorf("... and %d more differences", len(diffs)-n)
			return
		}
		w.Errorf("difference: %v", d)
	}
}

// descriptor is the path of a disk's descriptor.
func descriptor(ctid, disk string) string {
	return "/vz/private/" + ctid + "/" + disk + "/DiskDescriptor.xml"
}
