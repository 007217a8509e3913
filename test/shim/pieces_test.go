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

// A file with holes is sent in pieces, its last byte too if it ends in a hole. One that is
// cut while it is read ends where it was cut: what is missing must not come back as a hole,
// without a word, but as a file that is too short.
func TestPieces(t *testing.T) {
	headers(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "pieces")
	cmd := exec.Command(compiler(), "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I"+source, "-I"+made, "-o", program, "pieces/pieces.c", source+"/io.c", "-lpthread")
	if out, err := cmd.CombinedOutput(); err != nil {
		if _, err := exec.LookPath(compiler()); err != nil {
			t.Skipf("no C compiler: %v", err)
		}
		t.Fatalf("build: %v\n%s", err, out)
	}
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
