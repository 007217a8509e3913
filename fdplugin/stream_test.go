// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/exclude"
	"github.com/bareos-contrib/vz7ct/internal/walk"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

func TestFileItem(t *testing.T) {
	for _, tt := range []struct {
		path string
		mode uint32
		size int64
		kind Kind
		name string
		open bool
	}{
		{"a/f", unix.S_IFREG | 0o644, 5, Regular, "/r/a/f", true},
		{"a/e", unix.S_IFREG | 0o644, 0, Empty, "/r/a/e", true},
		{"a", unix.S_IFDIR | 0o755, 4096, Directory, "/r/a/", false},
		{"", unix.S_IFDIR | 0o755, 4096, Directory, "/r/", false},
		{"l", unix.S_IFLNK | 0o777, 3, Symlink, "/r/l", false},
		{"c", unix.S_IFCHR, 0, Special, "/r/c", false},
		{"b", unix.S_IFBLK, 0, Special, "/r/b", false},
		{"p", unix.S_IFIFO, 0, Special, "/r/p", false},
		{"K\xdc\n", unix.S_IFREG, 1, Regular, "/r/K\xdc\n", true},
	} {
		e := &walk.Entry{Path: tt.path, Link: "to"}
		e.Stat.Mode, e.Stat.Size, e.Stat.Dev = tt.mode, tt.size, 99
		it := fileItem(e, "/r", 7)
		link := ""
		if tt.kind == Symlink {
			link = "to"
		}
		if it.Kind != tt.kind || it.Name != tt.name || (it.open != nil) != tt.open || it.Stat.Dev != 7 || it.Link != link || it.xattrs == nil {
			t.Errorf("fileItem(%q, %o) = %+v, want kind %d as %q", tt.path, tt.mode, it.Entry, tt.kind, tt.name)
		}
	}
}

// The numbers hold for every run and every release: daemons and catalogues have
// seen them.
func TestDevice(t *testing.T) {
	seen := map[uint64]string{}
	for _, part := range []string{"virtual", "scripts", "private", prlctl.RootDisk, dataID} {
		for _, id := range []string{webID, oldID} {
			d := device(id, part)
			if d>>32 != 1 || seen[d] != "" || d != device(id, part) {
				t.Errorf("device(%s, %s) = %#x, that of %q", id, part, d, seen[d])
			}
			seen[d] = id + part
		}
	}
	if got, want := device(webID, "private"), uint64(0x1_4d47c4d2); got != want {
		t.Errorf("device = %#x, want %#x as ever", got, want)
	}
}

// What is left out of a disk, and what only has a similar name.
func TestSkip(t *testing.T) {
	set, err := exclude.NewSet([]string{"/tmp/*", "data/x", "var/log"})
	must(t, err)
	b := &backup{opts: Options{Excludes: set}, volumes: []*volume{{}, {catalogue: "data"}, {catalogue: "data/sub"}}}
	for _, tt := range []struct {
		disk int
		path string
		want bool
	}{
		{0, "lost+found", true}, {0, "aquota.user", true}, {0, "aquota.group", true}, {0, ".balloon-c3a5ae3d-ce7f-43c4-a1ea-c61e2b4504e8", true},
		{0, "home/lost+found", false}, {0, "home/aquota.user", false}, {0, ".balloon", false},
		{0, "tmp", false}, {0, "tmp/a", true}, {0, "var/log", true}, {0, "var/log2", false}, {0, "srv/var/log", false},
		{0, "data", true}, {0, "datax", false}, {0, "data/sub", true}, // further disks
		{1, "x", true}, {1, "data/x", false}, {1, "sub", true}, {1, "lost+found", true}, {1, "tmp/a", false},
		{2, "x", false}, {2, "sub", false},
	} {
		if got := b.newChooser(b.volumes[tt.disk], "", 0).skip(&walk.Entry{Path: tt.path}); got != tt.want {
			t.Errorf("disk %d: skip(%s) = %v, want %v", tt.disk, tt.path, got, tt.want)
		}
	}
	if n := b.left.by[byPaths].files; n != 3 {
		t.Errorf("%d counted as left out, want 3", n)
	}
}

// Quota limits are saved as the commands that set them again.
func TestQuotaAsText(t *testing.T) {
	v := &volume{dir: t.TempDir()}
	if got, err := v.quota(); got != nil || err != nil {
		t.Errorf("quota without files = %q, %v", got, err)
	}
	for _, name := range []string{"user", "group"} {
		b, err := os.ReadFile("../internal/quota/testdata/vfsv1." + name)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(v.dir, "aquota."+name), b, 0o600))
	}
	v.conf.Mount = "/data"
	got, err := v.quota()
	want := "setquota -u 1000 1000 2000 30 40 /data\nsetquota -g 77 0 5000 0 0 /data\nsetquota -g 4000000000 0 50000000000 0 7 /data\n"
	if string(got) != want || err != nil {
		t.Errorf("quota = %q, %v, want %q", got, err, want)
	}
	v.conf.Mount = ""
	if got, err := v.quota(); !strings.Contains(string(got), "40 MOUNTPOINT\n") || err != nil {
		t.Errorf("quota of a disk without mount point = %q, %v", got, err)
	}
	// The files are a tenant's.
	for name, trap := range map[string]func(path string) error{
		"link":      func(p string) error { return os.Symlink("/etc/passwd", p) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"text":      func(p string) error { return os.WriteFile(p, []byte("no quota"), 0o600) },
	} {
		path := filepath.Join(v.dir, "aquota.user")
		must(t, os.Remove(path))
		must(t, trap(path))
		if got, err := v.quota(); err == nil || !strings.Contains(err.Error(), "aquota.user: ") {
			t.Errorf("quota with a %s = %q, %v, want an error", name, got, err)
		}
	}
}
