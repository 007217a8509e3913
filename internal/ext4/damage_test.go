// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Check says what does not agree. Without checksums, so that it is not they that tell.
func TestCheckDisagrees(t *testing.T) {
	missing(t, "mke2fs", "debugfs")
	top := tree(t)
	for want, commands := range map[string][]string{
		"the superblock says":                {"ssv free_inodes_count 7"},
		"free by the bitmap":                 {"set_bg 0 free_inodes_count 7", "set_bg 0 checksum calc"},
		"directories, the descriptor says":   {"set_bg 0 used_dirs_count 7", "set_bg 0 checksum calc"},
		"only the first":                     {"set_bg 0 itable_unused 2000", "set_bg 0 checksum calc"},
		"has no name":                        {"sif fifo links_count 0"},
		"is of no type":                      {"sif fifo mode 0"},
		"mode 030644 is of no type":          {"sif fifo mode 030644"},
		"extra size of":                      {"sif fifo extra_isize 1000"},
		"encrypted or with verity":           {"sif dir1 flags 0x80800"},
		"without the feature":                {"sif fifo flags 0x10000000"},
		"symbolic link of 100 bytes":         {"sif link1 size 100"},
		"symbolic link of 0 bytes":           {"sif link1 size 0"},
		"list of orphans: inode 5000":        {"ssv last_orphan 5000"},
		"list of orphans: inode 12 is on it": {"ssv last_orphan 12", "sif <12> dtime 12"},
	} {
		t.Run(want, func(t *testing.T) {
			image := mkfs(t, "64M", append(virtuozzo, "-d", top)...)
			if got := check(t, openImage(t, image), Options{}); got.Inodes < 1000 {
				t.Fatalf("Check before = %d inodes", got.Inodes)
			}
			debugfs(t, image, commands...)
			for _, workers := range []int{1, 4} {
				_, err := openImage(t, image).Check(t.Context(), Options{Workers: workers})
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Check by %d = %v, want %q", workers, err, want)
				}
			}
		})
	}
}

// With checksums each change of a byte is seen, wherever it is.
func TestChecksums(t *testing.T) {
	missing(t, "mke2fs", "debugfs")
	for _, args := range [][]string{nil, {"-O", "inline_data,orphan_file,metadata_csum_seed"}, {"-b", "1024", "-I", "128"}} {
		top := tree(t)
		for n := range 200 {
			touch(t, fmt.Sprintf("%s/dir0/%s%d", top, strings.Repeat("indexed", 20), n))
		}
		image := mkfs(t, "32M", append(args, "-d", top)...)
		_, _ = command("e2fsck", "-fyD", image) // makes an index, and exits with 1
		f := openImage(t, image)
		r := f.NewReader()
		n, err := r.Inode(Root)
		if err != nil {
			t.Fatal(err)
		}
		spots := map[string]int64{
			"inode":         int64(f.groups[0].table)<<f.blockBits + 20*int64(f.inodeSize) + iMtime,
			"end of inode":  int64(f.groups[0].table)<<f.blockBits + 20*int64(f.inodeSize) + int64(f.inodeSize) - 1,
			"bitmap":        int64(f.groups[0].bitmap) << f.blockBits,
			"end of bitmap": int64(f.groups[0].bitmap)<<f.blockBits + int64(f.perGroup/8) - 1,
			"descriptor":    int64(f.firstData+1)<<f.blockBits + gFreeInodes,
			"superblock":    superOffset + 0x78,
		}
		if n.raw&flagInlineData == 0 {
			spots["directory"] = int64(n.Block)<<f.blockBits + 30
		}
		indexed := named(t, f, "dir0")
		if spots["index"] = int64(indexed.Block)<<f.blockBits + 0x28; indexed.raw&flagIndex == 0 {
			t.Errorf("%v: e2fsck made no index", args)
		}
		if f.orphanFile != 0 {
			if n, err = r.Inode(f.orphanFile); err != nil {
				t.Fatal(err)
			}
			spots["file of orphans"] = int64(n.Block) << f.blockBits
		}
		for what, off := range spots {
			t.Run(fmt.Sprint(args, what), func(t *testing.T) {
				b := make([]byte, 1)
				if err := f.read(b, off); err != nil {
					t.Fatal(err)
				}
				poke(t, image, off, b[0]^0x10)
				defer poke(t, image, off, b[0])
				g, err := Open(f.dev)
				if err == nil {
					_, err = g.Check(t.Context(), Options{})
				}
				if err == nil {
					_, err = ours(g, g.NewReader(), Root, "")
				}
				if err == nil || !strings.Contains(err.Error(), "checksum") {
					t.Errorf("byte %d changed: %v, want an error about a checksum", off, err)
				}
			})
		}
	}
}

