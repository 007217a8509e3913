// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// everything reads all that can be reached from a directory, with links, and returns how
// many there are.
func everything(r *Reader, ino, parent uint32) (count int, err error) {
	n, err := r.Inode(ino)
	if err != nil {
		return 0, err
	}
	switch n.Stat.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		_, err = r.Readlink(&n)
		return 1, err
	case unix.S_IFDIR:
	default:
		return 1, nil
	}
	d, err := r.Dir(&n)
	if err != nil {
		return 0, err
	}
	for count = 1; ; {
		entries, err := d.Next()
		if err == io.EOF {
			return count, nil
		}
		if err != nil {
			return count, err
		}
		if d.Parent() != parent {
			return count, fmt.Errorf("directory %d is in %d, and was found in %d", ino, d.Parent(), parent)
		}
		for _, e := range entries {
			below, err := everything(r, e.Ino, ino)
			if err != nil {
				return count, err
			}
			count += below
		}
	}
}

// BenchmarkScan checks and walks the image that VZ7CT_IMAGE names.
func BenchmarkScan(b *testing.B) {
	image := os.Getenv("VZ7CT_IMAGE")
	if image == "" {
		b.Skip("VZ7CT_IMAGE names no image of an ext4")
	}
	f := openImage(b, image)
	var checked, walked time.Duration
	for b.Loop() {
		begin := time.Now()
		s := check(b, f, Options{Sample: 200, Ahead: func(int64, int64) {}, AheadBytes: 1 << 30})
		checked += time.Since(begin)
		begin = time.Now()
		n, err := everything(f.NewReader(), Root, Root)
		if err != nil || uint64(n) < s.Inodes/2 {
			b.Fatal(n, err)
		}
		walked += time.Since(begin)
		b.ReportMetric(float64(n), "entries")
	}
	b.ReportMetric(checked.Seconds()*1000/float64(b.N), "check-ms")
	b.ReportMetric(walked.Seconds()*1000/float64(b.N), "walk-ms")
}
