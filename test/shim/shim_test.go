// SPDX-License-Identifier: AGPL-3.0-only

// Package shim plays packets of any size and content against the plugin's C side,
// which is built for that with AddressSanitizer and UndefinedBehaviorSanitizer and
// without Go: see driver. fdhost, which plays whole jobs as daemons do, sends what
// daemons send.
package shim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const source = "../../cgo"

func compiler() string {
	if cc := os.Getenv("CC"); cc != "" {
		return cc
	}
	return "gcc"
}

// made is the directory with what Go tells C of the exported functions.
var made string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "shim-")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	made = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// headers makes what Go tells C of the exported functions, once.
func headers(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(made + "/_cgo_export.h"); err == nil {
		return
	}
	var names []string
	all, err := filepath.Glob(source + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(`import "C"`)) {
			names = append(names, filepath.Base(f))
		}
	}
	cmd := exec.Command("go", append([]string{"tool", "cgo", "-objdir", made, "--"}, names...)...)
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go tool cgo: %v\n%s", err, out)
	}
}

// build makes the driver and returns its path. spoil may change a source file.
func build(t testing.TB, spoil func(name, text string) string) string {
	t.Helper()
	dir := t.TempDir()
	headers(t)
	drivers, _ := filepath.Glob("driver/*.c")
	args := []string{
		"-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
		"-DPLUGIN_VERSION=\"\"", "-DPLUGIN_DATE=\"\"", "-I" + source, "-I" + made, "-Idriver", "-o", filepath.Join(dir, "driver"),
	}
	for _, name := range []string{"bareos.c", "bacula.c", "job.c", "io.c", "pack.c"} {
		b, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(dir, name)
		if err := os.WriteFile(copied, []byte(spoil(name, string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, copied)
	}
	cmd := exec.Command(compiler(), append(append(args, drivers...), "-lpthread")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		if _, err := exec.LookPath(compiler()); err != nil {
			t.Skipf("no C compiler: %v", err)
		}
		if strings.Contains(string(out), "cannot find") && strings.Contains(string(out), "san") {
			t.Skipf("the C compiler has no sanitizers here: %s", out)
		}
		t.Fatalf("build driver: %v\n%s", err, out)
	}
	return filepath.Join(dir, "driver")
}

func asItIs(_, text string) string { return text }

// driver is a running driver.
type driver struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err bytes.Buffer
}

func start(t testing.TB, program string) *driver {
	t.Helper()
	d := &driver{cmd: exec.Command(program)}
	d.cmd.Dir = t.TempDir()
	d.cmd.Stderr = &d.err
	var err error
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.out = bufio.NewReader(out)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return d
}

// play plays one script and returns how many messages the job log got.
func (d *driver) play(script []byte) (messages int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err = d.in.Write(append(binary.NativeEndian.AppendUint32(nil, uint32(len(script))), script...))
	line := ""
	if err == nil {
		line, err = d.out.ReadString('\n')
	}
	if err != nil {
		_ = d.in.Close()
		return 0, fmt.Errorf("%w: %w\n%s", err, d.cmd.Wait(), d.err.String())
	}
	_, err = fmt.Sscan(line, &messages)
	return messages, err
}

// end ends the driver: only then does it look for memory that was lost.
func (d *driver) end() error {
	_ = d.in.Close()
	if err := d.cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, d.err.String())
	}
	return nil
}

// maxScript is the longest one that a driver takes.
const maxScript = 1 << 16

// usual is the byte by which a number of a script is what a daemon has.
const usual = 0

// seeds are jobs of each family: a packet of each kind, with its right size and then
// with wrong ones.
func seeds() (list [][]byte) {
	for family := range byte(3) {
		for call := range byte(10) {
			for _, size := range []byte{usual, 128, 130, 131, 133, 139, 156, 163, 165, 172} {
				script := []byte{family, call, 0, size}
				for range 40 {
					script = append(script, call, size, usual, 1, 1, 5, 'a', 'b', 'c', 'd', 'e')
				}
				list = append(list, script)
			}
		}
	}
	for _, family := range []byte{1, 2} {
		for _, attributes := range []string{
			"", "\x03\x00\x00\x00\x04\x00\x00\x00abcdefg", "\x03\x00\x00\x00\x00\x00\x00\x00abc", "\x03\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00",
			"\xff\x00\x00\x00\x00\x00\x00\x00abc", "\x03\x00\x00\x00\xff\x00\x00\x00abc", "\xff\xff\xff\xff\x01\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff",
		} {
			list = append(list, restoresXattrs(family, attributes))
		}
	}
	return list
}