// What debugfs can write and no kernel here would: each is shown as the kernel shows it.
func TestOddInodes(t *testing.T) {
	asRoot(t)
	top := tree(t)
	commands := []string{ // what is behind the extra size then is still there
		"sif dir2/below/a mtime_extra 400", "sif dir2/below/bb projid 5", "sif dir2/below/bb atime_extra 400", "sif dir2/below/ccc atime_extra 400",
		"sif dir1/below/a projid 77", "sif dir1 projid 4294967290", "sif dir2 flags 0x20080000", "sif dir1/below/ccc flags 0x20080000",
		"sif dir2/below/a extra_isize 0", "sif dir2/below/bb extra_isize 4", "sif dir2/below/ccc extra_isize 12", "sif dir2/below/dddd extra_isize 8",
		"sif dir1/below/dddd flags 0x800f1", "sif dir3/below/bb generation 4294967295",
		"sif dir4/below/ccc flags 0xc0000", "sif dir4/below/dddd blocks 0x300000001",
		"sif dir1/below/eeeee uid 4294967290", "sif dir1/below/eeeee gid 65536",
	}
	for n, word := range []uint32{0, 1, 2, 3, 0xffffffff, 0xfffffffc, 3999999996, 4000000001} {
		for m, sec := range []uint32{0, 1, 0x7fffffff, 0x80000000, 0xffffffff} {
			file := fmt.Sprintf("dir%d/below/%s", 5+n, strings.Repeat(string(rune('a'+m)), m+1))
			for _, which := range []string{"mtime", "atime", "ctime"} {
				commands = append(commands, fmt.Sprintf("sif %s %s @%#x", file, which, sec), fmt.Sprintf("sif %s %s_extra %#x", file, which, word))
			}
		}
	}
	for what, args := range map[string][]string{
		"project, quota": {"-O", "project,quota"}, "project, old": {"-O", "project,^metadata_csum", "-I", "512"}, "virtuozzo": virtuozzo,
		"small": {"-I", "128"}, "inline": {"-O", "inline_data,project"}, "large_dir": {"-O", "large_dir"},
	} {
		t.Run(what, func(t *testing.T) {
			image := mkfs(t, "64M", append(args, "-d", top)...)
			list := commands
			if what == "inline" { // that flag, and attributes, would be lost
				list = slices.DeleteFunc(slices.Clone(commands), func(c string) bool {
					return strings.Contains(c, " flags ") || strings.Contains(c, " extra_isize ")
				})
			}
			out := debugfs(t, image, list...)
			for line := range strings.Lines(out) {
				if !strings.HasPrefix(line, "debugfs") && !strings.Contains(line, "invalid field specifier") {
					t.Logf("debugfs: %s", strings.TrimSpace(line))
				}
			}
			c := judge(t, image)
			f := openImage(t, image)
			n := named(t, f, "dir1", "below", "a")
			if want := strings.Contains(what, "project") || what == "inline"; (n.Project == 77) != want {
				t.Errorf("Project = %d, want 77: %v", n.Project, want)
			}
			if n := named(t, f, "dir8", "below", "eeeee"); n.Doubt != (what != "small") || n.Stat.Mtim.Sec == -1 != (what == "small") {
				t.Errorf("a time in doubt: Doubt = %v, %+v", n.Doubt, n.Stat.Mtim)
			}
			if what != "small" && c.counts["doubt"] == 0 {
				t.Error("no time is in doubt")
			}
		})
	}
}

// named finds an inode by a path.
func named(t *testing.T, f *FS, path ...string) Inode {
	t.Helper()
	r := f.NewReader()
	n, err := r.Inode(Root)
	for _, name := range path {
		if err != nil {
			t.Fatal(err)
		}
		d, err := r.Dir(&n)
		if err != nil {
			t.Fatal(err)
		}
		found := uint32(0)
		for found == 0 {
			entries, err := d.Next()
			if err != nil {
				t.Fatalf("%q of %q: %v", name, path, err)
			}
			for _, e := range entries {
				if string(e.Name) == name {
					found = e.Ino
				}
			}
		}
		if n, err = r.Inode(found); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// A directory can be left at any name and gone on with, by another reader too.
func TestPositions(t *testing.T) {
	missing(t, "mke2fs", "debugfs")
	for _, args := range [][]string{nil, {"-O", "inline_data"}, {"-b", "1024"}} {
		f := openImage(t, mkfs(t, "32M", append(args, "-d", tree(t))...))
		for _, path := range [][]string{nil, {"dir7", "below"}, {"dir7"}} {
			n := named(t, f, path...)
			var want []string
			r := f.NewReader()
			all := func(d *Dir, stop int) (names []string, next uint64) {
				for {
					entries, err := d.Next()
					if err != nil {
						return names, d.Pos()
					}
					for _, e := range entries {
						names = append(names, string(e.Name))
						if len(names) == stop {
							d.Pause()
							return names, e.Next
						}
					}
				}
			}
			d, err := r.Dir(&n)
			if err != nil {
				t.Fatal(err)
			}
			want, _ = all(d, -1)
			if len(want) == 0 || n.Stat.Mode&unix.S_IFMT != unix.S_IFDIR {
				t.Fatalf("%q: no names", path)
			}
			for stop := 1; stop <= len(want); stop++ {
				d, _ := r.Dir(&n)
				got, next := all(d, stop)
				if stop%16 == 0 {
					r = f.NewReader()
				}
				d, err := r.DirAt(&n, next)
				if err != nil {
					t.Fatal(err)
				}
				rest, _ := all(d, -1)
				if got = append(got, rest...); strings.Join(got, "/") != strings.Join(want, "/") {
					t.Fatalf("%v %q: left after %d names and gone on with: %q, want %q", args, path, stop, got, want)
				}
			}
		}
	}
}
