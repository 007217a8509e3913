// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// victim is a small image to be damaged, and where it is worth it.
type victim struct {
	image []byte
	spots [][2]int // from, to
	size  int      // of all spots
}

var victims = sync.OnceValues(func() ([]victim, error) {
	dir, err := os.MkdirTemp("", "vz7ct-fuzz-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var list []victim
	for n, args := range [][]string{
		{"-b", "1024", "-O", "^has_journal,^metadata_csum,^resize_inode"},
		{"-b", "1024", "-O", "^has_journal,^resize_inode,inline_data"},
		{"-b", "4096", "-O", "^has_journal,uninit_bg,^metadata_csum,^resize_inode"},
		{"-b", "1024", "-O", "^has_journal,^extent,^64bit,^metadata_csum,^resize_inode"},
		{"-b", "1024", "-O", "^has_journal,meta_bg,^resize_inode,^metadata_csum,large_dir,bigalloc"},
		{"-b", "1024", "-O", "orphan_file,^resize_inode", "-J", "size=1"},
	} {
		v, err := newVictim(fmt.Sprintf("%s/%d", dir, n), args)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
})

func newVictim(image string, args []string) (v victim, err error) {
	top := image + ".tree"
	for n := range 3 {
		if err := os.MkdirAll(fmt.Sprintf("%s/dir%d/below", top, n), 0o700); err != nil {
			return v, err
		}
		for m := range 12 {
			if err := os.WriteFile(fmt.Sprintf("%s/dir%d/file%d", top, n, m), make([]byte, m), 0o600); err != nil {
				return v, err
			}
		}
	}
	for n := range 50 { // some blocks, which e2fsck gives an index
		if err := os.WriteFile(fmt.Sprintf("%s/dir0/%s%d", top, bytes.Repeat([]byte("long"), 20), n), nil, 0o600); err != nil {
			return v, err
		}
	}
	for n := range 8 {
		if err := os.Symlink(string(bytes.Repeat([]byte{'a' + byte(n)}, 20*n+1)), fmt.Sprintf("%s/link%d", top, n)); err != nil {
			return v, err
		}
	}
	size := "2M"
	if slices.Contains(args, "-J") {
		size = "4M"
	}
	args = append(append([]string{"-q", "-F", "-t", "ext4", "-N", "160", "-m", "0", "-d", top}, args...), image, size)
	if _, err := command("mke2fs", args...); err != nil {
		return v, err
	}
	_, _ = command("e2fsck", "-fyD", image) // it exits with 1 when it has done so
	if v.image, err = os.ReadFile(image); err != nil {
		return v, err
	}
	f, err := open(bytes.NewReader(v.image), false)
	if err != nil {
		return v, err
	}
	add := func(from, size int) {
		v.spots = append(v.spots, [2]int{from, from + size})
		v.size += size
	}
	add(superOffset, superSize)
	add(int(f.firstData+1)<<f.blockBits, 64*len(f.groups))
	for _, g := range f.groups {
		add(int(g.bitmap)<<f.blockBits, int(f.perGroup/8))
		add(int(g.table)<<f.blockBits, int(f.perGroup)*f.inodeSize)
	}
	_, err = f.Check(context.Background(), Options{AheadBytes: 1 << 20, Ahead: func(off, length int64) { add(int(off), int(length)) }})
	return v, err
}

// damage writes over bytes of an image: three bytes of where, one of what, again and again.
func (v *victim) damage(script []byte) []byte {
	image := bytes.Clone(v.image)
	for ; len(script) >= 4; script = script[4:] {
		at := (int(script[0]) | int(script[1])<<8 | int(script[2])<<16) % v.size
		for _, s := range v.spots {
			if n := s[1] - s[0]; at >= n {
				at -= n
				continue
			}
			image[s[0]+at] = script[3]
			break
		}
	}
	return image
}

// inspect reads all of a damaged image. What it finds must be in the image, and it must
// come to an end soon, with little memory.
func inspect(t testing.TB, image []byte, lax bool) (reached int) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	defer func() {
		runtime.ReadMemStats(&after)
		if d, m := time.Since(begin), after.TotalAlloc-before.TotalAlloc; d > 20*time.Second || m > 256<<20 {
			t.Errorf("%v and %d MiB for an image of %d bytes", d, m>>20, len(image))
		}
	}()
	f, err := open(bytes.NewReader(image), lax)
	if err != nil {
		if u := (*Unfit)(nil); !errors.As(err, &u) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Open = %v, which is no Unfit", err)
		}
		return 0
	}
	dirs := uint64(50)
	if s, err := f.Check(t.Context(), Options{Workers: 2, Sample: 5, Ahead: func(int64, int64) {}, AheadBytes: 1 << 20}); err == nil {
		dirs = s.Dirs
		reached = 1
	}
	r := f.NewReader()
	reached += stroll(t, f, r, image, Root, Root, &dirs)
	for ino := range min(f.inodes, 200) {
		n, err := r.Inode(ino)
		if err != nil {
			continue
		}
		_ = n.Attributes()
		if _, err := r.Readlink(&n); err == nil {
			reached++
		}
		if d, err := r.DirAt(&n, uint64(ino*37)); err == nil {
			_, _ = d.Next()
		}
	}
	return reached
}

