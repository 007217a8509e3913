// SPDX-License-Identifier: AGPL-3.0-only

package gpt

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func disk(t *testing.T, sectors uint64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if err := f.Truncate(int64(sectors) * sector); err != nil {
		t.Fatal(err)
	}
	return f
}

// The partition of the real tool's 1 GiB disk: sgdisk -n 1:2048:2095103.
func TestWhole(t *testing.T) {
	if p := Whole(2097152, 2048); p != (Partition{2048, 2095103}) {
		t.Errorf("Whole(1 GiB) = %+v, want 2048 to 2095103", p)
	}
}

// Bug 5 of the study: there is nobody to make partition devices, so the table is read here.
func TestWriteRead(t *testing.T) {
	for _, size := range []uint64{2097152, 131072, 4096} {
		f := disk(t, size)
		want := Whole(size, 64)
		if err := Write(f, size, want); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(f); err != nil || got != want {
			t.Errorf("Read(Write(%+v)) = %+v, %v", want, got, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	f := disk(t, 4096)
	if _, err := Read(f); !errors.Is(err, ErrNone) {
		t.Errorf("Read(empty) = %v, want ErrNone", err)
	}
	if err := Write(f, 4096, Whole(4096, 64)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{9}, sector+72); err != nil { // the place of the entries
		t.Fatal(err)
	}
	if _, err := Read(f); !errors.Is(err, ErrNone) {
		t.Errorf("Read(wrong checksum) = %v, want ErrNone", err)
	}
}

// blkid did not learn the format from us.
func TestBlkidAgrees(t *testing.T) {
	blkid, err := exec.LookPath("/usr/sbin/blkid")
	if err != nil {
		t.Skip("blkid is not installed")
	}
	f := disk(t, 2097152)
	if err := Write(f, 2097152, Whole(2097152, 2048)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(blkid, "-p", "-o", "export", f.Name()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PTTYPE=gpt") {
		t.Errorf("blkid = %s, %v; want a gpt", out, err)
	}
}
