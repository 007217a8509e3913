// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/run"
)

const uuid = "11111111-1111-4111-8111-111111111111"

// fake answers calls from a list and records them.
type fake struct {
	calls   []string
	changes []bool
	answers []answer
}

type answer struct {
	exit   int
	stdout string
	then   func()
	left   bool // it is not awaited any longer
}

func (f *fake) Run(_ context.Context, c run.Command) (run.Result, error) {
	f.calls = append(f.calls, strings.Join(c.Args, " "))
	f.changes = append(f.changes, c.Changes)
	var a answer
	if len(f.answers) > 0 {
		a, f.answers = f.answers[0], f.answers[1:]
	}
	if a.then != nil {
		a.then()
	}
	if a.left {
		return run.Result{}, &run.Error{Command: "ploop", Exit: -1, Err: run.ErrLeft}
	}
	if a.exit != 0 {
		return run.Result{}, &run.Error{Command: c.String(), Exit: a.exit}
	}
	return run.Result{Stdout: a.stdout}, nil
}

func client(answers ...answer) (Client, *fake) {
	f := &fake{answers: answers}
	return Client{Runner: f, Path: "/usr/sbin/ploop", Pause: time.Nanosecond}, f
}

func check(t *testing.T, f *fake, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(f.calls, want) {
		t.Errorf("calls = %q, want %q", f.calls, want)
	}
}

