// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// combinations are those of features that are tried with the kernel: what mke2fs is told.
var combinations = map[string][]string{
	"default":             nil,
	"virtuozzo":           virtuozzo,
	"virtuozzo, to grow":  append([]string{"-b", "4096", "-E", "lazy_itable_init,resize=4294967295"}, virtuozzo...),
	"virtuozzo 1k":        append([]string{"-b", "1024"}, virtuozzo...),
	"1k":                  {"-b", "1024"},
	"2k":                  {"-b", "2048"},
	"4k":                  {"-b", "4096"},
	"4k, 128":             {"-b", "4096", "-I", "128"},
	"4k, 512":             {"-b", "4096", "-I", "512"},
	"4k, 1024":            {"-b", "4096", "-I", "1024"},
	"1k, 128":             {"-b", "1024", "-I", "128"},
	"1k, 1024":            {"-b", "1024", "-I", "1024"},
	"2k, 512, inline":     {"-b", "2048", "-I", "512", "-O", "inline_data"},
	"inline":              {"-O", "inline_data"},
	"1k, inline":          {"-b", "1024", "-O", "inline_data"},
	"1024, inline":        {"-I", "1024", "-O", "inline_data"},
	"inline, no checksum": {"-O", "inline_data,^metadata_csum"},
	"no checksums":        {"-O", "^metadata_csum"},
	"uninit_bg":           {"-O", "^metadata_csum,uninit_bg"},
	"uninit_bg, 32 bit":   {"-O", "^metadata_csum,uninit_bg,^64bit"},
	"32 bit":              {"-O", "^64bit"},
	"no extents":          {"-O", "^extent,^64bit"},
	"no extents, 1k":      {"-b", "1024", "-O", "^extent,^64bit"},
	"no extents, old":     {"-I", "128", "-O", "^extent,^64bit,^metadata_csum,^flex_bg,^huge_file,^dir_nlink,^extra_isize"},
	"no flex_bg":          {"-O", "^flex_bg", "-g", "2048"},
	"small flex_bg":       {"-G", "4", "-g", "1024"},
	"meta_bg":             {"-O", "meta_bg,^resize_inode", "-g", "256"},
	"meta_bg, 1k":         {"-b", "1024", "-O", "meta_bg,^resize_inode"},
	"meta_bg, no flex_bg": {"-b", "1024", "-O", "meta_bg,^resize_inode,^flex_bg,^64bit"},
	"meta_bg, copies":     {"-b", "1024", "-O", "meta_bg,^resize_inode,^sparse_super"},
	"meta_bg, a copy":     {"-b", "1024", "-g", "4968", "-O", "meta_bg,^resize_inode,sparse_super2"}, // in its last group, 32
	"no dir_index":        {"-O", "^dir_index"},
	"no filetype":         {"-O", "^filetype"},
	"no huge_file":        {"-O", "^huge_file"},
	"no extra_isize":      {"-O", "^extra_isize"},
	"no journal":          {"-O", "^has_journal"},
	"no sparse_super":     {"-O", "^sparse_super,^resize_inode", "-g", "1024"},
	"sparse_super2":       {"-O", "sparse_super2,^resize_inode", "-g", "1024"},
	"large_dir":           {"-O", "large_dir"},
	"ea_inode":            {"-O", "ea_inode"},
	"ea_inode, inline":    {"-O", "ea_inode,inline_data", "-I", "512"},
	"csum_seed":           {"-O", "metadata_csum_seed", "-U", "random"},
	"mmp":                 {"-O", "mmp"},
	"orphan_file":         {"-O", "orphan_file"},
	"stable, fast_commit": {"-O", "stable_inodes,fast_commit"},
	"bigalloc":            {"-O", "bigalloc"},
	"bigalloc, 1k":        {"-b", "1024", "-C", "4096", "-O", "bigalloc"},
	"bigalloc, no sum":    {"-O", "bigalloc,^metadata_csum"},
	"as ext3":             {"-t", "ext3"},
	"as ext2":             {"-t", "ext2"},
	"as ext2, 1k":         {"-t", "ext2", "-b", "1024", "-I", "128", "-O", "^dir_index,^filetype"},
	"few inodes":          {"-N", "4096"},
	"many inodes":         {"-i", "4096", "-b", "4096"},
}

