// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
)

// Save writes a scanned tree to a file, entry by entry. Names may hold any byte.
func (t Tree) Save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	enc := gob.NewEncoder(w)
	err = enc.Encode(len(t))
	for _, e := range t {
		if err == nil {
			err = enc.Encode(e)
		}
	}
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("save tree: %w", err)
	}
	return nil
}

// Load reads what Save has written.
func Load(path string) (Tree, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dec := gob.NewDecoder(bufio.NewReader(f))
	var n int
	if err := dec.Decode(&n); err != nil {
		return nil, fmt.Errorf("load tree %s: %w", path, err)
	}
	t := make(Tree, n)
	for range n {
		e := new(Entry)
		if err := dec.Decode(e); err != nil {
			return nil, fmt.Errorf("load tree %s: %w", path, err)
		}
		t[e.Path] = e
	}
	return t, nil
}