func TestCallsAsTyped(t *testing.T) {
	ctx := context.Background()
	dd := copyOf(t, "DiskDescriptor.1.xml")
	c, f := client(answer{}, answer{}, answer{}, answer{then: func() { merged(dd) }})
	for _, err := range []error{
		c.Snapshot(ctx, dd, uuid),
		c.Mount(ctx, dd, uuid, "/m"),
		c.Unmount(ctx, dd, uuid, "/m"),
		c.Merge(ctx, dd, uuid),
		c.Init(ctx, New{Image: "/p/root.hds", Size: 2097152, Cluster: 2048, Version: 2}),
		c.Init(ctx, New{Image: "/p/root.hds", Size: 2097152, Cluster: 2048, Version: 2, Raw: true}),
		c.Init(ctx, New{Image: "/p/root.hds", Size: 2097152, KeyID: "key-1"}),
		c.MountWritable(ctx, dd, "/m"),
		c.UnmountWritable(ctx, dd, "/m"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	check(t, f,
		"snapshot -u {"+uuid+"} "+dd,
		"mount -r -u {"+uuid+"} -c vz7ct-"+uuid+" -m /m "+dd,
		"umount -m /m",
		"snapshot-delete -u {"+uuid+"} "+dd,
		"init -s 2097152 -f expanded -t ext4 -b 2048 -v 2 /p/root.hds",
		"init -s 2097152 -f raw -t ext4 -b 2048 /p/root.hds",
		"init -s 2097152 -f expanded -t ext4 -k key-1 /p/root.hds",
		"mount -m /m "+dd,
		"umount -m /m")
	for i, changes := range f.changes {
		if !changes {
			t.Errorf("%q may be killed", f.calls[i])
		}
	}
	if n := len(component(uuid)); n > 63 {
		t.Errorf("component of %d bytes, ploop cuts at 63", n)
	}
}

// copyOf puts a descriptor of testdata where a test may look at its path.
func copyOf(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "DiskDescriptor.xml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// merged turns a descriptor with a snapshot into one without.
func merged(dd string) {
	b, _ := os.ReadFile("testdata/DiskDescriptor.2.xml")
	_ = os.WriteFile(dd, b, 0o600)
}

func TestMergeRetriesABusyDisk(t *testing.T) {
	dd := copyOf(t, "DiskDescriptor.1.xml")
	c, f := client(answer{exit: exitBusy}, answer{exit: exitLock}, answer{then: func() { merged(dd) }})
	if err := c.Merge(context.Background(), dd, uuid); err != nil {
		t.Errorf("Merge = %v, want nil at the third try", err)
	}
	if len(f.calls) != 3 {
		t.Errorf("%d calls, want 3", len(f.calls))
	}

	c, f = client(answer{exit: exitBusy}, answer{exit: exitBusy}, answer{exit: exitBusy}, answer{exit: exitBusy}, answer{})
	if err := c.Merge(context.Background(), copyOf(t, "DiskDescriptor.1.xml"), uuid); run.ExitStatus(err) != exitBusy || len(f.calls) != tries {
		t.Errorf("Merge = %v after %d calls, want busy after %d", err, len(f.calls), tries)
	}
}

func TestMergeOfWhatIsGone(t *testing.T) {
	c, f := client()
	if err := c.Merge(context.Background(), copyOf(t, "DiskDescriptor.0.xml"), uuid); !errors.Is(err, ErrNoSnapshot) || len(f.calls) > 0 {
		t.Errorf("Merge of an unknown snapshot = %v with calls %v, want ErrNoSnapshot and none", err, f.calls)
	}
	// Gone between our look and the call.
	dd := copyOf(t, "DiskDescriptor.1.xml")
	c, _ = client(answer{exit: 43, then: func() { merged(dd) }})
	if err := c.Merge(context.Background(), dd, uuid); err != nil {
		t.Errorf("Merge of a snapshot that goes away = %v, want nil", err)
	}
	// The tool has written the descriptor, and still works.
	dd = copyOf(t, "DiskDescriptor.1.xml")
	c, _ = client(answer{left: true, then: func() { merged(dd) }})
	if err := c.Merge(context.Background(), dd, uuid); !errors.Is(err, run.ErrLeft) {
		t.Errorf("Merge by a tool that still runs = %v, want %v", err, run.ErrLeft)
	}
	// Whatever the tool says, the descriptor decides.
	for _, exit := range []int{0, 43} {
		c, _ = client(answer{exit: exit})
		if err := c.Merge(context.Background(), copyOf(t, "DiskDescriptor.1.xml"), uuid); err == nil {
			t.Errorf("Merge with exit %d and the snapshot still there = nil, want an error", exit)
		}
	}
	c, _ = client(answer{exit: 4})
	if err := c.Merge(context.Background(), copyOf(t, "DiskDescriptor.1.xml"), uuid); run.ExitStatus(err) != 4 {
		t.Errorf("Merge = %v, want exit status 4", err)
	}
}

// Lines of `ploop list` as both releases print them.
func TestParseDevice(t *testing.T) {
	for line, want := range map[string]Device{
		"ploop31927\t/a b/root.hds\tbksnap":    {"ploop31927", "/a b/root.hds", "bksnap"},
		"ploop57954\t/data/root.hds":           {"ploop57954", "/data/root.hds", ""},
		"ploop31927   /a b/root.hds  bksnap":   {"ploop31927", "/a b/root.hds", "bksnap"},
		"ploop57954   /data/my root.hds  ":     {"ploop57954", "/data/my root.hds", ""},
		"ploop123456789 /data/root.hds  vz7-x": {"ploop123456789", "/data/root.hds", "vz7-x"},
		"":                                     {},
		"ploop1":                               {},
	} {
		if d, ok := parseDevice(line); ok != (want.Name != "") || ok && d != want {
			t.Errorf("parseDevice(%q) = %+v, %v, want %+v", line, d, ok, want)
		}
	}
}

func TestUnmountFindsADeviceWithoutMount(t *testing.T) {
	c7, f7 := client(answer{exit: exitParameter}, answer{stdout: "ploop1       /vz/private/x/root.hdd/root.hds  \nnull         /vz/private/a b/root.hds  vz7ct-" + uuid + "\n"})
	if err := c7.Unmount(context.Background(), "/none/DiskDescriptor.xml", uuid, "/m"); err != nil {
		t.Errorf("Unmount = %v", err)
	}
	check(t, f7, "umount -m /m", "list", "umount -d /dev/null")
	// The name of some device that exists in /dev.
	const dev = "null"
	c, f := client(answer{exit: exitParameter}, answer{stdout: "ploop1\t/vz/private/x/root.hdd/root.hds\n" + dev + "\t/vz/private/a b/root.hds\tvz7ct-" + uuid + "\n"})
	if err := c.Unmount(context.Background(), "/none/DiskDescriptor.xml", uuid, "/m"); err != nil {
		t.Errorf("Unmount = %v", err)
	}
	check(t, f, "umount -m /m", "list", "umount -d /dev/"+dev)

	c, _ = client(answer{exit: exitParameter}, answer{stdout: "ploop1\t/vz/private/x/root.hdd/root.hds\tother-" + uuid + "\n"})
	if err := c.Unmount(context.Background(), "/none/DiskDescriptor.xml", uuid, "/m"); !errors.Is(err, ErrNotMounted) {
		t.Errorf("Unmount of nothing = %v, want ErrNotMounted", err)
	}
	c, _ = client(answer{exit: exitParameter}, answer{stdout: "nosuchdev\t/x\tvz7ct-" + uuid + "\n"})
	if err := c.Unmount(context.Background(), "/none/DiskDescriptor.xml", uuid, "/m"); err == nil || errors.Is(err, ErrNotMounted) {
		t.Errorf("Unmount with a device that has no file = %v, want an error of its own", err)
	}
}

// A mount of a restore was lost, its device was not.
func TestUnmountWritableFindsADeviceWithoutMount(t *testing.T) {
	dd := copyOf(t, "DiskDescriptor.1.xml")
	d, err := Read(dd)
	if err != nil {
		t.Fatal(err)
	}
	ctx, image := context.Background(), d.Images[0].File
	c, f := client(answer{exit: exitParameter}, answer{stdout: "null\t" + image + "\n"})
	if err := c.UnmountWritable(ctx, dd, "/m"); err != nil {
		t.Errorf("UnmountWritable = %v", err)
	}
	check(t, f, "umount -m /m", "list", "umount -d /dev/null")
	c, f = client(answer{exit: exitParameter}, answer{stdout: "null         " + image + "  \n"})
	if err := c.UnmountWritable(ctx, dd, "/m"); err != nil {
		t.Errorf("UnmountWritable = %v", err)
	}
	check(t, f, "umount -m /m", "list", "umount -d /dev/null")
	lists := map[string]string{
		"nothing":                     "",
		"a snapshot's device":         "null\t" + image + "\tother\n",
		"a device of another disk":    "null\t/vz/private/x/root.hds\n",
		"nothing, descriptor missing": "missing",
	}
	if dev := someMountedDevice(); dev != "" {
		lists["a device mounted elsewhere"] = dev + "\t" + image + "\n"
	} else {
		t.Log("not tested: a device mounted elsewhere; this machine has none")
	}
	for what, list := range lists {
		path := dd
		if list == "missing" {
			path, list = "/nonexistent/DiskDescriptor.xml", "null\t"+image+"\n"
		}
		c, f := client(answer{exit: exitParameter}, answer{stdout: list})
		if err := c.UnmountWritable(ctx, path, "/m"); err == nil || !errors.Is(err, ErrNotMounted) {
			t.Errorf("%s: UnmountWritable = %v, want ErrNotMounted", what, err)
		}
		for _, call := range f.calls {
			if strings.Contains(call, "-d") {
				t.Errorf("%s: %s was called", what, call)
			}
		}
	}
}

// someMountedDevice returns the name of a device that is mounted on this machine.
func someMountedDevice() string {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.SplitSeq(string(b), "\n") {
		_, tail, _ := strings.Cut(line, " - ")
		if f := strings.Fields(tail); len(f) > 1 && strings.HasPrefix(f[1], "/dev/") && exists("/dev/"+filepath.Base(f[1])) {
			return filepath.Base(f[1])
		}
	}
	return ""
}
