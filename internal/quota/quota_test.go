// SPDX-License-Identifier: AGPL-3.0-only

package quota

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"testing"
)

// The files in testdata were made by quotacheck and setquota of Debian's quota
// 4.06 on ext4.
func TestReadRealFiles(t *testing.T) {
	for name, check := range map[string]func([]Limit) bool{
		"vfsv1.user": func(l []Limit) bool {
			return reflect.DeepEqual(l, []Limit{{ID: 1000, SoftBlocks: 1000, HardBlocks: 2000, SoftFiles: 30, HardFiles: 40}})
		},
		"vfsv1.group": func(l []Limit) bool {
			return reflect.DeepEqual(l, []Limit{{ID: 77, HardBlocks: 5000}, {ID: 4000000000, HardBlocks: 50000000000, HardFiles: 7}})
		},
		"vfsv0.user": func(l []Limit) bool {
			return len(l) == 63 && l[0] == Limit{ID: 1000, SoftBlocks: 1000, HardBlocks: 2000, SoftFiles: 30, HardFiles: 40} &&
				l[1] == Limit{ID: 2000, HardBlocks: 2000} && l[62] == Limit{ID: 70000, HardBlocks: 2000, HardFiles: 40}
		},
	} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil || !check(got) {
			t.Errorf("Read(%s) = %v, %v", name, got, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	b, err := os.ReadFile("testdata/vfsv1.user")
	if err != nil {
		t.Fatal(err)
	}
	far := bytes.Clone(b)
	far[blockSize] = 200 // a reference beyond the end
	for name, data := range map[string][]byte{"empty": nil, "text": []byte("hello, this is no quota file"), "cut": b[:1500], "far": far} {
		if got, err := Read(bytes.NewReader(data), int64(len(data))); !errors.Is(err, ErrFormat) {
			t.Errorf("Read(%s) = %v, %v, want ErrFormat", name, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, n := range []string{"vfsv0.user", "vfsv1.user", "vfsv1.group"} {
		b, err := os.ReadFile("testdata/" + n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = Read(bytes.NewReader(b), int64(len(b))) })
}

// sparse is a file of any size in which every block refers to 256 others.
type sparse struct{ reads int }

func (s *sparse) ReadAt(b []byte, off int64) (int, error) {
	s.reads++
	if off == 0 {
		binary.LittleEndian.PutUint32(b, magicUser)
		binary.LittleEndian.PutUint32(b[4:], 1)
		return len(b), nil
	}
	for i := 0; i+4 <= len(b); i += 4 {
		binary.LittleEndian.PutUint32(b[i:], (uint32(off/blockSize)*2654435761+uint32(i)*40503)%(1<<22))
	}
	return len(b), nil
}

// A tenant's file with holes may claim any size: it is read up to a bound.
func TestReadIsBounded(t *testing.T) {
	f := &sparse{}
	if _, err := Read(f, 4<<30); !errors.Is(err, ErrFormat) {
		t.Errorf("Read = %v, want ErrFormat", err)
	}
	if f.reads > maxBlocks+2 {
		t.Errorf("%d blocks were read, want %d at most", f.reads, maxBlocks)
	}
}
