// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/regular"
)

// chain returns the shots of a disk with n images, the base first.
func chain(n int) []string {
	shots := []string{"a0 " + null}
	for i := 1; i < n-1; i++ {
		shots = append(shots, fmt.Sprintf("a%d a%d", i, i-1))
	}
	return append(shots, fmt.Sprintf("%s a%d", top, n-2))
}

// The longest chain that ploop allows is read, and takes no further snapshot.
func TestLongestChain(t *testing.T) {
	dir := t.TempDir()
	dd := filepath.Join(dir, "DiskDescriptor.xml")
	for n, want := range map[int]string{126: "", 127: "it has 127 images already", 128: "128 images, 127 are allowed"} {
		if err := os.WriteFile(dd, []byte(build(chain(n)...)), 0o600); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			image(t, filepath.Join(dir, fmt.Sprintf("i%d.hds", i)), i == n-1)
		}
		if err := Safe(dd); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Safe of %d images = %v, want %q", n, err, want)
		}
		d, err := Read(dd)
		if n > 127 {
			continue
		}
		images, err2 := d.Chain()
		if err != nil || err2 != nil || len(images) != n || images[0].File != filepath.Join(dir, "i0.hds") || images[n-1].GUID != topGUID || len(d.Orphans()) != 0 {
			t.Errorf("Read of %d images: chain of %d, %v, %v", n, len(images), err, err2)
		}
	}
}

