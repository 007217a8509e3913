// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"os"
	"path/filepath"

	"github.com/bareos-contrib/vz7ct/test/compare"
	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// scanOn reads a tree in the node's own mount namespace.
func scanOn(n *rig.Node, dir string) (compare.Tree, error) {
	tmp, err := os.MkdirTemp("/var/tmp", "vz7ct-scan-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "tree")
	if err := n.Scan(dir, out); err != nil {
		return nil, err
	}
	return compare.Load(out)
}

// ignoreHoles is for jobs whose daemon cannot carry holes.
func ignoreHoles(d compare.Difference) bool { return d.What == compare.Holes }
