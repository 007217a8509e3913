// SPDX-License-Identifier: AGPL-3.0-only

package badblock

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The place that the kernel names is the one at which the image has the file's bytes; what is no part of one extent is
// refused.
func TestPhysical(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv("VZ7CT_ROOT_TESTS") == "" {
		t.Skip("needs root and VZ7CT_ROOT_TESTS=1: a file system is mounted")
	}
	dir := t.TempDir()
	image, mnt := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	for _, argv := range [][]string{
		{"truncate", "-s", "32M", image}, {"mkfs.ext4", "-q", "-b4096", image}, {"mkdir", mnt}, {"mount", "-o", "loop", image, mnt},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	defer func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	f, err := os.Create(filepath.Join(mnt, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // synced below
	var content []byte
	for i := range 64 {
		content = append(content, bytes.Repeat([]byte{byte(i + 1)}, 4096)...)
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	at, err := physical(f, 20*4096+100, 300)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Syncfs(int(f.Fd())); err != nil { // the image is read past the mount
		t.Fatal(err)
	}
	img, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close() //nolint:errcheck // only read
	got := make([]byte, 300)
	if _, err := img.ReadAt(got, at); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{21}, 300)) {
		t.Errorf("the image has %v at %d, %v, want the file's bytes", got[:4], at, err)
	}
	if at, err := physical(f, 63*4096, 8192); err == nil {
		t.Errorf("physical behind the end = %d, want an error", at)
	}
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	if at, err := physical(f, 512<<10, 4096); err == nil {
		t.Errorf("physical of a hole = %d, want an error", at)
	}
}