// Whatever a descriptor of 10 MB holds, it is refused with a few of them read.
func TestHugeDescriptors(t *testing.T) {
	one := build(top + " " + null)
	within := func(at, more string) string { return strings.Replace(one, at, more+at, 1) }
	for name, text := range map[string]string{
		"elements":     within("</Storage>", strings.Repeat("<Image/>", 10<<17)),
		"shots":        within("</Snapshots>", strings.Repeat("<Shot><GUID>a</GUID></Shot>", 1<<19)),
		"storages":     within("</StorageData>", strings.Repeat("<Storage/>", 1<<20)),
		"depth":        strings.Repeat("<a>", 10<<20/3),
		"attributes":   "<x " + strings.Repeat(`a="b" `, 10<<20/6) + "/>",
		"one name":     "<" + strings.Repeat("x", 10<<20),
		"one text":     within("<Storage>", strings.Repeat("x", 10<<20)),
		"one comment":  "<!--" + strings.Repeat("x", 10<<20) + "-->" + one,
		"entities":     "<!DOCTYPE x [" + strings.Repeat(`<!ENTITY a "&b;&b;&b;">`, 1<<19) + "]>" + one,
		"zeros":        strings.Repeat("\x00", 10<<20),
		"just too big": one + strings.Repeat(" ", MaxDescriptor+1-len(one)),
	} {
		for _, size := range []int{len(text), MaxDescriptor} {
			text := text[:min(size, len(text))]
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			d, err := parse(strings.NewReader(text), "/d")
			took := time.Since(begin)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrDescriptor) && name != "just too big" {
				t.Errorf("%s, %d bytes: parse = %+v, %v, want ErrDescriptor", name, len(text), d, err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 || took > 20*time.Second {
				t.Errorf("%s, %d bytes: %d MiB, %s", name, len(text), used>>20, took)
			}
			if err != nil && len(err.Error()) > 2*MaxDescriptor {
				t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
			}
		}
	}
	if _, err := parse(strings.NewReader(one+strings.Repeat(" ", MaxDescriptor-len(one))), "/d"); err != nil {
		t.Errorf("parse of as much as is allowed = %v", err)
	}
}

func TestImagesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := unix.Mkfifo(path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"empty": "", "short": signature2, "zeros": strings.Repeat("\x00", 64), "text": strings.Repeat("x", 100)} {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	image(t, path("image"), true)
	if err := os.Symlink("image", path("link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"fifo": false, ".": false, "empty": false, "short": false, "zeros": false, "text": false, "none": false, "image": true, "link": true,
	} {
		h, err := ReadHeader(path(name))
		if (err == nil) != want || want && (h != Header{2, 2048, true}) || err != nil && !strings.Contains(err.Error(), dir) {
			t.Errorf("ReadHeader(%s) = %+v, %v, want %v", name, h, err, want)
		}
	}
	if _, err := Read(path("fifo")); !errors.Is(err, regular.ErrKind) {
		t.Errorf("Read of a fifo = %v", err)
	}
	if _, err := ReadHeader("/dev/zero"); !errors.Is(err, regular.ErrKind) {
		t.Errorf("ReadHeader of a device = %v", err)
	}
}

func TestImageTwice(t *testing.T) {
	for from, to := range map[string]string{"i1.hds": "i0.hds", "i0.hds": "./x/../i1.hds", "i1": "/d/i0"} {
		text := strings.Replace(build("aa "+null, top+" aa"), ">"+from, ">"+to, 1)
		if d, err := parse(strings.NewReader(text), "/d"); !errors.Is(err, ErrDescriptor) || !strings.Contains(err.Error(), "is there twice") {
			t.Errorf("parse with %s as %s = %+v, %v", from, to, d, err)
		}
	}
	long := strings.Replace(build(top+" "+null), "i0.hds", strings.Repeat("x", unix.PathMax), 1)
	if d, err := parse(strings.NewReader(long), "/d"); !errors.Is(err, ErrDescriptor) {
		t.Errorf("parse of a long name = %+v, %v", d, err)
	}
}

// What ploop prints besides its list tells of no device.
func TestNoDevices(t *testing.T) {
	for _, line := range []string{
		"", " ", "\t", "ploop1", "ploop1 ", "ploop1\t\t", "../../etc/passwd\t/x", "/dev/ploop1\t/x", "..\t/x", "ploop1\trelative", "Error in f (x.c:1): /vz", "ploop1\x00\t/x",
		" ploop1\t/x", "PLOOP1 /x",
	} {
		if d, ok := parseDevice(line); ok {
			t.Errorf("parseDevice(%q) = %+v", line, d)
		}
	}
}

func FuzzDevice(f *testing.F) {
	for _, line := range []string{
		"ploop1\t/vz/private/x/root.hdd/root.hds", "ploop2\t/a b/root.hds\t/mnt/x\tvz7ct-" + uuid, "ploop12       /vz/a  b/root.hds  ", "ploop3 /x   ~prl_backup", "ploop4\t/y\t/vz/root/y\t\r",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d, ok := parseDevice(line)
		if !ok {
			return
		}
		if filepath.Base(d.Name) != d.Name || d.Name == ".." || d.Name == "." || !strings.HasPrefix(d.Image, "/") || strings.Trim(d.Component, " \t\r") != d.Component ||
			!strings.HasPrefix(line, d.Name) || !strings.Contains(line, d.Image) || !strings.Contains(line, d.Component) {
			t.Errorf("parseDevice(%q) = %+v", line, d)
		}
		_ = d.Snapshot()
	})
}

func FuzzHeader(f *testing.F) {
	b := make([]byte, 64)
	f.Add(append([]byte(nil), b...))
	copy(b, signature1)
	f.Add(append([]byte(nil), b...))
	copy(b, signature2)
	copy(b[44:], "Ynot")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 64 {
			return // ReadHeader reads 64
		}
		h, ok := parseHeader(b[:64])
		if ok != (h.Version == 1 || h.Version == 2) || ok && string(b[:6]) != signature1[:6] {
			t.Errorf("parseHeader(%q) = %+v, %v", b[:64], h, ok)
		}
	})
}

func FuzzMountedIn(f *testing.F) {
	f.Add("22 1 8:1 / / rw - ext4 /dev/ploop1p1 rw\n", "/dev/ploop1")
	f.Add("22 1 8:1 / / rw - ext4 /dev/mapper/ploop12p1 rw", "/dev/mapper/ploop1")
	f.Fuzz(func(t *testing.T, info, device string) {
		base := filepath.Base(device)
		if mountedIn(info, device) && !strings.Contains(info, base) {
			t.Errorf("mountedIn(%q, %q)", info, device)
		}
		if deviceName(base) && !strings.Contains(info, " - ") && mountedIn(info+"\n1 2 3:4 / /m rw - ext4 /dev/"+base+"x1 rw", device) {
			t.Errorf("%q is taken for a partition of %q", base+"x1", device)
		}
		if deviceName(base) && base != "" && !mountedIn(info+"\n1 2 3:4 / /m rw - ext4 /dev/"+base+"p1 rw", device) {
			t.Errorf("a partition of %q is not found behind %q", device, info)
		}
	})
}
