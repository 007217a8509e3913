// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/walk"
	"github.com/bareos-contrib/vz7ct/test/loopfs"
)

// Files with holes are known as such, also where something else than their content takes
// as much room as is left out.
func TestHolesAreFound(t *testing.T) {
	dir := loopfs.Ext4(t)
	var fs unix.Statfs_t
	must(t, unix.Statfs(dir, &fs))
	n := fs.Bsize
	const attributes, reserved, reservedInside = 1, 2, 4
	files := map[string]struct {
		size  int64
		at    []int64 // where a block of content is
		extra int
		want  bool
	}{
		"dense":                        {2 * n, []int64{0, n}, 0, false},
		"dense with attributes":        {2 * n, []int64{0, n}, attributes, false},
		"dense with reserve":           {2 * n, []int64{0, n}, reserved, false},
		"not aligned":                  {n + 7, []int64{0, 7}, 0, false},
		"hole at the start":            {2 * n, []int64{n}, attributes, true},
		"hole at the end":              {2 * n, []int64{0}, attributes, true},
		"nothing but a hole":           {100, nil, attributes, true},
		"hole and reserve":             {4 * n, []int64{n}, reserved, true},
		"large hole":                   {1 << 30, []int64{n, 1 << 29}, attributes, true},
		"reserved inside, not written": {4 * n, []int64{0}, reservedInside, true},
	}
	for name, f := range files {
		path := filepath.Join(dir, name)
		out, err := os.Create(path)
		must(t, err)
		for _, at := range f.at {
			_, err := out.WriteAt(bytes.Repeat([]byte{'x'}, int(n)), at)
			must(t, err)
		}
		must(t, out.Truncate(f.size))
		if f.extra&attributes != 0 {
			must(t, unix.Fsetxattr(int(out.Fd()), "user.block", make([]byte, 800), 0))
		}
		if f.extra&reserved != 0 {
			must(t, unix.Fallocate(int(out.Fd()), unix.FALLOC_FL_KEEP_SIZE, f.size, 4*n))
		}
		if f.extra&reservedInside != 0 {
			must(t, unix.Fallocate(int(out.Fd()), 0, 0, f.size))
		}
		must(t, out.Sync())
		must(t, out.Close())
	}
	c, err := walk.Open(dir)
	must(t, err)
	defer c.Close()
	found := 0
	for {
		e, err := c.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		f, ok := files[e.Path]
		if !ok {
			continue
		}
		found++
		b := &backup{file: -1, next: fileItem(e, "", 7)}
		b.next.still = true
		if got := b.hasHoles(); got != f.want {
			t.Errorf("%s, %d bytes in %d blocks: hasHoles = %v", e.Path, e.Stat.Size, e.Stat.Blocks, got)
		}
		// What was opened to look is what the daemon reads, from its beginning, and once.
		for range 2 {
			fd, err := b.open()
			must(t, err)
			if at, err := unix.Seek(fd, 0, io.SeekCurrent); at != 0 || err != nil || fd != b.file || b.early {
				t.Errorf("%s: open = %d at %d, %v", e.Path, fd, at, err)
			}
			_, err = unix.Seek(fd, 1, io.SeekStart)
			must(t, err)
		}
		b.close()
		small := f.want && e.Stat.Blocks*512 >= e.Stat.Size
		for _, b.estimate = range []bool{true, false} {
			b.next.still = b.estimate
			if b.hasHoles() != (f.want && !small) || b.file >= 0 {
				t.Errorf("%s: it is opened for an estimate: %v, or where it may be written to", e.Path, b.estimate)
			}
		}
	}
	if found != len(files) {
		t.Errorf("%d files, %d found", len(files), found)
	}
}
