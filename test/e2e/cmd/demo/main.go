// SPDX-License-Identifier: AGPL-3.0-only

// Command demo plays the life of a container on a stand-in node with a real
// Director, Storage Daemon and File Daemon: saved while it runs and writes,
// destroyed, restored, compared attribute by attribute, started, a lost file put
// back. It ends with one line of figures, and with an error if anything is not
// as it has to be.
//
//	demo TREE.tar
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo TREE.tar")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "demo: FAILED:", err)
		os.Exit(1)
	}
}

func run(tree string) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "vz7ct-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// PostgreSQL, which a Bareos needs, runs as a user of its own.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	s := &story{began: time.Now(), dir: dir, tree: tree}
	s.say("a stand-in Virtuozzo 7 node in %s", dir)
	if s.node, err = rig.UpNode(filepath.Join(dir, "node")); err != nil {
		return err
	}
	defer func() {
		if down := s.node.Down(); down != nil {
			err = errors.Join(err, fmt.Errorf("the node is not down: %w", down))
		} else if err == nil {
			fmt.Println(s.last())
		}
	}()
	return s.play()
}