// restoresXattrs is a job of Bacula that restores what the plugin has packed.
func restoresXattrs(family byte, attributes string) []byte {
	script := []byte{family, 4, 0, 0, 0, 0, 0, 0, 0} // the restore of a file begins
	script = append(script, 8, usual)
	script = append(script, make([]byte, 32)...)                     // the packet
	script = append(script, 3, usual, byte(len(attributes)), usual)  // XATTR_RESTORE, and how many bytes
	script = append(script, 0, 0xff)                                 // there is memory for them
	return append(append(script, make([]byte, 8)...), attributes...) // behind the mark
}

func TestPackets(t *testing.T) {
	d := start(t, build(t, asItIs))
	for _, s := range seeds() {
		if _, err := d.play(s); err != nil {
			t.Fatalf("%v: %v", s, err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for begin := time.Now(); time.Since(begin) < 2*time.Second; {
		s := make([]byte, 1+random.IntN(500))
		for i := range s {
			s[i] = byte(random.Uint32())
		}
		if _, err := d.play(s); err != nil {
			t.Fatalf("%v: %v", s, err)
		}
	}
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
}

// A packet that is too small is told of, once in a job.
func TestSmallPackets(t *testing.T) {
	d := start(t, build(t, asItIs))
	defer d.end()
	for family, calls := range map[byte][]byte{0: {2, 6, 7, 8, 9}, 1: {2, 6, 7, 8}, 2: {2, 6, 7, 8}} {
		for _, call := range calls {
			script := []byte{family}
			for range 3 {
				script = append(script, call)
				if family == 0 && (call == 6 || call == 7) {
					script = append(script, 0) // of the shorter layout
				}
				// Four bytes that are zero, then the members, without any memory.
				script = append(script, 128, 0, 0, 0, 0, usual, usual, 255, 255, 255, 255)
			}
			if n, err := d.play(script); err != nil || n < 1 {
				t.Errorf("family %d, call %d: %d messages, %v, want one", family, call, n, err)
			}
		}
	}
}

// The judge sees what it is there for: without the check of sizes memory behind a
// packet is touched, and a lost attribute is found at the end.
func TestDriverReports(t *testing.T) {
	for name, tt := range map[string]struct {
		file, from, to, want string
	}{
		"sizes":   {"job.c", "have >= 0 && (size_t)have >= need", "have != have + 1 || need == 0", "AddressSanitizer"},
		"lengths": {"pack.c", "(int64_t)name + value > left - 8", "left < 0", "AddressSanitizer"},
		"lost":    {"bareos.c", "	free(x.value);\n", "", "LeakSanitizer"},
		"product": {"job.c", "r->st.st_blocks < r->st.st_size / 512", "r->st.st_blocks * 512 < r->st.st_size", "signed integer overflow"},
	} {
		changed := false
		d := start(t, build(t, func(file, text string) string {
			if file != tt.file {
				return text
			}
			changed = strings.Contains(text, tt.from)
			return strings.Replace(text, tt.from, tt.to, 1)
		}))
		if !changed {
			t.Fatalf("%s: %s has no %q", name, tt.file, tt.from)
		}
		var err error
		for _, s := range seeds() {
			if _, err = d.play(s); err != nil {
				break
			}
		}
		random := rand.New(rand.NewPCG(3, 4))
		for begin := time.Now(); err == nil && time.Since(begin) < time.Minute; {
			s := make([]byte, 1+random.IntN(500))
			for i := range s {
				s[i] = byte(random.Uint32())
			}
			if _, err = d.play(s); name == "lost" {
				break
			}
		}
		if err == nil {
			err = d.end()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the driver ends with %v, want %s", name, err, tt.want)
		}
	}
}

func FuzzPackets(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	program := build(f, asItIs)
	d := start(f, program)
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > maxScript {
			return
		}
		if _, err := d.play(script); err != nil {
			t.Fatal(err)
		}
	})
}
