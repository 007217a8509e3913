// SPDX-License-Identifier: AGPL-3.0-only

package ext4

import "math/rand/v2"

// sample keeps a number of inodes, each of all that are offered with the same chance:
// those with the lowest of as many random numbers. So the samples of several goroutines
// join to one of the same kind.
type sample struct {
	size  int
	rand  *rand.Rand
	kept  []picked
	worst int // index of the one that goes next
}

type picked struct {
	key   uint64
	inode Inode
}

func newSample(size int, seed, number uint64) sample {
	return sample{size: size, rand: rand.New(rand.NewPCG(seed, number))}
}

func (s *sample) offer(n *Inode) {
	if s.size > 0 {
		s.keep(s.rand.Uint64(), n)
	}
}

func (s *sample) keep(key uint64, n *Inode) {
	switch {
	case len(s.kept) < s.size:
		s.kept = append(s.kept, picked{key, *n})
	case s.size == 0 || key >= s.kept[s.worst].key:
		return
	default:
		s.kept[s.worst] = picked{key, *n}
	}
	if len(s.kept) < s.size {
		return
	}
	s.worst = 0
	for i := range s.kept {
		if s.kept[i].key > s.kept[s.worst].key {
			s.worst = i
		}
	}
}

func (s *sample) join(t *sample) {
	for i := range t.kept {
		s.keep(t.kept[i].key, &t.kept[i].inode)
	}
}

func (s *sample) inodes() []Inode {
	list := make([]Inode, len(s.kept))
	for i := range list {
		list[i] = s.kept[i].inode
	}
	return list
}
