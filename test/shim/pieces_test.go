// SPDX-License-Identifier: AGPL-3.0-only

package shim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pieces builds the program.
func pieces(t *testing.T, dir string) string {
	t.Helper()
	headers(t)
	program := filepath.Join(dir, "pieces")
	cmd := exec.Command(compiler(), "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I"+source, "-I"+made, "-o", program, "pieces/pieces.c", source+"/io.c", "-lpthread")
	if out, err := cmd.CombinedOutput(); err != nil {
		if _, err := exec.LookPath(compiler()); err != nil {
			t.Skipf("no C compiler: %v", err)
		}
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// Go is told of a read that fails, and why. A file that is watched is not handed to the
// daemon: what it reads itself nobody else sees fail.
func TestFailedReadIsTold(t *testing.T) {
	dir := t.TempDir()
	program := pieces(t, dir)
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode string
		flag int
		want string
	}{
		{"", os.O_RDONLY, "0+8192 end"}, {"", os.O_WRONLY, "error told 9"}, // EBADF: it is open to be written to
		{"plain", os.O_RDONLY, "handed 0+8192 end"}, {"plain", os.O_WRONLY, "handed error told 9"},
		{"watched", os.O_RDONLY, "0+8192 end"}, {"watched", os.O_WRONLY, "error told 9"},
	} {
		f, err := os.OpenFile(path, tt.flag, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, strings.Fields("3 8192 -1 "+tt.mode)...)
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.CombinedOutput()
		f.Close()
		if got := strings.Join(strings.Fields(string(out)), " "); got != tt.want || err != nil {
			t.Errorf("%q, opened with %d: %q, %v, want %q", tt.mode, tt.flag, got, err, tt.want)
		}
	}
}

// Go is told how much of a file that is paced was read, but not of holes, and the daemon
// is not given the file.
func TestReadBytesAreTold(t *testing.T) {
	dir := t.TempDir()
	program := pieces(t, dir)
	for _, tt := range []struct {
		mode string
		at   []int64 // where a block of content is
		size int64
		want string
	}{
		{"plain", []int64{0, 16384}, 20480, "handed 0+20480 end"},
		{"paced", []int64{0, 16384}, 20480, "0+20480 end took 8192"},
		{"paced", []int64{65536}, 131072, "0+65536 0+65536 end took 4096"},
		{"paced", []int64{61440, 65536}, 131072, "0+65536 0+65536 end took 8192"},
		{"paced", []int64{0, 4096}, 8000, "0+8000 end took 8000"},
		{"paced", nil, 8192, "0+8192 end"},
		{"paced-pieces", []int64{0, 16384}, 20480, "0+4096 16384+4096 end took 8192"},
		{"paced-pieces", []int64{0}, 131072, "0+4096 131071+1 end took 4096"},
		{"paced-pieces", nil, 8192, "8191+1 end"},
	} {
		f, err := os.Create(filepath.Join(dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range tt.at {
			if _, err := f.WriteAt([]byte(strings.Repeat("x", 4096)), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(tt.size); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, strings.Fields(fmt.Sprintf("3 %d -1 %s", tt.size, tt.mode))...)
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.CombinedOutput()
		f.Close()
		if got := strings.Join(strings.Fields(string(out)), " "); got != tt.want || err != nil {
			t.Errorf("%s with content at %v of %d bytes: %q, %v, want %q", tt.mode, tt.at, tt.size, got, err, tt.want)
		}
	}
}

// A file with holes is sent in pieces, its last byte too if it ends in a hole. One that is
// cut while it is read ends where it was cut: what is missing must not come back as a hole,
// without a word, but as a file that is too short.
func TestPieces(t *testing.T) {
	dir := t.TempDir()
	program := pieces(t, dir)
	const size = 1 << 20
	for _, tt := range []struct {
		name string
		at   []int64 // where a block of content is
		cut  int64
		want string
	}{
		{"hole inside", []int64{0, size - 4096}, -1, "0+4096 1044480+4096 end"},
		{"hole at the start", []int64{65536, size - 4096}, -1, "65536+4096 1044480+4096 end"},
		{"hole at the end", []int64{0}, -1, "0+4096 1048575+1 end"},
		{"nothing but a hole", nil, -1, "1048575+1 end"},
		{"cut in a hole", []int64{0, size - 4096}, 8192, "0+4096 end"},
		{"cut to nothing", []int64{0, size - 4096}, 0, "0+4096 end"},
		{"cut in the last hole", []int64{0}, size - 1, "0+4096 end"},
		{"grown", []int64{0}, size + 4096, "0+4096 1048575+1 end"},
	} {
		f, err := os.Create(filepath.Join(dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range tt.at {
			if _, err := f.WriteAt(make([]byte, 4096), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "3", fmt.Sprint(size), fmt.Sprint(tt.cut))
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); got != tt.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
		f.Close()
	}
}