// seed is that of this run, or the one that is asked for.
func seed(t testing.TB) uint64 {
	s := rand.Uint64()
	if asked := os.Getenv("VZ7CT_SEED"); asked != "" {
		var err error
		if s, err = strconv.ParseUint(asked, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("VZ7CT_SEED=%d makes the same trees", s)
	return s
}

// Trees that the kernel has made, with each feature and without it, are read as the
// kernel shows them.
func TestCombinations(t *testing.T) {
	asRoot(t)
	seed := seed(t)
	total := map[string]int{}
	for what, args := range combinations {
		t.Run(what, func(t *testing.T) {
			image := mkfs(t, "160M", args...)
			var done map[string]int
			filled(t, image, func(root string) { done = grow(t, root, seed^uint64(crc32.ChecksumIEEE([]byte(what))), 1200) })
			for k, n := range done {
				total[k] += n
			}
			judge(t, image)
		})
	}
	t.Logf("done in all: %v", total)
}

// judge compares an image with what the kernel shows of it when it is mounted.
func judge(t *testing.T, image string) *comparison {
	t.Helper()
	root, f := mountedFS(t, image)
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		t.Fatal(err)
	}
	s := check(t, f, Options{Sample: 50, Seed: 1, Statfs: &st})
	for want, spoil := range map[string]func(*unix.Statfs_t){
		"the kernel says":            func(st *unix.Statfs_t) { st.Ffree++ },
		"the kernel has file system": func(st *unix.Statfs_t) { st.Fsid.Val[1] ^= 4 },
		"the kernel has type":        func(st *unix.Statfs_t) { st.Type++ },
		"inodes, blocks of":          func(st *unix.Statfs_t) { st.Files-- },
	} {
		other := st
		spoil(&other)
		if _, err := f.Check(t.Context(), Options{Statfs: &other}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check with another answer of statfs = %v, want %q", err, want)
		}
	}
	c := &comparison{r: f.NewReader(), orphans: s.Orphans}
	diffs, err := compare(c, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range diffs {
		t.Error(d)
	}
	t.Logf("%d inodes in use, compared %v, %d files", s.Inodes, c.counts, len(c.seen))
	if dirs := uint64(c.counts["directories"]); s.Dirs != dirs {
		t.Errorf("Dirs = %d, want %d", s.Dirs, dirs)
	}
	if s.Inodes < uint64(len(c.seen)) {
		t.Errorf("Inodes = %d, but %d have names", s.Inodes, len(c.seen))
	}
	for _, d := range byHandle(t, root, s.Sample) {
		t.Error(d)
	}
	return c
}

// mountedFS mounts an image to be read, and opens what is mounted.
func mountedFS(t *testing.T, image string) (root string, f *FS) {
	t.Helper()
	root = mounted(t, image)
	d, err := Device(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if f, err = Open(d); err != nil {
		t.Fatalf("Open: %v", err)
	}
	return root, f
}

// byHandle compares a sample with what the kernel says of the same inodes, without their
// names.
func byHandle(t *testing.T, root string, sample []Inode) (diffs []string) {
	t.Helper()
	at, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(at)
	for i := range sample {
		n := &sample[i]
		fd, err := unix.OpenByHandleAt(at, n.Handle(), unix.O_PATH|unix.O_CLOEXEC)
		if err != nil {
			diffs = append(diffs, fmt.Sprintf("inode %d, mode %#o, by its handle: %v", n.Ino, n.Stat.Mode, err))
			continue
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		if err == nil {
			err = n.Agree(&st)
		}
		if err != nil {
			diffs = append(diffs, fmt.Sprintf("of the sample: %v", err))
		}
	}
	return diffs
}

// The judges see differences that are planted: in each field, in a name, in a target.
func TestJudges(t *testing.T) {
	asRoot(t)
	image := mkfs(t, "64M")
	filled(t, image, func(root string) {
		grow(t, root, seed(t), 300)
		for _, err := range []error{os.Symlink("target", filepath.Join(root, "link")), os.WriteFile(filepath.Join(root, "file"), []byte("x"), 0o600),
			unix.Mknod(filepath.Join(root, "null"), unix.S_IFCHR, int(unix.Mkdev(1, 3)))} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	root, f := mountedFS(t, image)
	at := func(name string, change func(n *Inode)) func(string, *Inode) {
		return func(path string, n *Inode) {
			if path == name {
				change(n)
			}
		}
	}
	for what, c := range map[string]*comparison{
		"mode":       {spoil: at("file", func(n *Inode) { n.Stat.Mode ^= 0o1000 })},
		"owner":      {spoil: at("link", func(n *Inode) { n.Stat.Uid++ })},
		"group":      {spoil: at("null", func(n *Inode) { n.Stat.Gid++ })},
		"size":       {spoil: at("file", func(n *Inode) { n.Stat.Size++ })},
		"links":      {spoil: at("crowd", func(n *Inode) { n.Stat.Nlink++ })},
		"blocks":     {spoil: at("crowd", func(n *Inode) { n.Stat.Blocks-- })},
		"device":     {spoil: at("null", func(n *Inode) { n.Stat.Rdev++ })},
		"second":     {spoil: at("file", func(n *Inode) { n.Stat.Mtim.Sec++ })},
		"nanosecond": {spoil: at("link", func(n *Inode) { n.Stat.Ctim.Nsec++ })},
		"access":     {spoil: at("crowd", func(n *Inode) { n.Stat.Atim.Nsec++ })},
		"flags":      {spoil: at("file", func(n *Inode) { n.Flags ^= 0x40 })},
		"project":    {spoil: at("crowd", func(n *Inode) { n.Project++ })},
		"xattrs":     {spoil: at("file", func(n *Inode) { n.HasXattrs = !n.HasXattrs })},
		"generation": {spoil: at("file", func(n *Inode) { n.Generation++ })},
		"block":      {spoil: at("file", func(n *Inode) { n.Block++ })},
		"name":       {hide: "null"},
		"target":     {target: "target"},
	} {
		c.r = f.NewReader()
		if diffs, err := compare(c, root); len(diffs) == 0 || err != nil {
			t.Errorf("%s: a planted difference is not seen (%v)", what, err)
		}
	}
	if diffs, err := compare(&comparison{r: f.NewReader()}, root); len(diffs) > 0 || err != nil {
		t.Errorf("without a planted one: %v, %v", diffs, err)
	}
	s := check(t, f, Options{Sample: 3, Seed: 1})
	s.Sample[1].Stat.Mtim.Nsec++
	s.Sample[2].Generation++
	if diffs := byHandle(t, root, s.Sample); len(diffs) != 2 {
		t.Errorf("two planted differences in the sample: %q", diffs)
	}
}
