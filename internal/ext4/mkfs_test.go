// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// virtuozzo are the features of an image that ploop makes, whose e2fsprogs is 1.42.
var virtuozzo = []string{"-I", "256", "-O", "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,uninit_bg,dir_nlink,extra_isize"}

// tree makes files for mke2fs -d.
func tree(t testing.TB) string {
	t.Helper()
	top := t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for d := range 30 {
		dir := filepath.Join(top, fmt.Sprintf("dir%d", d), "below")
		must(os.MkdirAll(dir, 0o750))
		for n := range 50 {
			name := filepath.Join(dir, strings.Repeat(string(rune('a'+n%26)), n+1))
			must(os.WriteFile(name, bytes.Repeat([]byte{byte('x' * (1 - n%2))}, n*n*7), 0o640)) // zeros become holes
		}
	}
	for n := range 100 { // of all lengths around those at which targets move
		must(os.Symlink(strings.Repeat("t", 10*n+1), filepath.Join(top, fmt.Sprintf("link%d", n))))
	}
	must(os.Link(filepath.Join(top, "dir3/below/a"), filepath.Join(top, "dir4/again")))
	must(os.WriteFile(filepath.Join(top, "\xff\xfe\nname"), nil, 0))
	must(unix.Mkfifo(filepath.Join(top, "fifo"), 0o600))
	return top
}

// listing is what a tree looks like by lstat, one line an entry, with what mke2fs keeps.
func listing(t testing.TB, top string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		target, _ := os.Readlink(path)
		rel, err := filepath.Rel(top, path)
		if rel != "." {
			lines = append(lines, describe(rel, &st, target))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func describe(path string, st *unix.Stat_t, target string) string {
	size := st.Size
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
	}
	return fmt.Sprintf("%q mode %o owner %d:%d size %d mtime %d links %d target %q", path, st.Mode, st.Uid, st.Gid, size, st.Mtim.Sec, st.Nlink, target)
}

// ours is the same listing by the reader.
func ours(f *FS, r *Reader, ino uint32, path string) (lines []string, err error) {
	n, err := r.Inode(ino)
	if err != nil {
		return nil, err
	}
	target := ""
	if n.Stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		if target, err = r.Readlink(&n); err != nil {
			return nil, err
		}
	}
	if path != "" {
		lines = append(lines, describe(path, &n.Stat, target))
	}
	if n.Stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return lines, nil
	}
	d, err := r.Dir(&n)
	if err != nil {
		return nil, err
	}
	for {
		entries, err := d.Next()
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if path == "" && string(e.Name) == "lost+found" {
				continue
			}
			below, err := ours(f, r, e.Ino, filepath.Join(path, string(e.Name)))
			if err != nil {
				return nil, err
			}
			lines = append(lines, below...)
		}
	}
}

// What mke2fs copies into an image is read from it.
func TestImages(t *testing.T) {
	missing(t, "mke2fs", "debugfs")
	top := tree(t)
	want := listing(t, top)
	for what, args := range map[string][]string{
		"virtuozzo":     virtuozzo,
		"blocks of 1k":  {"-b", "1024"},
		"inline data":   {"-O", "inline_data"},
		"small inodes":  {"-I", "128"},
		"no extents":    {"-O", "^extent,^64bit"},
		"no checksums":  {"-O", "^metadata_csum"},
		"all that goes": {"-O", "inline_data,large_dir,metadata_csum_seed,project,quota,mmp,orphan_file,stable_inodes,ea_inode,sparse_super2,fast_commit"},
	} {
		t.Run(what, func(t *testing.T) {
			f := openImage(t, mkfs(t, "64M", append(args, "-d", top)...))
			s := check(t, f, Options{Sample: 20, Seed: 1})
			if len(s.Sample) != 20 || s.Dirs != 62 || s.Orphans != 0 {
				t.Errorf("Check = %d sampled, %d directories, %d orphans, want 20, 62, 0", len(s.Sample), s.Dirs, s.Orphans)
			}
			got, err := ours(f, f.NewReader(), Root, "")
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("got  %s", strings.Join(less(got, want), "\n     "))
				t.Errorf("want %s", strings.Join(less(want, got), "\n     "))
			}
			got[3] += "x"
			if slices.Equal(got, want) || len(less(got, want)) != 1 {
				t.Error("a planted difference is not seen")
			}
		})
	}
}

// less are the lines of a that are not in b, the first ones.
func less(a, b []string) (out []string) {
	for _, l := range a {
		if !slices.Contains(b, l) && len(out) < 10 {
			out = append(out, l)
		}
	}
	return out
}

// What is not known is refused, with its name.
func TestUnfit(t *testing.T) {
	for want, change := range map[string]func(t *testing.T) string{
		"needs_recovery": func(t *testing.T) string {
			image := mkfs(t, "16M")
			debugfs(t, image, "feature needs_recovery")
			return image
		},
		"blocks of 2^6 KiB": func(t *testing.T) string { return mkfs(t, "64M", "-b", "65536") },
		"journal is on another": func(t *testing.T) string {
			image := mkfs(t, "16M")
			debugfs(t, image, "ssv journal_inum 0")
			return image
		},
		"operating system 1, not Linux": func(t *testing.T) string {
			return mkfs(t, "16M", "-o", "hurd", "-O", "^metadata_csum,^huge_file,^64bit")
		},
		"revision 0": func(t *testing.T) string { return mkfs(t, "16M", "-r", "0", "-O", "none") },
		"casefold":   func(t *testing.T) string { return mkfs(t, "16M", "-O", "casefold") },
		"encrypt":    func(t *testing.T) string { return mkfs(t, "16M", "-O", "encrypt") },
		"verity":     func(t *testing.T) string { return mkfs(t, "16M", "-O", "verity") },
		"state 0x0": func(t *testing.T) string {
			image := mkfs(t, "16M")
			debugfs(t, image, "ssv state 0")
			return image
		},
		"state 0x3": func(t *testing.T) string {
			image := mkfs(t, "16M")
			debugfs(t, image, "ssv state 3")
			return image
		},
		"incompat 0x80000000": func(t *testing.T) string {
			image := mkfs(t, "16M")
			debugfs(t, image, "ssv feature_incompat 0x800002c2")
			return image
		},
		"checksum of the superblock": func(t *testing.T) string {
			image := mkfs(t, "16M")
			poke(t, image, superOffset+0x88, 'x')
			return image
		},
		"checksum of group 0": func(t *testing.T) string {
			image := mkfs(t, "16M")
			poke(t, image, 4096+gFreeInodes, 1) // with blocks of 1 KiB
			poke(t, image, 2048+gFreeInodes, 1)
			return image
		},
		"no superblock": func(t *testing.T) string {
			image := mkfs(t, "16M")
			poke(t, image, superOffset+sMagic, 0)
			return image
		},
	} {
		t.Run(want, func(t *testing.T) {
			missing(t, "mke2fs", "debugfs")
			file, err := os.Open(change(t))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			_, err = Open(file)
			if u := (*Unfit)(nil); !errors.As(err, &u) || !strings.Contains(u.Why, want) {
				t.Errorf("Open = %v, want an Unfit with %q", err, want)
			}
		})
	}
}

// poke writes a byte of an image.
func poke(t testing.TB, image string, off int64, b byte) {
	t.Helper()
	file, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte{b}, off); err != nil {
		t.Fatal(err)
	}
}
