// SPDX-License-Identifier: AGPL-3.0-only

package lab_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bareos-contrib/vz7ct/test/lab/image"
)

// oracle is a disk made by our own code, judged by Debian's ploop and qemu-img.
type oracle struct {
	t     *testing.T
	spec  image.Spec
	chain *image.Chain
	files []string
}

func newOracle(t *testing.T, s image.Spec) *oracle {
	t.Helper()
	o := &oracle{t: t, spec: s}
	o.chain = o.open(o.create("base"))
	return o
}

func (o *oracle) create(name string) *image.Image {
	o.t.Helper()
	path := filepath.Join(o.t.TempDir(), name)
	if err := image.Create(path, o.spec); err != nil {
		o.t.Fatal(err)
	}
	o.files = append(o.files, path)
	return o.image(path)
}

func (o *oracle) image(path string) *image.Image {
	o.t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		o.t.Fatal(err)
	}
	m, err := image.Open(image.OS(f), true)
	if err == nil {
		err = m.MarkInUse(true)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return m
}

func (o *oracle) open(levels ...*image.Image) *image.Chain {
	o.t.Helper()
	c, err := image.NewChain(levels, false)
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

func (o *oracle) scribble(r *rand.Rand, times int) {
	o.t.Helper()
	for range times {
		b := make([]byte, 1+r.IntN(200000))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if _, err := o.chain.WriteAt(b, r.Int64N(o.chain.Size()-int64(len(b)))); err != nil {
			o.t.Fatal(err)
		}
	}
}

func (o *oracle) contents() []byte {
	o.t.Helper()
	b := make([]byte, o.chain.Size())
	if _, err := o.chain.ReadAt(b, 0); err != nil {
		o.t.Fatal(err)
	}
	return b
}

// judge asks the foreign tools about a file, and whether they read want from it.
func (o *oracle) judge(path string, want []byte) {
	o.t.Helper()
	check := exec.Command("/usr/sbin/ploop", "check", "-F", "-c", "-r", path)
	check.Env = append(os.Environ(), "PAD="+strings.Repeat("x", 9000)) // it overruns its stack with less
	if out, err := check.CombinedOutput(); err != nil {
		o.t.Errorf("%+v: ploop check: %v\n%s", o.spec, err, out)
	}
	if out, err := exec.Command("qemu-img", "check", "-f", "parallels", path).CombinedOutput(); err != nil {
		o.t.Errorf("%+v: qemu-img check: %v\n%s", o.spec, err, out)
	}
	flat := filepath.Join(o.t.TempDir(), "flat")
	if out, err := exec.Command("qemu-img", "convert", "-f", "parallels", "-O", "raw", path, flat).CombinedOutput(); err != nil {
		o.t.Errorf("%+v: qemu-img convert: %v\n%s", o.spec, err, out)
		return
	}
	got, err := os.ReadFile(flat)
	if err != nil || !bytes.Equal(got, want) {
		o.t.Errorf("%+v: qemu-img reads something else, %v", o.spec, err)
	}
}

// Images and merges of random disks, of both versions and several cluster sizes, as foreign programs see them.
func TestForeignToolsAgree(t *testing.T) {
	needs(t, "ploop", "qemu-img")
	rounds := 3
	if full() {
		rounds = 30
	}
	for seed := range uint64(rounds) {
		for _, s := range []image.Spec{
			{Blocksize: 2048, Version: 2},
			{Blocksize: 2048, Version: 1},
			{Blocksize: 64, Version: 2},
			{Blocksize: 128, Version: 1},
			{Blocksize: 256, Version: 2, Mode: image.Preallocated},
		} {
			s.Sectors = uint64(s.Blocksize) * 40
			r := rand.New(rand.NewPCG(seed, uint64(s.Blocksize))) //nolint:gosec // test data
			o := newOracle(t, s)
			o.scribble(r, 6)
			one := o.contents()
			o.spec.Mode = image.Expanded
			if err := o.chain.Snapshot(o.create("delta")); err != nil {
				t.Fatal(err)
			}
			o.judge(o.files[0], one) // frozen and closed while the disk goes on
			o.scribble(r, 6)
			two := o.contents()
			if _, err := o.chain.MergeTop(o.image(o.files[0]), nil); err != nil {
				t.Fatal(err)
			}
			if err := o.chain.Drop(1); err != nil {
				t.Fatal(err)
			}
			o.scribble(r, 2)
			three := o.contents()
			if bytes.Equal(two, three) || bytes.Equal(one, two) {
				t.Fatal("the writes changed nothing: nothing was tested")
			}
			if err := o.chain.Close(); err != nil {
				t.Fatal(err)
			}
			o.judge(o.files[0], three)
		}
	}
}

// qemu-img writes, we read.
func TestReadsForeignImage(t *testing.T) {
	needs(t, "qemu-img")
	dir := t.TempDir()
	raw, hds := filepath.Join(dir, "raw"), filepath.Join(dir, "hds")
	want := make([]byte, 20<<20)
	r := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // test data
	for i := range want[3<<20 : 9<<20] {
		want[3<<20+i] = byte(r.Uint32())
	}
	if err := os.WriteFile(raw, want, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("qemu-img", "convert", "-f", "raw", "-O", "parallels", raw, hds).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img convert: %v\n%s", err, out)
	}
	f, err := os.Open(hds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	m, err := image.Open(image.OS(f), true)
	if err != nil {
		t.Fatal(err)
	}
	c, err := image.NewChain([]*image.Image{m}, true)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, c.Size())
	if _, err := c.ReadAt(got, 0); err != nil || !bytes.HasPrefix(got, want) {
		t.Errorf("read something else, %v", err)
	}
}
