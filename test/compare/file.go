// SPDX-License-Identifier: AGPL-3.0-only

package compare

import (
	"encoding/gob"
	"errors"
	"fmt"
	"os"
)

// Save writes a scanned tree to a file. Names may hold any byte.
func (t Tree) Save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(gob.NewEncoder(f).Encode(t), f.Close()); err != nil {
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
	var t Tree
	if err := gob.NewDecoder(f).Decode(&t); err != nil {
		return nil, fmt.Errorf("load tree %s: %w", path, err)
	}
	return t, nil
}
