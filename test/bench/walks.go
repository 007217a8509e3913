// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// ourList goes through a tree as the plugin does, without a daemon, and returns the number of entries. Where there is no
// scan it says why.
func ourList(dir string) (int, error) {
	s, err := walk.OpenScan(context.Background(), dir)
	if err == nil {
		return count(s)
	}
	fmt.Println("our list is a walk:", err)
	c, err := walk.Open(dir)
	if err != nil {
		return 0, err
	}
	c.Scouts = true
	return count(c)
}

func count(c interface {
	Next() (*walk.Entry, error)
	Close()
},
) (int, error) {
	defer c.Close()
	for n := 0; ; n++ {
		if _, err := c.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// findList lets find print of each entry what a backup wants to know.
func findList(dir string) (int, error) {
	cmd := exec.Command("find", dir, "-xdev", "-printf", `%p %y %m %U %G %s %T@ %C@ %i %n %l\n`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	buf, lines := make([]byte, 1<<20), 0
	for {
		n, err := out.Read(buf)
		for _, b := range buf[:n] {
			if b == '\n' {
				lines++
			}
		}
		if err != nil {
			return lines, cmd.Wait()
		}
	}
}

// workers is how many threads the parallel walk has: more than processors, since they wait for the disk.
func workers() int { return 4 * runtime.NumCPU() }

// parallelList reads directories and calls lstat for all that is in them with several threads.
func parallelList(dir string) (int, error) {
	var mu sync.Mutex
	var first error
	entries, todo, open := 1, []string{dir}, 0
	more := sync.NewCond(&mu)
	work := func() {
		mu.Lock()
		defer mu.Unlock()
		for {
			for len(todo) == 0 && open > 0 {
				more.Wait()
			}
			if len(todo) == 0 || first != nil {
				more.Broadcast()
				return
			}
			d := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			open++
			mu.Unlock()
			below, n, err := lstatAll(d)
			mu.Lock()
			open--
			entries += n
			todo = append(todo, below...)
			first = errors.Join(first, err)
			more.Broadcast()
		}
	}
	var all sync.WaitGroup
	for range workers() {
		all.Go(work)
	}
	all.Wait()
	return entries, first
}

// lstatAll looks at all that is in one directory.
func lstatAll(dir string) (below []string, n int, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return nil, 0, fmt.Errorf("lstat %s/%s: %w", dir, name, err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			below = append(below, filepath.Join(dir, name))
		}
	}
	return below, len(names), nil
}

// referenceList does what a plugin does that gathers all paths first, in one thread, without the daemon and its protocol: its
// lower bound. With data the files are read, in pieces of the daemon's size.
func referenceList(dir string, data bool) (entries int, bytes int64, err error) {
	var paths []string
	var gather func(string) error
	gather = func(d string) error {
		f, err := os.Open(d)
		if err != nil {
			return err
		}
		names, err := f.ReadDir(-1) // in the directory's own order; os.ReadDir would sort them
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		for _, n := range names {
			path := d + "/" + n.Name()
			paths = append(paths, path)
			if n.IsDir() {
				if err := gather(path); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := gather(dir); err != nil {
		return 0, 0, err
	}
	buf := make([]byte, 64<<10)
	for _, p := range append(paths, dir) {
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return 0, 0, err
		}
		if !data || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		n, err := readAll(p, buf)
		if err != nil {
			return 0, 0, err
		}
		bytes += n
	}
	return len(paths) + 1, bytes, nil
}

func readAll(path string, buf []byte) (total int64, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return total, err
		}
		total += int64(n)
	}
}

// Walked is what one of the lists without a daemon has needed.
type Walked struct {
	Run
	Entries int `json:"entries"`
}

// Walk plays one of the lists.
func Walk(who, dir string) (r Walked, err error) {
	began := time.Now()
	switch who {
	case "ours":
		r.Entries, err = ourList(dir)
	case "find":
		r.Entries, err = findList(dir)
	case "parallel":
		r.Entries, err = parallelList(dir)
	case "reference", "reference-data":
		r.Entries, r.Bytes, err = referenceList(dir, who == "reference-data")
	default:
		err = fmt.Errorf("no list %q", who)
	}
	r.Wall = time.Since(began).Seconds()
	r.Job = r.Wall
	if err != nil {
		return r, fmt.Errorf("list %s of %s: %w", who, dir, err)
	}
	u, err := selfUsage(who == "find")
	r.CPU, r.Peak, r.Switches, r.Files = u.cpu, u.peak, u.switches, r.Entries
	return r, err
}

// ReadIn reads a tree into the page cache: its metadata with attributes, or its data too.
func ReadIn(what, dir string) error {
	if _, err := parallelList(dir); err != nil {
		return err
	}
	paths := make(chan string, 1024)
	var mu sync.Mutex
	var first error
	var all sync.WaitGroup
	for range workers() {
		all.Go(func() {
			buf, list := make([]byte, 256<<10), make([]byte, 64<<10)
			for p := range paths {
				_, err := unix.Llistxattr(p, list)
				if errors.Is(err, unix.ENOTSUP) {
					err = nil
				}
				if info, e := os.Lstat(p); e == nil && what == "data" && info.Mode().IsRegular() {
					_, e := readAll(p, buf)
					err = errors.Join(err, e)
				}
				mu.Lock()
				first = errors.Join(first, err)
				mu.Unlock()
			}
		})
	}
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		paths <- p
		return err
	})
	close(paths)
	all.Wait()
	return errors.Join(err, first)
}