// stroll walks as a caller should, and holds what it finds against the image.
func stroll(t testing.TB, f *FS, r *Reader, image []byte, ino, parent uint32, dirs *uint64) (reached int) {
	n, err := r.Inode(ino)
	if err != nil {
		return 0
	}
	if n.Stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		// In an inode it may be in two parts.
		if target, err := r.Readlink(&n); err == nil && !bytes.Contains(image, []byte(target)[:min(len(target), 60)]) {
			t.Errorf("target %q is not in the image", target)
		}
	}
	if n.Stat.Mode&unix.S_IFMT != unix.S_IFDIR || *dirs == 0 {
		return 1
	}
	*dirs--
	d, err := r.Dir(&n)
	if err != nil {
		return 1
	}
	for reached = 1; reached < 10000; {
		entries, err := d.Next()
		if err != nil || d.Parent() != parent {
			return reached
		}
		var below []uint32
		for _, e := range entries {
			if len(e.Name) == 0 || bytes.ContainsAny(e.Name, "/\x00") || !bytes.Contains(image, e.Name) {
				t.Errorf("name %q", e.Name)
			}
			below = append(below, e.Ino)
		}
		for _, e := range below {
			reached += stroll(t, f, r, image, e, ino, dirs)
		}
	}
	return reached
}

func FuzzScan(f *testing.F) {
	missing(f, "mke2fs", "debugfs")
	list, err := victims()
	if err != nil {
		f.Fatal(err)
	}
	for n := range list {
		f.Add(uint8(n), []byte{})
		f.Add(uint8(n)|0x80, []byte{0x54, 0, 0, 0xff, 1, 5, 0, 1})
	}
	f.Fuzz(func(t *testing.T, which uint8, script []byte) {
		v := &list[int(which&0x7f)%len(list)]
		reached := inspect(t, v.damage(script), which&0x80 == 0)
		if len(script) < 4 && reached < 40 {
			t.Errorf("only %d reached of what is not damaged", reached)
		}
	})
}

// The same at random, for every run: a byte or a few of an image.
func TestDamaged(t *testing.T) {
	missing(t, "mke2fs", "debugfs")
	list, err := victims()
	if err != nil {
		t.Fatal(err)
	}
	number := seed(t)
	random := rand.New(rand.NewPCG(number, 0))
	reached := 0
	for range 500 {
		script := make([]byte, 4*(1+random.IntN(6)))
		for i := range script {
			script[i] = byte(random.IntN(256)) >> random.IntN(8)
		}
		v := &list[random.IntN(len(list))]
		if n := inspect(t, v.damage(script), true); n > 20 {
			reached++
		}
		if t.Failed() {
			t.Fatalf("script %x", script)
		}
	}
	if reached < 150 {
		t.Errorf("only %d images of 500 were read to some depth", reached)
	}
	t.Logf("%d of 500 were read to some depth", reached)
}
