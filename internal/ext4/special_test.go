// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// touch makes an empty file.
func touch(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// A directory of 100,000 names of which a third goes again, and one with more directories
// than links can be counted.
func TestLargeDirectories(t *testing.T) {
	asRoot(t)
	for what, args := range map[string][]string{"virtuozzo": virtuozzo, "1k": {"-b", "1024", "-O", "large_dir"}} {
		t.Run(what, func(t *testing.T) {
			image := mkfs(t, "2G", append([]string{"-N", "240000"}, args...)...)
			filled(t, image, func(root string) {
				many, dirs := filepath.Join(root, "many"), filepath.Join(root, "dirs")
				for _, d := range []string{many, dirs} {
					if err := os.Mkdir(d, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				for n := range 100000 {
					touch(t, fmt.Sprintf("%s/name number %d of many", many, n))
				}
				for n := 0; n < 100000; n += 3 {
					if err := os.Remove(fmt.Sprintf("%s/name number %d of many", many, n)); err != nil {
						t.Fatal(err)
					}
				}
				for n := range 66000 {
					if err := os.Mkdir(fmt.Sprintf("%s/%d", dirs, n), 0o700); err != nil {
						t.Fatal(err)
					}
				}
			})
			c := judge(t, image)
			if c.counts["directories"] < 66000 || c.counts["files"] != 66666 {
				t.Errorf("compared %v", c.counts)
			}
		})
	}
}

// Directories whose blocks are everywhere need trees of extents, or blocks of maps.
func TestScatteredDirectories(t *testing.T) {
	asRoot(t)
	for what, args := range map[string][]string{
		"extents": nil, "extents, no checksums": {"-O", "^metadata_csum"}, "maps": {"-O", "^extent,^64bit"},
	} {
		t.Run(what, func(t *testing.T) {
			image := mkfs(t, "128M", append([]string{"-b", "1024"}, args...)...)
			filled(t, image, func(root string) {
				for _, d := range []string{"a", "b", "c"} {
					if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				for n := range 5000 { // in turn, so that their blocks alternate
					touch(t, fmt.Sprintf("%s/%c/%d%s", root, 'a'+n%3, n, strings.Repeat("n", 240)))
				}
			})
			judge(t, image)
			f := openImage(t, image)
			deep := 0
			for _, n := range directories(t, f) {
				root, err := parseNode(n.data[:], -1)
				if err == nil && root.depth > 0 || n.raw&flagExtents == 0 && n.Stat.Size > (directBlocks+256)<<10 {
					deep++
				}
			}
			if deep != 3 {
				t.Errorf("%d directories are scattered, want 3", deep)
			}
			if what == "extents" {
				spoiledExtents(t, image)
			}
			told := map[int64]bool{}
			s := check(t, f, Options{AheadBytes: 1 << 30, Ahead: func(off, length int64) {
				for at := off; at < off+length; at += 1024 {
					if told[at] {
						t.Errorf("byte %d announced twice", at)
					}
					told[at] = true
				}
			}})
			if s.Announced != int64(len(told))*1024 {
				t.Errorf("Announced = %d, want %d", s.Announced, len(told)*1024)
			}
			if missed := unannounced(t, f, told); missed > 0 {
				t.Errorf("%d blocks of directories were not announced", missed)
			}
			var few int64
			if s = check(t, f, Options{AheadBytes: 70000, Ahead: func(_, length int64) { few += length }}); few != 70000 || s.Announced != few {
				t.Errorf("announced %d, Announced = %d, want 70000", few, s.Announced)
			}
		})
	}
}

// spoiledExtents changes a byte in the tree of extents of a directory.
func spoiledExtents(t *testing.T, image string) {
	t.Helper()
	f := openImage(t, image)
	n := named(t, f, "a")
	b := make([]byte, 1)
	off := int64(n.Block)<<f.blockBits + 20
	if err := f.read(b, off); err != nil {
		t.Fatal(err)
	}
	poke(t, image, off, b[0]^1)
	defer poke(t, image, off, b[0])
	if _, err := f.Check(t.Context(), Options{Ahead: func(int64, int64) {}, AheadBytes: 1 << 20}); err == nil || !strings.Contains(err.Error(), "checksum of extents") {
		t.Errorf("Check of spoiled extents = %v", err)
	}
	if _, err := everything(f.NewReader(), n.Ino, Root); err == nil || !strings.Contains(err.Error(), "checksum of extents") {
		t.Errorf("Next of spoiled extents = %v", err)
	}
}

// directories are those in the top directory, and it.
func directories(t *testing.T, f *FS) (list []Inode) {
	t.Helper()
	r := f.NewReader()
	top, err := r.Inode(Root)
	if err != nil {
		t.Fatal(err)
	}
	list = append(list, top)
	d, err := r.Dir(&top)
	if err != nil {
		t.Fatal(err)
	}
	for {
		entries, err := d.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if n, err := r.Inode(e.Ino); err != nil {
				t.Fatal(err)
			} else if n.Stat.Mode&unix.S_IFMT == unix.S_IFDIR {
				list = append(list, n)
			}
		}
	}
}

// unannounced counts the blocks of directories that are not in a set of places.
func unannounced(t *testing.T, f *FS, told map[int64]bool) (missed int) {
	t.Helper()
	r := f.NewReader()
	for _, n := range directories(t, f) {
		for block := range uint64(n.Stat.Size) >> f.blockBits {
			x, err := r.find(&n, block)
			if err != nil {
				t.Fatal(err)
			}
			if !told[int64(x.start+block-x.first)<<f.blockBits] {
				missed++
			}
		}
	}
	return missed
}

// frozen makes files in an image, removes some that stay open, and returns a copy of the
// image as a snapshot would have it: frozen, or, for what a crash leaves, just synced.
func frozen(t *testing.T, image string, freeze bool) string {
	t.Helper()
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	filled(t, image, func(root string) {
		for n := range 300 {
			touch(t, filepath.Join(root, fmt.Sprintf("file%d", n)))
		}
		for n := range 40 {
			f, err := os.OpenFile(filepath.Join(root, fmt.Sprintf("file%d", n*3)), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteString("without a name"); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(f.Name()); err != nil {
				t.Fatal(err)
			}
		}
		dir, err := os.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if err := unix.Syncfs(int(dir.Fd())); err != nil {
			t.Fatal(err)
		}
		if freeze {
			const fifreeze, fithaw = 0xc0045877, 0xc0045878
			if err := unix.IoctlSetInt(int(dir.Fd()), fifreeze, 0); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := unix.IoctlSetInt(int(dir.Fd()), fithaw, 0); err != nil {
					t.Error(err)
				}
			}()
		}
		// The loop device writes past the image's cache, into which nothing was read yet.
		if _, err := command("cp", "--sparse=always", image, snapshot); err != nil {
			t.Fatal(err)
		}
	})
	return snapshot
}

// What was removed while open is in use in a snapshot, and explained by the list of such.
// Mounted for reading they go where the device lets the kernel write, else they stay.
func TestOrphans(t *testing.T) {
	asRoot(t)
	for what, args := range map[string][]string{
		"virtuozzo": virtuozzo, "checksums": {"-O", "^orphan_file"}, "file of orphans": {"-O", "orphan_file"}, "no extents": {"-O", "^extent,^64bit,^orphan_file"},
	} {
		t.Run(what, func(t *testing.T) {
			snapshot := frozen(t, mkfs(t, "32M", args...), true)
			f := openImage(t, snapshot)
			if s := check(t, f, Options{Sample: 1000}); s.Orphans != 40 || len(s.Sample) != 260+2 {
				t.Errorf("Check = %d orphans, %d sampled, want 40, 262", s.Orphans, len(s.Sample))
			}
			// Without the list nobody knows what they are.
			f.lastOrphan, f.orphanFile = 0, 0
			if _, err := f.Check(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "has no name") {
				t.Errorf("Check without the list of orphans = %v", err)
			}
			if err := os.Chmod(snapshot, 0o400); err != nil { // a loop device that is read-only
				t.Fatal(err)
			}
			if c := judge(t, snapshot); c.orphans != 40 {
				t.Errorf("Check with a mount that cannot write = %d orphans, want 40", c.orphans)
			}
			if err := os.Chmod(snapshot, 0o600); err != nil {
				t.Fatal(err)
			}
			if c := judge(t, snapshot); c.orphans != 0 {
				t.Errorf("Check after a mount = %d orphans, want 0", c.orphans)
			}
		})
	}
}

// A file system that was not frozen is refused until the kernel has mounted it, which
// replays its journal.
func TestReplay(t *testing.T) {
	asRoot(t)
	for what, args := range map[string][]string{"virtuozzo": virtuozzo, "default": nil, "fast_commit": {"-O", "fast_commit,orphan_file"}} {
		t.Run(what, func(t *testing.T) {
			snapshot := frozen(t, mkfs(t, "32M", args...), false)
			file, err := os.Open(snapshot)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err = Open(file); !errors.As(err, new(*Unfit)) || !strings.Contains(err.Error(), "needs_recovery") {
				t.Errorf("Open = %v, want an Unfit", err)
			}
			judge(t, snapshot)
		})
	}
}

// resize makes a mounted file system larger, as resize2fs does (EXT4_IOC_RESIZE_FS in
// fs/ext4/ext4.h, a number of blocks).
func resize(root string, size uint64) error {
	dir, err := os.Open(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return err
	}
	blocks := size / uint64(st.Bsize)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), 0x40086610, uintptr(unsafe.Pointer(&blocks))); e != 0 {
		return e
	}
	return nil
}

// File systems that have grown, as those of containers do.
func TestResized(t *testing.T) {
	asRoot(t)
	missing(t, "resize2fs")
	seed := seed(t)
	for what, args := range map[string][]string{
		"virtuozzo": virtuozzo, "default": nil, "no resize_inode": {"-O", "^resize_inode"}, "1k, to meta_bg": {"-b", "1024", "-O", "^resize_inode,^flex_bg"},
	} {
		t.Run(what, func(t *testing.T) {
			image := mkfs(t, "40M", args...)
			filled(t, image, func(root string) { grow(t, filepath.Join(root, "lost+found"), seed, 300) })
			if err := os.Truncate(image, 300<<20); err != nil {
				t.Fatal(err)
			}
			// While it is mounted, then once more while it is not.
			filled(t, image, func(root string) {
				if err := resize(root, 180<<20); errors.Is(err, unix.EPERM) {
					t.Logf("not while it is mounted: that needs CAP_SYS_RESOURCE, which this root has not")
				} else if err != nil {
					t.Fatal(err)
				}
				top := filepath.Join(root, "after")
				if err := os.Mkdir(top, 0o700); err != nil {
					t.Fatal(err)
				}
				grow(t, top, seed+1, 300)
			})
			judge(t, image)
			// It takes times after 2310 for some before 1970 and exits with 1. What it could not
			// repair resize2fs refuses.
			_, _ = command("e2fsck", "-fp", image)
			if _, err := command("resize2fs", image); err != nil {
				t.Fatal(err)
			}
			judge(t, image)
			if f := openImage(t, image); len(f.groups) < 3 {
				t.Errorf("%d groups", len(f.groups))
			}
		})
	}
}
