// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// command runs a tool of e2fsprogs, or mount; its output goes into the error.
func command(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return string(out), nil
}

// missing skips a test where a tool is not there, or fails it where it must be.
func missing(t testing.TB, tools ...string) {
	t.Helper()
	for _, name := range tools {
		if _, err := exec.LookPath(name); err == nil {
			continue
		} else if os.Getenv("VZ7CT_ROOT_TESTS") != "" {
			t.Fatal(err)
		} else {
			t.Skipf("%v: images are made by e2fsprogs", err)
		}
	}
}

// mkfs makes a file system, and returns its image.
func mkfs(t testing.TB, size string, args ...string) string {
	t.Helper()
	missing(t, "mke2fs", "debugfs")
	image := filepath.Join(t.TempDir(), "image")
	args = append([]string{"-q", "-F", "-t", "ext4"}, args...)
	if _, err := command("mke2fs", append(args, image, size)...); err != nil {
		t.Fatal(err)
	}
	return image
}

// debugfs changes an image.
func debugfs(t testing.TB, image string, commands ...string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(strings.Join(commands, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command("debugfs", "-w", "-f", script, image)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// openImage opens an image without mounting it.
func openImage(t testing.TB, image string) *FS {
	t.Helper()
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	f, err := Open(file)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return f
}

// check runs Check and fails the test on an error.
func check(t testing.TB, f *FS, o Options) *Survey {
	t.Helper()
	s, err := f.Check(t.Context(), o)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return s
}
